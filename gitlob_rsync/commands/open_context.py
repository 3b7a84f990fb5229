"""Opens what a command works with. Commands import this only when they run, since --help does not need it."""

import argparse
from dataclasses import replace

from gitlob_rsync import config
from gitlob_rsync.errors import UsageError
from gitlob_rsync.git.repo import Repo, check_version
from gitlob_rsync.jobs.context import Context
from gitlob_rsync.progress import make_meter
from gitlob_rsync.store.local import Stores


def open_context(program: str, given: argparse.Namespace, *, offline: bool = False) -> Context:
    """Open the repository of the current folder. `offline`: keep git from fetching anything either.

    Raises UsageError if there is none, and for settings out of range.
    """
    check_version()
    repo = Repo.discover()
    if offline:
        repo = repo.kept_offline()
    stores = Stores.load(repo)
    settings = config.Settings.load(repo)
    if not settings.remotes and not settings.wrong_remotes:
        stores = stores.with_origins(settings.git_remotes.every_url)
    said = {name: value for name in ("timeout", "lock_wait") if (value := getattr(given, name, None)) is not None}
    if (rate := getattr(given, "bwlimit", None)) is not None:
        said["bwlimit"] = config.bwlimit(rate, lambda why: UsageError(f"--bwlimit {rate!r}: {why}"))
    settings = replace(settings, **said)
    kind = getattr(given, "progress", "none")
    if kind == "auto" and (given.json or getattr(given, "background", False)):
        kind = "none"
    meter = make_meter(program, kind, quiet=given.quiet, verbose=given.verbose)
    for warning in settings.warnings:
        meter.warn(warning)
    return Context(repo, stores, settings, meter)


def warn_shallow(context: Context) -> None:
    """Note that in a shallow clone only a part of history was looked at."""
    if context.repo.shallow:
        context.meter.note(
            "this is a shallow clone: only its history was looked at (git fetch --unshallow fetches the rest)"
        )
