"""Lists of the binaries that clones need from a remote store: each clone that pushes keeps one in the store, and a purge of
the store relies on them.

A list is text: a line that says what it is, a line that says whose it is, one sha per line, and a last line with their
number, so that a truncated list is not taken for a short one. This clone also keeps what it published: the next push only
adds to it, and so has to look at new commits alone. That is valid only while the store still has the list: it may have been
removed (gitlob-purge --forget-list), or the store may have been restored from an older copy. So a small file beside each
list holds its edition, a random word that changes with each write.

A list is named after its clone (clone.py). A clone that has moved to another host or folder takes a new name if the list
under its name at the remote is not one that it wrote (jobs/publish.py).
"""

import os
import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gitlob_rsync.errors import GitlobError
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.location import Location, Remote
from gitlob_rsync.placeholder import Sha, is_sha
from gitlob_rsync.state import clone, files, identity
from gitlob_rsync.state.clone import NAME
from gitlob_rsync.store.aside import ASIDE, LISTS

_FIRST = "gitlob-rsync list of needed binaries 1"
_SECOND = re.compile(r"clone [0-9a-f]+ (?P<place>.*?)( as (?P<edition>[0-9a-f]{16}))?\Z")


def note(repo: Repo, remote: Remote, shas: Collection[Sha], tips: Collection[str]) -> None:
    """Record the binaries on the list that was last published, and the commits whose history it covers."""
    path = _path(repo, remote.location)
    covered = {"store": identity.known(repo, remote), "shas": sorted(shas), "tips": sorted(set(tips))}
    files.write(path, files.read(path) | covered)


def files_of(name: str) -> list[str]:
    """The files of a clone's list, below ASIDE in the store."""
    return [f"{LISTS}/{name}", edition_file(name)]


def edition_file(name: str) -> str:
    # sorts behind the list, so that it is sent after it
    return f"{LISTS}/{name}.edition"


def own_edition_file(repo: Repo) -> str | None:
    """The remote file with the edition of this clone's list; None if the clone has no name."""
    name = clone.own_name(repo)
    return edition_file(name) if name else None


def own_editions(repo: Repo, location: Location) -> frozenset[str]:
    """The editions of this clone's list that may be at a location: one, unless a push is writing the list or was killed."""
    said = files.read(_path(repo, location))
    name = clone.own_name(repo)
    return frozenset(edition for edition in _editions(said, name) if isinstance(edition, str)) if name else frozenset()


def is_own_edition(repo: Repo, location: Location, name: str, edition: str | None) -> bool:
    """Whether this clone wrote the list with this name and edition at a location."""
    return edition in _editions(files.read(_path(repo, location)), name)


def place_noted(repo: Repo, location: Location, name: str) -> object:
    """This clone's place when it last wrote the list of this name, or when it took the name."""
    said = files.read(_path(repo, location))
    return (said if said.get("name") == name else files.read(files.path(repo, "clone.json"))).get("place")


def former_name(repo: Repo, location: Location) -> str | None:
    """The name of a list that an older version of this program published for this clone; None if there is none."""
    return clone.former_name(repo, files.read(_path(repo, location)).get("whose"))


def note_edition(repo: Repo, location: Location, name: str, edition: str) -> None:
    """Record an edition that is about to be sent. If this process is killed, the previous edition or this one may be at the
    remote, and neither is relied on (see read)."""
    said = files.read(_path(repo, location))
    files.write(_path(repo, location), {**said, "editions": [*_editions(said, name), edition]})


def note_sent(repo: Repo, location: Location, name: str, edition: str) -> None:
    """Record that this edition, and no other, is at the remote."""
    files.write(_path(repo, location), {"name": name, "place": clone.place_of(repo), "editions": [edition]})


def forget(repo: Repo, location: Location) -> None:
    """Make the next push write the whole list again."""
    with suppress(FileNotFoundError):
        os.unlink(_path(repo, location))


def _editions(said: dict[str, object], name: str) -> list[object]:
    editions = said.get("editions")
    return editions if said.get("name") == name and isinstance(editions, list) else []


def encode(shas: Collection[Sha], name: str, place: str, edition: str) -> bytes:
    return "\n".join([_FIRST, f"clone {name} {place} as {edition}", *sorted(shas), f"end {len(shas)}", ""]).encode()


def decode(content: bytes, name: str, where: str = "at the remote") -> set[Sha]:
    """The binaries on a list. Raises GitlobError if it is not a complete list: nothing may be deleted by it then."""
    lines = content.decode("ascii", errors="replace").split("\n")
    shas = {Sha(line) for line in lines[2:-2] if is_sha(line)}
    if lines[0] != _FIRST or lines[-2:] != [f"end {len(lines) - 4}", ""] or len(shas) != len(lines) - 4:
        raise GitlobError(
            f"the list {LISTS}/{name} {where} is damaged",
            "gitlob-sync --push --recheck in its clone rewrites it; if that clone no longer exists, "
            f"use gitlob-purge --remote-store --forget-list {name}",
        )
    return shas


def place_in(content: bytes) -> str | None:
    """The place of a list's clone, as it wrote it: host:folder."""
    found = _SECOND.match(_second_line(content))
    return found["place"] if found else None


def edition_in(content: bytes) -> str | None:
    """A list's edition, a random word; None for a list written by an older version of this program."""
    found = _SECOND.match(_second_line(content))
    return found["edition"] if found else None


def _second_line(content: bytes) -> str:
    return content.decode("ascii", errors="replace").partition("\n")[2].partition("\n")[0]


def _path(repo: Repo, location: Location) -> str:
    return files.path(repo, "lists", files.name_of(location))


@dataclass(frozen=True, slots=True)
class Published:
    """What this clone published to a store: all that the history of `tips` needs, and what it needed before."""

    shas: frozenset[Sha]
    tips: tuple[str, ...]


def read(repo: Repo, remote: Remote) -> Published | None:
    """What this clone published to the store known to be at a remote's location. None if that is unknown, or if it may have
    been another clone (the name or the place differs), or if a push was killed while it wrote the list. `tips` holds
    commits that still exist in the repository."""
    store = identity.known(repo, remote)
    said = files.read(_path(repo, remote.location))
    shas, tips = said.get("shas"), said.get("tips")
    if not store or said.get("store") != store or not isinstance(shas, list) or not isinstance(tips, list):
        return None
    name = clone.own_name(repo)
    if (
        said.get("place") != clone.place_of(repo)
        or not name
        or said.get("name") != name
        or len(_editions(said, name)) != 1
    ):
        return None
    existing = repo.existing(f"{tip}^{{commit}}" for tip in tips if isinstance(tip, str) and tip.isalnum())
    return Published(frozenset(Sha(sha) for sha in shas if isinstance(sha, str) and is_sha(sha)), tuple(existing))


def is_pushed_to(root: str) -> bool:
    """Whether clones have ever pushed to a store on this machine: then it does not serve its own repository alone."""
    return os.path.lexists(os.path.join(root, ASIDE))


def kept_in(root: str) -> set[Sha]:
    """The binaries on all lists in a store on this machine; none if clones do not push to it. Raises GitlobError if a list
    is damaged or all are gone, OSError if one cannot be read."""
    if not is_pushed_to(root):
        return set()
    at = os.path.join(root, ASIDE, LISTS)
    names: list[str] = []
    with suppress(FileNotFoundError):
        names = [name for name in os.listdir(at) if NAME.match(name)]
    if not names:
        raise GitlobError(
            f"clones push to the store {root}, but {at} holds no list of what they need",
            "run gitlob-sync --push --recheck in each clone: it publishes a list",
        )
    return set().union(*(decode(Path(at, name).read_bytes(), name, f"in {os.path.dirname(at)}") for name in names))
