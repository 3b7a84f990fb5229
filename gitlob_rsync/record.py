"""What was pushed where: for each location the commits whose whole history has its binaries there.

A cache, to have the next push look at new commits alone. It is written after a fully successful push only, and is void
where a commit that it names is gone. git-lob's own record is another file, and not trusted (it marks commits as pushed
that are not).
"""

import os
from collections.abc import Iterable
from contextlib import suppress

from gitlob_rsync import state
from gitlob_rsync.git import Repo
from gitlob_rsync.location import Location


def _path(repo: Repo, location: Location) -> str:
    return state.path(repo, "pushed", state.name_of(location))


def read(repo: Repo, location: Location) -> tuple[str, ...]:
    """The commits on record for a location, all of them here; none where the record is missing, torn or void."""
    said = state.read(_path(repo, location))
    tips = said.get("tips") if said.get("location") == str(location) else None
    if not isinstance(tips, list) or not all(isinstance(tip, str) and tip.isalnum() for tip in tips):
        return ()
    return tuple(tips) if len(repo.existing(f"{tip}^{{commit}}" for tip in tips)) == len(tips) else ()


def write(repo: Repo, location: Location, tips: Iterable[str]) -> None:
    """Put commits on record. Not in a shallow repository: what lies beyond its edge was not looked at."""
    if not repo.shallow:
        state.write(_path(repo, location), {"location": str(location), "tips": sorted(set(tips))})


def forget(repo: Repo, location: Location) -> None:
    """Have the next push look at everything."""
    with suppress(FileNotFoundError):
        os.unlink(_path(repo, location))
