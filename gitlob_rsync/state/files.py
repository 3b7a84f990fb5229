"""Small files that we keep in a repository, below `<Repo.folder>/state`: what was pushed, the last syncs, what was counted.

Each may be deleted at any time. What is wrong with one, torn or no file of ours, is taken for its absence.
"""

import hashlib
import json
import os
import stat
from contextlib import suppress

from gitlob_rsync.errors import writing
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.location import Location

_MOST = 64 * 1024 * 1024
"""Bytes: what is larger is not ours."""


def path(repo: Repo, *names: str) -> str:
    return os.path.join(repo.folder, "state", *names)


def name_of(location: Location | str) -> str:
    """The file for one location, in a folder for all of them."""
    return f"{hashlib.sha1(str(location).encode(errors='surrogateescape'), usedforsecurity=False).hexdigest()}.json"


def read(path: str) -> dict[str, object]:
    """What a file says; nothing where it says nothing that can be read."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            found = os.fstat(file.fileno())
            said = json.load(file) if stat.S_ISREG(found.st_mode) and found.st_size <= _MOST else None
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def write(path: str, said: dict[str, object]) -> None:
    """Put a file into its place whole. Raises OSError where that cannot be done."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    beside = f"{path}.{os.getpid()}"
    try:
        with writing(path), open(beside, "w", encoding="ascii") as file:
            json.dump(said, file)
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise
