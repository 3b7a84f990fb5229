"""The purge: local binaries that nothing needs go, and nothing goes without proof (spec/selection.md, "Purge").

What is needed is read from the repository twice: once to see what could go, so that the remote can be asked for it, and
once more while nobody else is at work in the store, so that nothing goes that a commit, an index or a transfer came to
need meanwhile. Any git process that fails ends it before anything is deleted.

A store in which clones keep lists of what they need (published.py) is one that others push to. There what a list names is
kept, and the rest goes by way of the trash, as in a purge of a remote store: those who push know none of our locks.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from gitlob_rsync.config import Settings
from gitlob_rsync.errors import GitlobError
from gitlob_rsync.git import index, roots
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.jobs.connection import Connection
from gitlob_rsync.jobs.context import Context
from gitlob_rsync.jobs.presence import stored_at
from gitlob_rsync.jobs.trash import set_aside
from gitlob_rsync.location import Kind, Location, Remote
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.progress import Meter
from gitlob_rsync.selection import references
from gitlob_rsync.selection.scopes import Committed, IndexedAnywhere, Recent, Scope, Stashed, Unpushed, Window
from gitlob_rsync.state import needs_list, pushed
from gitlob_rsync.store import inventory, locks
from gitlob_rsync.store.local import Stores
from gitlob_rsync.store.store import Store

_LEAST_GRACE = 3600
"""Seconds of grace without which nothing is deleted where the file system knows no locks."""


class Reason(Enum):
    """Why a binary is kept, the first that holds; or why it goes."""

    WINDOW = "a state of the retention window needs it"
    INDEX = "an index names it"
    STASH = "a stash needs it"
    TAGGED = "a tag needs it, of a tree that is no commit's"
    UNPUSHED = "a commit needs it that is not known to be at the remote"
    LISTED = "a clone that uses this store needs it, as its list there says"
    REFERENCED = "a commit needs it, and only what is unreferenced was to go"
    TORN = "a commit needs it, and it is not whole, neither here nor at the remote"
    YOUNG = "it is younger than the grace time"
    UNRECORDED = "it is not on record as pushed"
    LACKING = "the remote lacks it"
    OLD = "only older states need it, and the remote has it"
    UNREFERENCED = "nothing needs it"

    @property
    def goes(self) -> bool:
        return self in (Reason.OLD, Reason.UNREFERENCED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a binary of the store, and why. `size` in bytes of its files here; `path`: one that names it."""

    sha: Sha
    size: int
    path: bytes | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a purge. `window` and `grace` in seconds; `now` in seconds since 1970. Without `verify` the record
    of what was pushed is trusted in the place of the remote's word. `others`: remotes whose word counts as much as that of
    the one that is asked."""

    window: Window
    grace: float
    now: float
    unreferenced: bool = False
    verify: bool = True
    dry_run: bool = False
    others: tuple[Remote, ...] = ()


def retention(kept: Window, fetched: Window) -> Window:
    """The window to keep: never smaller than the one that the next prefetch brings."""
    return Window(max(kept.refs, fetched.refs), max(kept.head, fetched.head), max(kept.other, fetched.other))


def purge(context: Context, remote: Remote | None, wish: Wish) -> list[Verdict]:
    """Delete what nothing needs, and tell of each binary what became of it, by sha; with `dry_run` what would.

    Raises GitlobError, and has deleted nothing, in a shallow clone, where git fails, where the remote cannot be asked,
    where others are at work here for too long, and where the store is another's, or a list of those who use it is damaged.
    """
    repo, stores, settings = context.repo, context.stores, context.settings
    _check_own(repo, stores.own, settings)
    if repo.shallow:
        raise GitlobError(
            f"{repo.common_dir} is a shallow clone: what older commits need is not known", "git fetch --unshallow"
        )
    for one in roots.indexes(repo):  # before git trips over one, and does not say which
        index.check_index(one)
    verdicts = _judge(repo, stores.own, remote, wish)
    _check_any_needed(stores.own, verdicts.values())
    verdicts |= _proven(context, remote, wish, verdicts)
    going = [sha for sha, verdict in verdicts.items() if verdict.reason.goes]
    pushed_to = needs_list.is_pushed_to(stores.own.root)
    if (going or pushed_to) and not wish.dry_run:
        with locks.alone(stores.own, "gitlob-purge", settings.lock_wait) as known:
            if not known and wish.grace < _LEAST_GRACE:
                raise GitlobError(f"{repo.folder}: this file system knows no locks", "purge with --grace 1h or more")
            again = _judge(repo, stores.own, remote, wish)
            for sha in going:
                if sha not in again:  # another purge
                    continue
                if not again[sha].reason.goes:
                    verdicts[sha] = again[sha]  # it came to be needed meanwhile
                elif (again[sha].reason, again[sha].size) != (verdicts[sha].reason, verdicts[sha].size):
                    # what the remote was asked about is not what is here now: the next purge asks anew
                    verdicts[sha] = replace(again[sha], reason=Reason.YOUNG)
            gone = [sha for sha in going if sha in again and verdicts[sha].reason.goes]
            if pushed_to:
                back = _into_trash(context, gone, wish)
                verdicts |= {sha: replace(verdicts[sha], reason=Reason.LISTED) for sha in back & verdicts.keys()}
            else:
                _delete_all({sha: verdicts[sha].size for sha in gone}, stores, context.meter)
    return [verdicts[sha] for sha in sorted(verdicts)]


def _check_own(repo: Repo, store: Store, settings: Settings) -> None:
    """Raises GitlobError where the store is another repository's own, or that of a remote and no list is in it: what others
    need of it is not known here."""
    real = os.path.realpath(store.root)
    above = os.path.dirname(os.path.dirname(real))
    if above != os.path.realpath(repo.common_dir) and os.path.isdir(os.path.join(above, "objects")):
        raise GitlobError(f"{store.root} leads to the store of the repository {above}", "run gitlob-purge there")
    at_remotes = {
        os.path.realpath(remote.location.path)
        for remote in settings.remotes.values()
        if remote.location.kind is Kind.PATH
    }
    if real in at_remotes and not needs_list.is_pushed_to(real):
        raise GitlobError(
            f"{store.root} is the store of a remote too, and no clone says there what it needs",
            "gitlob-sync --push --recheck from each clone; it publishes a list",
        )


def _check_any_needed(store: Store, verdicts: Collection[Verdict]) -> None:
    """Raises GitlobError where a store that is a link has nothing that anybody needs here: it is no store of ours."""
    lonely = all(verdict.path is None for verdict in verdicts)
    if verdicts and lonely and os.path.islink(store.root) and not needs_list.is_pushed_to(store.root):
        raise GitlobError(
            f"{store.root} is a link to {os.path.realpath(store.root)}, and nothing of what is there is needed here: it may "
            "be a store of others",
            "gitlob-sync --push from each of their clones publishes there what it needs",
        )


def _delete_all(sizes: Mapping[Sha, int], stores: Stores, meter: Meter) -> None:
    meter.begin("purge", sum(sizes.values()))
    done = 0
    for sha, size in sizes.items():
        _delete(sha, stores)
        done += size
        meter.reached(done)
    meter.end()


def _into_trash(context: Context, going: Collection[Sha], wish: Wish) -> set[Sha]:
    """Move binaries of a store that others push to into its trash; returns what came back from there for a list's sake."""
    root = context.stores.own.root
    here = Remote(None, Location(Kind.PATH, os.path.realpath(root)))
    with Connection(context, here) as connection:
        done = set_aside(connection.session, going, lambda: needs_list.kept_in(root), wish.grace)
    if going:
        context.meter.note(f"{root}: others use this store too: what goes from it lies in its trash for the grace time")
    return set(done.restored)


def _judge(repo: Repo, store: Store, remote: Remote | None, wish: Wish) -> dict[Sha, Verdict]:
    """A verdict on each binary of the store, as far as the repository alone can tell. What is OLD is so on condition that
    the remote has it."""
    tracked = "*" if wish.others else remote.name if remote else None
    scopes: tuple[tuple[Reason, Scope], ...] = (
        (Reason.WINDOW, Recent(wish.window, wish.now, "*")),
        (Reason.INDEX, IndexedAnywhere()),
        (Reason.STASH, Stashed()),
        (Reason.UNPUSHED, Unpushed(remote=tracked, reflogs=True)),
        (Reason.OLD, Committed(reflogs=True)),
    )
    needed: dict[Sha, tuple[Reason, bytes]] = {}
    listed = needs_list.kept_in(store.root)
    held = {sha: [*files] for sha, files in inventory.binaries(store.root)}
    for reason, scope in scopes:
        for sha, paths in references.needed_by(repo, scope).items():
            if sha in held:
                needed.setdefault(sha, (reason, paths[0]))
    for sha, paths in references.outside_commits(repo).items():
        if sha in held and needed.get(sha, (Reason.OLD, b""))[0] is Reason.OLD:
            needed[sha] = (Reason.TAGGED, paths[0])
    verdicts = {}
    for sha, parts in held.items():
        reason, path = needed.get(sha, (Reason.UNREFERENCED, None))
        try:
            size, written = store.held(sha, parts)
        except FileNotFoundError:  # another purge
            continue
        if reason.goes and wish.now - written < wish.grace:
            reason = Reason.YOUNG
        elif reason.goes and sha in listed:
            reason = Reason.LISTED
        elif reason is Reason.OLD and wish.unreferenced:
            reason = Reason.REFERENCED
        verdicts[sha] = Verdict(sha, size, path, reason)
    return verdicts


def _proven(context: Context, remote: Remote | None, wish: Wish, verdicts: Mapping[Sha, Verdict]) -> dict[Sha, Verdict]:
    """New verdicts on what is OLD, but not known to be at the remote: asked in one call, however many there are."""
    old = [sha for sha, verdict in verdicts.items() if verdict.reason is Reason.OLD]
    proven: set[Sha] = set()
    if not old:
        return {}
    if not remote:  # committed while we looked
        reason = Reason.UNPUSHED
    elif wish.verify:
        proven = _whole_at_any(context, (remote, *wish.others), old)
        reason = Reason.LACKING
    else:
        proven = set()
        for one in (remote, *wish.others):
            if known := pushed.read(context.repo, one):
                proven |= set(old) - references.needed_by(context.repo, Committed(known=known, reflogs=True)).keys()
        reason = Reason.UNRECORDED
    lacking = (sha for sha in old if sha not in proven)
    whole = context.stores.own.complete
    return {
        sha: replace(verdicts[sha], reason=Reason.TORN if reason is Reason.LACKING and not whole(sha) else reason)
        for sha in lacking
    }


def _whole_at_any(context: Context, remotes: Collection[Remote], shas: Collection[Sha]) -> set[Sha]:
    """Those that any of the remotes has whole. One that cannot be asked proves nothing; raises its GitlobError where none
    can."""
    proven: set[Sha] = set()
    failures: list[GitlobError] = []
    for remote in remotes:
        if left := set(shas) - proven:
            try:
                with Connection(context, remote) as connection:
                    proven |= stored_at(connection, left)
            except GitlobError as error:
                failures.append(error)
    if len(failures) == len(remotes):
        raise failures[0]
    for failure in failures:
        context.meter.warn(f"not asked: {failure.line()}")
    return proven


def _delete(sha: Sha, stores: Stores) -> None:
    """Delete a binary here, and in the shared store where no other repository has a link to it. There first: a run that is
    killed between the two leaves it here, where the next one finds it."""
    own, shared = stores.own, stores.shared
    # those who push to a shared store make no link to it
    if shared and not needs_list.is_pushed_to(shared.root):
        parts = shared.files_of(sha)
        if all(_unused(shared.path(sha, part), own.path(sha, part)) for part in parts):
            shared.remove(sha, parts)
    own.remove(sha, own.files_of(sha))


def _unused(path: str, ours: str) -> bool:
    """Whether no other link than ours, if that is one, leads to a file of the shared store."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:  # another repository's purge
        return True
    try:
        linked = os.path.samestat(found, os.lstat(ours))
    except FileNotFoundError:
        linked = False
    return found.st_nlink == (2 if linked else 1)
