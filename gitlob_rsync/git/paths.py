"""Paths and pathspecs as git writes them."""

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from gitlob_rsync.errors import ToolError, UsageError

_UNSAFE = re.compile(rb"(?:|\.|\.\.|(?:\.git|git~1)[ .]*(?:[:\\].*)?)\Z", re.IGNORECASE | re.DOTALL)
"""NTFS drops dots and spaces at the end, and .git has a short name there, too."""

_IGNORED = re.compile(b"\xe2\x80[\x8c-\x8f\xaa-\xae]|\xe2\x81[\xaa-\xaf]|\xef\xbb\xbf")
"""Characters that HFS+ ignores, in UTF-8."""


def quote(path: bytes) -> str:
    """A path as git prints it: as it is if that is one plain line, else in double quotes with C's escapes."""
    try:
        text = path.decode()
    except UnicodeDecodeError:
        text = ""
    if text and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    named = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}
    return '"' + "".join(
        f"\\{named[c]}" if c in named else chr(c) if 32 <= c < 127 else f"\\{c:03o}" for c in path
    ) + '"'  # fmt: skip


def is_unsafe(path: bytes) -> bool:
    """Whether git refuses a path because it leads into a .git or out of the tree: as it is spelled, or as the file
    systems of other machines understand it (read-cache.c, verify_path, with all its protections on)."""
    return any(_UNSAFE.match(_IGNORED.sub(b"", part)) for part in path.split(b"/"))


def to_pathspecs(include: Iterable[str], exclude: Iterable[str], *, top: bool = False) -> list[str]:
    """git's pathspecs for "these, without those", empty for "everything". `top`: they are relative to the top.

    Raises UsageError for one that excludes by itself.
    """

    def with_magic(spec: str, *words: str) -> str:
        if spec.startswith((":!", ":^")):
            raise UsageError(f"pathspec {spec!r} excludes already", "write it with --exclude and without the mark")
        if spec.startswith(":("):
            own, closed, rest = spec[2:].partition(")")
            if not closed:
                raise UsageError(f"pathspec {spec!r}: its magic is not closed by a parenthesis")
            return f":({','.join([*words, own] if own else words)}){rest}"
        if spec.startswith(":/"):
            spec, words = spec[2:], tuple(dict.fromkeys([*words, "top"]))
        return f":({','.join(words)}){spec}" if words else spec

    always = ["top"] if top else []
    included = [with_magic(spec, *always) for spec in include]
    excluded = [with_magic(spec, *always, "exclude") for spec in exclude]
    if excluded and not included:
        included = [":(top)"]
    return included + excluded


@contextmanager
def pathspec_errors(pathspecs: Collection[str]) -> Iterator[None]:
    """Turn a ToolError with git's complaint about one of the user's pathspecs into a UsageError."""
    try:
        yield
    except ToolError as error:
        if pathspecs and re.search("pathspec|outside repository", str(error)):
            raise UsageError(str(error)) from None
        raise
