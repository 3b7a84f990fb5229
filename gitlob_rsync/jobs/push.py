"""Sending binaries to a remote store: what is selected, here and sound, once the remote was told that it is needed."""

from collections.abc import Collection
from dataclasses import replace

from gitlob_rsync.jobs import publish
from gitlob_rsync.jobs.connection import Connection
from gitlob_rsync.jobs.presence import whole_of
from gitlob_rsync.jobs.transfer_report import FindPaths, Paths, Report, named
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.selection import references
from gitlob_rsync.selection.commits import tips_of, unreached
from gitlob_rsync.selection.scopes import Committed, Recent
from gitlob_rsync.state import needs_list, pushed
from gitlob_rsync.store import inventory
from gitlob_rsync.store.layout import META, NAME, Meta, name


def push(connection: Connection, scope: Committed | Recent, *, recheck: bool = False, dry_run: bool = False) -> Report:
    """Send of what `scope` selects what is here and sound.

    With a Committed scope only commits are looked at that are not on record as pushed to this store, unless `recheck`.
    Raises RemoteError where the remote cannot be reached or broke off, WrongStore where another store is there.
    """
    repo, remote = connection.repo, connection.remote
    done: Report | None = None
    while True:
        tips: list[str] = []
        if isinstance(scope, Committed):
            known = () if recheck else _known(connection)
            tips = [*tips_of(repo, scope), *(known if scope.refs else ())]
            scope = replace(scope, known=known)
        report = _push_scope(connection, scope, dry_run=dry_run, recheck=recheck)
        if report is None:
            continue
        done = _joined(done, report)
        if dry_run or not _is_whole(report):
            return done
        tips = [] if scope.pathspecs else tips
        if _is_still_said(connection, report, scope, tips):
            break
        recheck = False
    if tips:
        pushed.write(repo, remote, tips)
    return done


def push_commits(connection: Connection, commits: Collection[str], others: Collection[str] = ()) -> Report:
    """Send what `commits` need, but for those that are on record as pushed to this store, and put them on record; and what
    `others` need, trees and blobs that tags name. Where something is neither here nor there, nothing is sent. Raises as
    push."""
    repo, remote = connection.repo, connection.remote
    beside = references.in_objects(repo, others)
    done: Report | None = None
    while True:
        known = _known(connection)
        # without any commit nothing of history, which is what a scope without refs stands for
        scope = Committed(tuple(commits), known=known) if commits else None
        report = _push_scope(connection, scope, beside=beside, all_or_nothing=True)
        if report is None:
            continue
        done = _joined(done, report)
        if not _is_whole(report):
            return done
        if _is_still_said(connection, report, scope, commits):
            break
    if not set(commits) <= set(known):
        pushed.write(repo, remote, [*commits, *unreached(repo, known, commits)])
    return done


def _known(connection: Connection) -> tuple[str, ...]:
    """The commits on record whose history this clone's list covers. What it does not say to be needed may have been purged
    there."""
    told = needs_list.read(connection.repo, connection.remote)
    return tuple(tip for tip in pushed.read(connection.repo, connection.remote) if tip in told.tips) if told else ()


def _is_still_said(
    connection: Connection, report: Report, scope: Committed | Recent | None, tips: Collection[str]
) -> bool:
    """Whether this clone's list still names, after a push, what that took for needed: a purge of the remote store from this
    clone writes it anew, by the refs of that moment, and what it does not name may be gone from there since. A push takes
    hours, and refs change meanwhile. If it does, it is noted to cover the history of `tips`."""
    repo, remote = connection.repo, connection.remote
    known = scope.known if isinstance(scope, Committed) else ()
    with publish.turn(connection.store, "a push", connection.settings.lock_wait):
        told = needs_list.read(repo, remote)
        if told is None:
            return True
        if not (report.selected <= told.shas and set(known) <= set(told.tips)):
            return False
        if not set(tips) <= set(told.tips):
            needs_list.note(repo, remote, told.shas, {*told.tips, *tips})
        return True


def _joined(before: Report | None, report: Report) -> Report:
    """A push that had to be done once more."""
    if before is None:
        return report
    moved = (before.bytes or 0) + (report.bytes or 0)
    return replace(report, transferred=before.transferred + report.transferred, bytes=moved)


def _is_whole(report: Report) -> bool:
    return not report.missing and not report.damaged and not report.absent


def push_everything(connection: Connection, *, dry_run: bool = False) -> Report:
    """Send every binary of the local store that the remote one has not, by its listing. Raises as push."""
    store = connection.store
    here = list(inventory.complete(store))
    if here and not dry_run:
        connection.establish()
        connection.forget_lost_list()
        _publish(connection, (), ())
    listing = connection.listing(new=True)
    lacking = [meta for meta in here if not meta.whole_in(listing)]
    everything = frozenset(meta.sha for meta in here)
    report = Report(everything, everything)
    return _push(
        connection, report, lacking, dry_run, lambda shas: references.needed_by(connection.repo, Committed(), shas)
    )


def _push_scope(
    connection: Connection, scope: Committed | Recent | None, *,
    beside: Paths | None = None, dry_run: bool = False, recheck: bool = False, all_or_nothing: bool = False,
) -> Report | None:  # fmt: skip
    """Send what a scope needs, and `beside` it. `all_or_nothing`: send nothing where something is missing. None, and nothing
    was done, where what was known of the store does not hold any more: the scope has to be asked for anew.

    What git's tracking branches have says nothing of the store. So what no record says to be in it is looked for there, all
    of it by one listing; but for a push of new commits alone whose binaries are all here.
    """
    repo = connection.repo
    beside = beside or {}

    def find_paths(shas: Collection[Sha]) -> Paths:
        return beside | (references.needed_by(repo, scope, shas) if scope else {})

    selected = find_paths(())
    here = connection.here(selected, link=not dry_run)
    report = Report(frozenset(selected), frozenset(here))

    if dry_run:
        return _push(connection, report, here.values(), dry_run, find_paths)
    if (selected or recheck) and connection.forget_lost_list():
        return None
    absent = selected.keys() - here.keys()
    unsure = bool(absent or beside) or (bool(selected) and not (isinstance(scope, Committed) and scope.known))
    new = unsure and connection.is_new
    if new and absent and all_or_nothing and not connection.settings.allow_incomplete:
        return replace(report, missing=named(absent, find_paths))
    commits = scope.refs if isinstance(scope, Committed) else ()
    if selected or recheck:
        _publish(connection, selected, commits, known=not recheck)
    there = whole_of(connection, selected, here) if unsure and not new else frozenset()
    missing = named(absent - there, find_paths)
    if missing and connection.settings.allow_incomplete:
        report, missing = replace(report, absent=len(missing)), {}
    report = replace(report, missing=missing)
    if missing and all_or_nothing:
        return report
    return _push(connection, report, [meta for sha, meta in here.items() if sha not in there], dry_run, find_paths)


def _publish(connection: Connection, needed: Collection[Sha], commits: Collection[str], *, known: bool = True) -> None:
    """Have the store know that this clone needs `needed`, and all that refs need here, those of git's remotes among them,
    whoever sent it, beside what was said before. It has to come before anything is sent, or found to be there already: a
    purge of the remote store at the same time goes by it.

    Not `known`: whatever was said before counts for nothing. Two pushes at once must not each forget the other's.
    """
    repo, remote = connection.repo, connection.remote
    if not known:  # where this is killed, nobody goes by it either
        pushed.forget(repo, remote.location)
    with publish.turn(connection.store, "a push", connection.settings.lock_wait):
        before = needs_list.read(repo, remote) if known else None
        tips = {*tips_of(repo, Committed()), *commits}
        needs = set(needed)
        if not before or not tips <= set(before.tips):
            needs |= references.needed_by(repo, Committed(known=before.tips if before else ())).keys()
            needs |= references.outside_commits(repo).keys()
        if before:
            needs |= before.shas
            tips.update(before.tips)
        if not needs:
            return
        if before and needs == before.shas:
            needs_list.note(repo, remote, needs, tips)
            return
        connection.establish()
        publish.publish(connection.session, repo, remote, needs, tips)


def _push(
    connection: Connection, report: Report, metas: Collection[Meta], dry_run: bool, find_paths: FindPaths
) -> Report:
    """Send of `metas` those that are sound; the rest of what `report` tells stays."""
    if dry_run:
        return replace(report, transferred=len(metas), bytes=sum(meta.size for meta in metas))
    damaged = {meta.sha for meta in metas if not connection.store.sound(meta)}
    whole = [meta for meta in metas if meta.sha not in damaged]
    chunks = [name(meta.sha, number) for meta in whole for number in range(meta.chunks)]
    total = sum(meta.size for meta in whole)
    sent = _send_files(connection, chunks, f"push {len(whole)}", total)
    moved = sum(sent.values())
    sent |= _send_files(connection, [name(meta.sha, META) for meta in whole], "push", None)
    shas = {found[3] for file in sent if (found := NAME.match(file))}
    return replace(report, transferred=len(shas), bytes=moved, damaged=named(damaged, find_paths))


def _send_files(connection: Connection, names: list[str], what: str, total: int | None) -> dict[str, int]:
    if not names:
        return {}
    connection.meter.begin(what, total)
    try:
        return connection.session.send(sorted(names), connection.store.root)
    finally:
        connection.meter.end()
