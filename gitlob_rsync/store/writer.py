"""A new binary on its way into the store: what git add hands over."""

import os
from contextlib import suppress

from gitlob_rsync.placeholder import Sha
from gitlob_rsync.plain_files import read_blocks
from gitlob_rsync.store.layout import CHUNK, Meta
from gitlob_rsync.store.staging import Staging


class Writer:
    """Writes a binary as it is read: its name is known only at the end. Use it in a `with` block, which deletes what is
    left of an unfinished one."""

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
        """Give the binary its name, which is the hash of all that was written, unless the store has it already, with the
        same content."""
        self._close()
        if self._staging.store.holds(sha, (block for path in self._chunks for block in read_blocks(path))):
            self._staging.store.touch(sha)
        else:
            meta = Meta(sha, self._size)
            at = os.path.join(self._staging.path, "new_meta")
            with open(at, "wb") as file:
                file.write(meta.encode())
            self._staging.store.admit(meta, [*self._chunks, at])
