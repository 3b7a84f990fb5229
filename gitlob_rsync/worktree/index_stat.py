"""Having git's index know that a file which we filled in is unchanged.

Git compares a file with what the index noted of it (size, times, inode), and once a size differs, it calls the file
modified without looking into it. No git command renews the note without sending the content of each file through the
clean filter once more. So only the notes are renewed here, in place, in the format of gitformat-index(5) (versions 2 to
4), under git's own lock; names, objects and everything after the entries stay as they are.
"""

import hashlib
import os
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

from gitlob_rsync.errors import GitlobError, writing
from gitlob_rsync.git.repo import Repo

_STAT = struct.Struct(">10I")  # ctime s, ns; mtime s, ns; dev; ino; mode; uid; gid; size
_LOCK_SECONDS = 5


def note(repo: Repo, files: Mapping[bytes, tuple[str, os.stat_result | None]]) -> bool:
    """Renew the notes of `files`: path -> (the blob that its entry must still name, what to note; None: nothing, so that
    git looks into the file the next time).

    False if this index cannot be changed so (a split or a damaged one). Raises GitlobError if it stays locked.
    """
    path = os.path.realpath(repo.index)
    lock = f"{path}.lock"
    with writing(lock), open(_take(lock), "wb") as output:
        try:
            with open(path, "rb") as file:
                content = bytearray(file.read())
            oid_size = hashlib.new(repo.object_format, usedforsecurity=False).digest_size
            hashed = any(content[-oid_size:])  # else index.skipHash
            # git does not check the hash either, but a new one must not hide damage
            sound = not hashed or content[-oid_size:] == _digest(content, repo.object_format, oid_size)
            if not sound or not _patch(content, oid_size, files):
                os.unlink(lock)
                return False
            if hashed:
                content[-oid_size:] = _digest(content, repo.object_format, oid_size)
            with suppress(OSError):  # a file system may refuse; git's own lock file has the mode of any new file, too
                os.fchmod(output.fileno(), os.stat(path).st_mode & 0o7777)
            output.write(content)
            output.flush()
            os.rename(lock, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(lock)
            raise
    return True


def _digest(content: bytearray, object_format: str, oid_size: int) -> bytes:
    with memoryview(content) as whole:
        return hashlib.new(object_format, whole[:-oid_size], usedforsecurity=False).digest()


def _take(lock: str) -> int:
    """git's lock on the index, waited for a moment: a `git status` in a prompt holds it for milliseconds."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            if time.monotonic() > deadline:
                raise GitlobError(
                    f"{lock} exists: another git is running in this repository",
                    "when none is, remove that file; then run gitlob-sync --checkout",
                ) from None
            time.sleep(0.05)


def _patch(content: bytearray, oid_size: int, files: Mapping[bytes, tuple[str, os.stat_result | None]]) -> bool:
    """Write the notes into an index in memory; False, with nothing written, if its kind is not known."""
    try:
        entries = [(offset, flags, path) for offset, flags, path in _entries(content, oid_size) if path in files]
    except ValueError:
        return False
    for offset, flags, path in entries:
        blob, found = files[path]
        if content[offset + 40 : offset + 40 + oid_size] != bytes.fromhex(blob) or flags & 0x3000:
            continue  # staged again meanwhile: no longer ours
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


def _entries(content: bytearray, oid_size: int) -> Iterator[tuple[int, int, bytes]]:
    """(offset, flags, path) of each entry. Raises ValueError for anything but an index, and for one with unknown
    parts, which must not be changed."""
    end = len(content) - oid_size
    if end < 12 or content[:4] != b"DIRC":
        raise ValueError("no index")
    version, count = struct.unpack_from(">2I", content, 4)
    if version not in (2, 3, 4):
        raise ValueError("another version")
    at, path, previous = 12, b"", (b"", -1)
    for _ in range(count):
        offset, at = at, at + 42 + oid_size
        flags = int.from_bytes(content[at - 2 : at])
        if flags & 0x4000:
            at += 2
        kept = b""
        if version == 4:
            strip, at = _varint(content, at, end)
            if strip > len(path):
                raise ValueError("a path that shares more than there is")
            kept = path[: len(path) - strip]
        zero = content.index(0, at, end)
        path = kept + bytes(content[at:zero])
        at = zero + 1
        if version < 4:  # zeros up to a multiple of 8
            at = offset + (zero - offset + 8) // 8 * 8
            if any(content[zero:at]) or (version == 2 and flags & 0x4000):
                raise ValueError("no end of an entry")
        here = (path, flags >> 12 & 3)
        if at > end or flags & 0xFFF != min(len(path), 0xFFF) or not path or here <= previous:
            raise ValueError("no entry")
        previous = here
        yield offset, flags, path
    _check_extensions(content, at, end)


def _check_extensions(content: bytearray, at: int, end: int) -> None:
    while at < end:
        kind, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8])
        # optional extensions begin with a capital; of the others, only a sparse index does not matter here
        if not kind[:1].isupper() and kind != b"sdir":
            raise ValueError("an extension that has to be understood")
        at += 8 + size
    if at != end:
        raise ValueError("more than there is")


def _varint(content: bytearray, at: int, end: int) -> tuple[int, int]:
    """git's variable-width number (as in an offset delta), and the offset after it."""
    value = -1
    for place in range(at, min(at + 8, end)):
        value = (value + 1 << 7) + (content[place] & 127)
        if not content[place] & 128:
            return value, place + 1
    raise ValueError("a number without an end")
