"""Files on this machine, read without following a link, replaced as a whole, and recognised again."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress

from gitlob_rsync.errors import writing

BLOCK = 1 << 20
"""Bytes read at once."""


def open_plain(path: str) -> int | None:
    """A descriptor for reading a regular file; None where there is none, or something else is there: no link is followed,
    and no FIFO waited for. The caller closes it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            return None
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def read_blocks(path: str) -> Iterator[bytes]:
    """A file's content, BLOCK bytes at a time."""
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            yield block


def replace(path: str, make: Callable[[str], None]) -> None:
    """Put a new file at `path`, in one step: `make` creates it beside its place, under the name that it is given. That is a
    name as rsync gives, so that what a killed run leaves is taken for litter by everyone."""
    folder, name = os.path.split(path)
    new = os.path.join(folder, f".{name}.{os.urandom(3).hex()}")
    try:
        with writing(path):
            make(new)
        os.replace(new, path)
    finally:
        with suppress(OSError):  # a rename onto another link to the same file removes neither
            os.unlink(new)


def replace_content(path: str, content: bytes) -> None:
    """Put a new file with this content at `path`, in one step."""

    def make(new: str) -> None:
        with open(new, "xb", buffering=0) as file:
            file.write(content)

    replace(path, make)


def is_unchanged(one: os.stat_result, other: os.stat_result, *, renamed: bool = False) -> bool:
    """Whether two looks saw the same file, and nobody wrote to it in between. `renamed`: it may have been, which changes
    its ctime."""
    return (
        (one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns)
        == (other.st_dev, other.st_ino, other.st_size, other.st_mtime_ns)
    ) and (renamed or one.st_ctime_ns == other.st_ctime_ns)
