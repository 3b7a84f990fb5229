"""gitlob-sync: moves binaries between stores and fills in the working tree."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gitlob_rsync.commands.common import guard
from gitlob_rsync.commands.sync_options import PROGRAM, parse, take_remote
from gitlob_rsync.errors import ExitCode

if TYPE_CHECKING:
    from gitlob_rsync.git.repo import Repo
    from gitlob_rsync.progress import Meter


def main() -> int:
    return guard(PROGRAM, run)


def run(argv: Sequence[str]) -> int:
    given, work = parse(argv)
    # imported only now, so that --help is quick
    from gitlob_rsync import progress
    from gitlob_rsync.commands import pre_push, sync_report
    from gitlob_rsync.commands.open_context import open_context, warn_shallow
    from gitlob_rsync.commands.sync_plan import make_plan
    from gitlob_rsync.git.repo import Repo
    from gitlob_rsync.jobs import background, sync

    if given.stop:
        meter = progress.make_meter(PROGRAM, "none", quiet=given.quiet, verbose=given.verbose)
        return stop(Repo.discover(), meter)
    context = open_context(PROGRAM, given)
    warn_shallow(context)
    if given.pre_push:
        return pre_push.run(given.remote, context)
    take_remote(given, context.settings.remotes)
    plan = make_plan(given, work, context, " ".join([PROGRAM, *argv]))
    if given.list:
        sync_report.print_list(context, plan, as_object=given.json, nul=given.nul)
        return ExitCode.DONE
    if given.background and not background.detach(context.stores.own, plan.title):
        running = background.running(context.repo.folder) or "it has just started"
        context.meter.note(f"another run is already in the background: {running}")
        return ExitCode.DONE
    result = sync.sync(context, plan)
    sync_report.print_result(result, context.meter, as_object=given.json)
    return result.exit_code


def stop(repo: "Repo", meter: "Meter") -> int:
    """Stop the run in the background."""
    from gitlob_rsync.jobs import background

    job = background.stop(repo.folder)
    meter.say(f"stopped: {job}" if job else "nothing is running in the background")
    return ExitCode.DONE
