"""Finds out which binaries a remote store has whole, by the sizes of its files; downloads nothing but metas."""

import os
import tempfile
from collections.abc import Collection, Iterable, Mapping

from gitlob_rsync.jobs.connection import Connection
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.store.layout import CHUNK, EMPTY, META, Meta, file_name, name
from gitlob_rsync.store.staging import PARTIAL
from gitlob_rsync.store.store import Store, read_meta


def stored_at(connection: Connection, shas: Collection[Sha]) -> set[Sha]:
    """Those of these binaries of the local store that the remote has whole, found by one listing. Raises RemoteError and
    NotAStore.

    A binary without a local meta (a purge was killed) does not say how large it is. For it, it is enough that the remote
    has its meta, which is always sent last, and every file that the local store has.
    """
    store = connection.store
    metas = {sha: read_meta(store.path(sha, META), sha) for sha in sorted(shas)}
    files: dict[Sha, list[str]] = {
        sha: meta.parts() if meta else [*store.files_of(sha), META] for sha, meta in metas.items()
    }
    listing = connection.session.sizes({name(sha, part): None for sha, parts in files.items() for part in parts})
    return {sha for sha, meta in metas.items() if (meta.whole_in(listing) if meta else _covered(store, sha, listing))}


def _covered(store: Store, sha: Sha, listing: Mapping[str, int]) -> bool:
    chunks = [part for part in store.files_of(sha) if part != META]
    same = (listing.get(name(sha, part)) == store.held(sha, [part])[0] for part in chunks)
    return name(sha, META) in listing and all(same)


def stored_whole(connection: Connection, shas: Collection[Sha], known: Mapping[Sha, Meta]) -> frozenset[Sha]:
    """Those of `shas` that the remote has whole. `known`: metas of those that are available locally; for these, all files
    must have the right sizes. For the rest, one listing looks for the meta, which is always sent last, and the first chunk,
    which every binary but the empty one has. If the first chunk is a full one, the meta tells how many there are, and a
    second listing looks for the others. Raises RemoteError."""
    files = {sha: known[sha].parts() if sha in known else (["0", META] if sha != EMPTY else [META]) for sha in shas}
    found = _sizes(connection, files)
    stored = {
        sha for sha, parts in files.items()
        if (known[sha].whole_in(found) if sha in known else all(name(sha, part) in found for part in parts))
    }  # fmt: skip
    large = {sha for sha in stored - known.keys() if found.get(name(sha, 0)) == CHUNK}
    if large:
        metas = _remote_metas(connection, large)
        found = _sizes(connection, {sha: meta.parts() for sha, meta in metas.items()})
        stored -= {sha for sha in large if sha not in metas or not metas[sha].whole_in(found)}
    return frozenset(stored)


def _sizes(connection: Connection, files: Mapping[Sha, Collection[str]]) -> dict[str, int]:
    return connection.session.sizes(sorted(name(sha, part) for sha, parts in files.items() for part in parts))


def _remote_metas(connection: Connection, shas: Iterable[Sha]) -> dict[Sha, Meta]:
    """The remote's metas of binaries, without those that cannot be right."""
    with tempfile.TemporaryDirectory(prefix="gitlob-") as into:
        connection.session.fetch(sorted(name(sha, META) for sha in shas), into, PARTIAL)
        metas = {sha: read_meta(os.path.join(into, file_name(sha, META)), sha) for sha in shas}
    return {sha: meta for sha, meta in metas.items() if meta}
