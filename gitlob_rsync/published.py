"""Lists of what clones need of a remote store: each clone that pushes keeps one there, a purge of that store goes by them.

A list is text: a line that says what it is, one that says whose, a sha a line, and a last line with their number, so that
one that is cut off is not taken for a short one. What this clone published is kept here as well: the next push only adds
to it, so that it has to look at new commits alone.
"""

import hashlib
import os
import re
import socket
from collections.abc import Collection
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

from gitlob_rsync import identity, lock, state
from gitlob_rsync.config import Remote
from gitlob_rsync.errors import GitlobError, writing
from gitlob_rsync.git import Repo
from gitlob_rsync.location import Location
from gitlob_rsync.placeholder import Sha, is_sha
from gitlob_rsync.store import Store

FOLDER = "lists"
"""Where they are at the remote, below what is ours there. The file of a clone is called as the clone (clone_name)."""
NAME = re.compile(r"[0-9a-f]{24}\Z")
"""What else lies there is no list: rsync writes one under another name, and renames it."""
_FIRST = "gitlob-rsync list of needed binaries 1"


def turn(store: Store, what: str, wait: float) -> AbstractContextManager[None]:
    """Be the only one who reads and writes what this clone says that it needs. Raises lock.Busy."""
    return lock.turn(store, "publish", what, wait)


def clone_name(repo: Repo) -> str:
    """A name for this clone's list, the same at every run: of its place, so that a copy of a repository is a clone of its
    own; and of a random number that is kept here, because machines made from one image are called alike, and clones on
    them have the same path. Two clones under one name would overwrite what each other needs."""
    path = os.path.join(repo.folder, "state", "clone")
    try:
        with open(path, encoding="ascii") as file:
            number = file.read()
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        beside = f"{path}.{os.getpid()}"
        try:
            with writing(path), open(beside, "w", encoding="ascii") as file:
                file.write(os.urandom(16).hex())
            try:
                os.link(beside, path)
            except FileExistsError:  # another run was quicker
                pass
            except OSError:  # a file system without hard links
                os.replace(beside, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(beside)
        return clone_name(repo)
    who = f"{socket.gethostname()}\0{repo.common_dir}\0{number}".encode(errors="surrogateescape")
    return hashlib.sha1(who, usedforsecurity=False).hexdigest()[:24]


def _whose(repo: Repo) -> str:
    place = f"{socket.gethostname()}:{repo.common_dir}".encode("unicode_escape").decode()
    return f"clone {clone_name(repo)} {place}"


def encode(repo: Repo, shas: Collection[Sha]) -> bytes:
    return "\n".join([_FIRST, _whose(repo), *sorted(shas), f"end {len(shas)}", ""]).encode()


def decode(content: bytes, name: str) -> set[Sha]:
    """The binaries that a list names. Raises GitlobError where it is none, or not whole: nothing may be deleted by it."""
    lines = content.decode("ascii", errors="replace").split("\n")
    shas = {Sha(line) for line in lines[2:-2] if is_sha(line)}
    if lines[0] != _FIRST or lines[-2:] != [f"end {len(lines) - 4}", ""] or len(shas) != len(lines) - 4:
        raise GitlobError(
            f"the list {FOLDER}/{name} at the remote is damaged",
            "gitlob-sync --push --recheck from its clone mends it; of a clone that is no more, delete it",
        )
    return shas


def _path(repo: Repo, location: Location) -> str:
    return state.path(repo, "lists", state.name_of(location))


@dataclass(frozen=True, slots=True)
class Published:
    """What this clone published for a store: all that the history of `tips` needs, and what else it once needed."""

    shas: frozenset[Sha]
    tips: tuple[str, ...]


def read(repo: Repo, remote: Remote) -> Published | None:
    """What this clone published for the store that is known to be at a remote's location; None where nothing is known of
    it, or where that was another clone: the folder was moved, or copied. Tips are commits that are here."""
    store = identity.known(repo, remote)
    said = state.read(_path(repo, remote.location))
    shas, tips = said.get("shas"), said.get("tips")
    if not store or said.get("store") != store or said.get("whose") != _whose(repo):
        return None
    if not isinstance(shas, list) or not isinstance(tips, list):
        return None
    here = repo.existing(f"{tip}^{{commit}}" for tip in tips if isinstance(tip, str) and tip.isalnum())
    return Published(frozenset(Sha(sha) for sha in shas if isinstance(sha, str) and is_sha(sha)), tuple(here))


def write(repo: Repo, remote: Remote, shas: Collection[Sha], tips: Collection[str]) -> None:
    """Keep what was published."""
    store = identity.known(repo, remote)
    said: dict[str, object] = {"whose": _whose(repo), "store": store, "shas": sorted(shas), "tips": sorted(set(tips))}
    state.write(_path(repo, remote.location), said)
