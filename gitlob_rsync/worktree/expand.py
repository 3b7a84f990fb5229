"""The fix-up: placeholder files of the working tree become content, and nothing that the user changed is touched."""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from gitlob_rsync import placeholder, process
from gitlob_rsync.errors import GitlobError, UsageError
from gitlob_rsync.git import index
from gitlob_rsync.git.index import IndexEntry
from gitlob_rsync.git.paths import is_unsafe
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.progress import Meter
from gitlob_rsync.selection import placeholders
from gitlob_rsync.store.layout import EMPTY, Meta
from gitlob_rsync.store.local import Stores
from gitlob_rsync.store.staging import Staging
from gitlob_rsync.store.store import Store
from gitlob_rsync.store.verify import Damaged
from gitlob_rsync.worktree import index_stat
from gitlob_rsync.worktree.safe_write import Elsewhere, Tree

_FILTER = b"lob"
_MANY, _MUCH = 2000, 256 * 1024 * 1024
"""Files, and bytes, that git would look into again in more than a second."""


@dataclass(slots=True)
class Expansion:
    """What a fix-up did. `left_alone`: path -> why. `missing` and `damaged`: binaries that files still wait for. `empty`:
    files that hold the empty binary already."""

    expanded: int = 0
    left_alone: dict[bytes, str] = field(default_factory=dict)
    missing: dict[Sha, list[bytes]] = field(default_factory=dict)
    damaged: dict[Sha, list[bytes]] = field(default_factory=dict)
    empty: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A placeholder file that can be filled in. `seen` is what the file was when it was read; None: it is not there."""

    entry: IndexEntry
    meta: Meta
    seen: os.stat_result | None


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
        return stores.find(sha) if dry_run else stores.obtain(sha)

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
    noted = index_stat.note(repo, {w.entry.path: (w.entry.blob, None) for w in waiting})
    if not noted:
        _forget(repo, waiting)
    filled: dict[bytes, tuple[str, os.stat_result | None]] = {}
    meter.begin("fill in", sum(w.meta.size for w in waiting))
    done = 0
    try:
        with Staging(stores.own) as staging, Tree(repo.work_tree, staging) as tree:
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
                index_stat.note(repo, filled)
    if not noted:
        # 128: git dies of a file that the filter refuses; it looks into all of them the next time then
        process.run(repo.argv("update-index", "-q", "--refresh"), env=repo.env, cwd=repo.work_tree, ok=(0, 1, 128))
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
    """Have git look into the files the next time: index entries that are set anew carry no note of their files. Nor do they
    carry assume-unchanged, unless core.ignoreStat has it set; those with other marks do not wait (git-update-index(1))."""
    for assumed in (False, True):
        entries = [w.entry for w in waiting if w.entry.assumed is assumed]
        lines = [b"%06o %s 0\t%s\0" % (entry.mode, entry.blob.encode(), entry.path) for entry in entries]
        if lines:
            setting = f"core.ignoreStat={'true' if assumed else 'false'}"
            argv = repo.argv("-c", setting, "update-index", "-z", "--index-info")
            process.run(argv, env=repo.env, cwd=repo.work_tree, input=b"".join(lines))


def _find(
    repo: Repo, find: Callable[[Sha], Meta | None], result: Expansion, restore_missing: bool, pathspecs: tuple[str, ...]
) -> Iterator[_Waiting]:
    """The files that are byte-equal to the placeholder in their index entry, and whose binary is here."""
    assert repo.work_tree
    entries = (e for e in index.index_entries(repo, pathspecs) if not e.skipped)
    changed = _changed(repo)
    with Tree(repo.work_tree, None) as tree:
        for sha, blob, entry in placeholders.among(repo, placeholders.readable(repo, ((e.blob, e) for e in entries))):
            if entry.stage:
                result.left_alone[entry.path] = "in conflict"
                continue
            if is_unsafe(entry.path):
                result.left_alone[entry.path] = "git itself would not write there"
                continue
            if placeholder.has_none(entry.path):
                result.left_alone[entry.path] = "git has to read it: commit its content"
                continue
            try:
                folder, name = tree.parent(entry.path)
                seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except Elsewhere:
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
                if seen.st_size == 0 and sha == EMPTY:
                    result.empty += [] if entry.assumed else [entry.path]
                elif entry.path in changed:
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
    tree: Tree, store: Store, one: _Waiting, result: Expansion,
    filled: dict[bytes, tuple[str, os.stat_result | None]],
) -> None:  # fmt: skip
    path = one.entry.path
    try:
        found = tree.replace(path, one.seen, lambda: store.read(one.meta), 0o777 if one.entry.mode & 0o100 else 0o666)
    except Damaged:
        result.damaged.setdefault(one.meta.sha, []).append(path)
    except FileNotFoundError:
        result.missing.setdefault(one.meta.sha, []).append(path)  # purged, or the folder is gone: either way not filled
    except (Elsewhere, FileExistsError):
        result.left_alone[path] = "changed while it was being filled in"
    except PermissionError as error:
        if os.path.isabs(error.filename or ""):
            raise
        # that of a file in an open folder does not say where it is
        why = f"{tree.shown(path)}: may not be written: {error.strerror}"
        raise GitlobError(why, "mend the permissions of its folder, and run it again") from None
    else:
        filled[path] = (one.entry.blob, found)
