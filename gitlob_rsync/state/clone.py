"""Who this clone is: the name of its lists at remote stores, where it is, and what its partial files are called.

Two clones with one name would overwrite each other's lists. So a name is random, made once and kept here, and does not
depend on the host's name, which changes. A copy of a repository takes a new one: the file that marks the original is then
not the one that it was.
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
"""What else lies there is no list: rsync writes one under another name, and renames it."""


def own_name(repo: Repo) -> str | None:
    """The name of this clone's lists; None where it has none yet, or where that is another one's: this is a copy."""
    said = files.read(files.path(repo, "clone.json"))
    name = said.get("name")
    try:
        found = os.lstat(_marker(repo))
    except OSError:
        return None
    # A copy of the file has another inode, and a later ctime. Where inodes are not kept from one mount to the next the
    # ctime is, where somebody changes owners or modes the inode is.
    same = found.st_ino == said.get("inode") or found.st_ctime_ns == said.get("ctime")
    return name if isinstance(name, str) and NAME.match(name) and same and found.st_nlink == 1 else None


def _marker(repo: Repo) -> str:
    return files.path(repo, "clone-marker")


def new_name(repo: Repo) -> str:
    """Take a name that no clone ever had."""
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
    """Where this clone is, for people: host:folder, in one line of ASCII."""
    return f"{socket.gethostname()}:{repo.common_dir}".encode("unicode_escape").decode()


def former_name(repo: Repo, whose: object) -> str | None:
    """What this clone's list is called if it is one that an older version of this program put there from this very place,
    as was noted then: it named lists by host, path, and a number kept here."""
    try:
        with open(files.path(repo, "clone"), encoding="ascii") as file:
            number = file.read()
    except (OSError, UnicodeDecodeError):
        return None
    who = f"{socket.gethostname()}\0{repo.common_dir}\0{number}".encode(errors="surrogateescape")
    name = hashlib.sha1(who, usedforsecurity=False).hexdigest()[:24]
    return name if whose == f"clone {name} {place_of(repo)}" else None


def client_name(repo: Repo) -> str:
    """A name for this clone, the same at every run: 12 hexadecimal digits."""
    who = f"{socket.gethostname()}\0{repo.common_dir}".encode(errors="surrogateescape")
    return hashlib.sha1(who, usedforsecurity=False).hexdigest()[:12]
