"""A store of binaries on a local disk: what is complete in it, how a binary is read, and how it gets in.

Nothing is written in place: a binary is put into a staging folder first (staging.py), and `admit` renames it into the
store, the meta last.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest

from gitlob_rsync.errors import GitlobError
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.plain_files import open_plain, read_blocks
from gitlob_rsync.store import layout, verify
from gitlob_rsync.store.layout import META, Entry, Meta, file_name
from gitlob_rsync.store.sharing import UMASK, Sharing

OWN = ".gitlob-"
"""How the names of our own folders in the root of a store begin: no folder of binaries can have such a name."""


@dataclass(frozen=True, slots=True)
class Store:
    """`of_others`: other people add binaries, too; what they do not let us read counts as missing. `lent`: it belongs to
    another repository; it is read, and nothing in it is changed."""

    root: str
    sharing: Sharing = UMASK
    of_others: bool = False
    lent: bool = False

    @classmethod
    def open_to_others(cls, root: str, sharing: Sharing) -> "Store":
        """A store of several repositories: everyone who may use its folder may use what is added to it, whatever the
        umask of the one who adds it."""
        return cls(root, sharing.with_those_of(root), True)

    @property
    def folder(self) -> str:
        """The private folder that the content is in: `<git common dir>/git-lob` for a repository's own store. Locks and
        staging are there, too."""
        return os.path.dirname(self.root)

    def path(self, sha: Sha, part: str | int) -> str:
        return f"{self.root}/{layout.name(sha, part)}"

    def complete(self, sha: Sha) -> Meta | None:
        """The meta of a binary that is complete: it is valid, and each chunk is a file of the right size. Contents are not
        read."""
        try:
            return self._complete(sha)
        except PermissionError:
            if self.of_others:
                return None
            raise

    def _complete(self, sha: Sha) -> Meta | None:
        meta = read_meta(self.path(sha, META), sha)
        if meta is None:
            return None
        for number in range(meta.chunks):
            try:
                found = os.lstat(self.path(sha, number))
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR):
                    return None
                raise
            if not stat.S_ISREG(found.st_mode) or found.st_size != meta.chunk_size(number):
                return None
        return meta

    def files_of(self, sha: Sha) -> dict[str, Entry]:
        """What is there under the names of one binary, by part: the meta first, then chunks by number."""
        folder = layout.folder(sha)
        try:
            with os.scandir(f"{self.root}/{folder}") as entries:
                found = layout.by_binary(folder, entries).get(sha, {})
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return dict(sorted(found.items(), key=lambda part: -1 if part[0] == META else int(part[0])))

    def held(self, sha: Sha, parts: Sequence[str]) -> tuple[int, float]:
        """The size of some files of a binary in bytes, and when the newest of them was written or touched (seconds since
        1970)."""
        stats = [os.lstat(self.path(sha, part)) for part in parts]
        return sum(found.st_size for found in stats), max(found.st_mtime for found in stats)

    def touch(self, sha: Sha) -> None:
        """Have a binary that is here count as new: it is about to be needed, and nothing else says so yet."""
        with suppress(OSError):  # another user's file in a shared store
            os.utime(self.path(sha, META), follow_symlinks=False)

    def remove(self, sha: Sha, parts: Iterable[str]) -> None:
        """Delete files of a binary, the meta first, so that what remains never looks complete; and their folders if these
        are empty then."""
        for part in sorted(parts, key=lambda part: part != META):
            with suppress(FileNotFoundError):
                os.unlink(self.path(sha, part))
        folder = f"{self.root}/{layout.folder(sha)}"
        with suppress(OSError):
            os.rmdir(folder)
            os.rmdir(os.path.dirname(folder))

    def blocks(self, meta: Meta) -> Iterator[bytes]:
        """The content as it is on the disk, unchecked."""
        for number in range(meta.chunks):
            yield from read_blocks(self.path(meta.sha, number))

    def read(self, meta: Meta) -> Iterator[bytes]:
        """The content, hashed on the way: raises Damaged at the end of the iteration if it is wrong."""
        return verify.checked(self.blocks(meta), meta.sha, self.root)

    def sound(self, meta: Meta) -> bool:
        """Whether the content is what the binary's name promises: reads all of it."""
        paths = (self.path(meta.sha, number) for number in range(meta.chunks))
        try:
            return verify.hash_files(paths, verify.buffer_for(meta.size)) == meta.sha
        except PermissionError:
            if self.of_others:
                return False
            raise

    def holds(self, sha: Sha, content: Iterable[bytes]) -> bool:
        """Whether a binary is complete here, and its content is `content`, in blocks of BLOCK bytes."""
        meta = self.complete(sha)
        try:
            return meta is not None and all(one == other for one, other in zip_longest(self.blocks(meta), content))
        except FileNotFoundError:
            return False

    def admit(self, meta: Meta, files: Sequence[str]) -> None:
        """Rename a binary into the store: its chunks and its meta, in the order of `meta.parts()`, on this file system,
        their content hashed by the caller. What is here under their names is replaced."""
        folder = self.make_folders(meta.sha)
        for part, path in zip(meta.parts(), files, strict=True):
            self.sharing.apply(path)
            os.rename(path, f"{folder}/{file_name(meta.sha, part)}")

    def aside(self, name: str) -> str:
        """The path of a folder of our own from which files can be renamed into this store, and back: beside its root, or
        in it where the root is a mount point, or where we may not write beside it. It is not created."""
        root = os.path.realpath(self.root)
        above = os.path.dirname(root)
        at = os.path.join(above, name)
        if os.path.isdir(root) and not (_can_rename(above, root) and (os.path.isdir(at) or os.access(above, os.W_OK))):
            return os.path.join(root, OWN + name)
        return at

    def every_aside(self, name: str) -> tuple[str, str]:
        """Where `aside` may have been at any time: the root may have become a mount point, or may no longer be one."""
        root = os.path.realpath(self.root)
        return os.path.join(os.path.dirname(root), name), os.path.join(root, OWN + name)

    def make_root(self) -> None:
        """Create the store's folder, and the missing ones above it, with the permissions of a shared repository."""
        missing = []
        path = self.root
        while not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        for path in reversed(missing):
            with suppress(FileExistsError):
                os.mkdir(path)
                self.sharing.apply(path)

    def make_folders(self, sha: Sha) -> str:
        """The folder of a binary, created where it is missing. Raises GitlobError where a link or a file is in the way."""
        folder = f"{self.root}/{layout.folder(sha)}"
        for path in (os.path.dirname(folder), folder):
            if not _is_folder(path):
                self.make_root()
                with suppress(FileExistsError):
                    os.mkdir(path)
                    self.sharing.apply(path)
        return folder


def _can_rename(source: str, target: str) -> bool:
    """Whether a file can be renamed from one folder into another: not if one of them is a mount of its own, even of one
    file system."""
    if os.stat(source).st_dev != os.stat(target).st_dev:
        return False
    nothing = f"{os.getpid()}-{os.urandom(8).hex()}"
    try:
        os.rename(f"{source}/{nothing}", f"{target}/{nothing}")
    except OSError as error:
        return error.errno != errno.EXDEV
    return True


def check_folders(root: str, names: Iterable[str]) -> None:
    """Raises GitlobError where something else is in the way of a folder that files of a store, by name, are to be written
    to: rsync before 3.5.0 would write through a link there."""
    folders = set()
    for folder in {name.rpartition("/")[0] for name in names}:
        above = folder
        while above:
            folders.add(above)
            above = above.rpartition("/")[0]
    for folder in sorted(folders):
        _is_folder(f"{root}/{folder}")


def _is_folder(path: str) -> bool:
    """Whether there is a folder; False where there is nothing. Raises GitlobError for anything else, also a link."""
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            return True
    except FileNotFoundError:
        return False
    raise GitlobError(f"{path} is not a folder", "move it out of the store")


def read_meta(path: str, sha: Sha) -> Meta | None:
    """The meta in a file; None where there is no regular file, or an invalid meta in it."""
    fd = open_plain(path)
    if fd is None:
        return None
    try:
        return Meta.decode(os.read(fd, 4096), sha)
    finally:
        os.close(fd)
