"""Which store stands at a location: a small file in each store, made once, that every clone remembers for each location.

A disk that is not mounted leaves an empty folder, and another disk may be mounted in its place. A location that shows
another identity than before, or none, is therefore no place to push to, and nothing that it lacks is missing.
"""

import os

from gitlob_rsync.errors import UsageError
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.location import IDENTITY, Location, Remote
from gitlob_rsync.state import files, sync_log

_FIRST = "gitlob-rsync store 1"
_FOLDER = "stores"


class WrongStore(UsageError):
    """The store at a location is not the one that is known to be there."""


def make() -> str:
    """A new identity: 32 hexadecimal digits."""
    return os.urandom(16).hex()


def encode(identity: str) -> bytes:
    """The content of the file in a store: two lines of ASCII."""
    return f"{_FIRST}\n{identity}\n".encode()


def decode(content: bytes, where: str) -> str:
    """The identity that a store's file holds. Raises UsageError where it holds none; `where` names the store."""
    lines = content.decode("ascii", errors="replace").split("\n")
    if len(lines) == 3 and lines[0] == _FIRST and IDENTITY.fullmatch(lines[1]) and not lines[2]:
        return lines[1]
    raise UsageError(
        f"{where}: the file gitlob/identity there, which says which store it is, is damaged",
        "see that it is the right store, and delete that file; gitlob-setup REMOTE --adopt writes a new one",
    )


def short(identity: str | None) -> str:
    """An identity as messages give it."""
    return identity[:12] if identity else "none"


def known(repo: Repo, remote: Remote) -> str | None:
    """The identity of the store that is to be at a remote's location: as it is configured, or as it was met there; None
    where neither says anything."""
    return remote.identity or remembered(repo, remote.location)


def remembered(repo: Repo, location: Location) -> str | None:
    """The identity of the store that this repository last met at a location; None where it has met none."""
    said = files.read(_path(repo, location))
    identity = said.get("identity") if said.get("location") == str(location) else None
    return identity if isinstance(identity, str) and IDENTITY.fullmatch(identity) else None


def remember(repo: Repo, location: Location, identity: str) -> None:
    """Raises OSError where that cannot be written."""
    files.write(_path(repo, location), {"location": str(location), "identity": identity})


def was_used(repo: Repo, location: Location) -> bool:
    """Whether binaries were moved to or from a location already: before stores had an identity, that is how one was known
    to be there."""
    return any(run.transferred for run in sync_log.read(repo, location).runs.values())


def _path(repo: Repo, location: Location) -> str:
    return files.path(repo, _FOLDER, files.name_of(location))
