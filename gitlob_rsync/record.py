"""What was pushed where: for each location the commits whose whole history has its binaries there.

A cache, to have the next push look at new commits alone. It is written after a fully successful push only, and is void
where a commit that it names is gone. git-lob's own record is another file, and not trusted (it marks commits as pushed
that are not).
"""

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress

from gitlob_rsync.git import Repo
from gitlob_rsync.location import Location


def _path(repo: Repo, location: Location) -> str:
    name = hashlib.sha1(str(location).encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()
    return os.path.join(repo.folder, "state", "pushed", f"{name}.json")


def read(repo: Repo, location: Location) -> tuple[str, ...]:
    """The commits on record for a location, all of them here; none where the record is missing, torn or void."""
    try:
        with open(_path(repo, location), encoding="ascii") as file:
            said = json.load(file)
    except (OSError, ValueError, RecursionError):
        return ()
    tips = said.get("tips") if isinstance(said, dict) and said.get("location") == str(location) else None
    if not isinstance(tips, list) or not all(isinstance(tip, str) and tip.isalnum() for tip in tips):
        return ()
    return tuple(tips) if len(repo.existing(f"{tip}^{{commit}}" for tip in tips)) == len(tips) else ()


def write(repo: Repo, location: Location, tips: Iterable[str]) -> None:
    """Put commits on record. Not in a shallow repository: what lies beyond its edge was not looked at."""
    if repo.shallow:
        return
    path = _path(repo, location)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    beside = f"{path}.{os.getpid()}"
    with open(beside, "w", encoding="ascii") as file:
        json.dump({"location": str(location), "tips": sorted(set(tips))}, file)
    os.replace(beside, path)


def forget(repo: Repo, location: Location) -> None:
    """Have the next push look at everything."""
    with suppress(FileNotFoundError):
        os.unlink(_path(repo, location))
