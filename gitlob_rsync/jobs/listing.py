"""What a sync would select, for `gitlob-sync --list`."""

from dataclasses import replace

from gitlob_rsync.jobs.connection import Connection
from gitlob_rsync.jobs.context import Context
from gitlob_rsync.jobs.sync import Everything, SyncPlan
from gitlob_rsync.jobs.transfer_report import Paths
from gitlob_rsync.progress import Meter
from gitlob_rsync.selection import references
from gitlob_rsync.selection.scopes import Committed
from gitlob_rsync.store import inventory


def selected(context: Context, plan: SyncPlan) -> Paths:
    """The binaries that a plan selects, with one path each if a commit names it. For a complete sync: those of the remote
    store if it only pulls (this may raise RemoteError), otherwise those of the local store."""
    chosen: Paths = {}
    if isinstance(plan.pull, Everything) and not plan.push and plan.remote:
        with Connection(replace(context, meter=Meter("gitlob-sync")), plan.remote) as connection:
            chosen = connection.everything()
    elif isinstance(plan.pull or plan.push, Everything):
        chosen = {meta.sha: [] for meta in inventory.complete(context.stores.own)}
    for selection in dict.fromkeys((plan.push, plan.pull)):  # often the same
        if selection and not isinstance(selection, Everything):
            chosen |= references.needed_by(context.repo, selection)
    if chosen and isinstance(plan.pull or plan.push, Everything):
        named = references.needed_by(context.repo, Committed())
        chosen |= {sha: paths for sha, paths in named.items() if sha in chosen}
    return chosen
