"""The fix-up: placeholder files of the working tree are replaced by their content, and nothing that the user changed is
touched."""

import os
import time
from collections.abc import Iterable
from contextlib import suppress

from gitlob_rsync import process
from gitlob_rsync.errors import GitlobError, UsageError
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.progress import Meter
from gitlob_rsync.store.local import Stores
from gitlob_rsync.store.staging import Staging
from gitlob_rsync.store.store import Store
from gitlob_rsync.store.verify import Damaged
from gitlob_rsync.worktree import index_stat, waiting
from gitlob_rsync.worktree.safe_write import Elsewhere, Tree
from gitlob_rsync.worktree.waiting import Expansion, Waiting

_MANY, _MUCH = 2000, 256 * 1024 * 1024
"""Files, and bytes, that take git more than a second to read again."""

Filled = dict[bytes, tuple[str, os.stat_result | None]]
"""Path -> the blob of its entry in the index, and what to note of the new file there (None: nothing)."""


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
    result = Expansion()
    obtain = stores.find if dry_run else stores.obtain
    files = waiting.find(repo, obtain, result, restore_missing, tuple(pathspecs))
    if files and not dry_run and not has_filter:
        raise UsageError(
            f"{len(files)} placeholders stay: git does not know the filter",
            "run gitlob-setup, then gitlob-sync --checkout",
        )
    if files and not dry_run:
        _fill_all(repo, stores.own, files, result, meter)
    else:
        result.expanded = len(files)
    return result


def _fill_all(repo: Repo, store: Store, files: list[Waiting], result: Expansion, meter: Meter) -> None:
    """Fill in files, and have the index know them as unchanged. It knows nothing of them meanwhile, so that git looks into
    each of them if this is killed."""
    assert repo.work_tree
    noted = index_stat.note(repo, {one.entry.path: (one.entry.blob, None) for one in files})
    if not noted:
        _forget(repo, files)
    filled: Filled = {}
    meter.begin("fill in", sum(one.meta.size for one in files))
    done = 0
    try:
        with Staging(store) as staging, Tree(repo.work_tree, staging) as tree:
            for one in files:
                _fill(tree, store, one, result, filled)
                done += one.meta.size
                meter.reached(done)
    finally:
        meter.end()
        if noted:
            _outwait(filled)
            # if someone locked it meanwhile, that costs no more than git's looking into the files itself
            with suppress(GitlobError):
                index_stat.note(repo, filled)
    if not noted:
        # 128: git dies of a file that the filter refuses; it looks into all of them the next time then
        process.run(repo.argv("update-index", "-q", "--refresh"), env=repo.env, cwd=repo.work_tree, ok=(0, 1, 128))
    result.expanded = len(filled)


def _fill(tree: Tree, store: Store, one: Waiting, result: Expansion, filled: Filled) -> None:
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
        raise GitlobError(why, "fix the permissions of its folder, and run it again") from None
    else:
        filled[path] = (one.entry.blob, found)


def _forget(repo: Repo, files: list[Waiting]) -> None:
    """Have git look into the files the next time: index entries that are set anew have no note of their files. They lose
    assume-unchanged, too, unless core.ignoreStat sets it again; entries with other marks are not among these
    (git-update-index(1))."""
    for assumed in (False, True):
        entries = [one.entry for one in files if one.entry.assumed is assumed]
        lines = [b"%06o %s 0\t%s\0" % (entry.mode, entry.blob.encode(), entry.path) for entry in entries]
        if lines:
            setting = f"core.ignoreStat={'true' if assumed else 'false'}"
            argv = repo.argv("-c", setting, "update-index", "-z", "--index-info")
            process.run(argv, env=repo.env, cwd=repo.work_tree, input=b"".join(lines))


def _outwait(filled: Filled) -> None:
    """Git distrusts what an index notes of files that are not older than itself, by the second, and sends their content
    through the clean filter again. Where that would cost more than a second's sleep, sleep."""
    last = max((found.st_mtime_ns // 10**9 for _, found in filled.values() if found), default=0)
    sizes = [found.st_size for _, found in filled.values() if found and found.st_mtime_ns // 10**9 == last]
    if len(sizes) > _MANY or sum(sizes) > _MUCH:
        time.sleep(max(0.0, min(1.0, last + 1.01 - time.time())))
