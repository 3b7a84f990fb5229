"""Hashing binaries in a thread of its own, while git asks for the next files."""

import threading
from collections.abc import Callable
from queue import SimpleQueue

from gitlob_rsync.placeholder import Sha


class Ahead:
    """Judges binaries in the order in which they are given. An exception counts as no: using the binary raises it again,
    where it can be reported."""

    def __init__(self, judge: Callable[[Sha], bool]) -> None:
        self._judge = judge
        self._todo: SimpleQueue[tuple[bytes, Sha] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[bytes, bool]] = SimpleQueue()
        self._pending = 0
        self._thread: threading.Thread | None = None

    def rest(self) -> None:
        """Wait until all are judged, and end the thread until there is more to do: no process may be forked while it
        runs."""
        if self._thread:
            self._todo.put(None)
            self._thread.join()
            self._thread = None

    def begin(self, path: bytes, sha: Sha) -> None:
        """Have the binary of a path judged."""
        if self._thread is None:
            # a daemon: nobody who interrupts git wants to wait for it
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        self._pending += 1
        self._todo.put((path, sha))

    def _work(self) -> None:
        while task := self._todo.get():
            path, sha = task
            try:
                verdict = self._judge(sha)
            except Exception:
                verdict = False
            self._done.put((path, verdict))

    def approved(self) -> list[bytes]:
        """Paths whose binaries were approved since the last call. Waits for one; empty if no more will come."""
        found: list[bytes] = []
        while self._pending and not (found and self._done.empty()):
            path, verdict = self._done.get()
            self._pending -= 1
            if verdict:
                found.append(path)
        return found
