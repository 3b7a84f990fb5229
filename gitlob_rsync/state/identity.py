"""The identity of a store: a small file in each store, created once, which every clone remembers for each location.

A disk that is not mounted leaves an empty folder, and another disk may be mounted instead. So nothing is pushed to a
location that shows another identity than before, or none, and no binary is reported as missing from it.
"""

import os

from gitlob_rsync.errors import UsageError
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.location import IDENTITY, Location, Remote
from gitlob_rsync.state import files, sync_log

_FIRST = "gitlob-rsync store 1"
_FOLDER = "stores"


class WrongStore(UsageError):
    """The store at a location is not the expected one."""


def make() -> str:
    """A new, random identity: 32 hexadecimal digits."""
    return os.urandom(16).hex()


def encode(identity: str) -> bytes:
    """The content of a store's identity file: two lines of ASCII."""
    return f"{_FIRST}\n{identity}\n".encode()


def decode(content: bytes, where: str) -> str:
    """The identity in a store's identity file; `where` names the store. Raises UsageError if the file is damaged."""
    lines = content.decode("ascii", errors="replace").split("\n")
    if len(lines) == 3 and lines[0] == _FIRST and IDENTITY.fullmatch(lines[1]) and not lines[2]:
        return lines[1]
    raise UsageError(
        f"{where}: the store's identity file, gitlob/identity, is damaged",
        "make sure that it is the right store, and delete the file; gitlob-setup REMOTE --adopt writes a new one",
    )


def short(identity: str | None) -> str:
    """An identity as it appears in messages."""
    return identity[:12] if identity else "none"


def known(repo: Repo, remote: Remote) -> str | None:
    """The identity of the store expected at a remote's location: the configured one, otherwise the remembered one; None if
    there is neither."""
    return remote.identity or remembered(repo, remote.location)


def remembered(repo: Repo, location: Location) -> str | None:
    """The identity of the store that this repository last found at a location; None if it never found one."""
    said = files.read(_path(repo, location))
    identity = said.get("identity") if said.get("location") == str(location) else None
    return identity if isinstance(identity, str) and IDENTITY.fullmatch(identity) else None


def remember(repo: Repo, location: Location, identity: str) -> None:
    """Remember the identity of the store at a location. Raises OSError."""
    files.write(_path(repo, location), {"location": str(location), "identity": identity})


def was_used(repo: Repo, location: Location) -> bool:
    """Whether binaries have been transferred to or from a location, by the sync log: evidence of a store there from before
    stores had identities."""
    return any(run.transferred for run in sync_log.read(repo, location).runs.values())


def _path(repo: Repo, location: Location) -> str:
    return files.path(repo, _FOLDER, files.name_of(location))
