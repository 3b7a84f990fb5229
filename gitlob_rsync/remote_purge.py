"""The purge of a remote store, by what clones say there that they need (published.py).

Nothing is deleted at once: files that no list names, and that are old, are moved into a folder of trash at the remote, by
rsync alone. A later run brings back what is named by then, and empties what has lain there for the grace time. Ages are
counted by the remote's clock: that of a list which was just written there; in a dry run, by ours.
"""

import calendar
import re
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from gitlob_rsync import history, published, record
from gitlob_rsync.config import Remote
from gitlob_rsync.errors import GitlobError
from gitlob_rsync.git import Repo
from gitlob_rsync.history import Committed
from gitlob_rsync.layout import META, NAME
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.rsync import Item, Session
from gitlob_rsync.store import Store

TRASH = "trash"
_LEAST_LEFT_OVER = 24 * 3600
"""Seconds after which nobody can be writing a file any more that has not got its name."""
_LEAST_IN_TRASH = 3600
"""Seconds for which nothing is emptied, whatever the grace time: another purge may be moving into the trash now, and have
to bring back of it."""
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


def purge(
    repo: Repo, store: Store, session: Session, remote: Remote, grace: float, *, lock_wait: float, dry_run: bool
) -> RemotePurge:  # fmt: skip
    """Move aside what no list names and what is older than `grace` seconds; with `dry_run` say what would be.

    Raises GitlobError, and has changed nothing, where no list is there, one is damaged, or this clone is shallow.
    """
    if repo.shallow:
        raise GitlobError(f"{repo.common_dir} is a shallow clone: what it needs is not known", "git fetch --unshallow")
    if not _needed(session)[0]:
        raise GitlobError(
            f"{remote}: no clone has said there what it needs",
            "gitlob-sync --push from each clone; it publishes a list",
        )
    if dry_run:
        now = time.time()
    else:
        with published.turn(store, "a purge of the remote store", lock_wait):
            now = _publish_own(repo, session, remote)
    lists, needed = _needed(session)
    if dry_run:
        needed |= history.references(repo, Committed()).keys()
    named, left_over = session.listing_with_left_over()
    content = _by_binary(named)
    unnamed = {item.name for item in left_over if now - item.changed >= max(grace, _LEAST_LEFT_OVER)}

    def is_old(items: list[Item]) -> bool:
        return now - max(item.changed for item in items) >= grace

    going = {sha: items for sha, items in content.items() if sha not in needed and is_old(items)}
    stamp = time.strftime(_STAMP, time.gmtime(now))
    kept = {item.name for sha, items in content.items() if sha not in going for item in items}
    try:
        if (going or unnamed) and not dry_run:
            kept = _discard(session, going, unnamed, f"{TRASH}/{stamp}")
    except GitlobError as error:
        with suppress(GitlobError):  # what the first error says is what has to be mended
            trash = _trash(session)
            _restore(session, trash, _needed(session)[1], {item.name for item in session.listing()})
        failed = GitlobError(f"{remote}: not all could be moved: {error}", error.hint)
        failed.exit_code = error.exit_code
        raise failed from None
    # A clone that published its list meanwhile may have found there still what went. The trash is listed first: what
    # comes into it later is not touched, and whoever publishes later finds it gone, and sends it.
    trash = _trash(session)
    if trash and not dry_run:
        needed |= _needed(session)[1]
    restored = _restore(session, trash, needed, kept, dry_run=dry_run)
    emptied: dict[Sha, int] = {}
    for date, items in trash.items():
        if _age(date, now) >= max(grace, _LEAST_IN_TRASH):
            emptied |= _sizes({sha: found for sha, found in _by_binary(items.values()).items() if sha not in restored})
            if not dry_run:
                session.empty(f"{TRASH}/{date}")
    return RemotePurge(
        lists,
        named=_sizes({sha: items for sha, items in content.items() if sha in needed and sha not in restored}),
        young=_sizes({sha: items for sha, items in content.items() if sha not in needed and sha not in going}),
        moved=_sizes({sha: items for sha, items in going.items() if sha not in restored}),
        restored=restored,
        emptied=emptied,
    )


def _publish_own(repo: Repo, session: Session, remote: Remote) -> float:
    """Write this clone's list anew; returns the remote's time."""
    tips = history.tips(repo, Committed())
    needed = history.references(repo, Committed()).keys()
    # commits that are on record as pushed, but that no ref leads to any more, may lose their binaries now
    record.forget(repo, remote.location)
    own = published.clone_name(repo)
    session.publish(f"{published.FOLDER}/{own}", published.encode(repo, needed))
    published.write(repo, remote, needed, tips)
    written = [item for item in session.aside(published.FOLDER) if item.name == own]
    if not written:
        raise GitlobError(
            f"{remote}: the list that was just written there is not there", "see whether the disk is full"
        )
    return written[0].changed


def _discard(session: Session, going: Mapping[Sha, list[Item]], unnamed: set[str], trash: str) -> set[str]:
    """Move binaries into the trash, their metas first, so that what is left of a run that was killed is not taken for
    whole, and with the rest what is `unnamed`; returns the names of what is in the store still. Raises GitlobError where
    something could not be moved."""
    before = {item.name: item for items in going.values() for item in items}
    names = before.keys()
    metas = {name for name in names if name.endswith(META)}
    for some in (metas, (names - metas) | unnamed):
        if some:
            session.discard(some, trash)
    there = {item.name: item for item in session.listing()}
    # one that differs was pushed again meanwhile: it is new, and stays
    if left := {name for name in names if name in there and there[name] == before[name]}:
        raise GitlobError(f"{len(left)} files cannot be moved, {min(left)} among them", "see its permissions")
    return set(there)


def _restore(
    session: Session, trash: Mapping[str, Mapping[str, Item]], needed: Collection[Sha], there: Collection[str],
    *, dry_run: bool = False,
) -> dict[Sha, int]:  # fmt: skip
    """Move what is needed back from the trash, but for files that are `there` again. Returns what came back."""
    back: dict[str, dict[str, Item]] = {}
    seen = set(there)
    for date in sorted(trash, reverse=True):
        for name, item in trash[date].items():
            if (named := NAME.match(name)) and named[3] in needed and name not in seen:
                back.setdefault(date, {})[name] = item
                seen.add(name)
    if back and not dry_run:
        for date, items in back.items():
            session.bring_back(items, f"{TRASH}/{date}")
        lost = {name for items in back.values() for name in items} - {item.name for item in session.listing()}
        if lost:
            raise GitlobError(f"{len(lost)} files cannot be moved back, {min(lost)} among them", "see its permissions")
    return _sizes(_by_binary(item for items in back.values() for item in items.values()))


def _needed(session: Session) -> tuple[int, set[Sha]]:
    """How many lists there are, and what they name. Raises GitlobError for a damaged one."""
    found = session.fetch_aside(published.FOLDER)
    lists = {name: content for name, content in found.items() if published.NAME.match(name)}
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


def _by_binary(items: Iterable[Item]) -> dict[Sha, list[Item]]:
    found: dict[Sha, list[Item]] = {}
    for item in items:
        if named := NAME.match(item.name):
            found.setdefault(Sha(named[3]), []).append(item)
    return found


def _sizes(binaries: Mapping[Sha, list[Item]]) -> dict[Sha, int]:
    return {sha: sum(item.size for item in items) for sha, items in binaries.items()}
