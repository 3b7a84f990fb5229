"""gitlob-sync --pre-push: what git's hook of that name has us do."""

import sys

from gitlob_rsync import history, journal, lock
from gitlob_rsync.commands.sync_report import tell
from gitlob_rsync.commands.sync_scopes import Result, note_push
from gitlob_rsync.config import Settings
from gitlob_rsync.errors import ExitCode
from gitlob_rsync.git import Repo
from gitlob_rsync.progress import Meter
from gitlob_rsync.stores import Stores
from gitlob_rsync.sync import Syncer


def run(name: str | None, repo: Repo, stores: Stores, settings: Settings, meter: Meter) -> int:
    """Send what the commits on their way need. Standard input is githooks(5)'s: `LOCAL-REF COMMIT REMOTE-REF COMMIT`
    for each ref, with zeros for one that is new or deleted. Any exit code but 0 stops git's push."""
    if name is None or name not in {*settings.remotes, *settings.wrong_remotes}:
        return ExitCode.DONE  # a remote without a store, or a URL
    remote = settings.remote(name)
    lines = [line.split() for line in sys.stdin.read().splitlines()]
    commits = _commits(repo, [line[1] for line in lines if len(line) == 4])
    if not commits:
        return ExitCode.DONE
    known = _commits(repo, [line[3] for line in lines if len(line) == 4]) + history.tracked(repo, name)
    with (
        journal.keeping(repo, remote.location, [journal.PUSH]) as note,
        lock.using(stores.own, "gitlob-sync --pre-push", settings.lock_wait),
        Syncer(repo, stores, settings, remote, meter) as syncer,
    ):
        report = syncer.push_commits(commits, known)
        if report.selected:
            note_push(note, report)
    result = Result(report, remote, False, pushed=report)
    if report.selected:
        tell(result, meter)
    return result.exit_code


def _commits(repo: Repo, names: list[str]) -> list[str]:
    """The commits among objects that are here, tags peeled."""
    return repo.existing(f"{name}^{{commit}}" for name in names if set(name) != {"0"})
