"""Retrying, as a wrapper around a transport: an operation that a broken connection ended is repeated after a pause."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from gitlob_rsync.location import Location
from gitlob_rsync.progress import Meter
from gitlob_rsync.transport.base import BrokenOff, Item, RemoteBusy, Root, Transport

_PAUSE = 2.0
"""Seconds before the first retry; doubled before each further one."""

R = TypeVar("R")


class Retrying:
    """A transport whose operations are retried, up to `retries` times without progress, if the connection broke after the
    remote had answered, or if the remote is busy."""

    def __init__(self, transport: Transport, retries: int, meter: Meter) -> None:
        self._transport = transport
        self._retries = retries
        self._meter = meter

    @property
    def location(self) -> Location:
        return self._transport.location

    def close(self) -> None:
        self._transport.close()

    def _retry(self, operation: Callable[[], R], done: dict[str, int] | None = None) -> R:
        """Run an operation, with retries; `done` collects the files transferred before a connection broke."""
        done = {} if done is None else done
        tries = 0
        while True:
            try:
                return operation()
            except BrokenOff as error:
                before = len(done)
                done.update(error.done)
                tries = 1 if len(done) > before else tries + 1
                if not (error.answered or isinstance(error, RemoteBusy)) or tries > self._retries:
                    raise
                pause = _PAUSE * 2 ** (tries - 1)
                self._meter.note(
                    f"{self.location}: {error.why}; retrying in {pause:.0f} seconds ({tries} of {self._retries})"
                )
                time.sleep(pause)

    def fetch(
        self, names: Iterable[str], into: str, partial: str, arrived: Callable[[str], None] | None = None
    ) -> dict[str, int]:
        names, done = list(names), dict[str, int]()
        # files that have arrived are in `into`, so that a retry skips them
        return done | self._retry(lambda: self._transport.fetch(names, into, partial, arrived), done)

    def send(self, names: Iterable[str], root: str, *, overwrite: bool = False) -> dict[str, int]:
        names, done = list(names), dict[str, int]()
        return done | self._retry(lambda: self._transport.send(names, root, overwrite=overwrite), done)

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        names = list(names)
        return self._retry(lambda: self._transport.sizes(names))

    def listing(self) -> list[Item]:
        return self._retry(self._transport.listing)

    def listing_with_left_over(self) -> tuple[list[Item], list[Item]]:
        return self._retry(self._transport.listing_with_left_over)

    def move_aside(self, names: Collection[str], folder: str) -> None:
        self._retry(lambda: self._transport.move_aside(names, folder))

    def bring_back(self, names: Collection[str], folder: str) -> None:
        self._retry(lambda: self._transport.bring_back(names, folder))

    def look(self, *files: str) -> Root:
        return self._retry(lambda: self._transport.look(*files))

    def has_content(self) -> bool:
        return self._retry(self._transport.has_content)

    def make_shared_root(self) -> None:
        self._retry(self._transport.make_shared_root)

    def publish(self, files: Mapping[str, bytes], *, overwrite: bool = True) -> None:
        self._retry(lambda: self._transport.publish(files, overwrite=overwrite))

    def listing_aside(self, folder: str) -> list[Item]:
        return self._retry(lambda: self._transport.listing_aside(folder))

    def read_aside(self, folder: str, file: str = "**") -> dict[str, bytes]:
        return self._retry(lambda: self._transport.read_aside(folder, file))

    def delete(self, names: Collection[str], folder: str = "") -> None:
        self._retry(lambda: self._transport.delete(names, folder))

    def empty(self, folder: str, names: Collection[str]) -> None:
        self._retry(lambda: self._transport.empty(folder, names))
