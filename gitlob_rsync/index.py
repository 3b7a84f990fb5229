"""Telling git's index that a file which we filled in is unchanged.

Git compares a file with what the index noted of it (size, times, inode), and once a size differs, it calls the file
modified without looking into it. There is no git command that renews the note without sending the content of each file
through the clean filter once more. So the notes alone are renewed here, in place, in the format of gitformat-index(5)
(versions 2 to 4), under git's own lock; names, objects and everything behind the entries stay as they are.
"""

import hashlib
import os
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

from gitlob_rsync.errors import GitlobError
from gitlob_rsync.git import Repo

_STAT = struct.Struct(">10I")  # ctime s, ns; mtime s, ns; dev; ino; mode; uid; gid; size
_LOCK_SECONDS = 5


def note(repo: Repo, files: Mapping[bytes, tuple[str, os.stat_result | None]]) -> bool:
    """Renew the notes of `files`: path -> (the blob that its entry must still name, what to note; None: nothing, so that
    git looks into the file the next time).

    False where this index cannot be written so (a split index). Raises GitlobError where it stays locked.
    """
    path = os.path.realpath(repo.index)
    lock = f"{path}.lock"
    with open(_take(lock), "wb") as output:
        try:
            with open(path, "rb") as file:
                content = bytearray(file.read())
            hasher = hashlib.new(repo.object_format, usedforsecurity=False)
            if not _patch(content, hasher.digest_size, files):
                os.unlink(lock)
                return False
            body = memoryview(content)[: -hasher.digest_size]
            if any(content[-hasher.digest_size :]):  # else index.skipHash
                hasher.update(body)
                content[-hasher.digest_size :] = hasher.digest()
            os.fchmod(output.fileno(), os.stat(path).st_mode & 0o7777)
            output.write(content)
            output.flush()
            os.rename(lock, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(lock)
            raise
    return True


def _take(lock: str) -> int:
    """git's lock on the index, waited for a moment: a `git status` in a prompt holds it for milliseconds."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            if time.monotonic() > deadline:
                raise GitlobError(
                    f"{lock} exists: another git is at work in this repository",
                    "when none is, remove that file; then run gitlob-sync --checkout",
                ) from None
            time.sleep(0.05)


def _patch(content: bytearray, oid_size: int, files: Mapping[bytes, tuple[str, os.stat_result | None]]) -> bool:
    """Write the notes into an index held in memory; False, and nothing written, where it is of a kind not known."""
    if content[:4] != b"DIRC" or len(content) < 12 + oid_size:
        return False
    version, count = struct.unpack_from(">2I", content, 4)
    if version not in (2, 3, 4):
        return False
    entries = []
    behind = 12
    for offset, after, path in _entries(content, version, count, oid_size):
        behind = after
        if path in files:
            entries.append((offset, path))
    if _has_extension(content, behind, oid_size, b"link"):
        return False
    for offset, path in entries:
        blob, found = files[path]
        flags = int.from_bytes(content[offset + 40 + oid_size : offset + 42 + oid_size])
        if content[offset + 40 : offset + 40 + oid_size] != bytes.fromhex(blob) or flags & 0x3000:
            continue  # staged anew in the meantime: not ours any more
        mode = struct.unpack_from(">I", content, offset + 24)[0]
        _STAT.pack_into(content, offset, *_fields(found, mode))
    return True


def _fields(found: os.stat_result | None, mode: int) -> tuple[int, ...]:
    if found is None:
        return (0, 0, 0, 0, 0, 0, mode, 0, 0, 0)
    ctime, ctime_ns = divmod(found.st_ctime_ns, 10**9)
    mtime, mtime_ns = divmod(found.st_mtime_ns, 10**9)
    values = (
        ctime,
        ctime_ns,
        mtime,
        mtime_ns,
        found.st_dev,
        found.st_ino,
        mode,
        found.st_uid,
        found.st_gid,
        found.st_size,
    )
    return tuple(value & 0xFFFFFFFF for value in values)


def _entries(content: bytearray, version: int, count: int, oid_size: int) -> Iterator[tuple[int, int, bytes]]:
    """(offset, offset behind it, path) of each entry."""
    offset, path = 12, b""
    for _ in range(count):
        flags = int.from_bytes(content[offset + 40 + oid_size : offset + 42 + oid_size])
        at = offset + 42 + oid_size + (2 if flags & 0x4000 else 0)
        if version == 4:
            strip, at = _varint(content, at)
            end = content.index(0, at)
            path = path[: len(path) - strip] + bytes(content[at:end])
            behind = end + 1
        else:
            end = content.index(0, at)
            path = bytes(content[at:end])
            behind = offset + (end - offset + 8) // 8 * 8
        yield offset, behind, path
        offset = behind


def _varint(content: bytearray, at: int) -> tuple[int, int]:
    """git's variable-width number (as of an offset delta); returns it and the place behind it."""
    value = content[at] & 127
    while content[at] & 128:
        at += 1
        value = (value + 1 << 7) + (content[at] & 127)
    return value, at + 1


def _has_extension(content: bytearray, at: int, oid_size: int, wanted: bytes) -> bool:
    while at + 8 <= len(content) - oid_size:
        if content[at : at + 4] == wanted:
            return True
        at += 8 + int.from_bytes(content[at + 4 : at + 8])
    return False
