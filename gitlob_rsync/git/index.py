"""The index of a worktree: its entries, and whether it is intact."""

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from gitlob_rsync import process
from gitlob_rsync.errors import ToolError
from gitlob_rsync.git.output import REGULAR, zsplit
from gitlob_rsync.git.repo import Repo

_LISTED = re.compile(rb"(.) ([0-7]{6}) ([0-9a-f]{40}|[0-9a-f]{64}) ([0-3])\t(.+)\Z", re.DOTALL)
"""git-ls-files(1), -v and --stage: `TAG MODE BLOB STAGE TAB PATH NUL`."""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A regular file of the index. `stage` is 0, or 1 to 3 in a conflict; `skipped` marks skip-worktree, `assumed`
    assume-unchanged (git-update-index(1))."""

    path: bytes
    mode: int
    blob: str
    stage: int
    skipped: bool
    assumed: bool = False


def index_entries(repo: Repo, pathspecs: Collection[str] = ()) -> Iterator[IndexEntry]:
    """The regular files of the index (git-ls-files(1), -v and --stage)."""
    limits = pathspecs or [":(top)"]
    argv = repo.argv("ls-files", "-z", "-v", "--stage", "--full-name", "--", *limits)
    with process.pipeline(argv, env=repo.env, cwd=repo.cwd) as output:
        yield from parse_entries(output)


def parse_entries(output: IO[bytes]) -> Iterator[IndexEntry]:
    """The regular files in what git lists. What is cut off at the end is left out: git failed then, and its exit code says
    so. Raises ToolError for anything that is not an entry."""
    for field in zsplit(output):
        found = _LISTED.match(field)
        if not found:
            raise ToolError(f"git ls-files said {field!r}, which is not an entry of an index")
        if found[2] in REGULAR:
            yield IndexEntry(
                found[5], int(found[2], 8), found[3].decode(), int(found[4]), found[1] in b"Ss", found[1].islower()
            )


def check_index(repo: Repo) -> None:
    """Raises ToolError where an index is not what git wrote: git itself ignores the checksum."""
    paths = [repo.index]
    with suppress(FileNotFoundError):  # no worktree yet
        paths += [entry.path for entry in os.scandir(repo.git_dir) if entry.name.startswith("sharedindex.")]
    size = hashlib.new(repo.object_format, usedforsecurity=False).digest_size
    for path in paths:
        try:
            with open(path, "rb") as file:
                content = file.read()
        except FileNotFoundError:  # nothing was added yet
            continue
        body, end = content[:-size], content[-size:]
        sound = hashlib.new(repo.object_format, body, usedforsecurity=False).digest() == end
        if len(content) <= size or not (sound or not any(end)):  # zeros: index.skipHash
            raise ToolError(f"the index {path} is damaged", "git fsck says more; git reset writes a new one")
