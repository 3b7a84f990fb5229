"""gitlob-filter: git's side. Started by git, usable by hand."""

import sys
from collections.abc import Sequence

from gitlob_rsync.commands.common import Parser, guard, printable
from gitlob_rsync.errors import ExitCode

PROGRAM = "gitlob-filter"
DESCRIPTION = """\
Turn content into a placeholder and a binary in the store (clean), or a placeholder into content (smudge).

Reads standard input, writes standard output. Git starts it where gitlob-setup configured it.
"""


def main() -> int:
    return guard(PROGRAM, run)


def run(argv: Sequence[str]) -> int:
    parser = Parser(PROGRAM, DESCRIPTION)
    parser.add_argument("direction", choices=("clean", "smudge"), help="which way")
    parser.add_argument("path", metavar="PATH", nargs="?", default="-", help="the file's path, for messages")
    given = parser.parse_args(argv)
    from gitlob_rsync import config, filter, git

    repo = git.Repo.discover()
    settings = config.Settings.load(repo)
    store, shared = settings.store(repo), settings.shared()
    source, output = sys.stdin.buffer, sys.stdout.buffer
    if given.direction == "clean":
        filter.clean(store, shared, source, output)
    elif sha := filter.smudge(store, shared, source, output):
        text = f"{PROGRAM}: {given.path}: binary {sha} is not here; its placeholder stays (gitlob-sync --checkout)"
        print(printable(text), file=sys.stderr)
    output.flush()
    return ExitCode.DONE
