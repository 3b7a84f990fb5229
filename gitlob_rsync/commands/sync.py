"""gitlob-sync: moves binaries between stores and fills in the working tree."""

import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from gitlob_rsync.commands.common import CONFIGURED, guard
from gitlob_rsync.commands.sync_options import PROGRAM, parse, remote_behind_refs
from gitlob_rsync.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from gitlob_rsync.git.repo import Repo
    from gitlob_rsync.progress import Meter


def main() -> int:
    return guard(PROGRAM, run)


def run(argv: Sequence[str]) -> int:
    given, work = parse(argv)
    # imported only now, so that --help is quick
    from gitlob_rsync import age, location, progress
    from gitlob_rsync.commands import pre_push, sync_report, sync_scopes
    from gitlob_rsync.commands.open_context import begin
    from gitlob_rsync.git.repo import Repo
    from gitlob_rsync.jobs import background
    from gitlob_rsync.store import locks, staging

    started = time.monotonic()
    if given.stop:
        meter = progress.make_meter(PROGRAM, "none", quiet=given.quiet, verbose=given.verbose)
        return stop(Repo.discover(), meter)
    ground = begin(PROGRAM, given)
    repo, stores, settings, meter = ground.repo, ground.stores, ground.settings, ground.meter
    ground.tell_shallow()
    if given.pre_push:
        return pre_push.run(given.remote, repo, stores, settings, meter)
    if given.checkout and not repo.work_tree:
        raise UsageError(f"{repo.git_dir} has no working tree", "--checkout needs one; --pull does not")
    if given.remote is None:
        given.remote = remote_behind_refs(given.ref, settings.remotes)
    if given.window == CONFIGURED and given.remote and given.remote[0].isdigit():
        if given.remote not in settings.remotes and not location.looks_like_location(given.remote):
            raise UsageError(f"{given.remote!r} is neither an AGE nor a remote", age.FORMS)
    scopes = sync_scopes.Scopes.of(given, work, repo, settings)
    if given.list:
        sync_report.print_list(repo, stores, settings, scopes, given)
        return ExitCode.DONE
    what = " ".join([PROGRAM, *argv])
    if given.background and not background.detach(stores.own, what):
        meter.note(f"another run is in the background: {background.running(repo.folder) or 'it just began'}")
        return ExitCode.DONE
    user = nullcontext() if given.dry_run else locks.using(stores.own, what, settings.lock_wait)
    with sync_scopes.keep_journal(given, work, repo, scopes) as note, user:
        if not given.dry_run:
            with suppress(OSError):  # what is in nobody's way may stay
                staging.sweep(stores.own)
        result = sync_scopes.sync(given, work, ground, scopes, note, what)
    result = replace(result, seconds=round(time.monotonic() - started, 3))
    sync_report.tell(result, meter, as_object=given.json)
    return result.exit_code


def stop(repo: "Repo", meter: "Meter") -> int:
    """End what is in the background."""
    from gitlob_rsync.jobs import background

    job = background.stop(repo.folder)
    meter.say(f"stopped: {job}" if job else "nothing is in the background")
    return ExitCode.DONE
