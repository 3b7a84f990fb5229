"""The quarantine: what is wrong in a store is moved there, not deleted, for it may be all that is left of a file.

Each run has a folder of its own, `<beside the content>/quarantine/DATE-PID`, created when it is first needed; in it
`content` and `shared` have the layout of the stores that the files come from. It is on their file system, so that a file
gets there by rename; Store.aside says where that is, if not beside the content.
"""

import os
import time
from collections.abc import Mapping
from contextlib import suppress

from gitlob_rsync.placeholder import Sha
from gitlob_rsync.plain_files import is_unchanged
from gitlob_rsync.store import inventory, layout
from gitlob_rsync.store.layout import file_name
from gitlob_rsync.store.store import Store


class Quarantine:
    def __init__(self, store: Store) -> None:
        self._sharing = store.sharing
        self.root = store.aside("quarantine")
        self.path: str | None = None
        """The folder of this run, once it exists."""

    def take(self, store: Store, sha: Sha, seen: Mapping[str, os.stat_result], below: str) -> bool:
        """Move files of a binary here that were `seen` under its name, in that order: with the meta first, the store never
        has a binary that looks complete and is not. A file that replaced one of them meanwhile stays where it is.

        False where the first of them was replaced or is gone. Raises OSError where they cannot be moved.
        """
        for at, (part, was) in enumerate(seen.items()):
            source, target = store.path(sha, part), f"{self._folder(sha, below)}/{file_name(sha, part)}"
            try:
                os.rename(source, target)
            except FileNotFoundError:
                taken = False
            else:
                taken = is_unchanged(os.lstat(target), was, renamed=True)
                if not taken and not os.path.lexists(source):
                    os.rename(target, source)
            if not taken and at == 0:
                return False
        return True

    def _folder(self, sha: Sha, below: str) -> str:
        if self.path is None:
            self.path = self._make_own()
        folder = f"{self.path}/{below}/{layout.folder(sha)}"
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
        """The binaries of the store of which files were moved here, by this run or an earlier one."""
        return {sha for run in _folders(self.root) for sha, _ in inventory.binaries(f"{run}/content")}


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
