"""gitlob-status's work: gathers the state of a repository and its stores, without any network connection."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from gitlob_rsync.age import DAY
from gitlob_rsync.config import Settings
from gitlob_rsync.errors import GitlobError, UsageError, line_of
from gitlob_rsync.fork import Forked
from gitlob_rsync.git.paths import pathspec_errors
from gitlob_rsync.git.repo import STUMBLES, Repo, check_version
from gitlob_rsync.jobs import hook_files, hooks_report
from gitlob_rsync.jobs.context import Context
from gitlob_rsync.jobs.setup import FilterSetup
from gitlob_rsync.location import Remote
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.progress import Silent
from gitlob_rsync.selection import branches, cache, references
from gitlob_rsync.selection.branches import Branch, Tip
from gitlob_rsync.selection.scopes import Committed
from gitlob_rsync.state import pushed, sync_log
from gitlob_rsync.state.sync_log import Log
from gitlob_rsync.store import inventory, locks
from gitlob_rsync.store.inventory import Inventory
from gitlob_rsync.store.local import Stores
from gitlob_rsync.store.locks import Job
from gitlob_rsync.store.store import Store
from gitlob_rsync.worktree import expand

AGES = (1, 7, 30, 365, None)
"""The age groups in which a store's binaries are counted, by their upper bounds in days; None: all older ones."""

Paths = dict[Sha, list[bytes]]


@dataclass(frozen=True, slots=True)
class Amount:
    binaries: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Holdings:
    """The content of a store: in total, and by the time since it was stored, in the order of AGES. `torn`: number of
    incomplete binaries."""

    root: str
    total: Amount
    ages: tuple[Amount, ...]
    torn: int


@dataclass(frozen=True, slots=True)
class Files:
    """Placeholders in the working tree. `to_fill_in`: how many could be filled in now; `not_here`: those whose binaries are
    not available locally; `nowhere`: the same, but no remote had them when last asked; `left_alone`: what a fix-up would
    leave alone, path -> why; `empty`: files of the empty binary, if they make this version of git fail in a merge
    (STUMBLES)."""

    to_fill_in: int
    not_here: Paths
    nowhere: Paths
    left_alone: dict[bytes, str]
    empty: list[bytes]


@dataclass(frozen=True, slots=True)
class Move:
    """What a push or a pull would do, as in a dry run (transfer_report.Report)."""

    selected: int
    present: int
    transferred: int
    bytes: int | None


@dataclass(slots=True)
class Status:
    """All that gitlob-status shows. `remote`: the default one. A part that is None does not exist here, or could not be
    determined; `errors` then has the reason."""

    remote: Remote | None = None
    no_remote: str = ""
    files: Files | None = None
    pull: Move | None = None
    push: Move | None = None
    store: Holdings | None = None
    shared: Holdings | None = None
    branches: list[Branch] | None = None
    others: Amount | None = None
    filter: str | None = None
    no_filter: str = ""
    hooks: dict[str, bool] = field(default_factory=dict)
    running: list[Job] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)


def gather(context: Context, pathspecs: Collection[str] = ()) -> Status:
    """Gather the status; `pathspecs` limit the working tree. A part that fails is recorded, and the rest goes on. Raises
    UsageError for an invalid pathspec."""
    repo, stores, settings = context.repo.kept_offline(), context.stores, context.settings
    status = Status(
        logs=sync_log.read_all(repo), hooks={name: hooks_report.runs(repo, name) for name in hook_files.SCRIPTS}
    )
    try:
        status.remote = settings.remote(None)
    except UsageError as error:
        status.no_remote = error.line()
    try:
        status.filter = FilterSetup(repo).check(settings.has_filter)
    except UsageError as error:
        status.no_filter = error.line()
    to_push: set[Sha] = set()
    to_pull: set[Sha] = set()
    tips: list[Tip] = []
    with Forked(lambda: _count(stores)) as counting:
        with _noting(status, "running"):
            status.running = locks.running(repo.folder)
        with _noting(status, "working_tree"):
            status.files = _files(repo, stores, settings, pathspecs) if repo.work_tree else None
        with _noting(status, "history"):
            # what branches and windows need is a part of what all of history needs
            placeholders = cache.everything(repo)
            tips = branches.tips(repo, placeholders)
            if status.remote:
                known = pushed.read(repo, status.remote)
                to_push = (
                    references.among_known(repo, Committed(known=known), placeholders)
                    if known
                    else {*placeholders.values()}
                )
                to_pull = references.among_known(repo, settings.recent(status.remote), placeholders)
        with _noting(status, "store"):
            own, shared = counting.result()
            sizes = {sha: size for sha, (size, _) in {**(shared.held if shared else {}), **own.held}.items()}
            status.store = _holdings(stores.own, own)
            status.shared = _holdings(stores.shared, shared) if stores.shared and shared else None
            if "history" not in status.errors:
                status.branches = branches.count(tips, sizes)
                needed = {sha for _, changes in tips for _, sha in changes if sha}
                status.others = _amount(size for sha, (size, _) in own.held.items() if sha not in needed)
                if status.remote:
                    # another repository's store may be large: only what is needed is looked up in it
                    wanted = (to_push | to_pull) - sizes.keys() if stores.lenders else ()
                    sizes |= {sha: meta.size for sha in wanted if (meta := stores.find(sha))}
                    status.push, status.pull = _push(to_push, sizes), _pull(to_pull, sizes)
    return status


@contextmanager
def _noting(status: Status, part: str) -> Iterator[None]:
    """Record an error in one part of the status, and go on with the others."""
    try:
        yield
    except UsageError:
        raise
    except (GitlobError, OSError) as error:
        status.errors[part] = line_of(error)


def _count(stores: Stores) -> tuple[Inventory, Inventory | None]:
    return inventory.take(stores.own), inventory.take(stores.shared) if stores.shared else None


def _push(selected: set[Sha], sizes: Mapping[Sha, int]) -> Move:
    present = selected & sizes.keys()
    return Move(len(selected), len(present), len(present), sum(sizes[sha] for sha in present))


def _pull(selected: set[Sha], sizes: Mapping[Sha, int]) -> Move:
    present = len(selected & sizes.keys())
    wanted = len(selected) - present
    return Move(len(selected), present, wanted, None if wanted else 0)


def _amount(sizes: Iterable[int]) -> Amount:
    sizes = list(sizes)
    return Amount(len(sizes), sum(sizes))


def _holdings(store: Store, counted: Inventory) -> Holdings:
    now = time.time()
    sizes: dict[int | None, list[int]] = {days: [] for days in AGES}
    for size, since in counted.held.values():
        days = next(days for days in AGES if days is None or now - since < days * DAY)
        sizes[days].append(size)
    ages = tuple(map(_amount, sizes.values()))
    total = Amount(len(counted.held), sum(amount.bytes for amount in ages))
    return Holdings(store.root, total, ages, counted.torn)


def _files(repo: Repo, stores: Stores, settings: Settings, pathspecs: Collection[str]) -> Files:
    with pathspec_errors(pathspecs):
        found = expand.expand(
            repo, stores, settings.has_filter, Silent("gitlob-status"), dry_run=True, pathspecs=pathspecs
        )
    lacking = [sync_log.read(repo, remote.location).lacking for remote in settings.remotes.values()]
    nowhere = frozenset.intersection(*lacking) if lacking else frozenset()
    return Files(
        found.expanded,
        {sha: paths for sha, paths in found.missing.items() if sha not in nowhere},
        {sha: paths for sha, paths in found.missing.items() if sha in nowhere},
        found.left_alone,
        found.empty if found.empty and check_version() >= STUMBLES else [],
    )
