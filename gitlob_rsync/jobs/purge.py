"""The local purge: deletes local binaries that nothing needs, and none without proof (docs/selection.md).

What is needed is read from the repository twice: first to find candidates, so that the remote can be asked about them, and
again under the store's lock, so that nothing is deleted that a commit, an index or a transfer has come to need meanwhile.
If any git process fails, nothing is deleted.

A store that holds clones' lists of what they need (state/needs_list.py) is one that others push to. In such a store, what a
list names is kept, and the rest is moved to the trash first, as in a purge of a remote store: pushes from elsewhere do not
take our locks.
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
"""Seconds: the least grace time on a file system without locks."""


class Reason(Enum):
    """Why a binary is kept (the first reason that holds), or why it is purged."""

    WINDOW = "needed by a state in the retention window"
    INDEX = "in an index"
    STASH = "needed by a stash"
    TAGGED = "needed by a tag of a tree outside all commits"
    UNPUSHED = "needed by a commit that is not known to be at the remote"
    LISTED = "needed by a clone that uses this store, according to its list"
    REFERENCED = "needed by a commit, and only unreferenced binaries are purged"
    TORN = "needed by a commit, but incomplete both locally and at the remote"
    YOUNG = "younger than the grace time"
    UNRECORDED = "not on record as pushed"
    LACKING = "missing at the remote"
    OLD = "needed by older states only, and stored at the remote"
    UNREFERENCED = "not needed by anything"

    @property
    def goes(self) -> bool:
        return self in (Reason.OLD, Reason.UNREFERENCED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a binary of the store is purged, and why. `size`: bytes of its local files; `path`: one that needs it."""

    sha: Sha
    size: int
    path: bytes | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class PurgePlan:
    """The options of a purge. `window` and `grace` in seconds; `now` in seconds since 1970. `verify`: ask the remote,
    instead of trusting the record of what was pushed; `others`: further remotes that may have what is to be purged."""

    window: Window
    grace: float
    now: float
    unreferenced: bool = False
    verify: bool = True
    dry_run: bool = False
    others: tuple[Remote, ...] = ()


def retention(kept: Window, fetched: Window) -> Window:
    """The window to keep: never smaller than the one that a prefetch pulls."""
    return Window(max(kept.refs, fetched.refs), max(kept.head, fetched.head), max(kept.other, fetched.other))


def purge(context: Context, remote: Remote | None, plan: PurgePlan) -> list[Verdict]:
    """Delete binaries that nothing needs; returns a verdict on each binary of the store, by sha. With a dry run, delete
    nothing.

    Raises GitlobError, having deleted nothing, in a shallow clone, if git fails, if the remote cannot be asked, if others
    use the store for too long, if the store belongs to another repository, and if a list of those who use it is damaged.
    """
    repo, stores, settings = context.repo, context.stores, context.settings
    _check_own(repo, stores.own, settings)
    if repo.shallow:
        raise GitlobError(
            f"{repo.common_dir} is a shallow clone: what older commits need is not known", "run git fetch --unshallow"
        )
    for one in roots.indexes(repo):  # if one is damaged, git would not say which
        index.check_index(one)
    verdicts = _find_verdicts(repo, stores.own, remote, plan)
    _check_any_needed(stores.own, verdicts.values())
    verdicts |= _check_old(context, remote, plan, verdicts)
    going = [sha for sha, verdict in verdicts.items() if verdict.reason.goes]
    pushed_to = needs_list.is_pushed_to(stores.own.root)
    if (going or pushed_to) and not plan.dry_run:
        verdicts |= _delete_still_unneeded(context, remote, plan, {sha: verdicts[sha] for sha in going}, pushed_to)
    return [verdicts[sha] for sha in sorted(verdicts)]


def _delete_still_unneeded(
    context: Context, remote: Remote | None, plan: PurgePlan, going: Mapping[Sha, Verdict], pushed_to: bool
) -> dict[Sha, Verdict]:  # fmt: skip
    """Delete, while nothing else uses the store, what nothing has come to need since the verdicts were found. Returns the
    verdicts that hold now. `pushed_to`: others push to this store, so that what goes has to go by way of its trash."""
    repo, stores = context.repo, context.stores
    verdicts = dict(going)
    with locks.alone(stores.own, "gitlob-purge", context.settings.lock_wait) as known:
        if not known and plan.grace < _LEAST_GRACE:
            raise GitlobError(
                f"{repo.folder}: this file system does not support locks", "purge with --grace 1h or more"
            )
        again = _find_verdicts(repo, stores.own, remote, plan)
        for sha in going.keys() & again.keys():  # the others were deleted by another purge
            if not again[sha].reason.goes:
                verdicts[sha] = again[sha]  # it is needed now
            elif (again[sha].reason, again[sha].size) != (going[sha].reason, going[sha].size):
                # it has changed since the remote was asked about it: left to the next purge
                verdicts[sha] = replace(again[sha], reason=Reason.YOUNG)
        gone = [sha for sha in going if sha in again and verdicts[sha].reason.goes]
        if pushed_to:
            back = _move_to_trash(context, gone, plan)
            verdicts |= {sha: replace(verdicts[sha], reason=Reason.LISTED) for sha in back & verdicts.keys()}
        else:
            _delete_all({sha: verdicts[sha].size for sha in gone}, stores, context.meter)
    return verdicts


def _check_own(repo: Repo, store: Store, settings: Settings) -> None:
    """Raises GitlobError if the store is another repository's own, or a remote's without lists: what others need from it is
    not known."""
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
            f"{store.root} is also the store of a remote, and holds no list of what clones need",
            "run gitlob-sync --push --recheck in each clone: it publishes a list",
        )


def _check_any_needed(store: Store, verdicts: Collection[Verdict]) -> None:
    """Raises GitlobError if the store is a symbolic link and this repository needs nothing in it: it may not be ours."""
    lonely = all(verdict.path is None for verdict in verdicts)
    if verdicts and lonely and os.path.islink(store.root) and not needs_list.is_pushed_to(store.root):
        raise GitlobError(
            f"{store.root} is a link to {os.path.realpath(store.root)}, and this repository needs nothing in it: it may be "
            "the store of others",
            "run gitlob-sync --push in each of their clones: it publishes a list of what they need",
        )


def _delete_all(sizes: Mapping[Sha, int], stores: Stores, meter: Meter) -> None:
    meter.begin("purge", sum(sizes.values()))
    done = 0
    for sha, size in sizes.items():
        _delete(sha, stores)
        done += size
        meter.reached(done)
    meter.end()


def _move_to_trash(context: Context, going: Collection[Sha], plan: PurgePlan) -> set[Sha]:
    """Move binaries of a store that others push to into its trash; returns those moved back because a list names them."""
    root = context.stores.own.root
    own_store = Remote(None, Location(Kind.PATH, os.path.realpath(root)))
    with Connection(context, own_store) as connection:
        done = set_aside(connection.session, going, lambda: needs_list.kept_in(root), plan.grace)
    if going:
        context.meter.note(f"{root}: others use this store too: purged binaries stay in its trash for the grace time")
    return set(done.restored)


def _find_verdicts(repo: Repo, store: Store, remote: Remote | None, plan: PurgePlan) -> dict[Sha, Verdict]:
    """A verdict on each binary of the store, from the repository alone; OLD still depends on whether the remote has it."""
    tracked = "*" if plan.others else remote.name if remote else None
    scopes: tuple[tuple[Reason, Scope], ...] = (
        (Reason.WINDOW, Recent(plan.window, plan.now, "*")),
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
        except FileNotFoundError:  # another purge deleted it
            continue
        if reason.goes and plan.now - written < plan.grace:
            reason = Reason.YOUNG
        elif reason.goes and sha in listed:
            reason = Reason.LISTED
        elif reason is Reason.OLD and plan.unreferenced:
            reason = Reason.REFERENCED
        verdicts[sha] = Verdict(sha, size, path, reason)
    return verdicts


def _check_old(
    context: Context, remote: Remote | None, plan: PurgePlan, verdicts: Mapping[Sha, Verdict]
) -> dict[Sha, Verdict]:
    """New verdicts on binaries that are OLD but not proven to be at the remote, which is asked once for all of them."""
    old = [sha for sha, verdict in verdicts.items() if verdict.reason is Reason.OLD]
    proven: set[Sha] = set()
    if not old:
        return {}
    if not remote:  # without a remote, only a commit made meanwhile can be OLD
        reason = Reason.UNPUSHED
    elif plan.verify:
        proven = _whole_at_any(context, (remote, *plan.others), old)
        reason = Reason.LACKING
    else:
        proven = set()
        for one in (remote, *plan.others):
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
    """The binaries that at least one of the remotes has whole. A remote that cannot be asked proves nothing; raises
    GitlobError if none can."""
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
    """Delete a binary from the store, and from the shared store unless another repository has a link to it. The shared
    store comes first: if a run is killed in between, the next one still finds the binary in its own store."""
    own, shared = stores.own, stores.shared
    # clones that push to a shared store have no links to it
    if shared and not needs_list.is_pushed_to(shared.root):
        parts = shared.files_of(sha)
        if all(_unused(shared.path(sha, part), own.path(sha, part)) for part in parts):
            shared.remove(sha, parts)
    own.remove(sha, own.files_of(sha))


def _unused(path: str, ours: str) -> bool:
    """Whether a file of the shared store has no links but ours, if ours is one."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:  # another repository's purge deleted it
        return True
    try:
        linked = os.path.samestat(found, os.lstat(ours))
    except FileNotFoundError:
        linked = False
    return found.st_nlink == (2 if linked else 1)
