"""The fix-up: placeholder files of the working tree become content, and nothing that the user changed is touched.

No write leaves the working tree or goes through a link: folders are opened one below the other without following any,
and a new file takes the old one's place by rename, so that other hard links to the placeholder stay what they were
(git-lfs wrote through them: CVE-2025-26625).
"""

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from gitlob_rsync import git, index, partial, placeholder, process, roots
from gitlob_rsync.errors import GitlobError, UsageError, writing
from gitlob_rsync.git import Repo
from gitlob_rsync.layout import EMPTY, Meta
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.progress import Meter
from gitlob_rsync.roots import IndexEntry
from gitlob_rsync.staging import Staging
from gitlob_rsync.store import Damaged, Store
from gitlob_rsync.stores import Stores, obtain

_FILTER = b"lob"
_MANY, _MUCH = 2000, 256 * 1024 * 1024
"""Files, and bytes, that git would look into again in more than a second."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Expansion:
    """What a fix-up did. `left_alone`: path -> why. `missing` and `damaged`: binaries that files still wait for."""

    expanded: int = 0
    left_alone: dict[bytes, str] = field(default_factory=dict)
    missing: dict[Sha, list[bytes]] = field(default_factory=dict)
    damaged: dict[Sha, list[bytes]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A placeholder file that can be filled in. `seen` is what the file was when it was read; None: it is not there."""

    entry: IndexEntry
    meta: Meta
    seen: os.stat_result | None


class _Elsewhere(Exception):
    """The path does not lead to a file of the working tree: a link or a file stands where a folder should."""


def expand(
    repo: Repo,
    stores: Stores,
    has_filter: bool,
    meter: Meter,
    *,
    restore_missing: bool = False,
    dry_run: bool = False,
    pathspecs: Iterable[str] = (),
) -> Expansion:
    """Fill in what the store has. `has_filter`: whether git knows our clean filter.

    Raises UsageError where git would take the filled files for changed ones because it does not know our filter, and
    GitlobError where the index is locked; no file has changed then.
    """
    assert repo.work_tree
    result = Expansion()

    def find(sha: Sha) -> Meta | None:
        if dry_run:
            return stores.own.complete(sha) or (stores.shared.complete(sha) if stores.shared else None)
        return obtain(sha, stores.own, stores.shared)

    waiting = list(_find(repo, find, result, restore_missing, tuple(pathspecs)))
    waiting = _with_filter(repo, waiting, result)
    if not waiting:
        return result
    if dry_run:
        result.expanded = len(waiting)
        return result
    if not has_filter:
        raise UsageError(
            f"{len(waiting)} placeholders stay: git does not know the filter",
            "run gitlob-setup, then gitlob-sync --checkout",
        )
    noted = index.note(repo, {w.entry.path: (w.entry.blob, None) for w in waiting})
    if not noted:
        _forget(repo, waiting)
    filled: dict[bytes, tuple[str, os.stat_result | None]] = {}
    meter.begin("fill in", sum(w.meta.size for w in waiting))
    done = 0
    try:
        with Staging(stores.own) as staging, _Tree(repo.work_tree, staging) as tree:
            for one in waiting:
                _fill(tree, stores.own, one, result, filled)
                done += one.meta.size
                meter.reached(done)
    finally:
        meter.end()
        if noted:
            _outwait(filled)
            # a lock that someone took meanwhile costs no more than git's looking into the files itself
            with suppress(GitlobError):
                index.note(repo, filled)
    if not noted:
        process.run(repo.argv("update-index", "-q", "--refresh"), env=repo.env, cwd=repo.work_tree, ok=(0, 1))
    result.expanded = len(filled)
    return result


def _outwait(filled: dict[bytes, tuple[str, os.stat_result | None]]) -> None:
    """Git distrusts what an index notes of files that are not older than itself, by the second, and sends their content
    through the clean filter again. Where that would cost more than a second's sleep, sleep."""
    last = max((found.st_mtime_ns // 10**9 for _, found in filled.values() if found), default=0)
    sizes = [found.st_size for _, found in filled.values() if found and found.st_mtime_ns // 10**9 == last]
    if len(sizes) > _MANY or sum(sizes) > _MUCH:
        time.sleep(max(0.0, min(1.0, last + 1.01 - time.time())))


def _forget(repo: Repo, waiting: list[_Waiting]) -> None:
    """Have git look into the files the next time: index entries that are set anew carry no note of their files."""
    lines = [b"%06o %s 0\t%s\0" % (w.entry.mode, w.entry.blob.encode(), w.entry.path) for w in waiting]
    argv = repo.argv("update-index", "-z", "--index-info")
    process.run(argv, env=repo.env, cwd=repo.work_tree, input=b"".join(lines))


def _find(
    repo: Repo, find: Callable[[Sha], Meta | None], result: Expansion, restore_missing: bool, pathspecs: tuple[str, ...]
) -> Iterator[_Waiting]:
    """The files that are byte-equal to the placeholder in their index entry, and whose binary is here."""
    assert repo.work_tree
    entries = (e for e in roots.index_entries(repo, pathspecs) if not e.skipped)
    changed = _changed(repo)
    with _Tree(repo.work_tree, None) as tree:
        for sha, blob, entry in git.placeholders(repo, partial.readable(repo, ((e.blob, e) for e in entries))):
            if entry.stage:
                result.left_alone[entry.path] = "in conflict"
                continue
            if git.is_unsafe(entry.path):
                result.left_alone[entry.path] = "git itself would not write there"
                continue
            try:
                folder, name = tree.parent(entry.path)
                seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except _Elsewhere:
                result.left_alone[entry.path] = "a link or a file stands in the place of its folder"
                continue
            except FileNotFoundError:
                if not restore_missing:
                    continue
                seen = None
            if seen and not stat.S_ISREG(seen.st_mode):
                result.left_alone[entry.path] = "something else stands in its place"
                continue
            if seen and not _is_blob(repo, folder, name, seen, blob):
                # git looks into an empty file each time, and until then lists it as changed
                if entry.path in changed and not (seen.st_size == 0 and sha == EMPTY):
                    result.left_alone[entry.path] = "changed"
                continue
            meta = find(sha)
            if meta:
                yield _Waiting(entry, meta, seen)
            else:
                result.missing.setdefault(sha, []).append(entry.path)


def _changed(repo: Repo) -> set[bytes]:
    """The paths whose files are not what the index noted of them; git does not look into them for that."""
    argv = repo.argv("diff-files", "-z", "--name-only", "--ignore-submodules=all")
    return set(process.run(argv, env=repo.env, cwd=repo.work_tree).split(b"\0"))


def _is_blob(repo: Repo, folder: int, name: bytes, seen: os.stat_result, blob: str) -> bool:
    """Whether a file of the working tree holds exactly the bytes of a blob that is a placeholder."""
    if seen.st_size != placeholder.SIZE:
        return False
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    except PermissionError:
        return False
    with open(fd, "rb") as file:
        content = file.read(placeholder.SIZE + 1)
    digest = hashlib.new(repo.object_format, b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return digest.hexdigest() == blob


def _with_filter(repo: Repo, waiting: list[_Waiting], result: Expansion) -> list[_Waiting]:
    """Those whose path has our filter: git would take the content of any other for a change."""
    asked = b"".join(w.entry.path + b"\0" for w in waiting)
    argv = repo.argv("check-attr", "-z", "--stdin", "filter")
    said = process.run(argv, env=repo.env, cwd=repo.work_tree, input=asked).split(b"\0")
    filters = dict(zip(said[0::3], said[2::3], strict=False))
    kept = []
    for one in waiting:
        if filters.get(one.entry.path) == _FILTER:
            kept.append(one)
        else:
            result.left_alone[one.entry.path] = "its path has no filter=lob in .gitattributes"
    return kept


def _fill(
    tree: "_Tree", store: Store, one: _Waiting, result: Expansion,
    filled: dict[bytes, tuple[str, os.stat_result | None]],
) -> None:  # fmt: skip
    path = one.entry.path
    try:
        found = tree.replace(path, one.seen, lambda: store.read(one.meta), 0o777 if one.entry.mode & 0o100 else 0o666)
    except Damaged:
        result.damaged.setdefault(one.meta.sha, []).append(path)
    except FileNotFoundError:
        result.missing.setdefault(one.meta.sha, []).append(path)  # purged, or the folder is gone: either way not filled
    except (_Elsewhere, FileExistsError):
        result.left_alone[path] = "changed while it was being filled in"
    except PermissionError as error:
        if os.path.isabs(error.filename or ""):
            raise
        # that of a file in an open folder does not say where it is
        why = f"{tree.shown(path)}: may not be written: {error.strerror}"
        raise GitlobError(why, "mend the permissions of its folder, and run it again") from None
    else:
        filled[path] = (one.entry.blob, found)


class _Tree:
    """The working tree, entered folder by folder without following links. Use it in a `with` block.

    New files are written in the staging folder where that is on the same file system (a killed run leaves nothing in
    the working tree then), else beside their places.
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

    def __enter__(self) -> "_Tree":
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

        Raises FileNotFoundError where it is missing, unless it is to be made, and _Elsewhere.
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
                raise _Elsewhere from None
            raise
        self._folder = (above, fd)
        return fd, name

    def replace(
        self, path: bytes, seen: os.stat_result | None, content: Callable[[], Iterable[bytes]], mode: int
    ) -> os.stat_result | None:
        """Put a new file in the place of the one that was `seen`; returns what to note of it in the index, None where
        it changed already. Raises FileExistsError where another stands there now."""
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
    """Write a file in the folder `source` and have it take its place in `folder`."""
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
                os.link(temporary, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
                os.unlink(temporary, dir_fd=source)
            elif _same(os.stat(name, dir_fd=folder, follow_symlinks=False), seen):
                os.rename(temporary, name, src_dir_fd=source, dst_dir_fd=folder)
            else:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
            now = os.fstat(fd)  # the rename changed the ctime
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=source)
        raise
    return now if (now.st_mtime_ns, now.st_size) == (written.st_mtime_ns, written.st_size) else None


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino, one.st_mtime_ns, one.st_ctime_ns, one.st_size) == (
        other.st_dev, other.st_ino, other.st_mtime_ns, other.st_ctime_ns, other.st_size)  # fmt: skip
