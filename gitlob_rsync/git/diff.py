"""Raw differences between trees (git-diff-tree(1), "Raw output format")."""

import re
from collections.abc import Iterator
from typing import IO

from gitlob_rsync.errors import ToolError
from gitlob_rsync.git.output import zsplit

EMPTY_TREE = {
    "sha1": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    "sha256": "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}

DIFF_TREE = ("diff-tree", "--stdin", "-r", "-z", "--raw", "--root", "-m", "--no-renames", "--no-commit-id",
              "--no-ext-diff", "--no-textconv", "--ignore-submodules=none")  # fmt: skip

_DIFFERENCE = re.compile(rb":[0-7]{6} ([0-7]{6}) [0-9a-f]+ ([0-9a-f]{40}|[0-9a-f]{64}) [A-Z]\Z")
"""git-diff-tree(1), "Raw output format": a new mode and a new blob. Without renames there is one path to each."""


_HEADING = re.compile(rb"(?:(?:[0-9a-f]{40}|[0-9a-f]{64})(?: [0-9a-f]{40,64})?(?:\n(?!\Z)|\Z))+\Z")

Difference = tuple[bytes, bytes, str, bytes]
"""(heading, mode, blob, path) of the new side. The heading is what is between this difference and the one before: a commit,
or lines that name pairs of trees, also those without any difference; or empty."""


def differences(output: IO[bytes]) -> Iterator[Difference]:
    """What `git diff-tree --stdin -r -z --raw --no-renames` prints: `:MODE MODE OLD NEW STATUS NUL PATH NUL`, with a line
    for each pair of trees that was asked for, or `COMMIT NUL`, before its first difference.

    What is cut off at the end is left out: git failed then, and its exit code says so. Raises ToolError for anything else
    that is not a difference."""
    heading = b""
    fields = zsplit(output)
    for raw in fields:
        if not raw.startswith(b":"):
            lines, _, entry = raw.rpartition(b"\n")
            heading = lines if entry.startswith(b":") else raw
            if not _HEADING.match(heading):
                raise ToolError(f"git diff-tree said {raw!r}, which is not a difference")
            if heading is raw:
                continue
            raw = entry
        path = next(fields, None)
        if path is None:
            return
        found = _DIFFERENCE.match(raw)
        if not found:
            raise ToolError(f"git diff-tree said {raw!r}, which is not a difference")
        yield heading, found[1], found[2].decode(), path
        heading = b""
