"""Lists of what clones need of a remote store: each clone that pushes keeps one there, a purge of that store goes by them.

A list is text: a line that says what it is, one that says whose, a sha a line, and a last line with their number, so that
one that is cut off is not taken for a short one. What this clone published is kept here as well: the next push only adds
to it, so that it has to look at new commits alone. That holds as long as the store has the list: somebody may have had it
forgotten, or the store is an older copy of itself. So a small file beside each list says which edition of it that is.

A list has the name of its clone (clone.py), which takes another one where, from another host or folder, the list that is
at the remote under that name is not the one that was written from here (jobs/publish.py).
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
    """Note here what the list that was published last names, and the commits whose history it covers."""
    path = _path(repo, remote.location)
    covered = {"store": identity.known(repo, remote), "shas": sorted(shas), "tips": sorted(set(tips))}
    files.write(path, files.read(path) | covered)


def files_of(name: str) -> list[str]:
    """The files of a clone's list, below what is ours at the remote."""
    return [f"{LISTS}/{name}", edition_file(name)]


def edition_file(name: str) -> str:
    # rsync sends it behind the list
    return f"{LISTS}/{name}.edition"


def own_edition_file(repo: Repo) -> str | None:
    """The file at the remote that says which edition of this clone's list is there; None where the clone has no name."""
    name = clone.own_name(repo)
    return edition_file(name) if name else None


def own_editions(repo: Repo, location: Location) -> frozenset[str]:
    """The editions of this clone's list that may be at a location: one, unless a push is just writing it, or was killed."""
    said = files.read(_path(repo, location))
    name = clone.own_name(repo)
    return frozenset(edition for edition in _editions(said, name) if isinstance(edition, str)) if name else frozenset()


def is_own_edition(repo: Repo, location: Location, name: str, edition: str | None) -> bool:
    """Whether a list with this name and edition at a location was written from here."""
    return edition in _editions(files.read(_path(repo, location)), name)


def place_noted(repo: Repo, location: Location, name: str) -> object:
    """Where this clone was when it last wrote the list of this name, or took the name."""
    said = files.read(_path(repo, location))
    return (said if said.get("name") == name else files.read(files.path(repo, "clone.json"))).get("place")


def former_name(repo: Repo, location: Location) -> str | None:
    """The name of a list that an older version of this program put at a location from here."""
    return clone.former_name(repo, files.read(_path(repo, location)).get("whose"))


def note_edition(repo: Repo, location: Location, name: str, edition: str) -> None:
    """Note an edition that is about to be sent: if this process is killed, the one before or this one may be there, and
    neither is relied upon (read)."""
    said = files.read(_path(repo, location))
    files.write(_path(repo, location), {**said, "editions": [*_editions(said, name), edition]})


def note_sent(repo: Repo, location: Location, name: str, edition: str) -> None:
    """Note that this edition is there, and no other."""
    files.write(_path(repo, location), {"name": name, "place": clone.place_of(repo), "editions": [edition]})


def forget(repo: Repo, location: Location) -> None:
    """Have the next push write the list anew, with all that is needed."""
    with suppress(FileNotFoundError):
        os.unlink(_path(repo, location))


def _editions(said: dict[str, object], name: str) -> list[object]:
    editions = said.get("editions")
    return editions if said.get("name") == name and isinstance(editions, list) else []


def encode(shas: Collection[Sha], name: str, place: str, edition: str) -> bytes:
    return "\n".join([_FIRST, f"clone {name} {place} as {edition}", *sorted(shas), f"end {len(shas)}", ""]).encode()


def decode(content: bytes, name: str, where: str = "at the remote") -> set[Sha]:
    """The binaries that a list names. Raises GitlobError where it is none, or not whole: nothing may be deleted by it."""
    lines = content.decode("ascii", errors="replace").split("\n")
    shas = {Sha(line) for line in lines[2:-2] if is_sha(line)}
    if lines[0] != _FIRST or lines[-2:] != [f"end {len(lines) - 4}", ""] or len(shas) != len(lines) - 4:
        raise GitlobError(
            f"the list {LISTS}/{name} {where} is damaged",
            "gitlob-sync --push --recheck from its clone writes it anew; if that clone is no more, "
            f"gitlob-purge --remote-store --forget-list {name}",
        )
    return shas


def place_in(content: bytes) -> str | None:
    """Whose a list is, as its clone wrote it: host:folder."""
    found = _SECOND.match(_second_line(content))
    return found["place"] if found else None


def edition_in(content: bytes) -> str | None:
    """A random word of each time that a list was written; older versions of this program wrote none."""
    found = _SECOND.match(_second_line(content))
    return found["edition"] if found else None


def _second_line(content: bytes) -> str:
    return content.decode("ascii", errors="replace").partition("\n")[2].partition("\n")[0]


def _path(repo: Repo, location: Location) -> str:
    return files.path(repo, "lists", files.name_of(location))


@dataclass(frozen=True, slots=True)
class Published:
    """What this clone published for a store: all that the history of `tips` needs, and what else it once needed."""

    shas: frozenset[Sha]
    tips: tuple[str, ...]


def read(repo: Repo, remote: Remote) -> Published | None:
    """What this clone published for the store that is known to be at a remote's location; None where nothing is known of
    it, or where that may have been another clone: from here, or from this host, nothing was published yet. Tips are commits
    that are here."""
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
    here = repo.existing(f"{tip}^{{commit}}" for tip in tips if isinstance(tip, str) and tip.isalnum())
    return Published(frozenset(Sha(sha) for sha in shas if isinstance(sha, str) and is_sha(sha)), tuple(here))


def is_pushed_to(root: str) -> bool:
    """Whether a store on this machine is one in which clones ever said what they need: it is not its repository's alone."""
    return os.path.lexists(os.path.join(root, ASIDE))


def kept_in(root: str) -> set[Sha]:
    """What the lists in a store on this machine name; nothing where it is no such one. Raises GitlobError where one is
    damaged, or all are gone; OSError where one cannot be read."""
    if not is_pushed_to(root):
        return set()
    at = os.path.join(root, ASIDE, LISTS)
    names: list[str] = []
    with suppress(FileNotFoundError):
        names = [name for name in os.listdir(at) if NAME.match(name)]
    if not names:
        raise GitlobError(
            f"{root} is a store of others too, and no clone says in {at} what it needs",
            "gitlob-sync --push --recheck from each clone; it publishes a list",
        )
    return set().union(*(decode(Path(at, name).read_bytes(), name, f"in {os.path.dirname(at)}") for name in names))
