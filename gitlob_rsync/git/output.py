"""What git prints where it lists objects and files."""

from collections.abc import Iterator
from typing import IO

REGULAR = (b"100644", b"100755")
"""The modes of blobs that can be placeholders: a symbolic link of 49 bytes is not one."""


def zsplit(stream: IO[bytes]) -> Iterator[bytes]:
    """The NUL-terminated fields of a stream; a line end after the last one is not a field."""
    rest = b""
    while block := stream.read(1 << 16):
        *whole, rest = (rest + block).split(b"\0")
        yield from whole
