"""Checks a remote store for all binaries that commits need, by a listing of its files and sizes; downloads no content."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from gitlob_rsync.git.repo import Repo
from gitlob_rsync.jobs.connection import Connection
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.selection import references, usage
from gitlob_rsync.selection.scopes import Committed
from gitlob_rsync.selection.usage import Need
from gitlob_rsync.store.layout import META, NAME, Meta, name
from gitlob_rsync.store.local import Stores


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of the `needed` binaries: those of which the remote lacks files, and those of which it has files of a wrong size."""

    needed: int
    lacking: dict[Sha, Need] = field(default_factory=dict)
    wrong_sized: dict[Sha, Need] = field(default_factory=dict)


def compare(repo: Repo, stores: Stores, connection: Connection, distrusted: Collection[Sha]) -> Comparison:
    """Check the remote for all binaries that commits need. `distrusted`: binaries that are damaged locally, so that their
    local sizes prove nothing. Raises RemoteError, and NotAStore if anything is needed."""
    needed = references.needed_by(repo, Committed())
    listing = connection.listing(new=not needed)
    metas: dict[Sha, Meta | None] = dict.fromkeys(needed)
    for sha in needed.keys() - set(distrusted):
        metas[sha] = stores.find(sha)
    lacking, wrong_sized = _incomplete(metas, listing)
    found = usage.find(repo, lacking | wrong_sized)
    return Comparison(
        len(needed),
        {sha: found.get(sha, Need()) for sha in sorted(lacking)},
        {sha: found.get(sha, Need()) for sha in sorted(wrong_sized)},
    )


def _incomplete(metas: Mapping[Sha, Meta | None], listing: Mapping[str, int]) -> tuple[set[Sha], set[Sha]]:
    """The binaries of which a listing lacks files, and those of which it has files of a wrong size. If the meta of a binary
    is unknown, its chunks must have sizes that some binary could have, and the meta file must fit them."""
    sizes = _chunk_sizes({sha for sha, meta in metas.items() if not meta}, listing)
    lacking: set[Sha] = set()
    wrong_sized: set[Sha] = set()
    for sha, known in metas.items():
        chunks = sizes.get(sha, [])
        meta = known or Meta.of_chunks(sha, chunks)
        if meta and meta.whole_in(listing):
            continue
        expected: Iterable[str] = meta.parts() if meta else [*map(str, range(len(chunks) or 1)), META]
        (wrong_sized if all(name(sha, part) in listing for part in expected) else lacking).add(sha)
    return lacking, wrong_sized


def _chunk_sizes(shas: Collection[Sha], listing: Mapping[str, int]) -> dict[Sha, list[int]]:
    """The sizes in bytes of these binaries' chunks in a listing, in the order of their numbers."""
    found: dict[Sha, dict[int, int]] = {}
    for file, size in listing.items():
        named = NAME.match(file)
        if named and named[4] != META and (sha := Sha(named[3])) in shas:
            found.setdefault(sha, {})[int(named[4])] = size
    return {sha: [size for _, size in sorted(chunks.items())] for sha, chunks in found.items()}
