"""How hard the fault tests try: a little, the same at every run; or for long, and anew each time (`make torture`)."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.faults.kit import TORTURE, fault, write_count

_ALWAYS = settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
settings.register_profile("test", _ALWAYS, max_examples=50, derandomize=True)
settings.register_profile("torture", _ALWAYS, max_examples=10_000, print_blob=True)
settings.load_profile("torture" if TORTURE else "test")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    if item.path.name == "test_security.py":
        with fault("attacks (tests/faults/test_security.py)"):
            return (yield)
    return (yield)


def pytest_sessionfinish() -> None:
    if to := os.environ.get("GITLOB_FAULTS"):
        write_count(Path(to))
