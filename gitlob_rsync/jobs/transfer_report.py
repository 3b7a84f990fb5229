"""What a push or a pull did, as those who tell of it get it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from gitlob_rsync.placeholder import Sha

Paths = dict[Sha, list[bytes]]
"""Binaries, each with paths that need it; none are known for one that no commit names."""
FindPaths = Callable[[Collection[Sha]], Paths]
"""How to find all the paths that need some binaries, which takes another walk over history."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a push or a pull did, in binaries, and in bytes of content.

    `selected`: what was asked for; `present`: of these, what was here before; `transferred`: what moved (with a dry run:
    would move; `bytes` is None then where only the remote could tell). `missing` and `damaged`: what could not be had,
    or sent. `absent`: at a push that may be incomplete, what is neither here nor at the remote.
    """

    selected: frozenset[Sha] = frozenset()
    present: frozenset[Sha] = frozenset()
    transferred: int = 0
    bytes: int | None = 0
    missing: Paths = field(default_factory=dict)
    damaged: Paths = field(default_factory=dict)
    absent: int = 0


def merged(one: Report, other: Report) -> Report:
    """A push and a pull told as one."""
    return Report(
        one.selected | other.selected,
        one.present | other.present,
        one.transferred + other.transferred,
        None if one.bytes is None or other.bytes is None else one.bytes + other.bytes,
        one.missing | other.missing,
        one.damaged | other.damaged,
        one.absent + other.absent,
    )


def named(shas: Collection[Sha], find_paths: FindPaths) -> Paths:
    """`shas` with all the paths that need them."""
    found = find_paths(shas) if shas else {}
    return {sha: found.get(sha, []) for sha in sorted(shas)}
