"""An AGE, as people type it: 12h, 30d, 2w, 6mo, 1y, a bare number of days, or `all`."""

import math
import re

from gitlob_rsync.wording import counted

DAY = 86400
"""Seconds."""

ALL = math.inf
"""The age that nothing is older than."""

FORMS = "an age is 12h, 30d, 2w, 6mo, 1y, a number of days, or all"

_FORM = re.compile(r"([0-9]{1,9})(h|d|w|mo|y)?\Z|all\Z")
_SECONDS = {"h": 3600, "d": DAY, None: DAY, "w": 7 * DAY, "mo": 30 * DAY, "y": 365 * DAY}


def is_age(text: str) -> bool:
    """Whether `text` has the form of an AGE: that decides whether the word after --window is one."""
    return _FORM.match(text) is not None


def parse(text: str) -> float:
    """Seconds, or ALL. A month counts 30 days, a year 365. Raises ValueError for anything else."""
    found = _FORM.match(text)
    if not found:
        raise ValueError(FORMS)
    if found[0] == "all":
        return ALL
    return int(found[1]) * _SECONDS[found[2]]


def text(seconds: float) -> str:
    """How old something is, for people: in hours, or from two days on in days."""
    number, unit = (int(seconds // DAY), "day") if seconds >= 2 * DAY else (int(seconds // 3600), "hour")
    return counted(number, unit)
