"""Folders in which binaries wait to be whole, one a run, beside the store's content and on its file system.

A folder belongs to the process that holds its flock; the kernel gives the lock back however that process ends. A
folder without a holder is what a killed run left: the next one takes over what had arrived in it.
"""

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import suppress

from gitlob_rsync.placeholder import Sha
from gitlob_rsync.store import CHUNK, META, NAME, Meta, Store, name, read_file, read_meta

PARTIAL = "partial"
"""Where rsync keeps the part of a chunk that had come when it was stopped."""
_FORGOTTEN = 14 * 24 * 3600
"""Seconds after which nobody comes back for what a killed run left."""
_STALE = 24 * 3600
"""Seconds after which a folder counts as left behind where the file system knows no locks."""


class Staging:
    """A staging folder of our own. Use it in a `with` block, at whose end it goes; a `resumable` one stays where an
    exception ends the block, for a later run to take over."""

    def __init__(self, store: Store, *, resumable: bool = False) -> None:
        self.store = store
        self._resumable = resumable
        store.make_root()
        self._above = os.path.join(os.path.dirname(os.path.realpath(store.root)), "staging")
        os.makedirs(self._above, exist_ok=True)
        store.sharing.apply(self._above)
        while True:
            self.path = tempfile.mkdtemp(dir=self._above)
            with suppress(FileNotFoundError):  # another run took it for an abandoned one
                self._lock = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
                if self._lock_own():
                    break
                os.close(self._lock)
        self._sweep()

    def _lock_own(self) -> bool:
        """False where another run took the folder for an abandoned one before we could lock it."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True  # no locks on this file system: age decides
        return os.path.exists(self.path)

    def __enter__(self) -> "Staging":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None or not self._resumable or not _files(self.path):
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def at(self, sha: Sha, part: str | int) -> str:
        """Where a file of a binary waits: the folder is laid out as a store."""
        return os.path.join(self.path, name(sha, part))

    @property
    def partial(self) -> str:
        return os.path.join(self.path, PARTIAL)

    def take_over(self, wanted: Collection[Sha]) -> set[Sha]:
        """Move what killed runs left of `wanted` into this folder; returns the binaries of which there was something."""
        taken = set()
        for other in self._left_behind():
            for file in _files(other):
                sha = Sha(os.path.basename(file)[:40])
                if sha in wanted:
                    target = os.path.join(self.path, file)
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    os.rename(os.path.join(other, file), target)
                    taken.add(sha)
            if not _files(other):
                shutil.rmtree(other, ignore_errors=True)
        return taken

    def _sweep(self) -> None:
        """Remove what killed runs left that nobody can use, or comes back for."""
        for other in self._left_behind():
            if time.time() - os.stat(other).st_mtime > _FORGOTTEN or not _files(other):
                shutil.rmtree(other, ignore_errors=True)

    def _left_behind(self) -> Iterator[str]:
        """The folders whose owners are dead, each one locked for us while it is at hand."""
        for entry in os.listdir(self._above):
            other = os.path.join(self._above, entry)
            if other == self.path:
                continue
            try:
                lock = os.open(other, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                if _abandoned(lock) and os.path.exists(other):
                    yield other
            finally:
                os.close(lock)

    def drop(self, sha: Sha) -> None:
        """Forget the files of a binary that proved wrong."""
        for file in _files(self.path):
            if os.path.basename(file).startswith(sha):
                os.unlink(os.path.join(self.path, file))

    def has_meta(self, sha: Sha) -> bool:
        """Whether something arrived under the meta's name."""
        return os.path.lexists(self.at(sha, META))

    def meta(self, sha: Sha) -> Meta | None:
        """The meta that arrived; None where it cannot be right."""
        return read_meta(self.at(sha, META), sha)

    def has_chunk(self, meta: Meta, number: int) -> bool:
        """Whether a chunk arrived as a plain file of its size."""
        try:
            found = os.lstat(self.at(meta.sha, number))
        except FileNotFoundError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == meta.chunk_size(number)

    def sound(self, meta: Meta) -> bool:
        """Whether the chunks that arrived are the binary: reads and hashes them."""
        if not all(self.has_chunk(meta, number) for number in range(meta.chunks)):
            return False
        digest = hashlib.sha1(usedforsecurity=False)
        for number in range(meta.chunks):
            for block in read_file(self.at(meta.sha, number)):
                digest.update(block)
        return digest.hexdigest() == meta.sha

    def write_meta(self, meta: Meta) -> None:
        """Put the meta into the form that git-lob writes, whatever form it arrived in."""
        at = self.at(meta.sha, META)
        with open(at, "rb") as file:
            if file.read(4096) == meta.encode():
                return
        os.unlink(at)
        with open(at, "xb") as file:
            file.write(meta.encode())

    def admit(self, meta: Meta) -> None:
        """Move a binary into the store whose chunks and meta are here, `sound` and settled."""
        self.store.admit(meta, [self.at(meta.sha, part) for part in meta.parts()])

    def settle(self) -> None:
        """Have what is here on the disk before it gets its name: a crash must not leave empty files under final names.

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


def _files(folder: str) -> list[str]:
    """The plain files in a staging folder that rsync gave their last name, relative to it: no links, and not what it was
    still writing. What it keeps of a chunk that was cut off lies in PARTIAL."""
    found = []
    for above, _, names in os.walk(folder):
        inside = os.path.relpath(above, folder)
        for one in names:
            file = one if inside == "." else f"{inside}/{one}"
            known = NAME.match(file) or (inside == PARTIAL and NAME.match(f"{one[:3]}/{one[3:6]}/{one}"))
            if known and stat.S_ISREG(os.lstat(os.path.join(folder, file)).st_mode):
                found.append(file)
    return found


class Writer:
    """A new binary, written as it is read: its name is known only at the end. Use it in a `with` block, which leaves
    nothing of an unfinished one."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._size = 0
        self._chunks: list[str] = []
        self._file: int | None = None

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        for path in self._chunks:
            with suppress(FileNotFoundError):
                os.unlink(path)

    def write(self, block: bytes) -> None:
        rest = memoryview(block)
        while rest:
            room = CHUNK - self._size % CHUNK
            if room == CHUNK:
                self._open_next()
            assert self._file is not None
            written = os.write(self._file, rest[:room])
            self._size += written
            rest = rest[written:]

    def _open_next(self) -> None:
        self._close()
        path = os.path.join(self._staging.path, f"new_{len(self._chunks)}")
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._chunks.append(path)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def finish(self, sha: Sha) -> None:
        """Give the binary its name, which is the hash of all that was written, unless the store has it already."""
        self._close()
        if not self._staging.store.complete(sha):
            meta = Meta(sha, self._size)
            at = os.path.join(self._staging.path, "new_meta")
            with open(at, "wb") as file:
                file.write(meta.encode())
            self._staging.store.admit(meta, [*self._chunks, at])


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _abandoned(lock: int) -> bool:
    """Whether the folder behind the descriptor has no living owner; if so it is ours until the descriptor closes."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - os.fstat(lock).st_mtime > _STALE
    return True
