"""From gitlob-sync's options to what is selected, and the run itself."""

import argparse
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

from gitlob_rsync import age
from gitlob_rsync.commands.common import CONFIGURED
from gitlob_rsync.commands.open_context import Ground
from gitlob_rsync.commands.sync_options import Work
from gitlob_rsync.config import Settings
from gitlob_rsync.errors import ExitCode, UsageError
from gitlob_rsync.git.paths import to_pathspecs
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.jobs.connection import Connection
from gitlob_rsync.jobs.pull import pull, pull_everything
from gitlob_rsync.jobs.push import push, push_everything
from gitlob_rsync.jobs.transfer_report import Paths, Report, merged
from gitlob_rsync.location import Remote
from gitlob_rsync.selection.history import Committed, Indexed, Recent, Window
from gitlob_rsync.state import files, sync_log
from gitlob_rsync.state.sync_log import PULL, PUSH, Note
from gitlob_rsync.store import locks
from gitlob_rsync.worktree import expand


@dataclass(frozen=True, slots=True)
class Scopes:
    """What each direction selects: None where it is not gone, or where it takes everything (`complete`)."""

    remote: Remote | None
    push: Committed | Recent | None
    pull: Committed | Recent | Indexed | None
    complete: bool

    @classmethod
    def of(cls, given: argparse.Namespace, work: Work, repo: Repo, settings: Settings) -> "Scopes":
        """Raises UsageError for a remote or a pathspec that is none."""
        remote = _remote(given, settings)
        if work.selection == "complete":
            return cls(remote, None, None, True)
        own = to_pathspecs(given.include, given.exclude)
        refs = tuple(given.ref)

        def scope(selection: str) -> Committed | Recent | Indexed:
            if selection == "committed":
                return Committed(refs, pathspecs=tuple(own))
            if selection == "checkout":
                return Indexed(tuple(own))
            recent = settings.recent(remote)
            if given.window not in (None, CONFIGURED):
                recent = replace(recent, window=Window(*[age.parse(given.window)] * 3))
            return replace(recent, refs=refs, pathspecs=tuple(own) or recent.pathspecs)

        push = scope(work.selection or "committed") if work.push else None
        assert not isinstance(push, Indexed)
        return cls(remote, push, scope(work.selection or "window") if work.pull else None, False)


@dataclass(frozen=True, slots=True)
class Result:
    """All that a run did, to be told. `left_alone`: path -> why."""

    report: Report
    remote: Remote | None
    dry_run: bool
    pushed: Report | None = None
    pulled: Report | None = None
    expanded: int = 0
    left_alone: dict[bytes, str] = field(default_factory=dict)
    waiting: int = 0
    seconds: float = 0.0

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.INCOMPLETE if self.report.missing or self.report.damaged else ExitCode.DONE


def _remote(given: argparse.Namespace, settings: Settings) -> Remote | None:
    """The remote, which listing and working offline can do without."""
    try:
        return settings.remote(given.remote)
    except UsageError:
        if given.remote is None and (given.offline or (given.list and not (given.complete and given.pull))):
            return None
        raise


def sync(
    given: argparse.Namespace, work: Work, ground: Ground, scopes: Scopes, note: Note, what: str
) -> Result:  # fmt: skip
    """Push, pull and fix up, as asked. `what`: the command line, for others who have to wait.

    Two that push to one remote, or pull a part of history, would move the same twice, so the second waits; it does not
    for one that only wants what the working tree needs.
    """
    repo, stores, settings, meter = ground.repo, ground.stores, ground.settings, ground.meter
    pushed = pulled = None

    def turn(name: str) -> AbstractContextManager[None]:
        return nullcontext() if given.dry_run else locks.turn(stores.own, name, what, settings.lock_wait)

    if not given.offline:
        assert scopes.remote
        with Connection(repo, stores, settings, scopes.remote, meter) as connection:
            if work.push:
                with turn(f"push-{files.name_of(scopes.remote.location)}"):
                    if scopes.push:
                        pushed = push(connection, scopes.push, recheck=given.recheck, dry_run=given.dry_run)
                    else:
                        pushed = push_everything(connection, dry_run=given.dry_run)
                note_push(note, pushed)
            if work.pull:
                with nullcontext() if isinstance(scopes.pull, Indexed) else turn("pull"):
                    if scopes.pull:
                        pulled = pull(connection, scopes.pull, refetch=given.refetch, dry_run=given.dry_run)
                    else:
                        pulled = pull_everything(connection, refetch=given.refetch, dry_run=given.dry_run)
                note_pull(note, pulled)
    done = [report for report in (pushed, pulled) if report]
    report = merged(*done) if len(done) == 2 else done[0] if done else Report()
    left = given.no_expand or (given.background and not given.checkout)  # nobody expects files to change by themselves
    if not work.pull or left or not repo.work_tree:
        return Result(report, scopes.remote, given.dry_run, pushed, pulled)
    # a damaged or missing binary that the checkout waits for is told once, with where it was looked for
    own = to_pathspecs(given.include, given.exclude) if given.checkout else []
    expansion = expand.expand(
        repo, stores, settings.has_filter, meter,
        restore_missing=given.restore_missing, dry_run=given.dry_run, pathspecs=own,
    )  # fmt: skip
    waiting = sum(map(len, expansion.missing.values()))
    report = _with_files(report, expansion, asked=given.checkout)
    return Result(
        report, scopes.remote, given.dry_run, pushed, pulled, expansion.expanded, expansion.left_alone, waiting
    )


def keep_journal(
    given: argparse.Namespace, work: Work, repo: Repo, scopes: Scopes
) -> AbstractContextManager[sync_log.Note]:
    """The journal of this run, where it moves anything."""
    place = scopes.remote.location if scopes.remote and not (given.dry_run or given.offline) else None
    return sync_log.keeping(repo, place, [*([PUSH] if work.push else ()), *([PULL] if work.pull else ())])


def note_push(note: Note, report: Report) -> None:
    failed = report.missing.keys() | report.damaged.keys()
    there = report.present - failed
    note.done(PUSH, report.transferred, report.bytes or 0, had=there, lacking=report.missing, failed=len(failed))


def note_pull(note: Note, report: Report) -> None:
    failed = report.missing.keys() | report.damaged.keys()
    there = report.selected - report.present - failed
    note.done(PULL, report.transferred, report.bytes or 0, had=there, lacking=failed, failed=len(failed))


def _with_files(report: Report, expansion: expand.Expansion, *, asked: bool) -> Report:
    """Add what the fix-up could not fill in. Files left out by a window or a filter are missing only if --checkout
    asked for them."""

    def joined(one: Paths, other: Paths) -> Paths:
        return one | {sha: paths for sha, paths in other.items() if not one.get(sha)}

    damaged = joined(report.damaged, expansion.damaged)
    missing = joined(report.missing, expansion.missing) if asked else report.missing
    return replace(report, damaged=damaged, missing={s: p for s, p in missing.items() if s not in damaged})
