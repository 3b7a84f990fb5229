"""What part of history a selection looks at (docs/selection.md): values alone, which references.py answers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Committed:
    """Every tree of every commit reachable from `refs` (none: all refs, every HEAD and stash).

    `known`: commits whose whole history was examined before; of what came after them, only what they did not have is
    examined. `reflogs`: also what only reflogs and unfinished operations of git still name.
    """

    refs: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    pathspecs: tuple[str, ...] = ()
    reflogs: bool = False


@dataclass(frozen=True, slots=True)
class Unpushed:
    """The whole tree of every commit reachable from `refs` (none: as above) but from no tracking branch of `remote` ("*":
    of any remote; None: it has none; tracking.branches)."""

    refs: tuple[str, ...] = ()
    pathspecs: tuple[str, ...] = ()
    remote: str | None = "*"
    reflogs: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """How old a ref may be to count, and how far back history counts: that of HEAD, and that of other refs. Seconds, or
    ALL."""

    refs: float
    head: float
    other: float


@dataclass(frozen=True, slots=True)
class Recent:
    """The window over HEAD, branches, what was fetched from `remote` ("*": from any; tracking.seen), and tags; or over
    `refs` alone, however old.

    `now` is in seconds since 1970.
    """

    window: Window
    now: float
    remote: str | None = None
    refs: tuple[str, ...] = ()
    pathspecs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Indexed:
    """What the index of this worktree names, except entries with skip-worktree (sparse checkout)."""

    pathspecs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IndexedAnywhere:
    """All that the index of any worktree names."""

    pathspecs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stashed:
    """The trees of all stashes, autostashes included, and of their parents: the commits that hold the index and the
    untracked files of each, and the commit it was made on."""

    pathspecs: tuple[str, ...] = ()


Scope = Committed | Unpushed | Recent | Indexed | IndexedAnywhere | Stashed
