"""Where what is wrong in a store is put aside: nothing of it is deleted, for it may be all that is left of a file.

Each run has a folder of its own, `<beside the content>/quarantine/DATE-PID`, made when it is first needed; below it
`content` and `shared` are laid out as the stores that the files come from. It is on the stores' file system, so that a
file gets there by rename; see Store.aside for where that is not beside the content.
"""

import os
import time
from collections.abc import Mapping
from contextlib import suppress

from gitlob_rsync.placeholder import Sha
from gitlob_rsync.store.layout import META, NAME, file_name, name
from gitlob_rsync.store.store import Store


class Quarantine:
    def __init__(self, store: Store) -> None:
        self._sharing = store.sharing
        self.root = store.aside("quarantine")
        self.path: str | None = None
        """The folder of this run, once there is one."""

    def take(self, store: Store, sha: Sha, seen: Mapping[str, os.stat_result], below: str) -> bool:
        """Move files of a binary here that were `seen` under its name, in that order: with the meta first, the store at
        no time has a binary that looks whole and is not. What took their place meanwhile stays there.

        False where that is so of the first of them, or where it is gone. Raises OSError where they cannot be moved.
        """
        for at, (part, was) in enumerate(seen.items()):
            source, target = store.path(sha, part), f"{self._folder(sha, below)}/{file_name(sha, part)}"
            try:
                os.rename(source, target)
            except FileNotFoundError:
                taken = False
            else:
                taken = same(os.lstat(target), was)
                if not taken and not os.path.lexists(source):
                    os.rename(target, source)
            if not taken and at == 0:
                return False
        return True

    def _folder(self, sha: Sha, below: str) -> str:
        if self.path is None:
            self.path = self._make_own()
        folder = os.path.dirname(f"{self.path}/{below}/{name(sha, META)}")
        for end in range(len(self.path) + 1, len(folder) + 1):
            if end == len(folder) or folder[end] == "/":
                self._make(folder[:end])
        return folder

    def _make_own(self) -> str:
        self._make(self.root)
        date = time.strftime("%Y-%m-%dT%H-%M-%S")
        for number in range(1000):
            path = f"{self.root}/{date}-{os.getpid()}{f'-{number}' if number else ''}"
            with suppress(FileExistsError):
                os.mkdir(path)
                self._sharing.apply(path)
                return path
        raise FileExistsError(f"{self.root} is full of folders of this moment")

    def _make(self, path: str) -> None:
        with suppress(FileExistsError):
            os.mkdir(path)
            self._sharing.apply(path)

    def binaries(self) -> set[Sha]:
        """The binaries of the store of which something was put aside, by this run or an earlier one."""
        found = set()
        for run in _folders(self.root):
            content = f"{run}/content"
            for first in _folders(content):
                for second in _folders(first):
                    for file in os.listdir(second):
                        if named := NAME.match(os.path.relpath(f"{second}/{file}", content)):
                            found.add(Sha(named[3]))
        return found


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether two looks saw the same file, and nobody wrote into it in between. (A rename changes the ctime.)"""
    return (one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) == (
        other.st_dev, other.st_ino, other.st_size, other.st_mtime_ns)  # fmt: skip
