"""What was pushed where: for each location the commits whose whole history has its binaries in the store there.

A cache, to have the next push look at new commits alone. It is written after a fully successful push only, and void for
another store than the one that was pushed to; a commit that is gone says nothing any more. git-lob's own record is another
file, and not trusted (it marks commits as pushed that are not).
"""

import os
from collections.abc import Iterable
from contextlib import suppress

from gitlob_rsync.git.repo import Repo
from gitlob_rsync.location import Location, Remote
from gitlob_rsync.state import files, identity


def _path(repo: Repo, location: Location) -> str:
    return files.path(repo, "pushed", files.name_of(location))


def read(repo: Repo, remote: Remote) -> tuple[str, ...]:
    """The commits on record for the store that is known to be at a remote's location, those that are here; none where the
    record is missing, torn or void."""
    store = identity.known(repo, remote)
    said = files.read(_path(repo, remote.location))
    tips = said.get("tips") if store and said.get("store") == store else None
    if said.get("location") != str(remote.location) or not isinstance(tips, list):
        return ()
    if not all(isinstance(tip, str) and tip.isalnum() for tip in tips):
        return ()
    return tuple(repo.existing(f"{tip}^{{commit}}" for tip in tips))


def write(repo: Repo, remote: Remote, tips: Iterable[str]) -> None:
    """Put commits on record. Not in a shallow repository: what lies beyond its edge was not looked at."""
    store = identity.known(repo, remote)
    if store and not repo.shallow:
        said: dict[str, object] = {"location": str(remote.location), "store": store, "tips": sorted(set(tips))}
        files.write(_path(repo, remote.location), said)


def forget(repo: Repo, location: Location) -> None:
    """Have the next push look at everything."""
    with suppress(FileNotFoundError):
        os.unlink(_path(repo, location))
