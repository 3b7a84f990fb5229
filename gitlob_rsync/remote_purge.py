"""The purge of a remote store, by what clones say there that they need (published.py).

Nothing is deleted at once: files that no list names, and that are old, are moved into a folder of trash at the remote, by
rsync alone. A later run brings back what is named by then, and empties what has lain there for the grace time. Ages are
counted by the remote's clock: that of a list which was just written there.
"""

import calendar
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from gitlob_rsync import history, published
from gitlob_rsync.config import Remote, client_name
from gitlob_rsync.errors import GitlobError
from gitlob_rsync.git import Repo
from gitlob_rsync.history import Committed
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.rsync import Item, Session
from gitlob_rsync.store import NAME

TRASH = "trash"
_STAMP = "%Y%m%dT%H%M%SZ"
_TRASHED = re.compile(r"(\d{8}T\d{6}Z)/(.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RemotePurge:
    """What became of a remote store's binaries: sha -> bytes of its files. `lists`: how many clones said what they need.
    `named` is kept for a list's sake, `young` for its age; `moved` is in the trash now, `restored` is back from it, and
    `emptied` is gone for good."""

    lists: int
    named: Mapping[Sha, int] = field(default_factory=dict)
    young: Mapping[Sha, int] = field(default_factory=dict)
    moved: Mapping[Sha, int] = field(default_factory=dict)
    restored: Mapping[Sha, int] = field(default_factory=dict)
    emptied: Mapping[Sha, int] = field(default_factory=dict)


def purge(repo: Repo, session: Session, remote: Remote, grace: float, *, dry_run: bool = False) -> RemotePurge:
    """Move aside what no list names and what is older than `grace` seconds; with `dry_run` say what would be.

    Raises GitlobError, and has changed nothing, where no list is there, one is damaged, or this clone is shallow.
    """
    if repo.shallow:
        raise GitlobError(f"{repo.common_dir} is a shallow clone: what it needs is not known", "git fetch --unshallow")
    if not session.fetch_aside(published.FOLDER):
        raise GitlobError(
            f"{remote}: no clone has said there what it needs",
            "gitlob-sync --push from each clone; it publishes a list",
        )
    now = time.time()
    if not dry_run:
        now = _publish_own(repo, session, remote)
    lists, needed = _needed(session)
    if dry_run:
        needed |= history.references(repo, Committed()).keys()
    content = _by_binary({item.name: item for item in session.listing()})
    trash = _trash(session)

    def is_old(items: list[Item]) -> bool:
        return now - max(item.changed for item in items) >= grace

    going = {sha: items for sha, items in content.items() if sha not in needed and is_old(items)}
    stamp = time.strftime(_STAMP, time.gmtime(now))
    if going and not dry_run:
        session.discard([item.name for items in going.values() for item in items], f"{TRASH}/{stamp}")
        if left := {item.name for item in session.listing()} & {
            item.name for items in going.values() for item in items
        }:
            raise GitlobError(
                f"{remote}: {len(left)} files cannot be moved, {min(left)} among them", "see its permissions"
            )
        # a clone that published its list meanwhile may have found these there still
        needed |= _needed(session)[1]
        trash = _trash(session)
    restored: dict[Sha, int] = {}
    emptied: dict[Sha, int] = {}
    for date, items in trash.items():
        binaries = _by_binary(items)
        back = {sha: found for sha, found in binaries.items() if sha in needed}
        restored |= _sizes(back)
        if back and not dry_run:
            session.bring_back([item.name for found in back.values() for item in found], f"{TRASH}/{date}")
        if _age(date, now) >= grace and date != stamp:
            emptied |= _sizes({sha: found for sha, found in binaries.items() if sha not in back})
            if not dry_run:
                session.empty(f"{TRASH}/{date}")
    return RemotePurge(
        lists,
        named=_sizes({sha: items for sha, items in content.items() if sha in needed}),
        young=_sizes({sha: items for sha, items in content.items() if sha not in needed and sha not in going}),
        moved=_sizes({sha: items for sha, items in going.items() if sha not in restored}),
        restored=restored,
        emptied=emptied,
    )


def _publish_own(repo: Repo, session: Session, remote: Remote) -> float:
    """Write this clone's list anew; returns the remote's time."""
    needed = history.references(repo, Committed()).keys()
    session.publish(f"{published.FOLDER}/{client_name(repo)}", published.encode(repo, needed))
    published.write(repo, remote.location, needed)
    written = [item for item in session.aside(published.FOLDER) if item.name == client_name(repo)]
    if not written:
        raise GitlobError(
            f"{remote}: the list that was just written there is not there", "see whether the disk is full"
        )
    return written[0].changed


def _needed(session: Session) -> tuple[int, set[Sha]]:
    lists = session.fetch_aside(published.FOLDER)
    return len(lists), set().union(*(published.decode(content, name) for name, content in lists.items()))


def _trash(session: Session) -> dict[str, dict[str, Item]]:
    """What lies in the trash: the stamp of when -> a file's name in the store -> the file."""
    found: dict[str, dict[str, Item]] = {}
    for item in session.aside(TRASH):
        if named := _TRASHED.match(item.name):
            found.setdefault(named[1], {})[named[2]] = Item(named[2], item.size, item.stamp)
    return found


def _age(stamp: str, now: float) -> float:

    try:
        return now - calendar.timegm(time.strptime(stamp, _STAMP))
    except ValueError:
        return 0.0


def _by_binary(items: Mapping[str, Item]) -> dict[Sha, list[Item]]:
    found: dict[Sha, list[Item]] = {}
    for name, item in items.items():
        if named := NAME.match(name):
            found.setdefault(Sha(named[3]), []).append(item)
    return found


def _sizes(binaries: Mapping[Sha, list[Item]]) -> dict[Sha, int]:
    return {sha: sum(item.size for item in items) for sha, items in binaries.items()}
