"""Small JSON files kept in a repository, below `<Repo.folder>/state`: what was pushed, the last syncs, cached counts.

Each may be deleted at any time. One that is torn, or not ours, counts as absent.
"""

import hashlib
import json
import os

from gitlob_rsync.git.repo import Repo
from gitlob_rsync.location import Location
from gitlob_rsync.plain_files import open_plain, replace_content

_MOST = 64 * 1024 * 1024
"""Bytes: a larger file is not ours."""


def path(repo: Repo, *names: str) -> str:
    return os.path.join(repo.folder, "state", *names)


def name_of(location: Location | str) -> str:
    """The name of the file for one location, in a folder with one for each."""
    return f"{hashlib.sha1(str(location).encode(errors='surrogateescape'), usedforsecurity=False).hexdigest()}.json"


def read(path: str) -> dict[str, object]:
    """The content of a file; empty if it cannot be read as a JSON object."""
    try:
        fd = open_plain(path)
        if fd is None:
            return {}
        with open(fd, "rb") as file:
            said = json.load(file) if os.fstat(fd).st_size <= _MOST else None
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def write(path: str, said: dict[str, object]) -> None:
    """Replace a file atomically. Raises OSError."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    replace_content(path, json.dumps(said).encode("ascii"))
