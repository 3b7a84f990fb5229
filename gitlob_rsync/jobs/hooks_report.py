"""Reports whether git runs our hooks, and what has become of them since they were installed."""

import os
import shlex

from gitlob_rsync import process
from gitlob_rsync.errors import UsageError
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.jobs.hook_files import (
    CALLS,
    KEPT,
    LEGACY,
    NOTE,
    OLD,
    called_by_pre_commit,
    check_folder,
    is_ours,
    left_alone,
    path_of,
    replaces,
    text_of,
)
from gitlob_rsync.state import files


def report(repo: Repo, name: str) -> str:
    """Describe which hook of ours git runs. Raises UsageError if ours was installed but git does not run it, or it cannot
    work."""
    path = path_of(repo, name)
    usual = os.path.join(repo.common_dir, "hooks", name)
    if (by_pre_commit := called_by_pre_commit(path)) or is_ours(path):
        at = path + LEGACY if by_pre_commit else path
        if not os.access(at, os.X_OK):
            raise UsageError(f"{at} is not executable, so git ignores it", "gitlob-setup --hooks repairs it")
        called = CALLS.search(text_of(at))
        for word in shlex.split(called[1]) if called else ():
            if not os.path.isabs(word):
                process.tool(word)
            elif not os.access(word, os.X_OK):
                raise UsageError(f"{at} starts {word}, which does not exist", "gitlob-setup --hooks rewrites it")
        left = f"; {path}{LEGACY}, left by pre-commit, is not called"
        kept = f"; {path}{KEPT} is called first" if os.path.lexists(path + KEPT) else ""
        return f"{at} sends binaries{kept}{left if left_alone(path, path + KEPT) else ''}"
    if "gitlob-sync --pre-push" in text_of(path):
        return f"{path} calls gitlob-sync"
    lost = [at for at in (path + LEGACY, path + OLD, usual) if is_ours(at)]
    lost += [at for at in (path + KEPT,) if os.path.lexists(at)]
    if lost or files.read(files.path(repo, NOTE)):
        check_folder(repo, os.path.dirname(path))
        what = "is now another program's hook" if os.path.lexists(path) else "no longer exists"
        unused = f", and {lost[0]} is not called" if lost else ""
        way = "gitlob-setup --hooks installs ours again, gitlob-setup --uninstall removes it"
        kept = path + KEPT
        if os.path.lexists(path) and os.path.lexists(kept) and not replaces(path, kept):
            way = f"find out which of it and {kept} is needed, delete the other, then run gitlob-setup --hooks"
        raise UsageError(f"{path}, which git calls, {what}{unused}: git push sends no binaries", way)
    other = f"{path} is another program's hook; " if os.path.lexists(path) else ""
    return f"none ({other}gitlob-setup --hooks installs ours)"


def runs(repo: Repo, name: str) -> bool:
    """Whether git runs our hook."""
    path = path_of(repo, name)
    at = path + LEGACY if called_by_pre_commit(path) else path
    return is_ours(at) and os.access(at, os.X_OK)
