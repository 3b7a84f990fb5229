"""gitlob-filter: the filter that git starts; it can also be run by hand."""

import fcntl
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from gitlob_rsync import placeholder
from gitlob_rsync.commands.common import Parser, guard
from gitlob_rsync.errors import ExitCode, printable
from gitlob_rsync.filter.convert import NEAR, STDIN, Filter, split_placeholder
from gitlob_rsync.filter.server import Server
from gitlob_rsync.filter.supply import Origin, Source, Supply
from gitlob_rsync.git.paths import quote
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.plain_files import BLOCK
from gitlob_rsync.store import locks
from gitlob_rsync.store.local import Stores

if TYPE_CHECKING:
    from gitlob_rsync.jobs.checkout_source import Sources

PROGRAM = "gitlob-filter"
DESCRIPTION = """\
Turn content into a placeholder and a binary in the store (clean), or a placeholder into content (smudge).

Reads standard input, writes standard output. Git starts it as gitlob-setup configured it: one `process` for all
files of a git command. A smudge of a binary that is missing from the local store fetches it from the remote that the
checked-out commits come from, otherwise from the default remote.
"""


def main() -> int:
    return guard(PROGRAM, run)


def run(argv: Sequence[str]) -> int:
    parser = Parser(PROGRAM, DESCRIPTION)
    parser.add_argument(
        "direction", choices=("clean", "smudge", "process"), help="what to do; process: git's filter protocol"
    )
    parser.add_argument("path", metavar="PATH", nargs="?", default="-", help="the file's path")
    given = parser.parse_args(argv)
    repo = Repo.discover()
    stores = Stores.load(repo)
    for number in (0, 1):
        with suppress(OSError, AttributeError):  # a larger pipe: fewer switches between git and us
            fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, 1 << 20)
    with (
        open(0, "rb", buffering=1 << 17, closefd=False) as source,
        open(1, "wb", buffering=1 << 17, closefd=False) as output,
        locks.using(stores.own, f"{PROGRAM} {given.direction}"),
        Filter(stores) as filter,
    ):

        def may_be_near() -> bool:
            return repo.run("config", "--type=bool", "--get", NEAR, ok=(0, 1)).strip() == b"true"

        if given.direction != "process" and placeholder.has_none(os.fsencode(given.path)):
            output.writelines(_blocks(source))
            return ExitCode.DONE
        if given.direction == "clean":
            output.write(filter.clean(_blocks(source), _shown(given.path), may_be_near))
            return ExitCode.DONE
        supply = Supply(filter, _find_source(repo, stores, for_git=given.direction == "process"))
        if given.direction == "process":
            to_git = Server(supply, source, output, may_be_near)
            to_git.serve()
            for line in to_git.told:
                _print(line)
        else:
            _smudge(supply, source, output)
    if supply.waiting:
        files = "1 file waits" if supply.waiting == 1 else f"{supply.waiting} files wait"
        _print(f"{files} for content: {supply.reason}")
        if supply.must_have and given.direction == "smudge":
            return ExitCode.INCOMPLETE
    return ExitCode.DONE


def _find_source(repo: Repo, stores: Stores, *, for_git: bool) -> Callable[[Origin], Source]:
    sources: Sources | None = None

    def find(origin: Origin) -> Source:
        # imported only where something is missing: it takes longer than the clean or smudge of a small file
        from gitlob_rsync.jobs.checkout_source import Sources

        nonlocal sources
        sources = sources or Sources(repo, stores, for_git=for_git)
        return sources.find(origin)

    return find


def _shown(path: str) -> str:
    return STDIN if path == "-" else quote(os.fsencode(path))


def _print(text: str) -> None:
    print(printable(f"{PROGRAM}: {' '.join(text.split())}"), file=sys.stderr, flush=True)


def _blocks(source: IO[bytes]) -> Iterable[bytes]:
    while block := source.read(BLOCK):
        yield block


def _smudge(supply: Supply, source: IO[bytes], output: IO[bytes]) -> None:
    """Write one file's content, or its placeholder if the content is not available."""
    sha, start, rest = split_placeholder(_blocks(source))
    if sha is None:
        output.write(start)
        output.writelines(rest)
        return
    content = supply.filter.load(sha)
    if content is None:
        supply.bring([sha])
        content = supply.load(sha)
    output.writelines([start] if content is None else content)
