"""Pulls binaries from a remote store: those that are selected and not available locally, verified in the staging folder."""

from collections.abc import Collection
from dataclasses import replace

from gitlob_rsync.errors import GitlobError
from gitlob_rsync.jobs.connection import Connection
from gitlob_rsync.jobs.transfer_report import FindPaths, Paths, TransferReport, named
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.selection import references
from gitlob_rsync.selection.scopes import Committed, Scope
from gitlob_rsync.store.layout import EMPTY, FILE_NAME, META, NAME, Meta, name
from gitlob_rsync.store.staging import PARTIAL, Staging

_MOST_AT_ONCE = 16384
"""Chunks that are requested in one run before it is known whether they exist: 512 GiB."""
_LEAST_OF_EACH = 64
"""Of these, chunks requested of each binary, however many binaries there are: 2 GiB."""


def pull(connection: Connection, scope: Scope, *, refetch: bool = False, dry_run: bool = False) -> TransferReport:
    """Pull the binaries that `scope` selects and that are not available locally; with `refetch`, also those that are
    damaged.

    Raises RemoteError; what arrived before is kept.
    """
    selected = references.needed_by(connection.repo, scope)
    return _pull(
        connection, selected, refetch, dry_run, lambda shas: references.needed_by(connection.repo, scope, shas)
    )


def pull_everything(connection: Connection, *, refetch: bool = False, dry_run: bool = False) -> TransferReport:
    """Pull every binary of the remote store; a dry run only lists it. Raises as pull, and NotAStore."""
    everything = connection.everything()
    report = _pull(
        connection, everything, refetch, dry_run, lambda shas: references.needed_by(connection.repo, Committed(), shas)
    )
    if dry_run and report.bytes is None:
        available = connection.available(everything, link=False)
        wanted = everything.keys() - {
            sha for sha, meta in available.items() if not refetch or _sound_or_replaced(connection, meta, dry_run=True)
        }
        matches = ((NAME.match(file), size) for file, size in connection.listing().items())
        content = (size for found, size in matches if found and found[4] != META and found[3] in wanted)
        return replace(report, bytes=sum(content))
    return report


def fetch(connection: Connection, shas: Collection[Sha]) -> set[Sha]:
    """Download binaries, even if they are available locally; returns those that arrived. Raises as pull."""
    return _fetch(connection, sorted(shas))[0]


def _pull(
    connection: Connection, selected: Paths, refetch: bool, dry_run: bool, find_paths: FindPaths
) -> TransferReport:
    available = connection.available(selected, link=not dry_run)
    if refetch:
        available = {
            sha: meta for sha, meta in available.items() if _sound_or_replaced(connection, meta, dry_run=dry_run)
        }
    wanted = sorted(selected.keys() - available.keys())
    report = TransferReport(frozenset(selected), frozenset(available))
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


def _sound_or_replaced(connection: Connection, meta: Meta, *, dry_run: bool) -> bool:
    """Whether a local binary is sound, or was replaced (dry run: could be) by a sound copy from another local store."""
    store = connection.store
    if store.complete(meta.sha) and store.sound(meta):
        return True
    if not dry_run:
        return connection.stores.bring(meta.sha) is not None
    return any(other.complete(meta.sha) == meta and other.sound(meta) for other in connection.stores.others)


def _fetch(connection: Connection, wanted: list[Sha]) -> tuple[set[Sha], set[Sha], int]:
    """Download binaries into the store: returns those that arrived, those that arrived damaged, and the bytes transferred.

    Files that a killed run left in staging are used. A crash may have damaged them, so those that prove wrong are
    downloaded again.
    """
    arrived: set[Sha] = set()
    damaged: set[Sha] = set()
    moved = 0
    with Staging(connection.store, resumable=True) as staging:
        taken = staging.take_over(frozenset(wanted))
        pending = wanted
        while pending:
            try:
                moved += _download(connection, staging, pending)
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


def _download(connection: Connection, staging: Staging, shas: list[Sha]) -> int:
    """Download binaries into staging; returns bytes of content.

    The first run fetches the first chunk of each; for most binaries that is all, since a chunk that is not full is the only
    one, and the meta follows from it. The second run fetches the metas and other chunks of the large ones; a third is
    needed only if these are very large or very many."""
    first = [name(sha, 0) for sha in shas if sha != EMPTY and not staging.has(sha, 0)]
    moved = _fetch_files(connection, staging, first, f"pull {len(shas)}")
    large = [sha for sha in shas if staging.is_large(sha)]
    while large:
        most = max(_LEAST_OF_EACH, _MOST_AT_ONCE // len(large))
        asked = {sha: parts for sha in large if (parts := staging.lacking(sha, most))}
        names = [name(sha, part) for sha, parts in asked.items() for part in parts]
        moved += _fetch_files(connection, staging, names, "pull the rest of large ones")
        # a remote that reports a wrong size cannot keep us busy: what does not arrive as announced is not requested again
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
    """Prepare a file that has arrived while the others are still being transferred."""
    if (found := FILE_NAME.match(file)) and found[2] == "0" and not staging.is_large(sha := Sha(found[1])):
        staging.prepare(sha)


def _admit(connection: Connection, staging: Staging, shas: list[Sha]) -> tuple[set[Sha], set[Sha]]:
    """Move complete, sound binaries into the store and the shared one; returns these, and those that arrived damaged."""
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
