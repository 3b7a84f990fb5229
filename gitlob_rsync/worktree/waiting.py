"""The files of the working tree that wait for their content: placeholders whose binary is here, and which nobody changed."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gitlob_rsync import placeholder, process
from gitlob_rsync.git import index
from gitlob_rsync.git.index import IndexEntry
from gitlob_rsync.git.paths import is_unsafe
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.selection import placeholders
from gitlob_rsync.store.layout import EMPTY, Meta
from gitlob_rsync.worktree.safe_write import Elsewhere, Tree

_FILTER = b"lob"


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
class Waiting:
    """A placeholder file whose content is here. `seen` is what the file was when it was read; None: there is none."""

    entry: IndexEntry
    meta: Meta
    seen: os.stat_result | None


def find(
    repo: Repo,
    obtain: Callable[[Sha], Meta | None],
    result: Expansion,
    restore_missing: bool,
    pathspecs: tuple[str, ...],
) -> list[Waiting]:
    """The files to fill in; what becomes of the others is noted in `result`. `obtain`: the meta of a binary that is here."""
    waiting = []
    for entry, sha, seen in _placeholders(repo, result, restore_missing, pathspecs):
        if meta := obtain(sha):
            waiting.append(Waiting(entry, meta, seen))
        else:
            result.missing.setdefault(sha, []).append(entry.path)
    return _with_filter(repo, waiting, result)


def _placeholders(
    repo: Repo, result: Expansion, restore_missing: bool, pathspecs: tuple[str, ...]
) -> Iterator[tuple[IndexEntry, Sha, os.stat_result | None]]:
    """The files that are byte-equal to the placeholder in their index entry; to be restored, also those that are not there
    (None)."""
    assert repo.work_tree
    entries = (e for e in index.index_entries(repo, pathspecs) if not e.skipped)
    changed = _changed(repo)
    with Tree(repo.work_tree, None) as tree:
        for sha, blob, entry in placeholders.among(repo, placeholders.readable(repo, ((e.blob, e) for e in entries))):
            if why := _taboo(entry):
                result.left_alone[entry.path] = why
                continue
            try:
                folder, name = tree.parent(entry.path)
                seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except Elsewhere:
                result.left_alone[entry.path] = "a link or a file is in the place of its folder"
                continue
            except FileNotFoundError:
                if restore_missing:
                    yield entry, sha, None
                continue
            if not stat.S_ISREG(seen.st_mode):
                result.left_alone[entry.path] = "something else is in its place"
            elif _is_blob(repo, folder, name, seen, blob):
                yield entry, sha, seen
            elif seen.st_size == 0 and sha == EMPTY:
                # git looks into an empty file each time, and until then lists it as changed
                result.empty += [] if entry.assumed else [entry.path]
            elif entry.path in changed:
                result.left_alone[entry.path] = "changed"


def _taboo(entry: IndexEntry) -> str:
    """Why an entry's file is not to be touched, whatever it is; "" where it may be."""
    if entry.stage:
        return "in conflict"
    if is_unsafe(entry.path):
        return "git itself would not write there"
    return "git has to read it: commit its content" if placeholder.has_none(entry.path) else ""


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


def _with_filter(repo: Repo, waiting: list[Waiting], result: Expansion) -> list[Waiting]:
    """Those whose path has our filter: git would take the content of any other for a change."""
    asked = b"".join(one.entry.path + b"\0" for one in waiting)
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
