"""What git prints where it lists objects and files."""

from collections.abc import Iterator
from typing import IO

REGULAR = (b"100644", b"100755")
"""The modes of a blob that can be a placeholder: a symbolic link of 49 bytes is none."""


def zsplit(stream: IO[bytes]) -> Iterator[bytes]:
    """The NUL-terminated fields of a stream; a line end after the last one is no field."""
    rest = b""
    while block := stream.read(1 << 16):
        *whole, rest = (rest + block).split(b"\0")
        yield from whole
