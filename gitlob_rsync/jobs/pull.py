"""Bringing binaries from a remote store: what is selected and not here, by way of the staging folder, verified."""

from collections.abc import Collection
from dataclasses import replace

from gitlob_rsync.errors import GitlobError
from gitlob_rsync.jobs.connection import Connection
from gitlob_rsync.jobs.transfer_report import FindPaths, Paths, Report, named
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.selection import references
from gitlob_rsync.selection.scopes import Committed, Scope
from gitlob_rsync.store.layout import EMPTY, FILE_NAME, META, NAME, Meta, name
from gitlob_rsync.store.staging import PARTIAL, Staging

_MOST_AT_ONCE = 16384
"""Chunks that are asked for in one run before it is known whether they exist: 512 GiB."""
_LEAST_OF_EACH = 64
"""Chunks of each binary among these, however many binaries: 2 GiB."""


def pull(connection: Connection, scope: Scope, *, refetch: bool = False, dry_run: bool = False) -> Report:
    """Bring what `scope` selects and what is not here, with `refetch` also what is here but damaged.

    Raises RemoteError where the remote cannot be reached or broke off; what had come is kept.
    """
    selected = references.needed_by(connection.repo, scope)
    return _pull(
        connection, selected, refetch, dry_run, lambda shas: references.needed_by(connection.repo, scope, shas)
    )


def pull_everything(connection: Connection, *, refetch: bool = False, dry_run: bool = False) -> Report:
    """Bring every binary of the remote store; a dry run asks for its listing. Raises as pull, and NotAStore."""
    everything = connection.everything()
    report = _pull(
        connection, everything, refetch, dry_run, lambda shas: references.needed_by(connection.repo, Committed(), shas)
    )
    if dry_run and report.bytes is None:
        here = connection.here(everything, link=False)
        wanted = everything.keys() - {
            sha for sha, meta in here.items() if not refetch or _mended(connection, meta, dry_run=True)
        }
        matches = ((NAME.match(file), size) for file, size in connection.listing().items())
        content = (size for found, size in matches if found and found[4] != META and found[3] in wanted)
        return replace(report, bytes=sum(content))
    return report


def fetch(connection: Connection, shas: Collection[Sha]) -> set[Sha]:
    """Bring binaries by name, whatever is here under it; returns those that arrived. Raises as pull."""
    return _fetch(connection, sorted(shas))[0]


def _pull(connection: Connection, selected: Paths, refetch: bool, dry_run: bool, find_paths: FindPaths) -> Report:
    here = connection.here(selected, link=not dry_run)
    if refetch:
        here = {sha: meta for sha, meta in here.items() if _mended(connection, meta, dry_run=dry_run)}
    wanted = sorted(selected.keys() - here.keys())
    report = Report(frozenset(selected), frozenset(here))
    if dry_run:
        return replace(report, transferred=len(wanted), bytes=None if wanted else 0)
    if not wanted:
        return report
    arrived, damaged, moved = _fetch(connection, wanted)
    return replace(
        report,
        transferred=len(arrived),
        bytes=moved,
        missing=named(set(wanted) - arrived - damaged, find_paths),
        damaged=named(damaged, find_paths),
    )


def _mended(connection: Connection, meta: Meta, *, dry_run: bool) -> bool:
    """Whether a binary that is here is sound, or could be replaced by a sound one of another store of this machine."""
    store = connection.store
    if store.complete(meta.sha) and store.sound(meta):
        return True
    if not dry_run:
        return connection.stores.bring(meta.sha) is not None
    return any(other.complete(meta.sha) == meta and other.sound(meta) for other in connection.stores.others)


def _fetch(connection: Connection, wanted: list[Sha]) -> tuple[set[Sha], set[Sha], int]:
    """Bring binaries into the store: returns which arrived, which came damaged, and how many bytes moved.

    What a killed run had brought is used. A crash may have spoilt it, so what proves wrong of it is brought anew.
    """
    arrived: set[Sha] = set()
    damaged: set[Sha] = set()
    moved = 0
    with Staging(connection.store, resumable=True) as staging:
        taken = staging.take_over(frozenset(wanted))
        pending = wanted
        while pending:
            try:
                moved += _bring(connection, staging, pending)
            except GitlobError:
                _admit(connection, staging, pending)
                raise
            finally:
                connection.meter.end()
            good, bad = _admit(connection, staging, pending)
            arrived |= good
            damaged = (damaged - set(pending)) | bad
            pending = sorted(bad & taken)
            for sha in pending:
                staging.drop(sha)
            taken = set()
    return arrived, damaged, moved


def _bring(connection: Connection, staging: Staging, shas: list[Sha]) -> int:
    """Two runs, of which the first brings all there is of most: a first chunk that is not full is the only one, and its
    meta follows from it. The second brings metas and other chunks of the large ones; only where these are very large, or
    very many, is there a third. Returns bytes of content."""
    first = [name(sha, 0) for sha in shas if sha != EMPTY and not staging.has(sha, 0)]
    moved = _fetch_files(connection, staging, first, f"pull {len(shas)}")
    large = [sha for sha in shas if staging.is_large(sha)]
    while large:
        most = max(_LEAST_OF_EACH, _MOST_AT_ONCE // len(large))
        asked = {sha: parts for sha in large if (parts := staging.lacking(sha, most))}
        names = [name(sha, part) for sha, parts in asked.items() for part in parts]
        moved += _fetch_files(connection, staging, names, "pull the rest of large ones")
        # a remote that lies about a size cannot keep us busy: what did not come as promised is not asked for again
        large = [
            sha for sha, parts in asked.items()
            if staging.meta(sha) and not set(parts) & set(staging.lacking(sha, most))
        ]  # fmt: skip
    return moved


def _fetch_files(connection: Connection, staging: Staging, names: list[str], what: str) -> int:
    if not names:
        return 0
    connection.meter.begin(what)
    moved = connection.session.fetch(names, staging.path, PARTIAL, lambda file: _arrived(staging, file))
    connection.meter.end()
    return sum(size for file, size in moved.items() if not file.endswith(META))


def _arrived(staging: Staging, file: str) -> None:
    """Use the time in which others still come."""
    if (found := FILE_NAME.match(file)) and found[2] == "0" and not staging.is_large(sha := Sha(found[1])):
        staging.prepare(sha)


def _admit(connection: Connection, staging: Staging, shas: list[Sha]) -> tuple[set[Sha], set[Sha]]:
    """Move what is whole into the store, and into the shared one; returns these, and those that came but wrong."""
    ready = []
    bad = set()
    for sha in shas:
        if meta := staging.prepare(sha):
            ready.append(meta)
        elif staging.meta(sha) or staging.has(sha, META):
            bad.add(sha)
    if ready and connection.settings.fsync:
        staging.settle()
    for meta in ready:
        staging.admit(meta)
        connection.stores.share(meta)
    return {meta.sha for meta in ready}, bad
