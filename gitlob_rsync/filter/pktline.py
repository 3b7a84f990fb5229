"""git's packet framing (gitprotocol-common(5), "pkt-line Format"): four hexadecimal digits, then that many bytes less 4."""

import re
from collections.abc import Iterable, Iterator
from typing import IO

from gitlob_rsync.errors import GitlobError

MOST = 65516
"""Bytes of content that one packet can hold."""
FLUSH = b"0000"

_LENGTH = re.compile(rb"[0-9a-fA-F]{4}\Z")


class ProtocolError(GitlobError):
    """The other side does not speak the protocol, or stopped in the middle of a message."""


def read_packet(stream: IO[bytes]) -> bytes | None:
    """The next packet's content, None for a flush. Raises EOFError where the stream ends between packets, ProtocolError
    where it ends within one or is malformed."""
    head = stream.read(4)
    if not head:
        raise EOFError
    size = int(head, 16) if _LENGTH.match(head) else -1
    if size == 0:
        return None
    if not 4 <= size <= MOST + 4:
        raise ProtocolError(f"git sent a malformed packet (its length is {head!r})")
    content = stream.read(size - 4)
    if len(content) < size - 4:
        raise ProtocolError("git stopped in the middle of a packet")
    return content


def read_list(stream: IO[bytes]) -> Iterator[bytes]:
    """Contents up to the next flush. Raises ProtocolError where the stream ends before it."""
    while True:
        try:
            packet = read_packet(stream)
        except EOFError:
            raise ProtocolError("git stopped in the middle of a request") from None
        if packet is None:
            return
        yield packet


def write_packet(stream: IO[bytes], content: bytes) -> None:
    """One packet. Raises ProtocolError where the content is longer than MOST."""
    if len(content) > MOST:
        raise ProtocolError(f"git is to be sent {len(content)} bytes, more than a packet holds")
    stream.write(b"%04x" % (len(content) + 4))
    stream.write(content)


def write_lines(stream: IO[bytes], *lines: bytes) -> None:
    """Lines of text, a packet each, and a flush."""
    for line in lines:
        write_packet(stream, line + b"\n")
    stream.write(FLUSH)


def write_content(stream: IO[bytes], blocks: Iterable[bytes]) -> None:
    """Content of any size, and a flush."""
    for block in blocks:
        view = memoryview(block)
        for at in range(0, len(view), MOST):
            piece = view[at : at + MOST]
            stream.write(b"%04x" % (len(piece) + 4))
            stream.write(piece)
    stream.write(FLUSH)
