"""The protocol of all transports: how jobs reach a store elsewhere, whatever stands behind it."""

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
    """There is no such folder at the remote."""


class BrokenOff(RemoteError):
    """The remote cannot be reached, or was and is not any more: the same again may go well. `why`: what it said, in one
    line; `answered`: it had answered before it broke off; `done`: files that had come, or gone, by name, with their sizes
    in bytes."""

    why: str = ""
    answered: bool = False
    done: Mapping[str, int] = MappingProxyType({})


class Busy(BrokenOff):
    """The remote answers that it has too much to do just now."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to transfer. `timeout` in seconds without progress; `bwlimit` as rsync takes it; `ssh_command`: a shell command,
    as in GIT_SSH_COMMAND; `client` names this clone at the remote, so that two clones do not share one partial folder;
    `retries`: how often a broken connection is tried again without progress; `rsync_path`: the rsync of the remote
    machine, as its shell takes it; `askpass`: ssh may ask for passwords by SSH_ASKPASS."""

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
    """The folder of a store: its permission bits (None where they do not show), and the contents of small files of ours."""

    mode: int | None
    files: Mapping[str, bytes]

    @property
    def is_shared(self) -> bool:
        return is_shared(self.mode)


def is_shared(root: int | None) -> bool:
    """Whether permissions of a store's root say that all accounts of its group may write to the store."""
    return root is not None and root & 0o2020 == 0o2020


@dataclass(frozen=True, slots=True)
class Item:
    """A file of a remote store: `size` in bytes, `stamp` its last change, as rsync prints a time (UTC)."""

    name: str
    size: int
    stamp: str

    @property
    def changed(self) -> float:
        """When it was changed last, in seconds since 1970 by the clock of its machine. What cannot be a time is later than
        all: nothing is deleted for its age then."""
        try:
            return calendar.timegm(time.strptime(self.stamp, "%Y/%m/%d-%H:%M:%S"))
        except ValueError:
            return math.inf


class Transport(Protocol):
    """What jobs ask of a store elsewhere: all that there is to say about a kind of transport. Files are given and returned
    by their names in the store (store/layout.py), sizes are in bytes.

    Everything raises GitlobError: RemoteError where the remote cannot be reached, or broke off (BrokenOff: another try may
    do better), NotAStore where there is no such folder. A new kind is one class here and one line in choose.py; the tests in
    tests/conformance hold for all of them.
    """

    @property
    def location(self) -> Location: ...

    def close(self) -> None:
        """End the connection, and remove what it needed on this machine."""

    # The content

    def fetch(
        self, names: Iterable[str], into: str, partial: str, arrived: Callable[[str], None] | None = None
    ) -> dict[str, int]:
        """Bring files into the folder `into`, without the folders they have in the store; what was cut off lies in its
        folder `partial`, and the next call goes on from there. Files that the store lacks, or may not read, do not come.
        Returns what came, and calls `arrived` with each name while others are still coming."""

    def send(self, names: Iterable[str], root: str, *, anew: bool = False) -> dict[str, int]:
        """Bring files of the store at `root` to this one, but for those that it has in their size, unless `anew`; each gets
        its name once it is whole. Makes the folder of the store, however deep. Returns what was sent."""

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Of these files, those that the store has."""

    def listing(self) -> list[Item]:
        """All files of the content."""

    def listing_with_left_over(self) -> tuple[list[Item], list[Item]]:
        """The same, and files that a transfer has not finished, some of which may be being written just now."""

    def move_aside(self, names: Collection[str], folder: str) -> None:
        """Move files into a folder below ASIDE, under the names that they have."""

    def bring_back(self, names: Collection[str], folder: str) -> None:
        """Move files from a folder below ASIDE to where they belong."""

    # What is ours beside the content, below ASIDE (store/aside.py)

    def look(self, *files: str) -> Root:
        """See the folder of the store, and read small `files` below ASIDE."""

    def has_content(self) -> bool:
        """Whether the folder of the store has what only a store has: a binary, or a clone's list of what it needs."""

    def make_shared_root(self) -> None:
        """Make the folder of the store one that all accounts of its group may write to."""

    def publish(self, files: Mapping[str, bytes], *, anew: bool = True) -> None:
        """Write small files below ASIDE, one after the other in the order of their names; `anew`: also where one of the same
        size is there."""

    def listing_aside(self, folder: str) -> list[Item]:
        """The files of a folder below ASIDE, by their names in it; none where there is no such folder."""

    def read_aside(self, folder: str, file: str = "**") -> dict[str, bytes]:
        """The same files, or one of them, with their contents: for small ones."""

    def delete(self, names: Collection[str], folder: str = "") -> None:
        """Delete files of a folder below ASIDE, by their names in it."""

    def empty(self, folder: str, names: Collection[str]) -> None:
        """Delete these files of a folder below ASIDE, and the folder if nothing else has come into it."""
