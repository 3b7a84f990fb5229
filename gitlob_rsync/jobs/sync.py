"""A sync: push, pull and fix-up of the working tree, according to a plan; logged, and locked against runs that would do the
same work."""

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import reduce

from gitlob_rsync.errors import ExitCode
from gitlob_rsync.jobs.connection import Connection
from gitlob_rsync.jobs.context import Context
from gitlob_rsync.jobs.pull import pull, pull_everything
from gitlob_rsync.jobs.push import push, push_commits, push_everything
from gitlob_rsync.jobs.transfer_report import Paths, TransferReport, merged
from gitlob_rsync.location import Remote
from gitlob_rsync.selection.scopes import Committed, Indexed, Recent
from gitlob_rsync.state import files, sync_log
from gitlob_rsync.state.sync_log import PULL, PUSH, Note
from gitlob_rsync.store import locks, staging
from gitlob_rsync.worktree import expand


@dataclass(frozen=True, slots=True)
class Everything:
    """The selection of a complete sync: every binary of the store, referenced or not."""


@dataclass(frozen=True, slots=True)
class FixUp:
    """What to fill in in the working tree: files that match `pathspecs` (none: all), with `restore_missing` also deleted
    ones. `required`: a file that cannot be filled in counts as missing."""

    pathspecs: tuple[str, ...] = ()
    restore_missing: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What a sync is to do. `push`, `pull`, `fix_up`: None to leave that part out. `remote`: None if neither a push nor a
    pull needs one. `recheck`, `refetch`: see gitlob-sync(1). `title`: the command line, shown to runs that have to wait."""

    title: str
    remote: Remote | None = None
    push: Committed | Recent | Everything | None = None
    pull: Committed | Recent | Indexed | Everything | None = None
    fix_up: FixUp | None = None
    recheck: bool = False
    refetch: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a sync did. `report`: push and pull combined, with what the fix-up could not fill in; `expanded`: number of
    files filled in; `waiting`: number of files still without content; `left_alone`: path -> why; `seconds`: how long it
    took."""

    report: TransferReport
    remote: Remote | None
    dry_run: bool
    pushed: TransferReport | None = None
    pulled: TransferReport | None = None
    expanded: int = 0
    left_alone: dict[bytes, str] = field(default_factory=dict)
    waiting: int = 0
    seconds: float = 0.0

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.INCOMPLETE if self.report.missing or self.report.damaged else ExitCode.DONE


def sync(context: Context, plan: SyncPlan) -> SyncResult:
    """Carry out a plan, and log the outcome, even if an exception ends it.

    Raises RemoteError, and locks.Busy if another run holds a lock for too long.
    """
    started = time.monotonic()
    directions = [*([PUSH] if plan.push else ()), *([PULL] if plan.pull else ())]
    place = plan.remote.location if plan.remote and not plan.dry_run else None
    with sync_log.keeping(context.repo, place, directions) as note, _using(context, plan):
        if not plan.dry_run:
            with suppress(OSError):  # leftovers of a killed run do no harm
                staging.sweep(context.stores.own)
        pushed, pulled = _transfer(context, plan, note)
        result = SyncResult(_together(pushed, pulled), plan.remote, plan.dry_run, pushed, pulled)
        if plan.fix_up:
            result = _fix_up(context, plan, plan.fix_up, result)
    return replace(result, seconds=round(time.monotonic() - started, 3))


def sync_pushed(
    context: Context, remote: Remote, title: str, commits: list[str], others: list[str]
) -> SyncResult:  # fmt: skip
    """For git's pre-push hook: push what `commits` and `others` (trees and blobs that tags name) need. Raises as sync."""
    with (
        sync_log.keeping(context.repo, remote.location, [PUSH]) as note,
        locks.using(context.stores.own, title, context.settings.lock_wait),
        Connection(context, remote) as connection,
    ):
        report = push_commits(connection, commits, others)
        if report.selected:
            _note_push(note, report)
    return SyncResult(report, remote, False, pushed=report)


def _using(context: Context, plan: SyncPlan) -> AbstractContextManager[None]:
    """Keep purges from this store in the block."""
    wait = context.settings.lock_wait
    return nullcontext() if plan.dry_run else locks.using(context.stores.own, plan.title, wait)


def _transfer(context: Context, plan: SyncPlan, note: Note) -> tuple[TransferReport | None, TransferReport | None]:
    """Push and pull.

    Two runs that push to the same remote, or that pull parts of history, would transfer the same files, so the second
    waits. A pull of only what the working tree needs does not.
    """
    if not (plan.push or plan.pull):
        return None, None
    assert plan.remote
    pushed = pulled = None

    def turn(name: str) -> AbstractContextManager[None]:
        wait = context.settings.lock_wait
        return nullcontext() if plan.dry_run else locks.turn(context.stores.own, name, plan.title, wait)

    with Connection(context, plan.remote) as connection:
        if plan.push:
            with turn(f"push-{files.name_of(plan.remote.location)}"):
                if isinstance(plan.push, Everything):
                    pushed = push_everything(connection, dry_run=plan.dry_run)
                else:
                    pushed = push(connection, plan.push, recheck=plan.recheck, dry_run=plan.dry_run)
            _note_push(note, pushed)
        if plan.pull:
            with nullcontext() if isinstance(plan.pull, Indexed) else turn("pull"):
                if isinstance(plan.pull, Everything):
                    pulled = pull_everything(connection, refetch=plan.refetch, dry_run=plan.dry_run)
                else:
                    pulled = pull(connection, plan.pull, refetch=plan.refetch, dry_run=plan.dry_run)
            _note_pull(note, pulled)
    return pushed, pulled


def _together(*reports: TransferReport | None) -> TransferReport:
    done: Iterable[TransferReport] = (report for report in reports if report)
    return reduce(merged, done, TransferReport())


def _fix_up(context: Context, plan: SyncPlan, fix_up: FixUp, result: SyncResult) -> SyncResult:
    """Fill in the working tree. Files that a window or a pathspec left out count as missing only if they are required."""
    done = expand.expand(
        context.repo, context.stores, context.settings.has_filter, context.meter,
        restore_missing=fix_up.restore_missing, dry_run=plan.dry_run, pathspecs=fix_up.pathspecs,
    )  # fmt: skip
    report = result.report
    # a binary that the working tree needs as well is reported once
    damaged = _joined(report.damaged, done.damaged)
    missing = _joined(report.missing, done.missing) if fix_up.required else report.missing
    report = replace(report, damaged=damaged, missing={s: p for s, p in missing.items() if s not in damaged})
    waiting = sum(map(len, done.missing.values()))
    return replace(result, report=report, expanded=done.expanded, left_alone=done.left_alone, waiting=waiting)


def _joined(one: Paths, other: Paths) -> Paths:
    return one | {sha: paths for sha, paths in other.items() if not one.get(sha)}


def _note_push(note: Note, report: TransferReport) -> None:
    failed = report.missing.keys() | report.damaged.keys()
    had = report.present - failed
    note.done(PUSH, report.transferred, report.bytes or 0, had=had, lacking=report.missing, failed=len(failed))


def _note_pull(note: Note, report: TransferReport) -> None:
    failed = report.missing.keys() | report.damaged.keys()
    had = report.selected - report.present - failed
    note.done(PULL, report.transferred, report.bytes or 0, had=had, lacking=failed, failed=len(failed))
