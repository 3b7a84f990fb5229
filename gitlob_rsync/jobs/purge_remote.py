"""The purge of a remote store, by what clones say there that they need (published.py).

Nothing is deleted at once: files that no list names, and that are old, are moved into a folder of trash at the remote, by
rsync alone. What lies in the trash and is named is brought back, and what has lain there for the grace time is deleted.
Ages are counted by the remote's clock: that of a list which was just written there; in a dry run, by ours.

A clone first says that it needs a binary, and then looks whether the store has it. So the lists are read once more after
the trash was listed, and of the trash only what was listed then is deleted: whoever comes to need it later finds it gone
from the store, and sends it. This holds for any number of purges at once, and with no grace time at all: each has folders
of trash of its own, and none deletes in another's what it has not looked for in the lists.
"""

import calendar
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from gitlob_rsync.errors import GitlobError, UsageError
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.jobs import publish
from gitlob_rsync.jobs.connection import Connection
from gitlob_rsync.jobs.context import Context
from gitlob_rsync.location import Remote
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.selection.commits import tips_of
from gitlob_rsync.selection.scopes import Committed
from gitlob_rsync.state import clone, needs_list, pushed
from gitlob_rsync.store.aside import ASIDE, LISTS, TRASH
from gitlob_rsync.store.layout import META, NAME
from gitlob_rsync.transport.base import Item, Transport

_LEAST_LEFT_OVER = 24 * 3600
"""Seconds after which nobody can be writing a file any more that has not got its name."""
_STAMP = "%Y%m%dT%H%M%SZ"
_TRASHED = re.compile(r"(\d{8}T\d{6}Z(?:-[0-9a-f]+)?)/(.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Clone:
    """A clone that said what it needs: `name` of its list, its host and folder as it wrote them, `count` of binaries, and
    `age` of the list in seconds. `own`: it is this one. `forgotten`: its list counted no more."""

    name: str
    place: str
    count: int
    age: float
    own: bool = False
    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class RemotePurge:
    """What became of a remote store's binaries: sha -> bytes of its files. `clones`: who said what they need. `named` is
    kept for a list's sake, `young` for its age; `moved` is in the trash now, `restored` is back from it, and `emptied` is
    gone for good."""

    clones: tuple[Clone, ...]
    named: Mapping[Sha, int] = field(default_factory=dict)
    young: Mapping[Sha, int] = field(default_factory=dict)
    moved: Mapping[Sha, int] = field(default_factory=dict)
    restored: Mapping[Sha, int] = field(default_factory=dict)
    emptied: Mapping[Sha, int] = field(default_factory=dict)


def purge_remote(
    context: Context, remote: Remote, grace: float, *, forget: str | None = None, dry_run: bool
) -> RemotePurge:  # fmt: skip
    """Move aside what no list names and what is older than `grace` seconds; with `dry_run` say what would be. `forget`: the
    name of a list to move aside first.

    Raises GitlobError, and has changed nothing, where no list is there, one is damaged, or this clone is shallow; UsageError
    where there is no list to forget.
    """
    repo = context.repo
    if repo.shallow:
        raise GitlobError(f"{repo.common_dir} is a shallow clone: what it needs is not known", "git fetch --unshallow")
    with Connection(context, remote) as connection:
        session = connection.session
        written = {item.name: item.changed for item in session.listing_aside(LISTS)}
        before = _lists(session)
        own = clone.own_name(repo)
        _check_lists(before, remote, forget, own)
        # what this clone needs stands in its list, but in a dry run, which writes none
        needs: set[Sha] = set()
        replaced: set[str] = set()
        if dry_run:
            now = time.time()
            needs = publish.needs(repo)
            replaced = publish.replaced(session, repo, remote.location)
            count = len(needs)
        else:
            with publish.turn(context.stores.own, "a purge of the remote store", context.settings.lock_wait):
                own, now, count = _publish_own(repo, session, remote)
        stamp = _stamp(now)
        if forget is not None and not dry_run:
            session.move_aside([f"{ASIDE}/{file}" for file in needs_list.files_of(forget)], f"{TRASH}/{stamp}")

        def needed() -> set[Sha]:
            return needs | _named(_lists(session), forget, *replaced)

        done = _clean(session, needed, grace, now, stamp, dry_run)
    others = {name: content for name, content in before.items() if name != own}
    clones = [_clone(name, content, now - written.get(name, now), forget) for name, content in others.items()]
    clones.append(Clone(own or "", clone.place_of(repo), count, 0.0, own=True))
    return replace(done, clones=tuple(sorted(clones, key=lambda clone: -clone.age)))


def _check_lists(lists: Mapping[str, bytes], remote: Remote, forget: str | None, own: str | None) -> None:
    """Raises UsageError where the list to forget is not there, or is our own; GitlobError where there is no list, or where
    one is damaged."""
    if forget is not None and (forget not in lists or forget == own):
        why = "is this clone's own" if forget == own else "is not there"
        raise UsageError(f"{remote}: the list {forget} {why}", "gitlob-purge --remote-store -n names the lists there")
    if not lists:
        raise GitlobError(
            f"{remote}: no clone has said there what it needs",
            "gitlob-sync --push --recheck from each clone; it publishes a list",
        )
    _named(lists, forget)


def _clone(name: str, content: bytes, age: float, forget: str | None) -> Clone:
    forgotten = name == forget
    count = 0 if forgotten else len(needs_list.decode(content, name))
    return Clone(name, needs_list.place_in(content) or "?", count, max(0.0, age), forgotten=forgotten)


def _publish_own(repo: Repo, session: Transport, remote: Remote) -> tuple[str, float, int]:
    """Write this clone's list anew; returns its name, the remote's time, and how many binaries it names."""
    tips = tips_of(repo, Committed())
    needed = publish.needs(repo)
    # commits that are on record as pushed, but that no ref leads to any more, may lose their binaries now
    pushed.forget(repo, remote.location)
    own = publish.publish(session, repo, remote, needed, tips)
    written = [item for item in session.listing_aside(LISTS) if item.name == own]
    if not written:
        raise GitlobError(
            f"{remote}: the list that was just written there is not there", "see whether the disk is full"
        )
    return own, written[0].changed, len(needed)


def set_aside(session: Transport, going: Collection[Sha], needed: Callable[[], set[Sha]], grace: float) -> RemotePurge:
    """Of a store on this machine that others use too, move aside binaries that this repository does not need, and clean
    up the trash as a purge of a remote store does."""
    now = time.time()
    return _clean(session, needed, grace, now, _stamp(now), False, frozenset(going))


def _stamp(now: float) -> str:
    """The name of a new folder of trash: two runs at once never have the same."""
    return f"{time.strftime(_STAMP, time.gmtime(now))}-{os.urandom(4).hex()}"


def _clean(
    session: Transport, needed: Callable[[], set[Sha]], grace: float, now: float, stamp: str, dry_run: bool,
    only: Collection[Sha] | None = None,
) -> RemotePurge:  # fmt: skip
    """Move aside, bring back and empty; `needed` reads the lists anew; `only`: what may go."""
    named = needed()
    found, left_over = session.listing_with_left_over()
    content = _by_binary(found)
    unnamed = {item.name for item in left_over if now - item.changed >= max(grace, _LEAST_LEFT_OVER)}

    def goes(sha: Sha, items: list[Item]) -> bool:
        if sha in named or (only is not None and sha not in only):
            return False
        return only is not None or now - max(item.changed for item in items) >= grace

    going = {sha: items for sha, items in content.items() if goes(sha, items)}
    kept = {item.name for sha, items in content.items() if sha not in going for item in items}
    try:
        if (going or unnamed) and not dry_run:
            kept = _discard(session, going, unnamed, f"{TRASH}/{stamp}")
    except GitlobError as error:
        with suppress(GitlobError):  # what the first error says is what has to be mended
            trash = _trash(session)
            _restore(session, trash, needed(), {item.name for item in session.listing()})
        failed = GitlobError(f"{session.location}: not all could be moved: {error}", error.hint)
        failed.exit_code = error.exit_code
        raise failed from None
    trash = _trash(session)
    if dry_run:
        trash[stamp] = {item.name: item for items in going.values() for item in items}
    elif trash:
        try:
            named |= needed()
        except GitlobError:
            with suppress(GitlobError):  # what lies in the trash is not lost, and the next purge looks again
                _restore(session, {stamp: trash.get(stamp, {})}, going, {item.name for item in session.listing()})
            raise
        # not what was seen before the trash was: another purge may have moved it there in between
        kept = {item.name for item in session.listing()}
    restored = _restore(session, trash, named, kept, dry_run=dry_run)
    emptied: dict[Sha, int] = {}
    done = {date for date in trash if _age(date, now) >= grace}
    for date in done:
        items = trash[date]
        emptied |= _sizes({sha: found for sha, found in _by_binary(items.values()).items() if sha not in restored})
        if not dry_run:
            session.empty(f"{TRASH}/{date}", items)
    return RemotePurge(
        (),
        named=_sizes({sha: items for sha, items in content.items() if sha in named and sha not in restored}),
        young=_sizes({sha: items for sha, items in content.items() if sha not in named and sha not in going}),
        moved=_sizes({sha: items for sha, items in going.items() if sha not in restored and stamp not in done}),
        restored=restored,
        emptied=emptied,
    )


def _discard(session: Transport, going: Mapping[Sha, list[Item]], unnamed: set[str], trash: str) -> set[str]:
    """Move binaries into the trash, their metas first, so that what is left of a run that was killed is not taken for
    whole, and with the rest what is `unnamed`; returns the names of what is in the store still. Raises GitlobError where
    something could not be moved."""
    before = {item.name: item for items in going.values() for item in items}
    names = before.keys()
    metas = {name for name in names if name.endswith(META)}
    for some in (metas, (names - metas) | unnamed):
        if some:
            session.move_aside(some, trash)
    there = {item.name: item for item in session.listing()}
    # one that differs was pushed again meanwhile: it is new, and stays
    if left := {name for name in names if name in there and there[name] == before[name]}:
        raise GitlobError(f"{len(left)} files cannot be moved, {min(left)} among them", "see its permissions")
    return set(there)


def _restore(
    session: Transport, trash: Mapping[str, Mapping[str, Item]], needed: Collection[Sha], there: Collection[str],
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


def _lists(session: Transport) -> dict[str, bytes]:
    """The lists that there are, by name."""
    found = session.read_aside(LISTS)
    return {name: content for name, content in found.items() if clone.NAME.match(name)}


def _named(lists: Mapping[str, bytes], *without: str | None) -> set[Sha]:
    """What lists name, but for some. Raises GitlobError for a damaged one."""
    return set().union(*(needs_list.decode(lists[name], name) for name in lists if name not in without))


def _trash(session: Transport) -> dict[str, dict[str, Item]]:
    """What lies in the trash: the stamp of when -> a file's name in the store -> the file."""
    found: dict[str, dict[str, Item]] = {}
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
