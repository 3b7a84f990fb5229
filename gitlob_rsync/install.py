"""gitlob-setup's work: git's configuration for the filter, and for the store of a remote."""

import os
import re
import shlex
import sys
from dataclasses import dataclass

from gitlob_rsync import location, process
from gitlob_rsync.errors import UsageError
from gitlob_rsync.git import Repo
from gitlob_rsync.location import Kind, Location

FILTER = {
    "filter.lob.process": "gitlob-filter process",
    "filter.lob.clean": "gitlob-filter clean -- %f",
    "filter.lob.smudge": "gitlob-filter smudge -- %f",
    "filter.lob.required": "true",
}
"""What `gitlob-setup` sets, with the program by its bare name."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What was configured. `location` is None where only the filter was."""

    location: Location | None
    has_url: bool = True


def check_filter(repo: Repo) -> None:
    """Raises UsageError where filter.lob is another program's."""
    for key in FILTER:
        there = os.fsdecode(repo.run("config", "--get", key, ok=(0, 1))).rstrip("\n")
        if there and key != "filter.lob.required" and "gitlob-filter" not in there:
            raise UsageError(f"{key} is set already, to {there!r}", "gitlob-setup --force replaces it")


def configure_filter(repo: Repo) -> None:
    """Set filter.lob in the repository, whatever it was."""
    program = _filter_program()
    for key, value in FILTER.items():
        repo.run("config", key, value.replace("gitlob-filter", program, 1))


def _filter_program() -> str:
    """gitlob-filter as git has to call it: by its bare name where PATH has it, else the one beside this program."""
    try:
        process.tool("gitlob-filter")
    except UsageError:
        beside = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "gitlob-filter")
        if os.access(beside, os.X_OK):
            return shlex.quote(beside)
        raise
    return "gitlob-filter"


def configure_remote(repo: Repo, name: str, text: str) -> Setup:
    """Give a git remote a store. Raises UsageError for a name or a location that is none."""
    if not re.fullmatch(r"[^\s\x00-\x1f\x7f~^:?*\[\\-][^\s\x00-\x1f\x7f~^:?*\[\\]*", name):
        raise UsageError(f"{name!r} cannot be the name of a remote")
    place = location.parse(text)
    repo.run("config", f"remote.{name}.git-lob-provider", "filesystem" if place.kind is Kind.PATH else "rsync")
    repo.run("config", f"remote.{name}.git-lob-path", str(place))
    return Setup(place, bool(repo.run("config", "--get", f"remote.{name}.url", ok=(0, 1))))
