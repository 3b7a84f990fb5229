"""Staging folders: where binaries arrive until they are complete. One a run, beside the store's content or in it, and on its
file system.

A folder belongs to the process that holds its flock; the kernel releases the lock however that process ends. A folder
whose lock is free was left by a killed run: the next one takes over what had arrived in it.
"""

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import islice

from gitlob_rsync.errors import writing
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.plain_files import is_unchanged
from gitlob_rsync.store import verify
from gitlob_rsync.store.layout import CHUNK, EMPTY, FILE_NAME, META, Meta, file_name
from gitlob_rsync.store.locks import take_now
from gitlob_rsync.store.store import Store, read_meta

_FOLDER = "staging"
PARTIAL = "partial"
"""The folder beside a chunk's place in which rsync keeps the part of it that had arrived when it was stopped."""
_FORGOTTEN = 14 * 24 * 3600
"""Seconds after which what a killed run left is given up."""
_STALE = 24 * 3600
"""Seconds after which a folder counts as abandoned where the file system has no locks."""


class Staging:
    """A staging folder of our own. Use it in a `with` block, which deletes it at the end; a `resumable` one is kept if an
    exception ends the block, for a later run to take over."""

    def __init__(self, store: Store, *, resumable: bool = False) -> None:
        self.store = store
        self._resumable = resumable
        self._ready: dict[Sha, list[os.stat_result]] = {}
        store.make_root()
        self._above = store.aside(_FOLDER)
        os.makedirs(self._above, exist_ok=True)
        store.sharing.apply(self._above)
        sweep(store)
        while True:
            self.path = tempfile.mkdtemp(dir=self._above)
            with suppress(FileNotFoundError):  # another run took it for an abandoned one
                self._lock = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
                if self._lock_own():
                    break
                os.close(self._lock)

    def _lock_own(self) -> bool:
        """False where another run took the folder for abandoned before we could lock it."""
        try:
            return take_now(self._lock, fcntl.LOCK_EX) and os.path.exists(self.path)
        except OSError:
            return True  # this file system has no locks: age decides

    def __enter__(self) -> "Staging":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None or not self._resumable or not _files(self.path):
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def at(self, sha: Sha, part: str | int) -> str:
        """The path of a file of a binary, without the folders that it has in a store: thousands of folders would cost more
        than the files in them."""
        return f"{self.path}/{file_name(sha, part)}"

    def take_over(self, wanted: Collection[Sha]) -> set[Sha]:
        """Move what killed runs left of `wanted` into this folder; returns the binaries of which something was found."""
        taken = set()
        for other in _left_behind(self._above):
            if other == self.path:
                continue
            for file in _files(other):
                sha = _sha_of(file)
                if sha in wanted:
                    target = os.path.join(self.path, file)
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    os.rename(os.path.join(other, file), target)
                    taken.add(sha)
            if not _files(other):
                shutil.rmtree(other, ignore_errors=True)
        return taken

    def drop(self, sha: Sha) -> None:
        """Delete the files of a binary that proved wrong."""
        for file in _files(self.path):
            if _sha_of(file) == sha:
                os.unlink(os.path.join(self.path, file))

    def has(self, sha: Sha, part: str | int) -> bool:
        """Whether something arrived under a file's name."""
        return os.path.lexists(self.at(sha, part))

    def _size(self, sha: Sha, number: int) -> int | None:
        """Bytes of a chunk that arrived as a plain file."""
        try:
            found = os.lstat(self.at(sha, number))
        except FileNotFoundError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def is_large(self, sha: Sha) -> bool:
        """Whether there may be more than the chunk that arrived first."""
        return self._size(sha, 0) == CHUNK

    def meta(self, sha: Sha) -> Meta | None:
        """The meta of what arrived: inferred from the size of a single chunk, else read from the meta that arrived. None
        where there is neither, or that meta is invalid."""
        if sha == EMPTY:
            return Meta(sha, 0)
        size = self._size(sha, 0)
        if size is not None and 0 < size < CHUNK:
            return Meta(sha, size)
        return read_meta(self.at(sha, META), sha)

    def lacking(self, sha: Sha, most: int) -> list[str]:
        """The parts of a large binary to ask for next: its meta, and at most `most` chunks. Only the meta says how many
        there are; before it is here, chunks are asked for in case they exist."""
        meta = self.meta(sha)
        numbers = range(1, meta.chunks if meta else most + 1)
        chunks = (str(n) for n in numbers if self._size(sha, n) != (meta.chunk_size(n) if meta else CHUNK))
        return [*([] if meta else [META]), *islice(chunks, most)]

    def _sound(self, meta: Meta) -> bool:
        """Whether the chunks that arrived are the binary: hashes them."""
        if any(self._size(meta.sha, number) != meta.chunk_size(number) for number in range(meta.chunks)):
            return False
        paths = (self.at(meta.sha, number) for number in range(meta.chunks))
        return verify.hash_files(paths, verify.buffer_for(meta.size)) == meta.sha

    def prepare(self, sha: Sha) -> Meta | None:
        """Make a binary that arrived ready to be admitted: hash it, write its meta, and create its folders. None where it is
        not complete and sound. What was ready before, and has not changed since, is not hashed again."""
        meta = self.meta(sha)
        if not meta:
            return None
        try:
            seen = [os.lstat(self.at(sha, number)) for number in range(meta.chunks)]
        except FileNotFoundError:
            return None
        ready = self._ready.get(sha)
        if ready is None or len(ready) != len(seen) or not all(map(is_unchanged, ready, seen)):
            if not self._sound(meta):
                return None
            self._write_meta(meta)
            self.store.make_folders(sha)
            self._ready[sha] = seen
        return meta

    def _write_meta(self, meta: Meta) -> None:
        """As git-lob writes it, whatever arrived under its name."""
        at = self.at(meta.sha, META)
        with suppress(FileNotFoundError):
            os.unlink(at)
        with writing(at), open(at, "xb", buffering=0) as file:
            file.write(meta.encode())

    def admit(self, meta: Meta) -> None:
        """Move a binary, prepared and settled, into the store."""
        self.store.admit(meta, [self.at(meta.sha, part) for part in meta.parts()])

    def settle(self) -> None:
        """Flush what is here to the disk before it gets its name: a crash must not leave empty files under final names.

        One call for the whole file system, where the C library has it: thousands of fsyncs cost more than the transfer.
        """
        import ctypes

        try:
            syncfs = ctypes.CDLL(None, use_errno=True).syncfs
        except (AttributeError, OSError):
            os.sync()
            return
        if syncfs(self._lock) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), self.path)


def sweep(store: Store) -> None:
    """Delete what killed runs left, where there is nothing in it to take over, or it is too old."""
    for above in store.every_aside(_FOLDER):
        for other in _left_behind(above):
            if time.time() - os.stat(other).st_mtime > _FORGOTTEN or not _files(other):
                shutil.rmtree(other, ignore_errors=True)


def _left_behind(above: str) -> Iterator[str]:
    """The folders whose owners are dead, each one locked for us while the caller works on it."""
    try:
        entries = os.listdir(above)
    except FileNotFoundError:
        return
    for entry in entries:
        other = os.path.join(above, entry)
        try:
            lock = os.open(other, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            if _abandoned(lock) and os.path.exists(other):
                yield other
        finally:
            os.close(lock)


def _files(folder: str) -> list[str]:
    """The regular files in a staging folder that rsync gave their final names, relative to it: not what it was still
    writing. What it kept of a chunk that was cut off is in PARTIAL."""
    found = []
    for inside in ("", f"{PARTIAL}/"):
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(f"{folder}/{inside}") as entries:
            found += [
                inside + entry.name
                for entry in entries
                if FILE_NAME.match(entry.name) and entry.is_file(follow_symlinks=False)
            ]
    return found


def _sha_of(file: str) -> Sha:
    return Sha(file.removeprefix(f"{PARTIAL}/")[:40])


def _abandoned(lock: int) -> bool:
    """Whether the folder behind the descriptor has no living owner; if so it is ours until the descriptor is closed."""
    try:
        return take_now(lock, fcntl.LOCK_EX)
    except OSError:
        return time.time() - os.fstat(lock).st_mtime > _STALE
