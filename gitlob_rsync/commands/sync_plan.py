"""Turns gitlob-sync's options into the plan of a sync."""

import argparse
from dataclasses import replace

from gitlob_rsync import age
from gitlob_rsync.commands.common import CONFIGURED
from gitlob_rsync.commands.sync_options import Work
from gitlob_rsync.config import Settings
from gitlob_rsync.errors import UsageError
from gitlob_rsync.git.paths import to_pathspecs
from gitlob_rsync.jobs.context import Context
from gitlob_rsync.jobs.sync import Everything, FixUp, SyncPlan
from gitlob_rsync.location import Remote
from gitlob_rsync.selection.scopes import Committed, Indexed, Recent, Window


def make_plan(given: argparse.Namespace, work: Work, context: Context, title: str) -> SyncPlan:
    """The plan for a command line. Raises UsageError for an invalid remote or pathspec, and if a fix-up has no working
    tree."""
    repo, settings = context.repo, context.settings
    if given.checkout and not repo.work_tree:
        raise UsageError(f"{repo.git_dir} has no working tree", "--checkout needs one; --pull does not")
    remote = _remote(given, settings)
    recent = settings.recent(remote)
    own = tuple(to_pathspecs(given.include, given.exclude))

    transfers = given.list or not given.offline
    push = _selection(work.selection or "committed", given, recent) if work.push and transfers else None
    assert not isinstance(push, Indexed)
    # files should not change unexpectedly, so a background run leaves them alone
    leaves_files = given.no_expand or (given.background and not given.checkout)
    fixes_up = work.pull and not leaves_files and repo.work_tree
    return SyncPlan(
        title,
        remote,
        push=push,
        pull=_selection(work.selection or "window", given, recent) if work.pull and transfers else None,
        fix_up=FixUp(own if given.checkout else (), given.restore_missing, given.checkout) if fixes_up else None,
        recheck=given.recheck,
        refetch=given.refetch,
        dry_run=given.dry_run,
    )


def _selection(of: str, given: argparse.Namespace, recent: Recent) -> Committed | Recent | Indexed | Everything:
    """The selection of this name, with the given limits. `recent`: the configured window."""
    own, refs = tuple(to_pathspecs(given.include, given.exclude)), tuple(given.ref)
    if of == "complete":
        return Everything()
    if of == "committed":
        return Committed(refs, pathspecs=own)
    if of == "checkout":
        return Indexed(own)
    if given.window not in (None, CONFIGURED):
        recent = replace(recent, window=Window(*[age.parse(given.window)] * 3))
    return replace(recent, refs=refs, pathspecs=own or recent.pathspecs)


def _remote(given: argparse.Namespace, settings: Settings) -> Remote | None:
    """The remote; None if there is none and it is not needed, as for listing and working offline."""
    try:
        return settings.remote(given.remote)
    except UsageError:
        needs_none = given.offline or (given.list and not (given.complete and given.pull))
        if given.remote or not needs_none:
            raise
        return None
