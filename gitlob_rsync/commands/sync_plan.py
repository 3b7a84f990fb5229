"""From gitlob-sync's options to the plan of a sync."""

import argparse
from dataclasses import replace

from gitlob_rsync import age
from gitlob_rsync.commands.common import CONFIGURED
from gitlob_rsync.commands.sync_options import Work
from gitlob_rsync.errors import UsageError
from gitlob_rsync.git.paths import to_pathspecs
from gitlob_rsync.jobs.context import Context
from gitlob_rsync.jobs.sync import Everything, FixUp, SyncPlan
from gitlob_rsync.selection.scopes import Committed, Indexed, Recent, Window


def make_plan(given: argparse.Namespace, work: Work, context: Context, title: str) -> SyncPlan:
    """What a command line asks for. Raises UsageError for a remote or a pathspec that is none, and where a fix-up has no
    working tree to work on."""
    repo, settings = context.repo, context.settings
    if given.checkout and not repo.work_tree:
        raise UsageError(f"{repo.git_dir} has no working tree", "--checkout needs one; --pull does not")
    try:
        remote = settings.remote(given.remote)
    except UsageError:
        # listing and working offline can do without one
        if given.remote or not (given.offline or (given.list and not (given.complete and given.pull))):
            raise
        remote = None
    own = tuple(to_pathspecs(given.include, given.exclude))
    refs = tuple(given.ref)

    def selection(of: str) -> Committed | Recent | Indexed | Everything:
        if of == "complete":
            return Everything()
        if of == "committed":
            return Committed(refs, pathspecs=own)
        if of == "checkout":
            return Indexed(own)
        recent = settings.recent(remote)
        if given.window not in (None, CONFIGURED):
            recent = replace(recent, window=Window(*[age.parse(given.window)] * 3))
        return replace(recent, refs=refs, pathspecs=own or recent.pathspecs)

    transfers = given.list or not given.offline
    push = selection(work.selection or "committed") if work.push and transfers else None
    assert not isinstance(push, Indexed)
    # nobody expects files to change by themselves
    leaves_files = given.no_expand or (given.background and not given.checkout)
    fixes_up = work.pull and not leaves_files and repo.work_tree
    return SyncPlan(
        title,
        remote,
        push=push,
        pull=selection(work.selection or "window") if work.pull and transfers else None,
        fix_up=FixUp(own if given.checkout else (), given.restore_missing, given.checkout) if fixes_up else None,
        recheck=given.recheck,
        refetch=given.refetch,
        dry_run=given.dry_run,
    )
