"""How hard the fault tests try: a little, the same at every run; or for long, and anew each time (`make torture`)."""

import os

from hypothesis import HealthCheck, settings

TORTURE = os.environ.get("GITLOB_TORTURE") == "1"

_ALWAYS = settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
settings.register_profile("test", _ALWAYS, max_examples=200, derandomize=True)
settings.register_profile("torture", _ALWAYS, max_examples=10_000, print_blob=True)
settings.load_profile("torture" if TORTURE else "test")
