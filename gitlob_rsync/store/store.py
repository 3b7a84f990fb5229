"""A store of binaries on a local disk: what is complete, how one is read and how one gets in.

Nothing is written in place: whoever brings a binary puts it into a staging folder first (staging.py), and `admit` renames it
in, the meta last.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import zip_longest

from gitlob_rsync.errors import GitlobError
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.store.layout import META, NAME, Meta, file_name

BLOCK = 1 << 20
"""Bytes read at once."""
OWN = ".gitlob-"
"""How folders of ours begin that have to be in the root of a store: none of its own can have such a name."""
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}
"""How a file system says that it makes no hard link, or not this one."""


class Damaged(GitlobError):
    """The bytes of a binary in a store are not those that its name promises."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """git's core.sharedRepository: permission bits that files get on top of (or, `exact`, instead of) the umask's."""

    bits: int = 0
    exact: bool = False

    def mode(self, mode: int) -> int:
        """What the mode of a file or folder that the umask gave `mode` has to become."""
        bits = self.bits
        if stat.S_ISDIR(mode):
            bits |= (bits & 0o444) >> 2
            if bits & 0o060:
                bits |= stat.S_ISGID
        kept = stat.S_IMODE(mode)
        return (kept & ~0o777 | bits) if self.exact else kept | bits

    def apply(self, path: str) -> None:
        """Give a file its mode, as far as we may: there are file systems that refuse (CIFS, some of FUSE), whose modes come
        from how they are mounted."""
        if self.bits:
            mode = os.lstat(path).st_mode
            if self.mode(mode) != stat.S_IMODE(mode):
                with suppress(OSError):
                    os.chmod(path, self.mode(mode), follow_symlinks=True)


@dataclass(frozen=True, slots=True)
class Store:
    """`of_others`: other people bring binaries, too. What they do not let us read counts as not here. `lent`: we read it,
    and change nothing there."""

    root: str
    sharing: Sharing = Sharing()
    of_others: bool = False
    lent: bool = False

    @classmethod
    def open_to_others(cls, root: str, sharing: Sharing) -> "Store":
        """A store of several repositories, which is for whom its folder is for, whatever the umask of who adds to it."""
        with suppress(OSError):
            sharing = replace(sharing, bits=sharing.bits | os.stat(root).st_mode & 0o066)
        return cls(root, sharing, True)

    def path(self, sha: Sha, part: str | int) -> str:
        return f"{self.root}/{sha[0:3]}/{sha[3:6]}/{sha}_{part}"

    def complete(self, sha: Sha) -> Meta | None:
        """The meta of a binary that is here whole: valid, and each chunk a file of its exact size. Contents unread."""
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

    def shas(self) -> Iterator[Sha]:
        """Every binary that is here whole, in order."""
        return (sha for sha, parts in self.parts() if META in parts and self.complete(sha))

    def parts(self) -> Iterator[tuple[Sha, list[str]]]:
        """Every binary of which there is something, whole or not, in order; and what parts there are."""
        for first in _folders(self.root):
            for second in _folders(os.path.join(self.root, first)):
                yield from self._parts_in(first, second)

    def parts_of(self, sha: Sha) -> list[str]:
        """The parts that there are of a binary."""
        return dict(self._parts_in(sha[0:3], sha[3:6])).get(sha, [])

    def _parts_in(self, first: str, second: str) -> list[tuple[Sha, list[str]]]:
        found: dict[Sha, list[str]] = {}
        with suppress(FileNotFoundError):  # a purge took it away
            for entry in os.listdir(f"{self.root}/{first}/{second}"):
                if named := NAME.match(f"{first}/{second}/{entry}"):
                    found.setdefault(Sha(named[3]), []).append(named[4])
        return sorted(found.items())

    def held(self, sha: Sha, parts: Sequence[str]) -> tuple[int, float]:
        """How many bytes files of a binary have, and when the newest of them was written or asked for again (seconds since
        1970)."""
        stats = [os.lstat(self.path(sha, part)) for part in parts]
        return sum(found.st_size for found in stats), max(found.st_mtime for found in stats)

    def touch(self, sha: Sha) -> None:
        """Have a binary that is here count as new: somebody is about to need it, and says so nowhere else yet."""
        with suppress(OSError):  # another user's file in a shared store
            os.utime(self.path(sha, META), follow_symlinks=False)

    def remove(self, sha: Sha, parts: Sequence[str]) -> None:
        """Delete files of a binary, the meta first, so that what is left is not taken for whole; and their folders where
        nothing else is in them."""
        for part in sorted(parts, key=lambda part: part != META):
            with suppress(FileNotFoundError):
                os.unlink(self.path(sha, part))
        with suppress(OSError):
            os.rmdir(f"{self.root}/{sha[0:3]}/{sha[3:6]}")
            os.rmdir(f"{self.root}/{sha[0:3]}")

    def blocks(self, meta: Meta) -> Iterator[bytes]:
        """The content, as it is there."""
        for number in range(meta.chunks):
            yield from read_file(self.path(meta.sha, number))

    def holds(self, sha: Sha, content: Iterable[bytes]) -> bool:
        """Whether a binary is here whole, and its bytes are these, in blocks of BLOCK bytes."""
        meta = self.complete(sha)
        try:
            return meta is not None and all(one == other for one, other in zip_longest(self.blocks(meta), content))
        except FileNotFoundError:
            return False

    def read(self, meta: Meta) -> Iterator[bytes]:
        """The content, hashed on the way: the last act of the iteration is to raise Damaged if it is wrong."""
        digest = hashlib.sha1(usedforsecurity=False)
        for block in self.blocks(meta):
            digest.update(block)
            yield block
        if digest.hexdigest() != meta.sha:
            raise Damaged(
                f"binary {meta.sha} is damaged in {self.root}", "gitlob-sync --pull --refetch brings it again"
            )

    def sound(self, meta: Meta) -> bool:
        """Whether the bytes that are here are those that the name promises: reads them all."""
        try:
            for _ in self.read(meta):
                pass
        except (Damaged, FileNotFoundError):
            return False
        except PermissionError:
            if self.of_others:
                return False
            raise
        return True

    def admit(self, meta: Meta, files: Sequence[str]) -> None:
        """Rename a binary in whose content the caller has hashed: its chunks and its meta, in the order of
        `meta.parts()`, on this file system. What stands here under its name is replaced."""
        folder = self.make_folders(meta.sha)
        for part, path in zip(meta.parts(), files, strict=True):
            self.sharing.apply(path)
            os.rename(path, f"{folder}/{file_name(meta.sha, part)}")

    def aside(self, name: str) -> str:
        """Where a folder of ours is from which files can be renamed into this store, and back: beside its root, or in it
        where that is a mount point, or where we may not write beside it. Not made here."""
        root = os.path.realpath(self.root)
        above = os.path.dirname(root)
        at = os.path.join(above, name)
        if os.path.isdir(root) and not (_can_rename(above, root) and (os.path.isdir(at) or os.access(above, os.W_OK))):
            return os.path.join(root, OWN + name)
        return at

    def make_root(self) -> None:
        """Make the store's folder, and those above it that are missing, for whom the repository is for."""
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
        """The folder of a binary, made where it is missing. A link in a folder's place is not followed."""
        folder = f"{self.root}/{sha[0:3]}/{sha[3:6]}"
        for path in (folder.rpartition("/")[0], folder):
            if not _is_folder(path):
                self.make_root()
                with suppress(FileExistsError):
                    os.mkdir(path)
                    self.sharing.apply(path)
        return folder

    def link(self, meta: Meta, origin: "Store") -> bool:
        """Hard-link a binary of another store into this one, its content hashed first, in the place of what is here.
        False where the other's is damaged or just gone, or where its file system does not link it here; what the link
        count says (spec/store-format.md) holds only for links.

        The meta of a store that is `lent` is not linked: its time is changed here."""
        if not on_one_disk(self.root, origin.root) or not origin.sound(meta):
            return False
        folder = self.make_folders(meta.sha)
        for part in meta.parts():
            at = f"{folder}/{file_name(meta.sha, part)}"
            if origin.lent and part == META:
                _replace(at, lambda new: _write_new(new, meta.encode()))
                self.sharing.apply(at)
                continue
            try:
                _link(origin.path(meta.sha, part), at)
            except OSError as error:
                if error.errno in (*_NO_LINK, errno.ENOENT):
                    return False
                raise
            if self.of_others:  # whose file it is has to let others read it
                self.sharing.apply(at)
        self.touch(meta.sha)
        return True


def _link(source: str, at: str) -> None:
    """At no time is nothing there where something was."""
    try:
        os.link(source, at, follow_symlinks=False)
    except FileExistsError:
        _replace(at, lambda new: os.link(source, new, follow_symlinks=False))


def _replace(at: str, make: Callable[[str], None]) -> None:
    """Have a new file take its place whole. Until then it has the name that rsync would give it: nobody takes it for more
    than litter."""
    folder, _, name = at.rpartition("/")
    new = f"{folder}/.{name}.{os.urandom(3).hex()}"
    try:
        make(new)
        os.replace(new, at)
    finally:
        with suppress(FileNotFoundError):  # of two links to one file, a rename takes none away
            os.unlink(new)


def on_one_disk(one: str, other: str) -> bool:
    """False where no file of the one folder can be linked into the other. (One that is not there may yet come to be.)"""
    with suppress(FileNotFoundError):
        return os.stat(one).st_dev == os.stat(other).st_dev
    return True


def _can_rename(source: str, target: str) -> bool:
    """Whether a file can be renamed from one folder into another: not even where both are on one file system, if one of them
    is a mount of its own."""
    if os.stat(source).st_dev != os.stat(target).st_dev:
        return False
    nothing = f"{os.getpid()}-{os.urandom(8).hex()}"
    try:
        os.rename(f"{source}/{nothing}", f"{target}/{nothing}")
    except OSError as error:
        return error.errno != errno.EXDEV
    return True


def _write_new(path: str, content: bytes) -> None:
    with open(path, "xb", buffering=0) as file:
        file.write(content)


def check_folders(root: str, names: Iterable[str]) -> None:
    """Raises GitlobError where something else stands in the place of a folder that files of a store, by name, are to get
    into: rsync before 3.5.0 would write through a link there."""
    folders = set()
    for folder in {name.rpartition("/")[0] for name in names}:
        above = folder
        while above:
            folders.add(above)
            above = above.rpartition("/")[0]
    for folder in sorted(folders):
        _is_folder(f"{root}/{folder}")


def _is_folder(path: str) -> bool:
    """Whether there is a folder; False where there is nothing. Raises GitlobError for anything else, a link among it."""
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            return True
    except FileNotFoundError:
        return False
    raise GitlobError(f"{path} is not a folder", "move it out of the store")


def read_meta(path: str, sha: Sha) -> Meta | None:
    """The meta in a file; None where there is none, or one that cannot be right, or something else in its place."""
    fd = open_plain(path)
    if fd is None:
        return None
    try:
        return Meta.decode(os.read(fd, 4096), sha)
    finally:
        os.close(fd)


def open_plain(path: str) -> int | None:
    """A descriptor to read a file by; None where there is none, or something else in its place: no link is followed, and
    no FIFO waited for. The caller closes it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            return None
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def read_file(path: str) -> Iterator[bytes]:
    """A file's bytes, BLOCK at a time."""
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            yield block


def _folders(path: str) -> list[str]:
    """The folders of one level of a store, sorted; none where there is no such level."""
    try:
        with os.scandir(path) as entries:
            return sorted(
                e.name for e in entries if re.fullmatch("[0-9a-f]{3}", e.name) and e.is_dir(follow_symlinks=False)
            )
    except FileNotFoundError:
        return []
