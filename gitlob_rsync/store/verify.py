"""Hashing many binaries where they lie, several at once: neither hashlib nor a read holds Python's lock meanwhile."""

import hashlib
import os
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor, wait

from gitlob_rsync.placeholder import Sha
from gitlob_rsync.progress import Meter
from gitlob_rsync.store.layout import Meta
from gitlob_rsync.store.store import BLOCK, Store, open_plain


class Hasher:
    """Hashes binaries of one store; each thread holds no more than BLOCK bytes of them."""

    def __init__(self, store: Store, meter: Meter) -> None:
        self._store = store
        self._meter = meter
        self._stop = threading.Event()

    def wrong(self, metas: Collection[Meta]) -> list[Sha]:
        """Of binaries that were complete, those that did not prove sound: damaged, changed meanwhile, or not to be read.

        A binary is hashed by one thread, because its hash is that of all its chunks together; the largest come first,
        so that no thread is left alone with one of them at the end.
        """
        if not metas:
            return []
        pending = sorted(metas, key=lambda meta: meta.size)
        workers = min(_processors(), len(pending))
        done = [0] * workers  # bytes, by worker
        found: list[Sha] = []

        def work(worker: int) -> None:
            buffer = bytearray(BLOCK)
            while not self._stop.is_set():
                try:
                    meta = pending.pop()
                except IndexError:
                    return
                try:
                    sound = self._digest(meta, buffer, done, worker) == meta.sha
                except OSError:  # whoever looks closer finds out why
                    sound = False
                if not sound:
                    found.append(meta.sha)

        self._meter.begin(f"check {len(pending)}", sum(meta.size for meta in pending))
        try:
            with ThreadPoolExecutor(workers) as pool:
                try:
                    working = [pool.submit(work, worker) for worker in range(workers)]
                    while wait(working, 0.2).not_done:
                        self._meter.reached(sum(done))
                finally:
                    self._stop.set()  # where we were interrupted
                for one in working:
                    one.result()
        finally:
            self._meter.end()
            self._stop.clear()
        return found

    def sound(self, meta: Meta) -> bool:
        """Whether a binary is what its name says; False too where a chunk is missing. Raises OSError where one cannot be
        read."""
        return self._digest(meta, bytearray(BLOCK), [0], 0) == meta.sha

    def _digest(self, meta: Meta, buffer: bytearray, done: list[int], worker: int) -> str:
        digest = hashlib.sha1(usedforsecurity=False)
        view = memoryview(buffer)
        for number in range(meta.chunks):
            fd = open_plain(self._store.path(meta.sha, number))
            if fd is None:
                return ""
            try:
                while (count := os.readv(fd, [buffer])) and not self._stop.is_set():
                    digest.update(view[:count])
                    done[worker] += count
            finally:
                os.close(fd)
        return digest.hexdigest()


def _processors() -> int:
    """How many we may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # no Linux
        return os.cpu_count() or 1
