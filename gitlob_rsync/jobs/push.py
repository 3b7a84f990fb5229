"""Pushes binaries to a remote store: those that are selected, available locally and sound, once this clone's list of needs
is published there."""

from collections.abc import Collection
from dataclasses import replace

from gitlob_rsync.jobs import publish
from gitlob_rsync.jobs.connection import Connection
from gitlob_rsync.jobs.presence import stored_whole
from gitlob_rsync.jobs.transfer_report import FindPaths, Paths, TransferReport, named
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.selection import references
from gitlob_rsync.selection.commits import tips_of, unreached
from gitlob_rsync.selection.scopes import Committed, Recent
from gitlob_rsync.state import needs_list, pushed
from gitlob_rsync.store import inventory
from gitlob_rsync.store.layout import META, NAME, Meta, name


def push(
    connection: Connection, scope: Committed | Recent, *, recheck: bool = False, dry_run: bool = False
) -> TransferReport:
    """Push the binaries that `scope` selects and that are available locally and sound.

    With a Committed scope, only commits that are not on record as pushed to this store are looked at, unless `recheck`.
    Raises RemoteError, and WrongStore if another store is at the location.
    """
    repo, remote = connection.repo, connection.remote
    done: TransferReport | None = None
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
        if _still_listed(connection, report, scope, tips):
            break
        recheck = False
    if tips:
        pushed.write(repo, remote, tips)
    return done


def push_commits(connection: Connection, commits: Collection[str], others: Collection[str] = ()) -> TransferReport:
    """Push what `commits` need, except those on record as pushed to this store, and put them on record; and what `others`
    need, trees and blobs that tags name. If a binary is missing both locally and at the remote, nothing is sent. Raises as
    push."""
    repo, remote = connection.repo, connection.remote
    beside = references.in_objects(repo, others)
    done: TransferReport | None = None
    while True:
        known = _known(connection)
        # without commits there is no scope: one without refs would mean all of history
        scope = Committed(tuple(commits), known=known) if commits else None
        report = _push_scope(connection, scope, beside=beside, all_or_nothing=True)
        if report is None:
            continue
        done = _joined(done, report)
        if not _is_whole(report):
            return done
        if _still_listed(connection, report, scope, commits):
            break
    if not set(commits) <= set(known):
        pushed.write(repo, remote, [*commits, *unreached(repo, known, commits)])
    return done


def _known(connection: Connection) -> tuple[str, ...]:
    """The commits on record whose history this clone's list covers: what the list does not name may have been purged."""
    listed = needs_list.read(connection.repo, connection.remote)
    return tuple(tip for tip in pushed.read(connection.repo, connection.remote) if tip in listed.tips) if listed else ()


def _still_listed(
    connection: Connection, report: TransferReport, scope: Committed | Recent | None, tips: Collection[str]
) -> bool:
    """Whether, after a push, this clone's list still names all that the push relied on. A push may take hours, and a purge
    of the remote store from this clone rewrites the list meanwhile, from the refs of that moment; what it no longer names
    may have been purged. If it still does, the list is recorded to cover the history of `tips`."""
    repo, remote = connection.repo, connection.remote
    known = scope.known if isinstance(scope, Committed) else ()
    with publish.turn(connection.store, "a push", connection.settings.lock_wait):
        listed = needs_list.read(repo, remote)
        if listed is None:
            return True
        if not (report.selected <= listed.shas and set(known) <= set(listed.tips)):
            return False
        if not set(tips) <= set(listed.tips):
            needs_list.note(repo, remote, listed.shas, {*listed.tips, *tips})
        return True


def _joined(before: TransferReport | None, report: TransferReport) -> TransferReport:
    """The report of a push that had to be repeated."""
    if before is None:
        return report
    moved = (before.bytes or 0) + (report.bytes or 0)
    return replace(report, transferred=before.transferred + report.transferred, bytes=moved)


def _is_whole(report: TransferReport) -> bool:
    return not report.missing and not report.damaged and not report.absent


def push_everything(connection: Connection, *, dry_run: bool = False) -> TransferReport:
    """Push every binary of the local store that the remote lacks, by its listing. Raises as push."""
    store = connection.store
    metas = list(inventory.complete(store))
    if metas and not dry_run:
        connection.establish()
        connection.forget_lost_list()
        _publish(connection, (), ())
    listing = connection.listing(new=True)
    lacking = [meta for meta in metas if not meta.whole_in(listing)]
    everything = frozenset(meta.sha for meta in metas)
    report = TransferReport(everything, everything)
    return _push(
        connection, report, lacking, dry_run, lambda shas: references.needed_by(connection.repo, Committed(), shas)
    )


def _push_scope(
    connection: Connection, scope: Committed | Recent | None, *,
    beside: Paths | None = None, dry_run: bool = False, recheck: bool = False, all_or_nothing: bool = False,
) -> TransferReport | None:  # fmt: skip
    """Push what a scope needs, and what is given in `beside`. `all_or_nothing`: send nothing if anything is missing.
    Returns None, having done nothing, if the records about the store turned out to be void: the caller has to form the
    scope again.

    git's remote-tracking branches say nothing about the store. So binaries that no record places in it are looked up there,
    all by one listing; except in a push of new commits only whose binaries are all available locally.
    """
    repo = connection.repo
    beside = beside or {}

    def find_paths(shas: Collection[Sha]) -> Paths:
        return beside | (references.needed_by(repo, scope, shas) if scope else {})

    selected = find_paths(())
    available = connection.available(selected, link=not dry_run)
    report = TransferReport(frozenset(selected), frozenset(available))

    if dry_run:
        return _push(connection, report, available.values(), dry_run, find_paths)
    if (selected or recheck) and connection.forget_lost_list():
        return None
    absent = selected.keys() - available.keys()
    unsure = bool(absent or beside) or (bool(selected) and not (isinstance(scope, Committed) and scope.known))
    new = unsure and connection.is_new
    if new and absent and all_or_nothing and not connection.settings.allow_incomplete:
        return replace(report, missing=named(absent, find_paths))
    commits = scope.refs if isinstance(scope, Committed) else ()
    if selected or recheck:
        _publish(connection, selected, commits, known=not recheck)
    stored = stored_whole(connection, selected, available) if unsure and not new else frozenset()
    missing = named(absent - stored, find_paths)
    if missing and connection.settings.allow_incomplete:
        report, missing = replace(report, absent=len(missing)), {}
    report = replace(report, missing=missing)
    if missing and all_or_nothing:
        return report
    lacking = [meta for sha, meta in available.items() if sha not in stored]
    return _push(connection, report, lacking, dry_run, find_paths)


def _publish(connection: Connection, needed: Collection[Sha], commits: Collection[str], *, known: bool = True) -> None:
    """Publish that this clone needs `needed`, all that its refs need (remote-tracking ones included), and what it published
    before. This has to precede any sending and any lookup in the store: a purge of the remote store at the same time relies
    on it.

    Not `known`: ignore what was published before. The lock keeps two pushes from overwriting each other's needs.
    """
    repo, remote = connection.repo, connection.remote
    if not known:  # first, so that a run that is killed leaves no record to rely on
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
    connection: Connection, report: TransferReport, metas: Collection[Meta], dry_run: bool, find_paths: FindPaths
) -> TransferReport:
    """Push those of `metas` that are sound; returns `report` with the outcome."""
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
