"""Checking the content of many binaries of a store, several at once."""

import os
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor, wait

from gitlob_rsync.placeholder import Sha
from gitlob_rsync.plain_files import BLOCK
from gitlob_rsync.progress import Meter
from gitlob_rsync.store.layout import Meta
from gitlob_rsync.store.store import Store
from gitlob_rsync.store.verify import buffer_for, hash_files


class Hasher:
    """Hashes binaries of one store; each thread holds no more than BLOCK bytes of them."""

    def __init__(self, store: Store, meter: Meter) -> None:
        self._store = store
        self._meter = meter

    def wrong(self, metas: Collection[Meta]) -> list[Sha]:
        """Of binaries that were complete, those that did not prove sound: damaged, changed meanwhile, or unreadable.

        A binary is hashed by one thread, because its hash covers all its chunks together; the largest come first, so that
        no thread is left alone with one of them at the end.
        """
        if not metas:
            return []
        pending = sorted(metas, key=lambda meta: meta.size)
        workers = min(_processors(), len(pending))
        done = [0] * workers  # bytes, by worker
        found: list[Sha] = []
        stop = threading.Event()  # set for good: a thread whose start was interrupted is not known to the pool

        def work(worker: int) -> None:
            buffer = bytearray(BLOCK)

            def advance(count: int) -> bool:
                done[worker] += count
                return not stop.is_set()

            while not stop.is_set():
                try:
                    meta = pending.pop()
                except IndexError:
                    return
                try:
                    sound = self._hash(meta, buffer, advance) == meta.sha
                except OSError:  # a closer look at it will find out why
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
                    stop.set()  # for an interruption
                for one in working:
                    one.result()
        finally:
            self._meter.end()
        return found

    def sound(self, meta: Meta) -> bool:
        """Whether the content of a binary is what its name promises; False too where a chunk is missing. Raises OSError
        where one cannot be read."""
        return self._hash(meta, buffer_for(meta.size)) == meta.sha

    def _hash(self, meta: Meta, buffer: bytearray, advance: Callable[[int], bool] | None = None) -> str:
        return hash_files((self._store.path(meta.sha, number) for number in range(meta.chunks)), buffer, advance)


def _processors() -> int:
    """How many of them this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
