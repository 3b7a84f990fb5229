"""gitlob-fsck: hashes every binary of the local store, sets damaged ones aside, and repairs them."""

import argparse
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING

from gitlob_rsync.commands.common import Parser, add_lock_wait, add_verbosity, guard
from gitlob_rsync.errors import GitlobError, RemoteError, UsageError

if TYPE_CHECKING:
    from gitlob_rsync.config import Settings
    from gitlob_rsync.location import Remote

PROGRAM = "gitlob-fsck"
DESCRIPTION = """\
Hash every binary of this repository's store; report what is damaged, incomplete, misplaced or foreign, and what needs it.

Damaged binaries are moved to a quarantine folder beside the store.
"""
EPILOG = """\
REMOTE is a git remote that has a store (by default the tracked one, origin, or the only one), or a location.

examples:
  gitlob-fsck                  hash everything; set damaged binaries aside
  gitlob-fsck --repair         and restore them, from the shared store or the remote
  gitlob-fsck --fast --remote  presence and sizes only, locally and at the remote
  gitlob-fsck -n               report only

"""


def main() -> int:
    return guard(PROGRAM, run)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(PROGRAM, DESCRIPTION, EPILOG)
    parser.add_argument(
        "remote", metavar="REMOTE", nargs="?", help="the remote to check, or to repair from (see below)"
    )
    parser.add_argument("--fast", action="store_true", help="presence and sizes only; hash nothing")
    parser.add_argument(
        "--repair", action="store_true",
        help="restore binaries that are damaged or incomplete and needed by a commit or an index",
    )  # fmt: skip
    parser.add_argument(
        "--remote", dest="at_remote", action="store_true",
        help="list binaries that commits need and the remote lacks; downloads no content",
    )  # fmt: skip
    parser.add_argument("-n", "--dry-run", action="store_true", help="report what is wrong; change nothing")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument(
        "--progress", choices=("auto", "bar", "plain", "none"), default="auto", help="how to show progress (auto)"
    )
    add_lock_wait(parser)
    add_verbosity(parser)
    given = parser.parse_args(argv)
    if given.remote and not (given.at_remote or given.repair):
        parser.error("REMOTE requires --remote or --repair")
    return given


def run(argv: Sequence[str]) -> int:
    given = parse(argv)
    # imported only now, so that --help is quick
    from gitlob_rsync.commands import fsck_report
    from gitlob_rsync.commands.open_context import open_context, warn_shallow
    from gitlob_rsync.jobs.check_remote import compare
    from gitlob_rsync.jobs.connection import Connection
    from gitlob_rsync.jobs.fsck import Fsck
    from gitlob_rsync.jobs.repair import Repair
    from gitlob_rsync.store import locks

    started = time.monotonic()
    context = open_context(PROGRAM, given)
    repo, stores, settings, meter = context.repo, context.stores, context.settings, context.meter
    remote = _remote(given, settings)
    fsck = Fsck(repo, stores, meter, fast=given.fast, dry_run=given.dry_run)
    report, comparison = fsck.report, None

    def using(needed: bool) -> AbstractContextManager[None]:
        """Keep purges out while files are moved or restored, but not while everything is hashed."""
        what = " ".join([PROGRAM, *argv])
        return locks.using(stores.own, what, settings.lock_wait) if needed and not given.dry_run else nullcontext()

    suspects = fsck.scan()
    with using(bool(suspects)):
        fsck.diagnose(suspects)
    with ExitStack() as stack:
        connection: Connection | UsageError
        if not isinstance(remote, UsageError):
            connection = stack.enter_context(Connection(context, remote))
        else:
            connection = remote
        if given.repair and not given.dry_run:
            with using(bool(report.findings)):
                Repair(fsck, connection).run()
        unreachable = any(isinstance(error, RemoteError) for error in report.failures)
        if given.at_remote and isinstance(connection, Connection) and not unreachable:
            try:
                comparison = compare(repo, stores, connection, [f.sha for f in report.findings if not f.repaired])
            except GitlobError as error:
                report.fail(error)
    if report.findings or comparison:
        warn_shallow(context)
    result = fsck_report.Result(
        report, given, None if isinstance(remote, UsageError) else remote, comparison, stores.own.root,
        fsck.quarantine.path, round(time.monotonic() - started, 3),
    )  # fmt: skip
    fsck_report.print_result(result, meter)
    return result.exit_code


def _remote(given: argparse.Namespace, settings: "Settings") -> "Remote | UsageError":
    """The remote; if it was not requested explicitly, the error instead, since it may turn out not to be needed."""
    try:
        return settings.remote(given.remote)
    except UsageError as error:
        if given.remote or given.at_remote:
            raise
        return error
