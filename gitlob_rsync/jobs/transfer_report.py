"""The outcome of a push or a pull, as data."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from gitlob_rsync.placeholder import Sha

Paths = dict[Sha, list[bytes]]
"""Binaries, each with the paths that need it; the list is empty for a binary that no commit names."""
FindPaths = Callable[[Collection[Sha]], Paths]
"""Finds all paths that need some binaries, by another walk over history."""


@dataclass(frozen=True, slots=True)
class TransferReport:
    """The outcome of a push or a pull, in binaries and in bytes of content.

    `selected`: what was requested; `present`: of these, what was available locally before; `transferred`: how many were
    transferred, or in a dry run would be (`bytes` is then None if only the remote knows). `missing` and `damaged`: what
    could not be fetched or sent. `absent`: in a push that may be incomplete, how many neither side has.
    """

    selected: frozenset[Sha] = frozenset()
    present: frozenset[Sha] = frozenset()
    transferred: int = 0
    bytes: int | None = 0
    missing: Paths = field(default_factory=dict)
    damaged: Paths = field(default_factory=dict)
    absent: int = 0


def merged(one: TransferReport, other: TransferReport) -> TransferReport:
    """A push and a pull combined."""
    return TransferReport(
        one.selected | other.selected,
        one.present | other.present,
        one.transferred + other.transferred,
        None if one.bytes is None or other.bytes is None else one.bytes + other.bytes,
        one.missing | other.missing,
        one.damaged | other.damaged,
        one.absent + other.absent,
    )


def named(shas: Collection[Sha], find_paths: FindPaths) -> Paths:
    """`shas`, with all paths that need them."""
    found = find_paths(shas) if shas else {}
    return {sha: found.get(sha, []) for sha in sorted(shas)}
