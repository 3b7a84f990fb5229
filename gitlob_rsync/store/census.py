"""What a store holds, from one walk over its folders: no file is opened unless something about it is odd."""

import os
import stat
from dataclasses import dataclass

from gitlob_rsync.placeholder import Sha
from gitlob_rsync.store.layout import CHUNK, EMPTY, FILE_NAME, META, Meta
from gitlob_rsync.store.store import Store

Files = dict[str, tuple[int, float]]
"""Part of a binary -> its size in bytes (-1 for what is no regular file) and the time of its last change."""


@dataclass(frozen=True, slots=True)
class Census:
    """`held`: each whole binary's bytes of content, and when it came (seconds since 1970). `torn`: how many binaries have
    files there and are not whole."""

    held: dict[Sha, tuple[int, float]]
    torn: int = 0


def take(store: Store) -> Census:
    """Walk a store; one that is not there holds nothing."""
    held: dict[Sha, tuple[int, float]] = {}
    torn = 0
    for first in _names(store.root):
        if len(first) != 3:
            continue
        for second in _names(f"{store.root}/{first}"):
            for name, files in _binaries(f"{store.root}/{first}/{second}", first + second).items():
                sha = Sha(name)
                size = _size(store, sha, files)
                if size is None:
                    torn += 1
                else:
                    held[sha] = size, files[META][1]
    return Census(held, torn)


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _binaries(folder: str, prefix: str) -> dict[str, Files]:
    """The files of one folder, by binary."""
    found: dict[str, Files] = {}
    for name in _names(folder):
        if not name.startswith(prefix) or not FILE_NAME.match(name):
            continue
        try:
            seen = os.lstat(f"{folder}/{name}")
        except FileNotFoundError:
            continue
        sha, _, part = name.partition("_")
        size = seen.st_size if stat.S_ISREG(seen.st_mode) else -1
        if sha not in found:
            found[sha] = {}
        found[sha][part] = size, seen.st_mtime
    return found


def _size(store: Store, sha: Sha, files: Files) -> int | None:
    """Bytes of content of a binary; None where it is not whole. A meta of the length that it has to have, beside chunks as
    long as they have to be, is taken for right; any other is read."""
    if META not in files:
        return None
    sizes = [files[str(number)][0] for number in range(len(files) - 1) if str(number) in files]
    if len(sizes) == len(files) - 1 and all(size == CHUNK for size in sizes[:-1]):
        total = sum(sizes)
        right = 0 < sizes[-1] <= CHUNK if sizes else sha == EMPTY
        if right and files[META][0] == len(Meta(sha, total).encode()):
            return total
    meta = store.complete(sha)
    return meta.size if meta else None
