"""gitlob-sync --pre-push: what git's hook of that name has us do."""

import re
import sys
from dataclasses import replace

from gitlob_rsync.commands.sync_report import print_result
from gitlob_rsync.config import Settings
from gitlob_rsync.errors import ExitCode
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.jobs.context import Context
from gitlob_rsync.jobs.sync import sync_pushed
from gitlob_rsync.location import Remote

_REF = re.compile(rb"[^ ]+ ([0-9a-f]{40}|[0-9a-f]{64}) [^ ]+ ([0-9a-f]{40}|[0-9a-f]{64})\Z")
"""githooks(5): `LOCAL-REF COMMIT REMOTE-REF COMMIT` for each ref, with zeros for one that is new or deleted."""


def run(name: str | None, context: Context) -> int:
    """Send what the commits that are being pushed need, as standard input says. Any exit code but 0 stops git's push."""
    repo, settings = context.repo, context.settings
    commits, others = _objects(repo, pushed(sys.stdin.buffer.read())[0])
    if name is None or not (commits or others):
        return ExitCode.DONE
    if settings.named(name) is None:  # the team's file may be on the branches that are pushed, and on no other
        tracked = Settings.load(repo, *commits)
        settings = replace(settings, remotes=tracked.remotes, wrong_remotes=tracked.wrong_remotes)
        context = replace(context, settings=settings)
    if (name := settings.named(name)) is None:
        return ExitCode.DONE  # a remote without a store, or a URL that is no such remote's
    remote = settings.remote(name)
    result = sync_pushed(context, remote, "gitlob-sync --pre-push", commits, others)
    if result.report.selected:
        print_result(result, context.meter)
    if result.report.missing:
        context.meter.warn(_way_out(settings, remote, len(result.report.missing)))
    return result.exit_code


def _way_out(settings: Settings, remote: Remote, count: int) -> str:
    what = "1 binary that is" if count == 1 else f"{count} binaries that are"
    others = sorted((name for name in settings.remotes if name != remote.name), key=lambda name: name != "origin")
    bring = (
        f"gitlob-sync --pull --committed {others[0]} brings them here"
        if others
        else "gitlob-sync --push sends them from a clone that has them"
    )
    return (
        f"the push is stopped: it needs {what} neither here nor at {remote} "
        f"({bring}; git config git-lob.allow-incomplete-push true lets the push go without them)"
    )


def pushed(told: bytes) -> tuple[list[str], list[str]]:
    """The objects here, and those that they take the place of there. The names of refs are bytes: some hold what Unicode
    calls a space, or the end of a line."""
    lines = [found for line in told.split(b"\n") if (found := _REF.match(line))]
    return [line[1].decode() for line in lines], [line[2].decode() for line in lines]


def _objects(repo: Repo, names: list[str]) -> tuple[list[str], list[str]]:
    """The commits among objects, tags peeled, and the objects that are none: tags may name trees and blobs."""
    pushed = list(dict.fromkeys(name for name in names if set(name) != {"0"}))
    found = repo.resolve(pushed)
    commits = dict.fromkeys(commit for commit in found if commit)
    return list(commits), [name for name, commit in zip(pushed, found, strict=True) if not commit]
