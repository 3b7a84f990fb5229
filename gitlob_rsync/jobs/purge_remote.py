"""The purge of a remote store, by what clones say there that they need (state/needs_list.py).

Nothing is deleted at once: files that no list names, and that are old, are moved into a folder of trash at the remote, by
rsync alone. What lies in the trash and is named is brought back, and what has lain there for the grace time is deleted.
Ages are counted by the remote's clock: that of a list which was just written there; in a dry run, by ours.

A clone first says that it needs a binary, and then looks whether the store has it. So the lists are read once more after
the trash was listed, and of the trash only what was listed then is deleted: whoever comes to need it later finds it gone
from the store, and sends it. This holds for any number of purges at once, and with no grace time at all: each has folders
of trash of its own, and none deletes in another's what it has not looked for in the lists.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from gitlob_rsync.errors import GitlobError, UsageError
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.jobs import publish
from gitlob_rsync.jobs.connection import Connection
from gitlob_rsync.jobs.context import Context
from gitlob_rsync.jobs.trash import Cleaned, clean, new_stamp
from gitlob_rsync.location import Remote
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.selection.commits import tips_of
from gitlob_rsync.selection.scopes import Committed
from gitlob_rsync.state import clone, needs_list, pushed
from gitlob_rsync.store.aside import ASIDE, LISTS, TRASH
from gitlob_rsync.transport.base import Transport


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
    """Who said what they need, and what became of the store's binaries."""

    clones: tuple[Clone, ...]
    cleaned: Cleaned


def purge_remote(
    context: Context, remote: Remote, grace: float, *, forget: str | None = None, dry_run: bool
) -> RemotePurge:  # fmt: skip
    """Move aside what no list names and what is older than `grace` seconds; with `dry_run` say what would be. `forget`: the
    name of a list to move aside first.

    Raises GitlobError, and has changed nothing, where no list is there, one is damaged, or this clone is shallow;
    UsageError where there is no list to forget.
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
        stamp = new_stamp(now)
        if forget is not None and not dry_run:
            session.move_aside([f"{ASIDE}/{file}" for file in needs_list.files_of(forget)], f"{TRASH}/{stamp}")

        def needed() -> set[Sha]:
            return needs | _named(_lists(session), forget, *replaced)

        done = clean(session, needed, grace, now, stamp, dry_run)
    others = {name: content for name, content in before.items() if name != own}
    clones = [_clone(name, content, now - written.get(name, now), forget) for name, content in others.items()]
    clones.append(Clone(own or "", clone.place_of(repo), count, 0.0, own=True))
    return RemotePurge(tuple(sorted(clones, key=lambda clone: -clone.age)), done)


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


def _lists(session: Transport) -> dict[str, bytes]:
    """The lists that there are, by name."""
    found = session.read_aside(LISTS)
    return {name: content for name, content in found.items() if clone.NAME.match(name)}


def _named(lists: Mapping[str, bytes], *without: str | None) -> set[Sha]:
    """What lists name, but for some. Raises GitlobError for a damaged one."""
    return set().union(*(needs_list.decode(lists[name], name) for name in lists if name not in without))
