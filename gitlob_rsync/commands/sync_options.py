"""gitlob-sync's options, and which of them can be combined."""

import argparse
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gitlob_rsync import age, location
from gitlob_rsync.commands.common import CONFIGURED, Parser, add_lock_wait, add_timeout, add_verbosity, split_window
from gitlob_rsync.errors import UsageError

PROGRAM = "gitlob-sync"
DESCRIPTION = """\
Move large binaries between this repository's store and a remote one by rsync, and fill in the working tree.

Without --pull and --push: push what commits refer to, then pull the recent window.
"""
EPILOG = f"""\
AGE is 12h, 30d, 2w, 6mo, 1y, a bare number of days, or all.
REMOTE is a git remote that has a store (by default the tracked one, origin, or the only one), or a location:
  {location.FORMS}

examples:
  gitlob-sync                       push, pull the recent window, fill in the working tree
  gitlob-sync --pull --window 30d   prefetch what the last 30 days of HEAD, branches and tags need
  gitlob-sync --checkout            fetch and fill in what the working tree lacks
  gitlob-sync --complete /mnt/nas   make both stores equal

"""


@dataclass(frozen=True, slots=True)
class Work:
    """The directions of a run. `selection`: the requested one; None for each direction's default."""

    push: bool
    pull: bool
    selection: str | None


def make_parser() -> Parser:
    parser = Parser(PROGRAM, DESCRIPTION, EPILOG)
    parser.add_argument("remote", metavar="REMOTE", nargs="?", help="a git remote or a location (see below)")
    direction = parser.add_argument_group("direction")
    direction.add_argument("--pull", action="store_true", help="fetch binaries from the remote (default: --window)")
    direction.add_argument("--push", action="store_true", help="send binaries to the remote (default: --committed)")
    selection = parser.add_argument_group("selection, one of")
    selection.add_argument("--complete", action="store_true", help="every binary of the store, referenced or not")
    selection.add_argument("--committed", action="store_true", help="all binaries that commits of any ref refer to")
    selection.add_argument(
        "--window", metavar="AGE", nargs="?", const=CONFIGURED,
        help="what states of the last AGE need; without AGE, as configured (git-lob.fetch-*)",
    )  # fmt: skip
    selection.add_argument(
        "--checkout", action="store_true", help="what the index needs; then fill in the working tree"
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--ref", metavar="REF", nargs="+", action="extend", default=[], help="only these refs, however old"
    )
    limits.add_argument("--include", metavar="PATHSPEC", action="append", default=[], help="only these paths")
    limits.add_argument("--exclude", metavar="PATHSPEC", action="append", default=[], help="not these paths")
    what = parser.add_argument_group("what to do")
    what.add_argument(
        "--list",
        action="store_true",
        help="print sha, size (or -) and a path of each selected binary; transfer nothing",
    )
    what.add_argument(
        "-z", dest="nul", action="store_true", help="with --list: end lines with NUL, and do not quote paths"
    )
    what.add_argument("-n", "--dry-run", action="store_true", help="report what would be done; change nothing")
    what.add_argument("--json", action="store_true", help="print the result as one JSON object")
    what.add_argument("--offline", action="store_true", help="with --checkout: use only what is in the local store")
    what.add_argument("--no-expand", action="store_true", help="after a pull, leave the working tree as it is")
    what.add_argument("--restore-missing", action="store_true", help="also fill in files that were deleted")
    what.add_argument("--recheck", action="store_true", help="in a push, ignore the record of what was pushed before")
    what.add_argument(
        "--refetch", action="store_true", help="in a pull, check local binaries, and fetch damaged ones again"
    )
    what.add_argument(
        "--pre-push", action="store_true", help="for git's hook: push what the refs on standard input need"
    )
    how = parser.add_argument_group("how")
    how.add_argument(
        "--background", action="store_true",
        help="continue in the background, one run at a time, and leave the working tree as it is",
    )  # fmt: skip
    how.add_argument("--stop", action="store_true", help="stop the run in the background; what it transferred is kept")
    how.add_argument("--bwlimit", metavar="RATE", help="KiB a second, or with a suffix (500k, 1.5m)")
    add_timeout(how)
    how.add_argument(
        "--progress", choices=("auto", "bar", "plain", "none"), default="auto", help="how to show progress (auto)"
    )
    add_lock_wait(how)
    add_verbosity(how)
    return parser


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, Work]:
    """Parse the options and check their combination. Exits with a message for wrong usage, as argparse does."""
    parser = make_parser()
    given = parser.parse_args(split_window(argv))
    selection = _selection(parser, given)
    _check_modes(parser, given, selection)
    given.push |= given.pre_push
    work = Work(given.push or not (given.pull or given.checkout), given.pull or not given.push, selection)
    _check_limits(parser, given, work)
    return given, work


def _selection(parser: Parser, given: argparse.Namespace) -> str | None:
    """The requested selection, if any."""
    selections = [name for name in ("complete", "committed", "checkout") if getattr(given, name)]
    selections += ["window"] if given.window is not None else []
    if len(selections) > 1:
        parser.error(f"--{selections[0]} and --{selections[1]} exclude each other")
    if given.window not in (None, CONFIGURED) and not age.is_age(given.window):
        parser.error(f"--window {given.window!r}: {age.FORMS}")
    return selections[0] if selections else None


def _check_modes(parser: Parser, given: argparse.Namespace, selection: str | None) -> None:
    """Check the kind of run: git's hook, a background run, the end of one, or a plain run, and its direction."""
    others = ("pull", "list", "dry_run", "json", "ref", "include", "exclude", "recheck", "refetch")
    if given.pre_push and (selection or any(getattr(given, name) for name in others)):
        parser.error("--pre-push is for git's hook; it can only be combined with REMOTE")
    if given.background and (given.list or given.dry_run or given.json or given.pre_push):
        parser.error("--background prints nothing; it cannot be combined with --list, --dry-run, --json or --pre-push")
    usual: tuple[object, ...] = (None, False, [], 0, "auto")
    more = (value for name, value in vars(given).items() if name not in ("stop", "quiet", "verbose"))
    if given.stop and any(value not in usual for value in more):
        parser.error("--stop cannot be combined with other options")
    if given.checkout and (given.push or given.pull):
        parser.error("--checkout pulls what the index needs; it cannot be combined with --push or --pull")
    if given.push and given.pull:
        parser.error("--push and --pull exclude each other; leave both out to do both")


def _check_limits(parser: Parser, given: argparse.Namespace, work: Work) -> None:
    """Check that each option applies to the run."""
    for option, makes_sense, where in (
        ("offline", given.checkout, "--checkout"),
        ("nul", given.list, "--list"),
        ("recheck", work.push, "a push"),
        ("refetch", work.pull and not given.offline, "a pull"),
        ("no_expand", work.pull and not given.checkout, "a pull"),
        ("restore_missing", work.pull and not given.no_expand, "the fix-up of the working tree"),
    ):
        if getattr(given, option) and not makes_sense:
            parser.error(f"{'-z' if option == 'nul' else '--' + option.replace('_', '-')} requires {where}")
    too_many = {"complete": ("ref", "include", "exclude"), "checkout": ("ref",)}
    for option in too_many.get(work.selection or "", ()):
        if getattr(given, option):
            parser.error(f"--{option} cannot be combined with --{work.selection}")


def take_remote(given: argparse.Namespace, remotes: Collection[str]) -> None:
    """Find out which word is the REMOTE, given the names of `remotes`. In `--ref main origin`, the last word is the REMOTE
    if it names one, or cannot be a ref. Raises UsageError for `--window 30x`, which is neither an AGE nor a remote."""
    refs = given.ref
    if given.remote is None and len(refs) > 1 and (refs[-1] in remotes or location.looks_like_location(refs[-1])):
        given.remote = refs.pop()
    if given.window == CONFIGURED and given.remote and given.remote[0].isdigit():
        if given.remote not in remotes and not location.looks_like_location(given.remote):
            raise UsageError(f"{given.remote!r} is neither an AGE nor a remote", age.FORMS)
