"""What keeps a binary from being complete."""

import os
import stat
from collections.abc import Collection, Mapping

from gitlob_rsync.placeholder import Sha
from gitlob_rsync.store.layout import META, Meta
from gitlob_rsync.store.store import Store, read_meta


def parts(store: Store, sha: Sha) -> dict[str, os.stat_result]:
    """What is in a store under the names of one binary, by part: the meta first, then chunks by number."""
    try:
        return {part: entry.stat(follow_symlinks=False) for part, entry in store.files_of(sha).items()}
    except FileNotFoundError:  # it is being deleted
        return {}


def shortfall(store: Store, sha: Sha, seen: Mapping[str, os.stat_result]) -> str:
    """Why a binary with these `parts` is not complete, in words; "" where it is."""
    if META not in seen:
        return "its meta is missing"
    if not stat.S_ISREG(seen[META].st_mode):
        return f"{_kind(seen[META])} is in the place of its meta"
    meta = read_meta(store.path(sha, META), sha)
    if not meta:
        return "its meta is invalid"
    for number in range(meta.chunks):
        found = seen.get(str(number))
        if not found:
            return f"chunk {number} of {meta.chunks} is missing"
        if not stat.S_ISREG(found.st_mode):
            return f"{_kind(found)} is in the place of chunk {number}"
        if found.st_size != meta.chunk_size(number):
            return f"chunk {number} has {found.st_size} bytes instead of {meta.chunk_size(number)}"
    more = surplus(meta, seen)
    return f"it has a chunk {more[0]}, and its meta says {meta.chunks}" if more else ""


def surplus(meta: Meta, seen: Collection[str]) -> list[str]:
    """The chunks beyond those that the meta says."""
    return [part for part in seen if part != META and int(part) >= meta.chunks]


def _kind(found: os.stat_result) -> str:
    kinds = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder"}
    return kinds.get(stat.S_IFMT(found.st_mode), "a special file")
