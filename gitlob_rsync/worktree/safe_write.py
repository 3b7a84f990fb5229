"""Writing in the working tree, and nowhere else.

No write leaves the working tree or goes through a link: folders are opened one by one without following any, and a new
file replaces the old one by a rename, so that other hard links to the placeholder do not change (git-lfs wrote through
them: CVE-2025-26625).
"""

import errno
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress

from gitlob_rsync.errors import writing
from gitlob_rsync.plain_files import is_unchanged
from gitlob_rsync.store.linking import NO_LINK
from gitlob_rsync.store.staging import Staging

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Elsewhere(Exception):
    """The path does not lead to a file of the working tree: a link or a file is in the place of a folder."""


class Tree:
    """The working tree, entered folder by folder without following links. Use it in a `with` block.

    New files are written in the staging folder if that is on the same file system (then a killed run leaves nothing in the
    working tree), else beside their places.
    """

    def __init__(self, top: str, staging: Staging | None) -> None:
        self._stack = ExitStack()
        self._top_path, self._staging_path = top, staging.path if staging else top
        self._top = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._stack.callback(os.close, self._top)
        self._staging = os.open(staging.path, _FOLDER) if staging else None
        if self._staging is not None:
            self._stack.callback(os.close, self._staging)
        self._folder: tuple[bytes, int] | None = None

    def __enter__(self) -> "Tree":
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        self._stack.close()

    def _leave(self) -> None:
        if self._folder:
            os.close(self._folder[1])
            self._folder = None

    def shown(self, path: bytes) -> str:
        """A file's whole path."""
        return os.path.join(self._top_path, os.fsdecode(path))

    def parent(self, path: bytes, *, make: bool = False) -> tuple[int, bytes]:
        """The folder of a file, open until the next call, and the file's name in it.

        Raises FileNotFoundError if the folder is missing, unless it is to be created, and Elsewhere.
        """
        above, _, name = path.rpartition(b"/")
        if self._folder and self._folder[0] == above:
            return self._folder[1], name
        self._leave()
        fd = os.dup(self._top)
        try:
            for part in above.split(b"/") if above else []:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=fd)
                below = os.open(part, _FOLDER, dir_fd=fd)
                os.close(fd)
                fd = below
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise Elsewhere from None
            raise
        self._folder = (above, fd)
        return fd, name

    def replace(
        self, path: bytes, seen: os.stat_result | None, content: Callable[[], Iterable[bytes]], mode: int
    ) -> os.stat_result | None:
        """Replace the file that was `seen` by a new one; returns what to note of it in the index, None if it has changed
        already. Raises FileExistsError if there is another file by now."""
        folder, name = self.parent(path, make=seen is None)
        if self._staging is not None and os.fstat(self._staging).st_dev == os.fstat(folder).st_dev:
            try:
                with writing(self._staging_path):
                    return _replace(self._staging, folder, name, seen, content(), mode)
            except OSError as error:
                if error.errno != errno.EXDEV:  # one file system, mounted twice
                    raise
        with writing(self.shown(path)):
            return _replace(folder, folder, name, seen, content(), mode)


def _replace(
    source: int, folder: int, name: bytes, seen: os.stat_result | None, content: Iterable[bytes], mode: int
) -> os.stat_result | None:
    """Write a file in the folder `source` and move it to its place in `folder`."""
    temporary = b".gitlob-" + os.urandom(8).hex().encode()
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=source)
    try:
        with open(fd, "wb", buffering=0) as file:
            for block in content:
                rest = memoryview(block)
                while rest:
                    rest = rest[file.write(rest) :]
            written = os.fstat(fd)
            if seen is None:
                _give_new_name(source, temporary, folder, name)
            elif is_unchanged(os.stat(name, dir_fd=folder, follow_symlinks=False), seen):
                os.rename(temporary, name, src_dir_fd=source, dst_dir_fd=folder)
            else:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
            now = os.fstat(fd)  # the rename changed the ctime
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=source)
        raise
    return now if (now.st_mtime_ns, now.st_size) == (written.st_mtime_ns, written.st_size) else None


def _give_new_name(source: int, temporary: bytes, folder: int, name: bytes) -> None:
    """Move a file of the folder `source` to a name in `folder`. Raises FileExistsError if that is taken."""
    try:
        os.link(temporary, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
    else:
        os.unlink(temporary, dir_fd=source)
        return
    if _rename_exclusively(source, temporary, folder, name):
        return
    # reserve the name by an empty file, which is replaced unless somebody replaced it meanwhile
    reserved = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if not is_unchanged(os.stat(name, dir_fd=folder, follow_symlinks=False), os.fstat(reserved)):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        os.rename(temporary, name, src_dir_fd=source, dst_dir_fd=folder)
    finally:
        os.close(reserved)


def _rename_exclusively(source: int, temporary: bytes, folder: int, name: bytes) -> bool:
    """Linux's renameat2(2) with RENAME_NOREPLACE; False where it does not exist."""
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    if rename(source, temporary, folder, name, 1) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), name)
