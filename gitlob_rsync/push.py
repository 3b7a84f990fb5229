"""Sending binaries to a remote store: what is selected, here and sound, once the remote was told that it is needed."""

from collections.abc import Collection
from dataclasses import replace

from gitlob_rsync import history, published, record
from gitlob_rsync.connection import Connection
from gitlob_rsync.history import Committed, Recent, Unpushed
from gitlob_rsync.layout import META, NAME, Meta, name
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.report import FindPaths, Report, named


def push(connection: Connection, scope: Committed | Recent, *, recheck: bool = False, dry_run: bool = False) -> Report:
    """Send of what `scope` selects what is here and sound.

    With a Committed scope only commits are looked at that are not on record as pushed, unless `recheck`. Raises
    RemoteError where the remote cannot be reached or broke off.
    """
    repo, location = connection.repo, connection.remote.location
    tips: list[str] = []
    told = published.read(repo, location) is not None
    if isinstance(scope, Committed):
        # what was pushed before it was said to be needed may have been purged there
        known = () if recheck or not told else record.read(repo, location)
        tips = [*history.tips(repo, scope), *(known if scope.refs else ())]
        scope = replace(scope, known=known)
    report = _push_scope(connection, scope, dry_run=dry_run, recheck=recheck)
    whole = not report.missing and not report.damaged and not report.absent
    if tips and not dry_run and not scope.pathspecs and whole:
        record.write(repo, location, tips)
    return report


def push_commits(connection: Connection, commits: Collection[str], known: Collection[str]) -> Report:
    """Send what `commits` need and the history of `known` does not imply already; the record stays as it is. Raises as
    push."""
    return _push_scope(connection, Committed(tuple(commits), known=tuple(known)))


def push_everything(connection: Connection, *, dry_run: bool = False) -> Report:
    """Send every binary of the local store that the remote one has not, by its listing. Raises as push."""
    store = connection.store
    here = [meta for sha in store.shas() if (meta := store.complete(sha))]
    listing = connection.listing(new=True)
    lacking = [meta for meta in here if not meta.whole_in(listing)]
    everything = frozenset(meta.sha for meta in here)
    if here and not dry_run:
        _publish(connection, ())
    report = Report(everything, everything)
    return _push(
        connection, report, lacking, dry_run, lambda shas: history.references(connection.repo, Committed(), shas)
    )


def _push_scope(
    connection: Connection, scope: Committed | Recent, *, dry_run: bool = False, recheck: bool = False
) -> Report:
    repo = connection.repo
    selected = history.references(repo, scope)
    if not dry_run and (selected or recheck):
        _publish(connection, selected, known=not recheck)
    here = connection.here(selected, link=not dry_run)
    report = Report(frozenset(selected), frozenset(here))
    report = _push(connection, report, here.values(), dry_run, lambda shas: history.references(repo, scope, shas))
    if dry_run:
        return report
    lacking = selected.keys() - here.keys() - connection.metas_there(selected.keys() - here.keys())
    if lacking:
        unpushed = Unpushed(scope.refs, scope.pathspecs)
        needed = history.references(repo, unpushed, lacking).keys() & lacking
        missing = named(needed, lambda shas: history.references(repo, unpushed, shas))
        report = replace(report, missing=missing, absent=len(lacking - needed))
    return report


def _publish(connection: Connection, needed: Collection[Sha], *, known: bool = True) -> None:
    """Have the remote know that this clone needs `needed`, beside what it said before. It has to come before anything is
    sent, or found to be there already: a purge of the remote store at the same time goes by it.

    Not `known`: whatever was said before counts for nothing. Two pushes at once must not each forget the other's.
    """
    repo, location = connection.repo, connection.remote.location
    with published.turn(connection.store, "a push", connection.settings.lock_wait):
        before = published.read(repo, location)
        if before is not None and known:
            needs = before | set(needed)
        else:
            needs = set(needed) | history.references(repo, Committed()).keys()
        if needs == (before or set()) and (known or before is None):
            return
        connection.session.publish(f"{published.FOLDER}/{published.clone_name(repo)}", published.encode(repo, needs))
        published.write(repo, location, needs)


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
