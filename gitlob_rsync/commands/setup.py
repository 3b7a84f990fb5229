"""gitlob-setup: configures a repository, or checks its configuration."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial

from gitlob_rsync import config, progress
from gitlob_rsync.commands.common import Parser, add_verbosity, guard
from gitlob_rsync.errors import ExitCode, GitlobError
from gitlob_rsync.git.repo import Repo, check_version
from gitlob_rsync.jobs import hook_files, hooks, hooks_report, setup, track
from gitlob_rsync.jobs.hooks import Step
from gitlob_rsync.location import FORMS, Location, Remote
from gitlob_rsync.progress import Meter
from gitlob_rsync.transport.base import NotAStore

PROGRAM = "gitlob-setup"
DESCRIPTION = """\
Configure the filter in this repository and, with REMOTE and LOCATION, the store of a remote.
"""
EPILOG = f"""\
LOCATION is {FORMS}

examples:
  gitlob-setup origin nas:/srv/binaries --track '*.png' '*.psd' --hooks
  gitlob-setup --check                      report what is wrong, and how to fix it
  gitlob-setup --global                     the filter only, for all repositories of this user

"""


def main() -> int:
    return guard(PROGRAM, run)


def make_parser() -> Parser:
    parser = Parser(PROGRAM, DESCRIPTION, EPILOG)
    parser.add_argument("remote", metavar="REMOTE", nargs="?", help="the git remote that the store belongs to")
    parser.add_argument("location", metavar="LOCATION", nargs="?", help="where the store is, or will be (see below)")
    store = parser.add_mutually_exclusive_group()
    store.add_argument(
        "--create", action="store_true", help="create a store at LOCATION now, instead of at the first push"
    )
    store.add_argument(
        "--adopt", action="store_true", help="accept the store found at LOCATION, even if another one was expected"
    )
    parser.add_argument(
        "--shared",
        choices=("group",),
        help="create a store that all accounts of its folder's group can push to",
    )
    parser.add_argument(
        "--track", metavar="PATTERN", nargs="+", action="extend", default=[],
        help="keep matching files as binaries: add lines to .gitattributes in the current folder",
    )  # fmt: skip
    parser.add_argument(
        "--hooks", action="store_true", help="install hooks: git push sends binaries first; prefetch (git-lob.prefetch)"
    )
    parser.add_argument(
        "--global", dest="for_user", action="store_true", help="configure the filter for all of the user's repositories"
    )
    parser.add_argument("--uninstall", action="store_true", help="remove filter and hooks; keep stores and remotes")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; check git, rsync, filter, hooks and the remote"
    )
    parser.add_argument("--force", action="store_true", help="replace another program's filter.lob setting")
    parser.add_argument("-n", "--dry-run", action="store_true", help="report what would be done; change nothing")
    add_verbosity(parser)
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the options and check their combination. Exits with a message for wrong usage, as argparse does."""
    parser = make_parser()
    given = parser.parse_args(argv)
    store = given.create or given.adopt or given.shared
    if given.remote and not given.location and not given.check and not store:
        parser.error("REMOTE needs a LOCATION")
    if store and not given.remote:
        parser.error("--create, --adopt and --shared need a REMOTE")
    if given.shared and given.adopt:
        parser.error("--shared creates a store; it cannot be combined with --adopt")
    if given.check and (given.location or given.track or given.hooks or given.for_user or given.uninstall or store):
        parser.error("--check changes nothing; it can only be combined with REMOTE")
    if given.uninstall and (given.remote or given.track or given.hooks):
        parser.error("--uninstall can only be combined with --global")
    if given.for_user and (given.remote or given.track or given.hooks):
        parser.error("--global configures the filter only")
    return given


def run(argv: Sequence[str]) -> int:
    given = parse(argv)
    meter = progress.make_meter(PROGRAM, "none", quiet=given.quiet, verbose=given.verbose)
    check_version()
    repo = None if given.for_user else Repo.discover()
    if given.check:
        assert repo
        return check(repo, given.remote, meter)
    remarks: list[str] = []
    steps = _uninstall(repo) if given.uninstall else _install(repo, given, meter, remarks)
    for step, done in steps:
        if not given.dry_run:
            done()
        meter.say(f"would: {step}" if given.dry_run else step)
    for remark in remarks:
        meter.warn(remark)
    if not given.uninstall:
        for key, value in setup.FilterSetup.settings().items():
            meter.detail(f"{key} = {value}")
    return ExitCode.DONE


def _install(repo: Repo | None, given: argparse.Namespace, meter: Meter, remarks: list[str]) -> list[Step]:
    """All steps, checked before the first is taken; remarks for the user are added to `remarks`."""
    own = setup.FilterSetup(repo)
    if not given.force:
        own.check_own()
    scope = "of this repository" if repo else "of this user"
    steps: list[Step] = [
        (f"filter: git's configuration {scope} starts {setup.program('gitlob-filter')}", own.configure)
    ]
    place = setup.remote_location(given.remote, given.location) if repo and given.location else None
    if repo and (given.create or given.adopt or given.shared):
        # first, so that a location that is refused is not configured
        what = "adopted" if given.adopt else f"created{' for its group' if given.shared else ''}"
        steps.append((f"store: the store of {given.remote} is {what}", partial(_stores, repo, given, place, meter)))
    if repo and place:
        steps.append(
            (
                f"store: the store of {given.remote} is at {place}",
                partial(setup.configure_remote, repo, given.remote, place),
            )
        )
    if repo and given.track:
        plan = track.plan(repo, given.track)
        if plan.lines:
            steps.append(
                (f"track: {plan.path}: {'; '.join(plan.lines)}", lambda: setup.add_lines(plan.path, plan.lines))
            )
        remarks += [f"track: {remark}" for remark in plan.remarks]
    if repo and given.hooks:
        program = setup.program("gitlob-sync")
        for name in hook_files.SCRIPTS:
            words, put = hooks.installation(repo, name, program)
            steps.append((f"hook: {words}", put))
    return steps


def _stores(repo: Repo, given: argparse.Namespace, place: Location | None, meter: Meter) -> None:
    """Create the store of a remote, or adopt an existing one; `place`: its new location, if one is given."""
    from gitlob_rsync.jobs.connection import Connection
    from gitlob_rsync.jobs.context import Context
    from gitlob_rsync.store.local import Stores

    settings = config.Settings.load(repo)
    if place:
        former = settings.remotes.get(given.remote)
        remote = Remote(given.remote, place, former.identity if former else None)
    else:
        remote = settings.remote(given.remote)
    with Connection(Context(repo, Stores.load(repo), settings, meter), remote) as connection:
        shown = connection.adopt() if given.adopt else connection.create(shared=bool(given.shared))
    if remote.name and remote.identity and remote.identity != shown:
        setup.configure_identity(repo, remote.name, shown)


def _uninstall(repo: Repo | None) -> list[Step]:
    own = setup.FilterSetup(repo)
    own.check_own()

    def remove() -> None:
        own.remove()
        if repo:
            hooks.forget(repo)

    steps: list[Step] = [("filter: removed from git's configuration", remove)]
    if repo:
        found = [step for name in hook_files.SCRIPTS for step in hooks.removals(repo, name)]
        steps += [(f"hook: {words}", take) for words, take in found]
    return steps


def check(repo: Repo, word: str | None, meter: Meter) -> int:
    """Check all that has to be in place, and print a line for each; returns the exit code of the worst failure."""
    from gitlob_rsync.transport import choose

    worst = ExitCode.DONE

    def look(what: str, how: Callable[[], str]) -> None:
        nonlocal worst
        try:
            meter.say(f"ok: {what}: {how()}")
        except GitlobError as error:
            meter.warn(f"WRONG {what}: {error.line()}")
            worst = max(worst, ExitCode(error.exit_code))

    look("git", setup.git_version)
    look("rsync", choose.rsync_version)
    look("filter", lambda: setup.FilterSetup(repo).check(config.Settings.load(repo).has_filter))
    look("hook", lambda: hooks_report.report(repo, "pre-push"))
    look("remote", lambda: _remote(repo, word))
    return worst


def _remote(repo: Repo, word: str | None) -> str:
    from gitlob_rsync.jobs.connection import Connection
    from gitlob_rsync.jobs.context import Context
    from gitlob_rsync.store.local import Stores

    settings = config.Settings.load(repo)
    remote = settings.remote(word)
    with Connection(Context(repo, Stores.load(repo), settings, Meter(PROGRAM)), remote) as connection:
        try:
            shown = connection.identify()
            if connection.is_new:
                return f"{remote} can be reached; its folder is empty: the first push creates the store"
        except NotAStore:
            return f"{remote} can be reached; there is no store yet: the first push creates it"
        undeletable = connection.probe()
    purge = f"; files cannot be deleted, so it cannot be purged ({undeletable})" if undeletable else ""
    given = f"its identity is {shown}" if shown else "the next push gives it an identity"
    return f"{remote} can be reached and written to; {given}{purge}"
