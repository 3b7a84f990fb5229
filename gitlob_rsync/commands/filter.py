"""gitlob-filter: git's side. Started by git, usable by hand."""

import fcntl
import os
import select
import signal
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import IO, TYPE_CHECKING

from gitlob_rsync import git, lock, placeholder, serve
from gitlob_rsync.commands.common import Parser, guard
from gitlob_rsync.errors import ExitCode, GitlobError, UsageError, printable
from gitlob_rsync.filter import NEAR, Filter, split_placeholder
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.store import BLOCK
from gitlob_rsync.stores import Stores

if TYPE_CHECKING:
    from gitlob_rsync.config import Settings

PROGRAM = "gitlob-filter"
DESCRIPTION = """\
Turn content into a placeholder and a binary in the store (clean), or a placeholder into content (smudge).

Reads standard input, writes standard output. Git starts it where gitlob-setup configured it: one `process` for all
files of a git command. A smudge of a binary that is not here brings it from the default remote.
"""


def main() -> int:
    return guard(PROGRAM, run)


def run(argv: Sequence[str]) -> int:
    parser = Parser(PROGRAM, DESCRIPTION)
    parser.add_argument("direction", choices=("clean", "smudge", "process"), help="which way; process: git's protocol")
    parser.add_argument("path", metavar="PATH", nargs="?", default="-", help="the file's path")
    given = parser.parse_args(argv)
    repo = git.Repo.discover()
    stores = Stores.load(repo)
    for number in (0, 1):
        with suppress(OSError, AttributeError):  # a larger pipe: fewer changes between git and us
            fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, 1 << 20)
    with (
        open(0, "rb", buffering=1 << 17, closefd=False) as source,
        open(1, "wb", buffering=1 << 17, closefd=False) as output,
        lock.using(stores.own, f"{PROGRAM} {given.direction}"),
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
        supply = serve.Supply(filter, lambda: _source(repo, stores, for_git=given.direction == "process"))
        if given.direction == "process":
            server = serve.Server(supply, source, output, may_be_near)
            server.serve()
            for line in server.told:
                _tell(line)
        else:
            _smudge(supply, source, output)
    if supply.waiting:
        files = "1 file waits" if supply.waiting == 1 else f"{supply.waiting} files wait"
        _tell(f"{files} for content: {supply.reason} (gitlob-sync --checkout brings it)")
        if supply.must_have and given.direction == "smudge":
            return ExitCode.INCOMPLETE
    return ExitCode.DONE


def _shown(path: str) -> str:
    return "standard input" if path == "-" else git.quote(os.fsencode(path))


def _tell(text: str) -> None:
    print(printable(f"{PROGRAM}: {' '.join(text.split())}"), file=sys.stderr, flush=True)


def _blocks(source: IO[bytes]) -> Iterable[bytes]:
    while block := source.read(BLOCK):
        yield block


def _source(repo: git.Repo, stores: Stores, *, for_git: bool) -> serve.Source:
    # what a download needs is loaded only now: it costs more than a small file's clean or smudge
    from gitlob_rsync.config import Settings

    try:
        settings = Settings.load(repo)
    except GitlobError as error:
        must_have = repo.run("config", "--get", "git-lob.on-missing", ok=(0, 1)).strip() == b"fail"
        return serve.Source(None, error.line(), must_have)
    if not settings.autofetch:
        return serve.Source(None, "git-lob.autofetch is off", settings.must_have)
    try:
        remote = settings.remote(None)
    except UsageError as error:
        return serve.Source(_from_origins(repo, stores, settings), str(error), settings.must_have)

    def download(shas: Collection[Sha]) -> None:
        from gitlob_rsync.connection import Connection
        from gitlob_rsync.progress import Silent
        from gitlob_rsync.pull import fetch

        alive = _while_git_lives() if for_git else nullcontext()
        with alive, Connection(repo, stores, settings, remote, Silent(PROGRAM)) as connection:
            fetch(connection, shas)

    return serve.Source(download, must_have=settings.must_have)


def _from_origins(repo: git.Repo, stores: Stores, settings: "Settings") -> "Callable[[Collection[Sha]], None] | None":
    """Where no remote has a store: what the repositories on this machine have that remotes are at."""
    if settings.remotes or settings.wrong_remotes:
        return None
    with_origins = stores.with_origins(repo)

    def bring(shas: Collection[Sha]) -> None:
        for sha in shas:
            with_origins.obtain(sha)

    return bring if with_origins.lenders != stores.lenders else None


@contextmanager
def _while_git_lives() -> Iterator[None]:
    """Git waits while something is downloaded. Where it is killed, its end of our standard input closes, and we are to
    stop too (SIGTERM to ourselves) instead of downloading for hours for nobody. A timer looks, and no thread: rsync is
    started by a fork."""
    poll = select.poll()
    poll.register(0, 0)  # a hang-up alone

    def look(*_: object) -> None:
        if poll.poll(0):
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _smudge(supply: serve.Supply, source: IO[bytes], output: IO[bytes]) -> None:
    """One file: its content, or its placeholder where the content cannot be had."""
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
