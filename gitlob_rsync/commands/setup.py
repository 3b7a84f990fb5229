"""gitlob-setup: configures a repository."""

from collections.abc import Sequence

from gitlob_rsync.commands.common import Parser, add_verbosity, guard, printable
from gitlob_rsync.errors import ExitCode

PROGRAM = "gitlob-setup"
DESCRIPTION = """\
Configure the filter in this repository and, with REMOTE and LOCATION, the store of a remote.

Which files are kept as binaries, .gitattributes says:  *.png filter=lob -text
"""
EPILOG = """\
LOCATION is PATH, HOST:PATH, ssh://HOST:PORT/PATH, rsync://HOST:PORT/MODULE/PATH or HOST::MODULE/PATH

examples:
  gitlob-setup origin nas:/srv/binaries
  gitlob-setup                              the filter alone

"""


def main() -> int:
    return guard(PROGRAM, run)


def run(argv: Sequence[str]) -> int:
    parser = Parser(PROGRAM, DESCRIPTION, EPILOG)
    parser.add_argument("remote", metavar="REMOTE", nargs="?", help="the git remote that the store belongs to")
    parser.add_argument("location", metavar="LOCATION", nargs="?", help="where the store is, or shall be (see below)")
    parser.add_argument("--force", action="store_true", help="replace another program's filter.lob setting")
    add_verbosity(parser)
    given = parser.parse_args(argv)
    if given.remote and not given.location:
        parser.error("REMOTE needs a LOCATION")
    from gitlob_rsync import git, install, progress

    meter = progress.make_meter(PROGRAM, "none", quiet=given.quiet, verbose=given.verbose)
    git.check_version()
    repo = git.Repo.discover()
    if not given.force:
        install.check_filter(repo)
    done = install.configure_remote(repo, given.remote, given.location) if given.remote else install.Setup(None)
    install.configure_filter(repo)
    store = f"; the store of {given.remote} is at {done.location}" if done.location else ""
    meter.say(printable(f"the filter is configured{store}"))
    if not done.has_url:
        url = f"git remote set-url {given.remote} URL"
        meter.say(printable(f"{given.remote} has no URL for git itself ({url} gives it one)"))
    return ExitCode.DONE
