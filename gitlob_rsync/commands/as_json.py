"""Output of the commands with --json: one object on standard output."""

import json
import sys
from collections.abc import Iterable, Mapping

from gitlob_rsync.placeholder import Sha


def print_json(answer: Mapping[str, object]) -> None:
    json.dump(answer, sys.stdout)
    print()


def text(path: bytes) -> str:
    """A path as JSON can hold it; bytes that are not UTF-8 become U+DC80 to U+DCFF (Python's surrogateescape)."""
    return path.decode(errors="surrogateescape")


def listed(binaries: Mapping[Sha, Iterable[bytes]]) -> list[dict[str, object]]:
    """Binaries with the paths that need them, for JSON."""
    return [{"sha": sha, "paths": [text(path) for path in paths]} for sha, paths in binaries.items()]
