"""Remote stores with strays: binaries that no clone knows of."""

import os
import time
from pathlib import Path

from tests.support.handmade import files_of, put
from tests.support.places import Place
from tests.support.repositories import repository
from tests.support.work import DAY, Work

LONG_AGO = "20200102T030405Z"
OLD, YOUNG, ONE, TWO = b"old stray", b"young stray", b"of one", b"of two"


def strew(root: Path, content: bytes, days: float) -> str:
    """Put a binary that no clone knows of into a store, as one that came there some days ago."""
    sha = put(root, content)
    age(root, content, days)
    return sha


def age(root: Path, content: bytes, days: float) -> None:
    then = time.time() - days * DAY
    for name in files_of(content):
        os.utime(root / name, (then, then))


def pushed(tmp_path: Path, place: Place) -> tuple[Work, Work]:
    one = repository(tmp_path / "one", place.location, {"a.bin": ONE})
    other = repository(tmp_path / "other", place.location, {"b.bin": TWO})
    for work, content in ((one, ONE), (other, TWO)):
        work.sync("--push")
        age(place.folder, content, 9)
    strew(place.folder, OLD, 9)
    strew(place.folder, YOUNG, 1)
    return one, other
