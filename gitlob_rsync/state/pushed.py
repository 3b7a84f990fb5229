"""The record of what was pushed: for each location, the commits whose whole history has its binaries in the store there.

A cache, so that the next push has to look at new commits alone. It is written only after a fully successful push, and void
if the location now has another store; commits that no longer exist are ignored. git-lob's own record is another file, which
is not used: it marks commits as pushed that are not.
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
    """The commits on record for the store known to be at a remote's location that still exist; none if the record is
    missing, torn or void."""
    store = identity.known(repo, remote)
    said = files.read(_path(repo, remote.location))
    tips = said.get("tips") if store and said.get("store") == store else None
    if said.get("location") != str(remote.location) or not isinstance(tips, list):
        return ()
    if not all(isinstance(tip, str) and tip.isalnum() for tip in tips):
        return ()
    return tuple(repo.existing(f"{tip}^{{commit}}" for tip in tips))


def write(repo: Repo, remote: Remote, tips: Iterable[str]) -> None:
    """Record commits; except in a shallow repository, where the history beyond the boundary was not looked at."""
    store = identity.known(repo, remote)
    if store and not repo.shallow:
        said: dict[str, object] = {"location": str(remote.location), "store": store, "tips": sorted(set(tips))}
        files.write(_path(repo, remote.location), said)


def forget(repo: Repo, location: Location) -> None:
    """Make the next push look at all of history."""
    with suppress(FileNotFoundError):
        os.unlink(_path(repo, location))
