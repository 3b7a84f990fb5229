"""Which binaries a remote store has whole, as far as the sizes of its files tell: nothing is brought but metas."""

import os
import tempfile
from collections.abc import Collection, Iterable, Mapping

from gitlob_rsync.jobs.connection import Connection
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.store.layout import CHUNK, EMPTY, META, Meta, file_name, name
from gitlob_rsync.store.staging import PARTIAL
from gitlob_rsync.store.store import Store, read_meta


def whole_there(connection: Connection, shas: Collection[Sha]) -> set[Sha]:
    """Of binaries of the local store, those that the remote has whole, by the sizes of their files: one call, however
    many there are. Raises RemoteError, and NotAStore.

    One that has no meta here (a purge was killed) does not say how large it is. That the remote has its meta, which
    gets there last, and each file that is here, will do for it.
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


def whole_of(connection: Connection, shas: Collection[Sha], here: Mapping[Sha, Meta]) -> frozenset[Sha]:
    """Of `shas`, those that the remote has whole, by one listing: of what is `here`, all files in their sizes; of the
    rest the meta, which gets there last, and the first chunk, which all have but the empty one. Where that is a full
    one, the meta says of how many, and a second listing whether they are there. Raises RemoteError."""
    files = {sha: here[sha].parts() if sha in here else (["0", META] if sha != EMPTY else [META]) for sha in shas}
    found = _sizes(connection, files)
    there = {
        sha for sha, parts in files.items()
        if (here[sha].whole_in(found) if sha in here else all(name(sha, part) in found for part in parts))
    }  # fmt: skip
    large = {sha for sha in there - here.keys() if found.get(name(sha, 0)) == CHUNK}
    if large:
        metas = _metas_there(connection, large)
        found = _sizes(connection, {sha: meta.parts() for sha, meta in metas.items()})
        there -= {sha for sha in large if sha not in metas or not metas[sha].whole_in(found)}
    return frozenset(there)


def _sizes(connection: Connection, files: Mapping[Sha, Collection[str]]) -> dict[str, int]:
    return connection.session.sizes(sorted(name(sha, part) for sha, parts in files.items() for part in parts))


def _metas_there(connection: Connection, shas: Iterable[Sha]) -> dict[Sha, Meta]:
    """The metas that the remote has of binaries, those that can be right."""
    with tempfile.TemporaryDirectory(prefix="gitlob-") as into:
        connection.session.fetch(sorted(name(sha, META) for sha in shas), into, PARTIAL)
        metas = {sha: read_meta(os.path.join(into, file_name(sha, META)), sha) for sha in shas}
    return {sha: meta for sha, meta in metas.items() if meta}
