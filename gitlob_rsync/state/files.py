"""Small files that we keep in a repository, below `<Repo.folder>/state`: what was pushed, the last syncs, what was counted.

Each may be deleted at any time. What is wrong with one, torn or no file of ours, is taken for its absence.
"""

import hashlib
import json
import os

from gitlob_rsync.git.repo import Repo
from gitlob_rsync.location import Location
from gitlob_rsync.plain_files import open_plain, replace_content

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
        fd = open_plain(path)
        if fd is None:
            return {}
        with open(fd, "rb") as file:
            said = json.load(file) if os.fstat(fd).st_size <= _MOST else None
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def write(path: str, said: dict[str, object]) -> None:
    """Put a file into its place whole. Raises OSError where that cannot be done."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    replace_content(path, json.dumps(said).encode("ascii"))
