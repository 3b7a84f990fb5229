"""Whether content is what the name of a binary promises: the only place that knows how binaries are hashed."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator

from gitlob_rsync.errors import GitlobError
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.plain_files import BLOCK, open_plain


class Damaged(GitlobError):
    """The content of a binary in a store is not what its name promises."""


def new_hash(start: bytes = b"") -> "hashlib._Hash":
    """A hash to be fed with the content of a binary; its hexdigest is the binary's name."""
    return hashlib.sha1(start, usedforsecurity=False)


def checked(blocks: Iterable[bytes], sha: Sha, root: str) -> Iterator[bytes]:
    """The blocks of a binary, hashed on the way: at the end of the iteration raises Damaged if they are not its content.
    `root`: the store they come from."""
    digest = new_hash()
    for block in blocks:
        digest.update(block)
        yield block
    if digest.hexdigest() != sha:
        raise Damaged(f"binary {sha} is damaged in {root}", "gitlob-sync --pull --refetch brings it again")


def hash_files(paths: Iterable[str], buffer: bytearray, advance: Callable[[int], bool] | None = None) -> str:
    """The name that the joined content of files deserves; "" where one of them is missing or not a regular file. Raises
    OSError where one cannot be read.

    `buffer` limits what is held in memory. `advance` is called with the number of bytes just read; False ends it ("").
    Neither hashlib nor readv holds Python's lock while it works, so that several threads can do this at once.
    """
    digest = new_hash()
    view = memoryview(buffer)
    for path in paths:
        fd = open_plain(path)
        if fd is None:
            return ""
        try:
            while count := os.readv(fd, [buffer]):
                digest.update(view[:count])
                if advance and not advance(count):
                    return ""
        finally:
            os.close(fd)
    return digest.hexdigest()


def buffer_for(size: int) -> bytearray:
    """A buffer for hash_files, no larger than `size` bytes of content need."""
    return bytearray(max(1, min(BLOCK, size)))
