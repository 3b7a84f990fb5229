"""The protocol that every transport implements: what jobs can do with a remote store."""

import calendar
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from gitlob_rsync.errors import RemoteError, UsageError
from gitlob_rsync.location import Location


class NotAStore(UsageError):
    """The store's folder does not exist at the remote."""


class BrokenOff(RemoteError):
    """The remote cannot be reached, or the connection broke: the same operation may succeed if it is tried again. `why`:
    what was reported, in one line; `answered`: the remote had answered before; `done`: files transferred before the break,
    name -> size in bytes."""

    why: str = ""
    answered: bool = False
    done: Mapping[str, int] = MappingProxyType({})


class RemoteBusy(BrokenOff):
    """The remote answered that it is too busy at the moment."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to transfer. `timeout`: seconds without progress; `bwlimit`: as rsync takes it; `ssh_command`: a shell command,
    as in GIT_SSH_COMMAND; `client`: names this clone at the remote, so that two clones never share a partial folder;
    `retries`: attempts without progress before a broken connection is given up; `rsync_path`: the remote machine's rsync,
    as a word of its shell; `askpass`: whether ssh may ask for passwords through SSH_ASKPASS."""

    timeout: int
    client: str
    bwlimit: str | None = None
    fsync: bool = True
    ssh_command: str | None = None
    retries: int = 0
    rsync_path: str | None = None
    askpass: bool = False


@dataclass(frozen=True, slots=True)
class Root:
    """The root folder of a store: its permission bits (None if unknown), and the contents of our small files in it."""

    mode: int | None
    files: Mapping[str, bytes]

    @property
    def is_shared(self) -> bool:
        return is_shared(self.mode)


def is_shared(root: int | None) -> bool:
    """Whether the permission bits of a store's root let every account of its group write to the store."""
    return root is not None and root & 0o2020 == 0o2020


@dataclass(frozen=True, slots=True)
class Item:
    """A file in a remote store: `size` in bytes, `stamp` the time of its last change as rsync prints it (UTC)."""

    name: str
    size: int
    stamp: str

    @property
    def changed(self) -> float:
        """The time of its last change, in seconds since 1970 by its machine's clock. An impossible time counts as later
        than all others, so that nothing is deleted because of it."""
        try:
            return calendar.timegm(time.strptime(self.stamp, "%Y/%m/%d-%H:%M:%S"))
        except ValueError:
            return math.inf


class Transport(Protocol):
    """What jobs can ask of a remote store, whatever reaches it. Files go by their names in the store (store/layout.py),
    sizes are in bytes.

    Every operation may raise GitlobError: BrokenOff (a RemoteError) if the remote cannot be reached or the connection
    broke, NotAStore if the store's folder does not exist. A new transport is one class with these methods and one line in
    choose.py; the tests in tests/conformance hold for all of them.
    """

    @property
    def location(self) -> Location: ...

    def close(self) -> None:
        """Close the connection and remove its temporary files."""

    # The content

    def fetch(
        self, names: Iterable[str], into: str, partial: str, arrived: Callable[[str], None] | None = None
    ) -> dict[str, int]:
        """Download files into the folder `into`, flat: without the folders that they have in the store. A file that is cut
        off is kept in its subfolder `partial`, and the next call resumes it. Files that the store lacks or cannot read are
        left out. Returns name -> size of those that arrived, and calls `arrived` with each name while the transfer goes
        on."""

    def send(self, names: Iterable[str], root: str, *, overwrite: bool = False) -> dict[str, int]:
        """Upload files from the store at `root`, except those that the remote has in the same size, unless `overwrite`. A
        file gets its final name once it is whole. Creates the store's folder and its parents. Returns name -> size of those
        that were sent."""

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """The sizes of those of these files that the store has."""

    def listing(self) -> list[Item]:
        """All files of the store's content."""

    def listing_with_left_over(self) -> tuple[list[Item], list[Item]]:
        """The same, and files that transfers have not finished; some may still be being written."""

    def move_aside(self, names: Collection[str], folder: str) -> None:
        """Move files of the content into a folder below ASIDE, keeping their names."""

    def bring_back(self, names: Collection[str], folder: str) -> None:
        """Move files from a folder below ASIDE back into the content."""

    # Our own files beside the content, below ASIDE (store/aside.py)

    def look(self, *files: str) -> Root:
        """Inspect the store's root, and read small `files` below ASIDE."""

    def has_content(self) -> bool:
        """Whether the root holds what only a store holds: a binary, or a clone's list of what it needs."""

    def make_shared_root(self) -> None:
        """Create the store's root, or change it, so that every account of its group may write to it."""

    def publish(self, files: Mapping[str, bytes], *, overwrite: bool = True) -> None:
        """Write small files below ASIDE, one after the other in the order of their names; `overwrite`: even over one of the
        same size."""

    def listing_aside(self, folder: str) -> list[Item]:
        """The files of a folder below ASIDE, by their names in it; none if the folder does not exist."""

    def read_aside(self, folder: str, file: str = "**") -> dict[str, bytes]:
        """The contents of these files, or of one of them; for small files."""

    def delete(self, names: Collection[str], folder: str = "") -> None:
        """Delete files of a folder below ASIDE, by their names in it."""

    def empty(self, folder: str, names: Collection[str]) -> None:
        """Delete these files of a folder below ASIDE, and the folder itself unless something else is in it."""
