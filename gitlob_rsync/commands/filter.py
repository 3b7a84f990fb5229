"""gitlob-filter: the filter that git starts; it can also be run by hand."""

import fcntl
import os
import select
import signal
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import IO, TYPE_CHECKING

from gitlob_rsync import placeholder
from gitlob_rsync.commands.common import Parser, guard
from gitlob_rsync.errors import ExitCode, GitlobError, UsageError, printable
from gitlob_rsync.filter.convert import NEAR, STDIN, Filter, split_placeholder
from gitlob_rsync.filter.server import Server
from gitlob_rsync.filter.supply import Origin, Source, Supply
from gitlob_rsync.git.paths import quote
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.plain_files import BLOCK
from gitlob_rsync.store import locks
from gitlob_rsync.store.local import Stores

if TYPE_CHECKING:
    from gitlob_rsync.config import Settings
    from gitlob_rsync.location import Remote

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
        supply = Supply(filter, _Sources(repo, stores, for_git=given.direction == "process").find)
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


def _shown(path: str) -> str:
    return STDIN if path == "-" else quote(os.fsencode(path))


def _print(text: str) -> None:
    print(printable(f"{PROGRAM}: {' '.join(text.split())}"), file=sys.stderr, flush=True)


def _blocks(source: IO[bytes]) -> Iterable[bytes]:
    while block := source.read(BLOCK):
        yield block


class _Sources:
    """Finds the source of missing binaries; again whenever git checks out something else, or has written the team's
    file."""

    def __init__(self, repo: Repo, stores: Stores, *, for_git: bool) -> None:
        self._repo = repo
        self._stores = stores
        self._for_git = for_git
        self._found: tuple[object, Source] | None = None

    def find(self, origin: Origin) -> Source:
        now = (origin, self._stamp())
        if not self._found or self._found[0] != now:
            self._found = (now, _source(self._repo, self._stores, origin, for_git=self._for_git))
        return self._found[1]

    def _stamp(self) -> tuple[int, ...] | None:
        from gitlob_rsync.config import TEAM_FILE

        try:
            found = os.lstat(os.path.join(self._repo.work_tree or self._repo.git_dir, TEAM_FILE))
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns


def _source(repo: Repo, stores: Stores, origin: Origin, *, for_git: bool) -> Source:
    # imported only for a download: it takes longer than the clean or smudge of a small file
    from gitlob_rsync.config import Settings

    way = "gitlob-sync --checkout" if repo.work_tree else "gitlob-sync --pull"
    try:
        settings = Settings.load(repo, *([origin.treeish] if origin.treeish else []))
    except GitlobError as error:
        must_have = repo.run("config", "--get", "git-lob.on-missing", ok=(0, 1)).strip() == b"fail"
        return Source(None, error.line(), must_have, f"{way} fetches it")
    default, failure = None, None
    try:
        default = settings.remote(None)
    except UsageError as error:
        failure = error
    remotes = _remotes(repo, settings, origin, default)
    if remotes:
        hint = way if remotes[0] == default else f"{way} {remotes[0].name}"
    elif settings.remotes:
        hint = f"{way} REMOTE"
    else:
        hint = f"{way}, after gitlob-setup REMOTE LOCATION,"
    hint += " fetches it"
    # git does not tell a filter where a merge or a cherry-pick takes commits from
    if remotes and (others := sorted(settings.remotes.keys() - {remote.name for remote in remotes})):
        hint += f", or {' or '.join(f'{way} {name}' for name in others)}, if it comes from there"
    if not settings.autofetch:
        return Source(None, "git-lob.autofetch is off", settings.must_have, hint, final=True)
    if not remotes:
        return Source(_from_origins(stores, settings), str(failure), settings.must_have, hint)
    failures: list[GitlobError] = []

    def download(shas: Collection[Sha]) -> str:
        from gitlob_rsync.jobs.connection import Connection
        from gitlob_rsync.jobs.context import Context
        from gitlob_rsync.jobs.pull import fetch
        from gitlob_rsync.progress import Silent

        context = Context(repo, stores, settings, Silent(PROGRAM))
        left = set(shas)
        for remote in list(remotes):
            alive = _while_git_lives() if for_git else nullcontext()
            try:
                with alive, Connection(context, remote) as connection:
                    left -= fetch(connection, sorted(left))
            except GitlobError as error:
                failures.append(error)
                remotes.remove(remote)  # one attempt, not one for each file
            if not left:
                return ""
        if failures and not remotes:
            raise failures[0]
        return str(failures[0]) if failures else ""

    return Source(download, "", settings.must_have, hint)


def _remotes(repo: Repo, settings: "Settings", origin: Origin, default: "Remote | None") -> "list[Remote]":
    """The remotes to ask, in order: first those that the checked-out commits come from, as far as git shows it (the branch
    is configured to track one, or a remote-tracking branch points at the commit), then the default one."""
    names: list[str | None] = []
    if len(settings.remotes) > 1:
        known = settings.git_remotes
        if origin.ref.startswith("refs/heads/"):
            names.append(settings.named(known.remote_of(origin.ref.removeprefix("refs/heads/")) or ""))
        if origin.treeish:
            said = repo.run("for-each-ref", "--format=%(refname)", f"--points-at={origin.treeish}")
            refs = [line.decode(errors="surrogateescape") for line in said.split(b"\n") if line]
            names += [name for ref in refs for name in known.tracked_by(ref)]
    found = [settings.remotes[name] for name in dict.fromkeys(names) if name in settings.remotes]
    if default and default not in found:
        found.append(default)
    return found


def _from_origins(stores: Stores, settings: "Settings") -> "Callable[[Collection[Sha]], str] | None":
    """A source for when no remote has a store: the repositories on this machine that remotes point at; None if there are
    none."""
    if settings.remotes or settings.wrong_remotes:
        return None
    with_origins = stores.with_origins(settings.git_remotes.every_url)

    def bring(shas: Collection[Sha]) -> str:
        for sha in shas:
            with_origins.obtain(sha)
        return ""

    return bring if with_origins.lenders != stores.lenders else None


@contextmanager
def _while_git_lives() -> Iterator[None]:
    """Stop (SIGTERM to ourselves) if git is killed while it waits for a download in the block, instead of going on for
    hours: its end of our standard input closes then. Checked by a timer, not a thread, since rsync is started by a fork."""
    poll = select.poll()
    poll.register(0, 0)  # hang-ups only

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
