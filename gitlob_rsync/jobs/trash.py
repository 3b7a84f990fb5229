"""The trash of a store: what no list names is moved there, moved back if it is needed after all, and deleted later."""

import calendar
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from gitlob_rsync.errors import GitlobError
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.store.aside import TRASH
from gitlob_rsync.store.layout import META, NAME
from gitlob_rsync.transport.base import Item, Transport

_LEAST_LEFT_OVER = 24 * 3600
"""Seconds after which an unfinished file is no longer being written."""

_STAMP = "%Y%m%dT%H%M%SZ"

_TRASHED = re.compile(r"(\d{8}T\d{6}Z(?:-[0-9a-f]+)?)/(.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What became of a store's binaries; sha -> bytes of its files. `named`: kept because a list names it; `young`: kept
    because of its age; `moved`: now in the trash; `restored`: moved back from the trash; `emptied`: deleted for good."""

    named: Mapping[Sha, int] = field(default_factory=dict)
    young: Mapping[Sha, int] = field(default_factory=dict)
    moved: Mapping[Sha, int] = field(default_factory=dict)
    restored: Mapping[Sha, int] = field(default_factory=dict)
    emptied: Mapping[Sha, int] = field(default_factory=dict)


def set_aside(session: Transport, going: Collection[Sha], needed: Callable[[], set[Sha]], grace: float) -> Cleaned:
    """In a store on this machine that others use too, move binaries that this repository does not need to the trash, and
    clean up the trash as a purge of a remote store does."""
    now = time.time()
    return clean(session, needed, grace, now, new_stamp(now), False, frozenset(going))


def new_stamp(now: float) -> str:
    """The name of a new trash folder, unique even if several purges run at once."""
    return f"{time.strftime(_STAMP, time.gmtime(now))}-{os.urandom(4).hex()}"


def clean(
    session: Transport, needed: Callable[[], set[Sha]], grace: float, now: float, stamp: str, dry_run: bool,
    only: Collection[Sha] | None = None,
) -> Cleaned:  # fmt: skip
    """Move to the trash, move back, and empty the trash. `needed`: reads the lists; `only`: binaries that may be moved."""
    named = needed()
    found, left_over = session.listing_with_left_over()
    content = _by_binary(found)
    unnamed = {item.name for item in left_over if now - item.changed >= max(grace, _LEAST_LEFT_OVER)}

    def goes(sha: Sha, items: list[Item]) -> bool:
        if sha in named or (only is not None and sha not in only):
            return False
        return only is not None or now - max(item.changed for item in items) >= grace

    going = {sha: items for sha, items in content.items() if goes(sha, items)}
    if dry_run:
        trash = _trash(session)
        trash[stamp] = {item.name: item for items in going.values() for item in items}
        kept = {item.name for sha, items in content.items() if sha not in going for item in items}
    else:
        trash, more, kept = _move(session, going, unnamed, stamp, needed)
        named |= more
    restored = _restore(session, trash, named, kept, dry_run=dry_run)
    done = {date for date in trash if _age(date, now) >= grace}
    emptied = _empty(session, {date: trash[date] for date in done}, restored, dry_run=dry_run)
    return Cleaned(
        named=_sizes({sha: items for sha, items in content.items() if sha in named and sha not in restored}),
        young=_sizes({sha: items for sha, items in content.items() if sha not in named and sha not in going}),
        moved=_sizes({sha: items for sha, items in going.items() if sha not in restored and stamp not in done}),
        restored=restored,
        emptied=emptied,
    )


Trash = dict[str, dict[str, Item]]
"""The content of the trash: stamp of a trash folder -> a file's name in the store -> the file."""


def _move(
    session: Transport, going: Mapping[Sha, list[Item]], unnamed: set[str], stamp: str, needed: Callable[[], set[Sha]]
) -> tuple[Trash, set[Sha], set[str]]:  # fmt: skip
    """Move binaries into the trash, together with the `unnamed` files. Returns the content of the trash, the binaries
    needed according to the lists read after that, and the names of the files in the store. If something fails, what is
    needed is moved back."""
    try:
        if going or unnamed:
            _discard(session, going, unnamed, f"{TRASH}/{stamp}")
    except GitlobError as error:
        with suppress(GitlobError):  # the first error is the one to report
            _restore(session, _trash(session), needed(), {item.name for item in session.listing()})
        failed = GitlobError(f"{session.location}: some files could not be moved: {error}", error.hint)
        failed.exit_code = error.exit_code
        raise failed from None
    trash = _trash(session)
    if not trash:
        return {}, set(), set()
    try:
        named = needed()
    except GitlobError:
        with suppress(GitlobError):  # nothing in the trash is lost, and the next purge looks again
            _restore(session, {stamp: trash.get(stamp, {})}, going, {item.name for item in session.listing()})
        raise
    # a new listing, since another purge may have moved files to the trash since the first one
    return trash, named, {item.name for item in session.listing()}


def _empty(
    session: Transport, trash: Trash, restored: Collection[Sha], *, dry_run: bool
) -> dict[Sha, int]:  # fmt: skip
    """Delete trash folders; returns the binaries deleted for good."""
    emptied: dict[Sha, int] = {}
    for date, items in trash.items():
        emptied |= _sizes({sha: found for sha, found in _by_binary(items.values()).items() if sha not in restored})
        if not dry_run:
            session.empty(f"{TRASH}/{date}", items)
    return emptied


def _discard(session: Transport, going: Mapping[Sha, list[Item]], unnamed: set[str], trash: str) -> None:
    """Move binaries into the trash, metas first, so that a killed run leaves nothing that would be taken for whole; then
    the rest, together with the `unnamed` files. Raises GitlobError if a file could not be moved."""
    before = {item.name: item for items in going.values() for item in items}
    names = before.keys()
    metas = {name for name in names if name.endswith(META)}
    for some in (metas, (names - metas) | unnamed):
        if some:
            session.move_aside(some, trash)
    after = {item.name: item for item in session.listing()}
    # a file that differs has been pushed again meanwhile: it is new, and stays
    if left := {name for name in names if name in after and after[name] == before[name]}:
        raise GitlobError(f"{len(left)} files cannot be moved, {min(left)} among them", "check its permissions")


def _restore(
    session: Transport, trash: Mapping[str, Mapping[str, Item]], needed: Collection[Sha], present: Collection[str],
    *, dry_run: bool = False,
) -> dict[Sha, int]:  # fmt: skip
    """Move what is needed back from the trash, except files that are `present` in the store. Returns what was moved
    back."""
    back: dict[str, dict[str, Item]] = {}
    seen = set(present)
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
            raise GitlobError(
                f"{len(lost)} files cannot be moved back, {min(lost)} among them", "check its permissions"
            )
    return _sizes(_by_binary(item for items in back.values() for item in items.values()))


def _trash(session: Transport) -> Trash:
    found: Trash = {}
    for item in session.listing_aside(TRASH):
        if named := _TRASHED.match(item.name):
            found.setdefault(named[1], {})[named[2]] = Item(named[2], item.size, item.stamp)
    return found


def _age(stamp: str, now: float) -> float:
    try:
        return now - calendar.timegm(time.strptime(stamp.partition("-")[0], _STAMP))
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
