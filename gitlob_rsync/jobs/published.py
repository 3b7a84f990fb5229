"""Lists of what clones need of a remote store: each clone that pushes keeps one there, a purge of that store goes by them.

A list is text: a line that says what it is, one that says whose, a sha a line, and a last line with their number, so that
one that is cut off is not taken for a short one. What this clone published is kept here as well: the next push only adds
to it, so that it has to look at new commits alone. That holds as long as the store has the list: somebody may have had it
forgotten, or the store is an older copy of itself. So a small file beside each list says which edition of it that is.

A list is called as its clone, and two clones under one name would overwrite what each other needs. So a name is a random
one, made and kept here, and not the host's, which changes. It is given up for another where the repository may be a copy:
the file that marks it is not the one it was (_own_name); or, from another host or folder, the list that is there under our
name is not the one that we wrote (publish).
"""

import hashlib
import os
import re
import socket
from collections.abc import Collection
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from gitlob_rsync.errors import GitlobError, writing
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.location import Location, Remote
from gitlob_rsync.placeholder import Sha, is_sha
from gitlob_rsync.selection import references
from gitlob_rsync.selection.scopes import Committed
from gitlob_rsync.state import files, identity
from gitlob_rsync.store import locks
from gitlob_rsync.store.store import Store
from gitlob_rsync.transport.rsync import ASIDE, NotAStore, Session

FOLDER = "lists"
"""Where they are at the remote, below what is ours there. The file of a clone is called as the clone."""
NAME = re.compile(r"[0-9a-f]{24}\Z")
"""What else lies there is no list: rsync writes one under another name, and renames it."""
_FIRST = "gitlob-rsync list of needed binaries 1"
_SECOND = re.compile(r"clone [0-9a-f]+ (?P<place>.*?)( as (?P<edition>[0-9a-f]{16}))?\Z")


def turn(store: Store, what: str, wait: float) -> AbstractContextManager[None]:
    """Be the only one who reads and writes what this clone says that it needs. Raises lock.Busy."""
    return locks.turn(store, "publish", what, wait)


def needs(repo: Repo) -> set[Sha]:
    """All that this clone's list has to name: what a push publishes and what a purge goes by. Raises as
    references.needed_by."""
    return {*references.needed_by(repo, Committed()), *references.outside_commits(repo)}


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


def _new_name(repo: Repo) -> str:
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


def publish(session: Session, repo: Repo, remote: Remote, shas: Collection[Sha], tips: Collection[str]) -> str:
    """Put this clone's list at the remote instead of its older one, and note it here, with the commits whose history it
    covers; returns its name. To be done in a turn. Raises RemoteError, and GitlobError where it cannot be written."""
    location = remote.location
    path, place = _path(repo, location), place_of(repo)
    name = own_name(repo)
    if name and _is_anothers(session, repo, location, name):
        name = None
    name = name or _new_name(repo)
    said = files.read(path)
    edition = os.urandom(8).hex()
    # noted before it is sent: where we are killed in between, either is ours, and neither is relied upon (read)
    files.write(path, {**said, "editions": [*_editions(said, name), edition]})
    session.publish({f"{FOLDER}/{name}": encode(shas, name, place, edition), _edition_file(name): edition.encode()})
    if former := _former_name(repo, said):
        # a remote that lets nobody delete: the list is shown by a purge, and can be forgotten
        with suppress(GitlobError):
            session.delete(files_of(former))
    files.write(path, {"name": name, "place": place, "editions": [edition]})
    note(repo, remote, shas, tips)
    return name


def note(repo: Repo, remote: Remote, shas: Collection[Sha], tips: Collection[str]) -> None:
    """Note here what the list that was published last names, and the commits whose history it covers."""
    path = _path(repo, remote.location)
    covered = {"store": identity.known(repo, remote), "shas": sorted(shas), "tips": sorted(set(tips))}
    files.write(path, files.read(path) | covered)


def files_of(name: str) -> list[str]:
    """The files of a clone's list, below what is ours at the remote."""
    return [f"{FOLDER}/{name}", _edition_file(name)]


def _edition_file(name: str) -> str:
    # rsync sends it behind the list
    return f"{FOLDER}/{name}.edition"


def edition_file(repo: Repo) -> str | None:
    """The file at the remote that says which edition of this clone's list is there; None where the clone has no name."""
    name = own_name(repo)
    return _edition_file(name) if name else None


def editions(repo: Repo, location: Location) -> frozenset[str]:
    """The editions of this clone's list that may be at a location: one, unless a push is just writing it, or was killed."""
    said = files.read(_path(repo, location))
    name = own_name(repo)
    return frozenset(edition for edition in _editions(said, name) if isinstance(edition, str)) if name else frozenset()


def forget(repo: Repo, location: Location) -> None:
    """Have the next push write the list anew, with all that is needed."""
    with suppress(FileNotFoundError):
        os.unlink(_path(repo, location))


def _editions(said: dict[str, object], name: str) -> list[object]:
    editions = said.get("editions")
    return editions if said.get("name") == name and isinstance(editions, list) else []


def _is_anothers(session: Session, repo: Repo, location: Location, name: str) -> bool:
    """Whether another clone wrote the list that is there under our name: a machine made from the same image as ours has
    all that tells us apart from a copy. Asked only where such a one shows: under another host's name, or at another path."""
    said = files.read(_path(repo, location))
    noted = said if said.get("name") == name else files.read(files.path(repo, "clone.json"))
    if noted.get("place") == place_of(repo):
        return False
    try:
        content = session.fetch_aside(FOLDER, name).get(name)
    except NotAStore:
        return False
    return content is not None and edition_in(content) not in _editions(said, name)


def replaced(session: Session, repo: Repo, location: Location) -> set[str]:
    """The names of the lists at the remote that publish would take away: this clone's older ones. Raises as publish."""
    name = own_name(repo)
    former = _former_name(repo, files.read(_path(repo, location)))
    return {
        *([name] if name and not _is_anothers(session, repo, location, name) else []),
        *([former] if former else []),
    }


def _former_name(repo: Repo, said: dict[str, object]) -> str | None:
    """What this clone's list is called if it is one that an older version of this program put there from this very place,
    as was noted then: it named lists by host, path, and a number kept here."""
    try:
        with open(files.path(repo, "clone"), encoding="ascii") as file:
            number = file.read()
    except (OSError, UnicodeDecodeError):
        return None
    who = f"{socket.gethostname()}\0{repo.common_dir}\0{number}".encode(errors="surrogateescape")
    name = hashlib.sha1(who, usedforsecurity=False).hexdigest()[:24]
    return name if said.get("whose") == f"clone {name} {place_of(repo)}" else None


def encode(shas: Collection[Sha], name: str, place: str, edition: str) -> bytes:
    return "\n".join([_FIRST, f"clone {name} {place} as {edition}", *sorted(shas), f"end {len(shas)}", ""]).encode()


def decode(content: bytes, name: str, where: str = "at the remote") -> set[Sha]:
    """The binaries that a list names. Raises GitlobError where it is none, or not whole: nothing may be deleted by it."""
    lines = content.decode("ascii", errors="replace").split("\n")
    shas = {Sha(line) for line in lines[2:-2] if is_sha(line)}
    if lines[0] != _FIRST or lines[-2:] != [f"end {len(lines) - 4}", ""] or len(shas) != len(lines) - 4:
        raise GitlobError(
            f"the list {FOLDER}/{name} {where} is damaged",
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
    name = own_name(repo)
    if said.get("place") != place_of(repo) or not name or said.get("name") != name or len(_editions(said, name)) != 1:
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
    at = os.path.join(root, ASIDE, FOLDER)
    names: list[str] = []
    with suppress(FileNotFoundError):
        names = [name for name in os.listdir(at) if NAME.match(name)]
    if not names:
        raise GitlobError(
            f"{root} is a store of others too, and no clone says in {at} what it needs",
            "gitlob-sync --push --recheck from each clone; it publishes a list",
        )
    return set().union(*(decode(Path(at, name).read_bytes(), name, f"in {os.path.dirname(at)}") for name in names))
