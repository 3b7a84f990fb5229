"""Other repositories on this machine: those whose objects this one uses, and those that its remotes are at."""

import os
import re
from collections.abc import Iterator

from gitlob_rsync import process
from gitlob_rsync.errors import GitlobError

_DEEPEST = 5
"""How many levels of alternates of alternates git follows."""
_ESCAPED = re.compile(rb'\\([abtnvfr"\\]|[0-7]{3})')
_NAMED = dict(zip(b'abtnvfr"\\', b'\a\b\t\n\v\f\r"\\', strict=True))


def common_dir_at(place: str) -> str | None:
    """The git directory, common to all worktrees, of the repository at a folder; None where there is none, or git does not
    trust its owner."""
    env = {name: value for name, value in process.clean_env().items() if not name.startswith("GIT_")}
    try:
        said = process.run([process.tool("git"), "-C", place, "rev-parse", "--git-common-dir"], env=env)
    except GitlobError:
        return None
    return os.path.realpath(os.path.join(place, os.fsdecode(said).rstrip("\n")))


def alternates(objects: str, depth: int = 1) -> Iterator[str]:
    """The object folders that a repository uses, too (gitrepository-layout(5), objects/info/alternates)."""
    try:
        with open(os.path.join(objects, "info", "alternates"), "rb") as file:
            lines = file.read().split(b"\n")
    except OSError:
        return
    for line in lines:
        if line.startswith(b'"') and line.endswith(b'"') and len(line) > 1:
            line = _ESCAPED.sub(
                lambda e: bytes([_NAMED[e[1][0]] if len(e[1]) == 1 else int(e[1], 8) & 255]), line[1:-1]
            )
        if line and not line.startswith(b"#"):
            other = os.path.realpath(os.path.join(objects, os.fsdecode(line)))
            yield other
            if depth < _DEEPEST:
                yield from alternates(other, depth + 1)
