"""What a repository keeps in addition to refs/: the HEADs, private refs and indexes of all worktrees, stashes, and what
git's unfinished operations left."""

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import replace

from gitlob_rsync import process
from gitlob_rsync.errors import ToolError, UsageError
from gitlob_rsync.git.repo import Repo

_PUT_AWAY = ("rebase-merge/autostash", "rebase-apply/autostash")
"""Files in which git keeps a stash that it made by itself (git-rebase(1), --autostash)."""

_PUT_AWAY_REF = "MERGE_AUTOSTASH"
"""A ref for the same (git-merge(1), --autostash)."""

_AT_WORK = ("ORIG_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "BISECT_HEAD")
"""Refs of one worktree that an operation left (gitrevisions(7)). Whether each is a file depends on the ref format."""

_STARTED = ("MERGE_HEAD", "BISECT_START", "sequencer/head", "rebase-merge/orig-head", "rebase-apply/orig-head")
"""Files, whatever the ref format, that name what is merged, and what an operation started from."""

_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

_AT_ONCE = 1000
"""Entries of a reflog to ask for in one call: git prints their objects up to the first one that does not exist."""


def commits_of(repo: Repo, refs: Collection[str]) -> list[str]:
    """The commits that `refs` name, in order. Raises UsageError for one that names none."""
    try:
        found = repo.resolve(refs)
    except ToolError:  # git died of a name, and does not say which: an entry that a reflog does not have
        found = [commit for ref in refs for commit in _alone(repo, ref)]
    for ref, commit in zip(refs, found, strict=True):
        if not commit:
            raise UsageError(f"there is no commit called {ref!r} here", "git branch -a and git tag list the refs")
    return [commit for commit in found if commit]


def _alone(repo: Repo, ref: str) -> list[str | None]:
    try:
        return repo.resolve([ref])
    except ToolError:
        return [None]


def stashes(repo: Repo) -> list[str]:
    """The commits of all stashes, newest first: only the reflog names the older ones. A lost one is named, too, so that its
    reader fails: rev-list skips it. In a log with a gap rev-parse stops where rev-list goes on, so both are asked."""
    found: list[str] = []
    while len(found) % _AT_ONCE == 0:
        names = [f"refs/stash@{{{len(found) + number}}}" for number in range(_AT_ONCE)]
        said = repo.run("rev-parse", *names, "--", ok=(0, 1, 128)).decode().split()
        more = [name for name in said if _OBJECT.fullmatch(name)]
        if not more:
            break
        found += more
    if found:
        walked = repo.run("rev-list", "--walk-reflogs", "refs/stash").decode().split()
        if found[-1] not in walked and _entries(repo, beyond=len(found)) == len(found) - 1:
            found.pop()  # after the last entry rev-parse prints what that one replaced: a stash that was dropped
        found += [name for name in walked if name not in found]
    return found


def _entries(repo: Repo, *, beyond: int) -> int | None:
    """How many entries the log of the stashes has, as git says when it is asked for one that does not exist."""
    try:
        repo.run("rev-parse", f"refs/stash@{{{beyond}}}", "--")
    except ToolError as error:
        told = re.search(r"only has (\d+) entries", str(error))
        return int(told[1]) if told else None
    return None


def homes(repo: Repo) -> list[tuple[str, Repo]]:
    """Each worktree: the prefix of its own refs, and the repository as git sees it from there, with the worktree's folder in
    the repository as git_dir. The index is the worktree's own, whatever the environment names."""
    linked = [f"worktrees/{name}" for name in _linked_worktrees(repo)]
    folders = [("main-worktree", repo.common_dir), *((name, os.path.join(repo.common_dir, name)) for name in linked)]
    env = {name: value for name, value in repo.env.items() if name not in ("GIT_INDEX_FILE", "GIT_WORK_TREE")}
    return [
        (prefix, replace(repo, git_dir=home, work_tree=None, cwd=home, env=env | {"GIT_DIR": home}))
        for prefix, home in folders
    ]


def autostashes(repo: Repo) -> dict[str, str]:
    """The commits of stashes that git made by itself and has not applied yet, by name, lost ones included."""
    found: dict[str, str] = {}
    for prefix, home in homes(repo):
        merge = home.run("rev-parse", "-q", "--verify", _PUT_AWAY_REF, ok=(0, 1)).decode().split()
        found |= {f"{prefix}/{_PUT_AWAY_REF}": commit for commit in merge}
        for name in _PUT_AWAY:
            found |= {f"{prefix}/{name}": commit for commit in _commits_in(os.path.join(home.git_dir, name))}
    return found


def unfinished(repo: Repo) -> list[str]:
    """The commits that only an operation names which git has not finished, or just did: what it put away, what it merges,
    and what it started from; and the HEAD of each worktree, also of one that rev-list does not know because its `gitdir`
    is lost. A lost commit is left out, for git does not keep all of them. Raises ToolError for a damaged ref."""
    found = []
    names = ("HEAD", _PUT_AWAY_REF, *_AT_WORK)
    for prefix, home in homes(repo):
        for name, commit in zip(names, home.resolve(names), strict=True):
            if commit:
                found.append(commit)
            elif name != "HEAD" and os.path.lexists(os.path.join(home.git_dir, name)):
                if not home.run("rev-parse", "-q", "--verify", name, ok=(0, 1)):
                    why = f"the ref {prefix}/{name} cannot be read: the repository is damaged"
                    raise ToolError(why, "git fsck says more")
        for name in (*_PUT_AWAY, *_STARTED):
            found += _commits_in(os.path.join(home.git_dir, name))
    return repo.existing(f"{commit}^{{commit}}" for commit in found)


def _commits_in(path: str) -> list[str]:
    """The object names at the start of a file's lines; none where there is no such file."""
    try:
        with open(path, "rb") as file:
            return [name.decode() for name in re.findall(rb"^([0-9a-f]{40,64})\b", file.read(), re.MULTILINE)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def indexes(repo: Repo) -> Iterator[Repo]:
    """The repository with each of its indexes: of every worktree, and one that the environment names."""
    yield repo
    for _, home in homes(repo):
        yield home


def private_refs(repo: Repo) -> dict[str, str]:
    """The private refs of each worktree (git-worktree(1), "REFS"), each with its object: --all names only those of this one.
    Raises ToolError for a damaged one."""
    found = {}
    for prefix, home in homes(repo):
        kinds = ("refs/bisect", "refs/rewritten", "refs/worktree")
        argv = home.argv("for-each-ref", "--format=%(objectname) %(refname)", *kinds)
        said = process.run(argv, env=home.env, cwd=home.cwd, unheard=b"ignoring broken ref")
        for line in os.fsdecode(said).split("\n")[:-1]:
            name, ref = line.split(" ", 1)
            found[f"{prefix}/{ref}"] = name
    return found


def heads(repo: Repo) -> dict[str, str]:
    """The commits of the HEADs of all worktrees, by name; an unborn branch has none. Raises ToolError for a lost one."""
    found = {}
    for prefix, home in homes(repo):
        (commit,) = home.resolve(["HEAD"])
        if commit:
            found[f"{prefix}/HEAD"] = commit
        elif home.run("rev-parse", "-q", "--verify", "HEAD", ok=(0, 1)):
            raise ToolError(
                f"the commit that {prefix}/HEAD names is missing: the repository is damaged", "git fsck says more"
            )
    return found


def _linked_worktrees(repo: Repo) -> list[str]:
    """The names of the other worktrees. For git, those are the folders with a file `gitdir` (worktree.c); it also works
    inside one that has lost it. Raises OSError for a folder that cannot be read."""
    folder = os.path.join(repo.common_dir, "worktrees")
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    return [name for name in names if _is_worktree(os.path.join(folder, name))]


def _is_worktree(home: str) -> bool:
    if _is_there(home, "HEAD"):
        return True
    # a `git worktree add` that was killed leaves a folder with little in it; with more, its HEAD was lost
    return _is_there(home, "gitdir") and any(_is_there(home, name) for name in ("index", "refs", "logs", "reftable"))


def _is_there(*path: str) -> bool:
    try:
        os.lstat(os.path.join(*path))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
