"""This clone's identity: the name of its lists in remote stores, its place, and the name of its partial files.

Two clones with the same name would overwrite each other's lists. So the name is random, chosen once, and independent of the
host's name, which may change. A copy of a repository takes a new name: it recognises itself by a marker file, whose inode
and ctime differ from those of the original.
"""

import hashlib
import os
import re
import socket
from contextlib import suppress

from gitlob_rsync.errors import writing
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.state import files

NAME = re.compile(r"[0-9a-f]{24}\Z")
"""Files with other names are not lists: rsync writes a list under a temporary name, and renames it."""


def own_name(repo: Repo) -> str | None:
    """The name of this clone's lists; None if it has none yet, or if this is a copy and the name is the original's."""
    said = files.read(files.path(repo, "clone.json"))
    name = said.get("name")
    try:
        found = os.lstat(_marker(repo))
    except OSError:
        return None
    # A copy of the file has another inode and a later ctime. One of the two may change without a copy: the inode on file
    # systems that do not keep it between mounts, the ctime if owners or modes are changed.
    same = found.st_ino == said.get("inode") or found.st_ctime_ns == said.get("ctime")
    return name if isinstance(name, str) and NAME.match(name) and same and found.st_nlink == 1 else None


def _marker(repo: Repo) -> str:
    return files.path(repo, "clone-marker")


def new_name(repo: Repo) -> str:
    """Give this clone a new, unique name."""
    name, marker = os.urandom(12).hex(), _marker(repo)
    os.makedirs(os.path.dirname(marker), exist_ok=True)
    with suppress(FileNotFoundError):
        os.unlink(marker)
    with writing(marker), open(marker, "x", encoding="ascii") as file:
        found = os.fstat(file.fileno())
    files.write(
        files.path(repo, "clone.json"),
        {"name": name, "inode": found.st_ino, "ctime": found.st_ctime_ns, "place": place_of(repo)},
    )
    return name


def place_of(repo: Repo) -> str:
    """This clone's place, for people to read: host:folder, in one line of ASCII."""
    return f"{socket.gethostname()}:{repo.common_dir}".encode("unicode_escape").decode()


def former_name(repo: Repo, whose: object) -> str | None:
    """The name of the list that an older version of this program published from this place, if `whose` says so; None
    otherwise. Older versions named lists by host, path, and a number kept in the repository."""
    try:
        with open(files.path(repo, "clone"), encoding="ascii") as file:
            number = file.read()
    except (OSError, UnicodeDecodeError):
        return None
    who = f"{socket.gethostname()}\0{repo.common_dir}\0{number}".encode(errors="surrogateescape")
    name = hashlib.sha1(who, usedforsecurity=False).hexdigest()[:24]
    return name if whose == f"clone {name} {place_of(repo)}" else None


def client_name(repo: Repo) -> str:
    """A name for this clone that is the same in every run: 12 hexadecimal digits."""
    who = f"{socket.gethostname()}\0{repo.common_dir}".encode(errors="surrogateescape")
    return hashlib.sha1(who, usedforsecurity=False).hexdigest()[:12]
