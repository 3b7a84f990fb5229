"""gitlob-sync --pre-push: the work of git's pre-push hook."""

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
"""githooks(5): `LOCAL-REF OBJECT REMOTE-REF OBJECT` for each ref; zeros mean that a ref is new or deleted."""


def run(name: str | None, context: Context) -> int:
    """Push what the commits on standard input need. Any exit code but 0 stops git's push."""
    repo, settings = context.repo, context.settings
    commits, others = _objects(repo, pushed(sys.stdin.buffer.read())[0])
    if name is None or not (commits or others):
        return ExitCode.DONE
    if settings.named(name) is None:  # the team's file may be only on the branches that are being pushed
        tracked = Settings.load(repo, *commits)
        settings = replace(settings, remotes=tracked.remotes, wrong_remotes=tracked.wrong_remotes)
        context = replace(context, settings=settings)
    if (name := settings.named(name)) is None:
        return ExitCode.DONE  # a remote without a store, or a URL that belongs to no remote with one
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
        f"gitlob-sync --pull --committed {others[0]} fetches them"
        if others
        else "run gitlob-sync --push in a clone that has them"
    )
    return (
        f"the push is stopped: it needs {what} neither in the local store nor at {remote} "
        f"({bring}; git config git-lob.allow-incomplete-push true allows a push without them)"
    )


def pushed(stdin: bytes) -> tuple[list[str], list[str]]:
    """The local objects that are pushed, and the remote ones that they replace. Names of refs are kept as bytes: some
    contain what Unicode counts as spaces or line breaks."""
    lines = [found for line in stdin.split(b"\n") if (found := _REF.match(line))]
    return [line[1].decode() for line in lines], [line[2].decode() for line in lines]


def _objects(repo: Repo, names: list[str]) -> tuple[list[str], list[str]]:
    """The commits among objects, with tags peeled, and the other objects: tags may name trees and blobs."""
    pushed = list(dict.fromkeys(name for name in names if set(name) != {"0"}))
    found = repo.resolve(pushed)
    commits = dict.fromkeys(commit for commit in found if commit)
    return list(commits), [name for name, commit in zip(pushed, found, strict=True) if not commit]
