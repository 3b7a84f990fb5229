"""gitlob-setup's work: git's configuration of the filter and of a remote's store, and lines of .gitattributes."""

import os
import re
import shlex
import sys
from collections.abc import Iterable
from contextlib import suppress

from gitlob_rsync import location, process
from gitlob_rsync.errors import ToolError, UsageError
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.location import Kind, Location

FILTER = {
    "filter.lob.process": "gitlob-filter process",
    "filter.lob.clean": "gitlob-filter clean -- %f",
    "filter.lob.smudge": "gitlob-filter smudge -- %f",
    "filter.lob.required": "true",
}
"""What `gitlob-setup` sets, with the bare name of the program."""
ATTRIBUTES = "filter=lob -text -merge"
"""-text: no conversion of line endings; -merge: no merging of two versions."""
_LONGEST = 2047
"""Bytes of the longest line that git reads in .gitattributes."""


class FilterSetup:
    """filter.lob in one scope of git's configuration: `repo`'s own, or the user's (None)."""

    def __init__(self, repo: Repo | None) -> None:
        self._repo = repo

    def _config(self, *args: str, ok: tuple[int, ...] = (0,)) -> str:
        if self._repo:
            return os.fsdecode(self._repo.run("config", *args, ok=ok))
        return os.fsdecode(
            process.run([process.tool("git"), "config", "--global", *args], env=process.clean_env(), ok=ok)
        )

    def check_own(self) -> None:
        """Raises UsageError if filter.lob is set for another program."""
        for key in FILTER:
            value = self._config("--get", key, ok=(0, 1)).rstrip("\n")
            if value and key != "filter.lob.required" and "gitlob-filter" not in value:
                raise UsageError(f"{key} is already set to {value!r}", "gitlob-setup --force replaces it")

    @staticmethod
    def settings() -> dict[str, str]:
        """What to set, with the program as git has to call it. Raises UsageError if the program is not found."""
        return {key: value.replace("gitlob-filter", program("gitlob-filter"), 1) for key, value in FILTER.items()}

    def configure(self) -> None:
        """Set it, replacing any other values."""
        for key, value in self.settings().items():
            self._config("--replace-all", key, value)

    def check(self, has_filter: bool) -> str:
        """How git starts the filter. Raises UsageError if it does not. `has_filter`: whether any filter.lob is
        configured."""
        if not has_filter:
            raise UsageError("the filter is not configured in git", "gitlob-setup configures it")
        value = self._config("--get", "filter.lob.process", ok=(0, 1)).rstrip("\n")
        if "gitlob-filter" not in value:
            raise UsageError(f"filter.lob.process is {value!r}", "gitlob-setup --force replaces it")
        program("gitlob-filter")
        return value

    def remove(self) -> None:
        """Remove our settings; other keys in the section stay."""
        for key in FILTER:
            self._config("--unset-all", key, ok=(0, 5))


def program(name: str) -> str:
    """One of our programs as git has to call it: its bare name if it is on PATH, otherwise the path of the one beside this
    program. Raises UsageError if there is neither."""
    try:
        process.tool(name)
    except UsageError:
        beside = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), name)
        if os.access(beside, os.X_OK):
            return shlex.quote(beside)
        raise
    return name


def remote_location(name: str, text: str) -> Location:
    """Parse the location of a remote's store. Raises UsageError if it, or the remote's name, is invalid."""
    if not re.fullmatch(r"[^\s\x00-\x1f\x7f~^:?*\[\\-][^\s\x00-\x1f\x7f~^:?*\[\\]*", name):
        raise UsageError(f"{name!r} cannot be the name of a remote")
    location.ask_about(text)
    return location.parse(text)


def configure_remote(repo: Repo, name: str, place: Location) -> bool:
    """Configure the store of a git remote; returns whether the remote also has a URL for git itself."""
    repo.run("config", f"remote.{name}.git-lob-provider", "filesystem" if place.kind is Kind.PATH else "rsync")
    repo.run("config", f"remote.{name}.git-lob-path", str(place))
    return bool(repo.run("config", "--get", f"remote.{name}.url", ok=(0, 1)))


def configure_identity(repo: Repo, name: str, identity: str) -> None:
    """Configure the identity of a git remote's store; this overrides a tracked file."""
    repo.run("config", f"remote.{name}.git-lob-identity", identity)


def attribute_line(pattern: str) -> str:
    """A line of .gitattributes (gitattributes(5)). Raises UsageError for an invalid pattern."""
    if pattern.startswith(("!", "[attr]")) or not pattern.strip() or "\n" in pattern or "\0" in pattern:
        raise UsageError(f"{pattern!r} cannot be a pattern in .gitattributes")
    if re.search(r"[\s\"\\]|^[#\ufeff]", pattern):  # git skips a U+FEFF at the beginning of the file
        pattern = '"' + re.sub(r'(["\\])', r"\\\1", pattern) + '"'
    line = f"{pattern} {ATTRIBUTES}"
    if len(os.fsencode(line)) > _LONGEST:
        raise UsageError(f"the pattern {pattern[:20]!r}... is too long", "git ignores such a line of .gitattributes")
    return line


def untracked(repo: Repo, patterns: Iterable[str]) -> tuple[str, list[str]]:
    """The path of the current folder's .gitattributes, and the lines that it lacks to keep `patterns` as binaries."""
    if not repo.work_tree:
        raise UsageError(f"{repo.git_dir} has no working tree", "--track needs one")
    path = os.path.join(repo.cwd, ".gitattributes")
    existing: list[str] = []
    if os.path.islink(path):
        raise UsageError(f"{path} is a symbolic link", "git does not follow it: replace it with a file")
    with suppress(FileNotFoundError), open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        existing = file.read().split("\n")
    wanted = [attribute_line(pattern) for pattern in dict.fromkeys(patterns)]
    return path, [line for line in wanted if not any(_same_rule(line, other) for other in existing)]


def _same_rule(line: str, other: str) -> bool:
    """Whether `other` already sets the filter for the pattern of `line`."""
    pattern = line.removesuffix(ATTRIBUTES)
    return other.startswith(pattern) and "filter=lob" in other[len(pattern) :].split()


def add_lines(path: str, lines: list[str]) -> None:
    """Append lines to a text file, even if its last line lacks a newline."""
    with open(path, "a+", encoding="utf-8", errors="surrogateescape", newline="", opener=_no_link) as file:
        file.seek(0)
        before = file.read()
        file.write(("\n" if before and not before.endswith("\n") else "") + "".join(f"{line}\n" for line in lines))


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def git_version() -> str:
    """The output of `git version`, for the check. Raises ToolError if git does not work."""
    said = process.run([process.tool("git"), "version"], env=process.clean_env()).decode(errors="replace").strip()
    if not said.startswith("git version"):
        raise ToolError(f"git version printed {said!r}")
    return said
