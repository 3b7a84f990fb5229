"""Where a checkout's missing binaries come from: which remotes to ask, in which order, and what to do without one."""

import os
import select
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext

from gitlob_rsync.config import TEAM_FILE, Settings
from gitlob_rsync.errors import GitlobError, UsageError
from gitlob_rsync.filter.supply import Origin, Source
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.location import Remote
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.store.local import Stores

_PROGRAM = "gitlob-filter"


class Sources:
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
        try:
            found = os.lstat(os.path.join(self._repo.work_tree or self._repo.git_dir, TEAM_FILE))
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns


def _source(repo: Repo, stores: Stores, origin: Origin, *, for_git: bool) -> Source:
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
    hint = _hint(way, settings, remotes, default)
    if not settings.autofetch:
        return Source(None, "git-lob.autofetch is off", settings.must_have, hint, final=True)
    if not remotes:
        return Source(_from_origins(stores, settings), str(failure), settings.must_have, hint)
    return Source(_downloader(repo, stores, settings, remotes, for_git=for_git), "", settings.must_have, hint)


def _hint(way: str, settings: Settings, remotes: list[Remote], default: Remote | None) -> str:
    """What fetches the missing binaries later, and from where. `way`: the command."""
    if not remotes:
        return (
            f"{way} REMOTE fetches it" if settings.remotes else f"{way}, after gitlob-setup REMOTE LOCATION, fetches it"
        )
    hint = f"{way} fetches it" if remotes[0] == default else f"{way} {remotes[0].name} fetches it"
    # git does not tell a filter where a merge or a cherry-pick takes commits from
    if others := sorted(settings.remotes.keys() - {remote.name for remote in remotes}):
        hint += f", or {' or '.join(f'{way} {name}' for name in others)}, if it comes from there"
    return hint


def _downloader(
    repo: Repo, stores: Stores, settings: Settings, remotes: list[Remote], *, for_git: bool
) -> Callable[[Collection[Sha]], str]:
    """The function that asks the remotes, one after the other, for binaries (Source.download)."""
    failures: list[GitlobError] = []

    def download(shas: Collection[Sha]) -> str:
        from gitlob_rsync.jobs.connection import Connection
        from gitlob_rsync.jobs.context import Context
        from gitlob_rsync.jobs.pull import fetch
        from gitlob_rsync.progress import Silent

        context = Context(repo, stores, settings, Silent(_PROGRAM))
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

    return download


def _remotes(repo: Repo, settings: Settings, origin: Origin, default: Remote | None) -> list[Remote]:
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


def _from_origins(stores: Stores, settings: Settings) -> Callable[[Collection[Sha]], str] | None:
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
