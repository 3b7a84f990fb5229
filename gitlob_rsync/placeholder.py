"""The placeholder that git keeps instead of a binary: the only file that knows its text.

It is `git-lob: ` and the 40 hexadecimal digits of the SHA-1 of the content: 49 bytes, no newline. Anything longer or
shorter is content like any other (docs/format.md), though hardly intended where it is a placeholder with space around it.
"""

import re
from typing import NewType

Sha = NewType("Sha", str)
"""40 lowercase hexadecimal digits: the SHA-1 of a binary's whole content."""

PREFIX = b"git-lob: "
SIZE = len(PREFIX) + 40

_SHA = re.compile(rb"[0-9a-fA-F]{40}\Z")
_BOM = b"\xef\xbb\xbf"
READ_BY_NAME = (".gitattributes", ".gitignore", ".gitmodules", ".mailmap", ".gitlobconfig", ".lfsconfig")
"""Files that git, this program and git-lfs read as they are committed, in any folder: they cannot be placeholders."""
_READ_BY_NAME = frozenset(name.encode() for name in READ_BY_NAME)


def is_sha(text: str) -> bool:
    """Whether a text, which others may have written, is a Sha."""
    return re.fullmatch("[0-9a-f]{40}", text) is not None


def encode(sha: Sha) -> bytes:
    """The placeholder of the binary `sha`."""
    return PREFIX + sha.encode()


def decode(content: bytes) -> Sha | None:
    """The binary of a placeholder; None for any other content. Upper-case digits are accepted."""
    if len(content) != SIZE or not content.startswith(PREFIX):
        return None
    digits = content[len(PREFIX) :]
    return Sha(digits.decode().lower()) if _SHA.match(digits) else None


def is_touched_up(content: bytes) -> bool:
    """Whether it is a placeholder except for space around it, or a byte order mark: what editors add to a file."""
    return len(content) != SIZE and decode(content.removeprefix(_BOM).strip()) is not None


def has_none(path: bytes) -> bool:
    """Whether a file cannot be a placeholder, whatever .gitattributes says: git, git-lfs or we read it by its name, in any
    folder. (On a file system that ignores case, git finds it in either.)"""
    return path.rpartition(b"/")[2].lower() in _READ_BY_NAME
