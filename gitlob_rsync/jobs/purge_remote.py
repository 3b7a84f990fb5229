"""The purge of a remote store, by the lists that clones keep there of what they need (state/needs_list.py).

Nothing is deleted at once: files that no list names and that are old enough are moved into a trash folder at the remote, by
rsync alone. Files in the trash that a list names are moved back, and those that have been in the trash for the grace time
are deleted. Ages are measured by the remote's clock, read off a list that was just written; in a dry run, by ours.

A clone publishes that it needs a binary before it looks whether the store has it. So the lists are read again after the
trash was listed, and only what was in that listing is deleted from the trash: a clone that needs one of these binaries
later finds it missing from the store, and sends it. This holds for any number of concurrent purges, and without any grace
time: each purge has trash folders of its own, and deletes nothing in another's that it has not looked up in the lists.
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
    """A clone that publishes what it needs. `name`: of its list; `place`: its host and folder, as it wrote them; `count`:
    of binaries; `age`: of the list, in seconds; `own`: this clone; `forgotten`: its list was ignored (--forget-list)."""

    name: str
    place: str
    count: int
    age: float
    own: bool = False
    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class RemotePurge:
    """The clones that publish what they need, and what became of the store's binaries."""

    clones: tuple[Clone, ...]
    cleaned: Cleaned


def purge_remote(
    context: Context, remote: Remote, grace: float, *, forget: str | None = None, dry_run: bool
) -> RemotePurge:  # fmt: skip
    """Move binaries to the trash that no list names and that are older than `grace` seconds; with `dry_run`, change
    nothing. `forget`: the name of a list to move to the trash first.

    Raises GitlobError, having changed nothing, if there is no list, if one is damaged, or if this clone is shallow;
    UsageError if the list to forget does not exist.
    """
    repo = context.repo
    if repo.shallow:
        raise GitlobError(
            f"{repo.common_dir} is a shallow clone: what it needs is not known", "run git fetch --unshallow"
        )
    with Connection(context, remote) as connection:
        session = connection.session
        written = {item.name: item.changed for item in session.listing_aside(LISTS)}
        before = _lists(session)
        own = clone.own_name(repo)
        _check_lists(before, remote, forget, own)
        # this clone's list names what it needs, except in a dry run, which does not write it
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
    """Raises UsageError if the list to forget does not exist or is our own; GitlobError if there are no lists, or one is
    damaged."""
    if forget is not None and (forget not in lists or forget == own):
        why = "is this clone's own" if forget == own else "does not exist"
        raise UsageError(f"{remote}: the list {forget} {why}", "gitlob-purge --remote-store -n shows the lists")
    if not lists:
        raise GitlobError(
            f"{remote}: no clone has published there what it needs",
            "run gitlob-sync --push --recheck in each clone: it publishes a list",
        )
    _named(lists, forget)


def _clone(name: str, content: bytes, age: float, forget: str | None) -> Clone:
    forgotten = name == forget
    count = 0 if forgotten else len(needs_list.decode(content, name))
    return Clone(name, needs_list.place_in(content) or "?", count, max(0.0, age), forgotten=forgotten)


def _publish_own(repo: Repo, session: Transport, remote: Remote) -> tuple[str, float, int]:
    """Rewrite this clone's list; returns its name, the remote's time, and the number of binaries on it."""
    tips = tips_of(repo, Committed())
    needed = publish.needs(repo)
    # commits on record as pushed that no ref reaches any more may lose their binaries now
    pushed.forget(repo, remote.location)
    own = publish.publish(session, repo, remote, needed, tips)
    written = [item for item in session.listing_aside(LISTS) if item.name == own]
    if not written:
        raise GitlobError(
            f"{remote}: the list that was just written is missing", "check whether the remote disk is full"
        )
    return own, written[0].changed, len(needed)


def _lists(session: Transport) -> dict[str, bytes]:
    """All lists in the store, name -> content."""
    found = session.read_aside(LISTS)
    return {name: content for name, content in found.items() if clone.NAME.match(name)}


def _named(lists: Mapping[str, bytes], *without: str | None) -> set[Sha]:
    """The binaries that lists name, except the lists in `without`. Raises GitlobError if one is damaged."""
    return set().union(*(needs_list.decode(lists[name], name) for name in lists if name not in without))
