"""gitlob-purge: deletes binaries that nothing needs, from the local store or a remote one."""

import argparse
import time
from collections.abc import Sequence

from gitlob_rsync import age
from gitlob_rsync.commands.common import (
    CONFIGURED,
    Parser,
    add_lock_wait,
    add_timeout,
    add_verbosity,
    guard,
    split_window,
)

PROGRAM = "gitlob-purge"
DESCRIPTION = """\
Delete binaries from this repository's store that are no longer needed.

It keeps what states in the retention window, indexes, stashes and unpushed commits need, what is younger than the grace
time, and what the remote lacks. Commits, placeholders and files in the working tree are not touched.
"""
EPILOG = """\
AGE is 12h, 30d, 2w, 6mo, 1y, a bare number of days, or all.

examples:
  gitlob-purge -n                  report what would be purged, what is kept, and why
  gitlob-purge --window 90d        keep what states of the last 90 days need
  gitlob-purge --unreferenced      only what no commit, index or stash needs
  gitlob-purge --remote-store      at the remote: move what no clone needs to a trash folder
  gitlob-purge --remote-store --forget-list NAME     the same, ignoring the list of a clone that no longer exists

"""


def main() -> int:
    return guard(PROGRAM, run)


def make_parser() -> Parser:
    parser = Parser(PROGRAM, DESCRIPTION, EPILOG)
    parser.add_argument("remote", metavar="REMOTE", nargs="?", help="the remote that must have what is purged")
    parser.add_argument(
        "--window", metavar="AGE", nargs="?", const=CONFIGURED,
        help="keep what states of the last AGE need (git-lob.retention-period-*), at least what a prefetch pulls",
    )  # fmt: skip
    parser.add_argument("--unreferenced", action="store_true", help="only what no ref, reflog, index or stash needs")
    parser.add_argument("--grace", metavar="AGE", help="keep binaries younger than this (git-lob.prune-grace, 1d)")
    parser.add_argument(
        "--no-verify-remote", action="store_true", help="do not ask the remote; trust the record of what was pushed"
    )
    parser.add_argument(
        "--remote-store", action="store_true",
        help="purge the remote's store instead: move binaries that no clone's list names to its trash",
    )  # fmt: skip
    parser.add_argument(
        "--forget-list",
        metavar="NAME",
        help="with --remote-store: first move the list of a clone that no longer exists to the trash",
    )
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="report what would be purged, and why; delete nothing"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    add_timeout(parser)
    add_lock_wait(parser)
    parser.add_argument(
        "--progress", choices=("auto", "bar", "plain", "none"), default="auto", help="how to show progress (auto)"
    )
    add_verbosity(parser)
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = make_parser()
    given = parser.parse_args(split_window(argv))
    if given.remote_store:
        for option in ("window", "unreferenced", "no_verify_remote"):
            if getattr(given, option):
                parser.error(f"--{option.replace('_', '-')} cannot be combined with --remote-store")
    elif given.forget_list is not None:
        parser.error("--forget-list requires --remote-store")
    for option in ("window", "grace"):
        said = getattr(given, option)
        if said not in (None, CONFIGURED) and not age.is_age(said):
            parser.error(f"--{option} {said!r}: {age.FORMS}")
    return given


def run(argv: Sequence[str]) -> int:
    given = parse(argv)
    from gitlob_rsync.commands import purge_report
    from gitlob_rsync.commands.open_context import open_context
    from gitlob_rsync.errors import ExitCode
    from gitlob_rsync.jobs import purge, purge_remote
    from gitlob_rsync.selection.scopes import Window

    context = open_context(PROGRAM, given)
    settings = context.settings
    grace = age.parse(given.grace) if given.grace else settings.prune_grace
    remotes = settings.purge_remotes(given.remote)
    if given.remote_store:
        remote = remotes[0] if len(remotes) == 1 else settings.remote(None)
        done = purge_remote.purge_remote(context, remote, grace, forget=given.forget_list, dry_run=given.dry_run)
        purge_report.print_remote(done, remote, given, context.meter)
        return ExitCode.DONE
    remote_asked = remotes[0] if remotes else None
    window = settings.retention
    if given.window not in (None, CONFIGURED):
        window = Window(*[age.parse(given.window)] * 3)
    plan = purge.PurgePlan(
        purge.retention(window, settings.window), grace, time.time(), unreferenced=given.unreferenced,
        verify=settings.prune_safe and not given.no_verify_remote, dry_run=given.dry_run,
        others=tuple(remotes[1:]),
    )  # fmt: skip
    verdicts = purge.purge(context, remote_asked, plan)
    return purge_report.print_verdicts(verdicts, remote_asked, given, context.meter)
