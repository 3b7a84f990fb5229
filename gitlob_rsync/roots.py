"""What a repository holds on to, beside refs/: the HEADs, private refs and indexes of all worktrees, stashes, and what
operations left that git has not finished."""

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import IO

from gitlob_rsync import git, process
from gitlob_rsync.errors import ToolError, UsageError
from gitlob_rsync.git import Repo

_AUTOSTASHES = ("MERGE_AUTOSTASH", "rebase-merge/autostash", "rebase-apply/autostash")
"""Where git keeps a stash that it made by itself (git-rebase(1), git-merge(1), --autostash)."""

_LISTED = re.compile(rb"(.) ([0-7]{6}) ([0-9a-f]{40}|[0-9a-f]{64}) ([0-3])\t(.+)\Z", re.DOTALL)
"""git-ls-files(1): `TAG MODE BLOB STAGE TAB PATH NUL`."""


def commit_of(repo: Repo, ref: str) -> str:
    """The commit that `ref` names. Raises UsageError where there is none."""
    commit = repo.resolve(ref)
    if not commit:
        raise UsageError(f"there is no commit called {ref!r} here", "git branch -a and git tag list the refs")
    return commit


def stashes(repo: Repo) -> list[str]:
    """The commits of all stashes, newest first: older ones hang on the reflog alone. One that is lost is named all the
    same, so that whoever reads it fails: rev-list passes over it. In a log with a gap rev-parse stops where rev-list goes
    on, so both are asked."""
    found: list[str] = []
    while name := repo.run("rev-parse", "-q", "--verify", f"refs/stash@{{{len(found)}}}", ok=(0, 1, 128)):
        found.append(name.decode().strip())
    if found:
        walked = repo.run("rev-list", "--walk-reflogs", "refs/stash").decode().split()
        found += [name for name in walked if name not in found]
    return found


def homes(repo: Repo) -> list[tuple[str, str]]:
    """Each worktree: the prefix of its own refs, and its folder in the repository."""
    linked = [f"worktrees/{name}" for name in _linked_worktrees(repo)]
    return [("main-worktree", repo.common_dir), *((name, os.path.join(repo.common_dir, name)) for name in linked)]


def autostashes(repo: Repo) -> list[str]:
    """The commits that git put away by itself, and has not brought back."""
    return [
        commit for _, home in homes(repo) for name in _AUTOSTASHES for commit in _commits_in(os.path.join(home, name))
    ]


def unfinished(repo: Repo) -> list[str]:
    """The commits that only an operation knows which git has not finished, or just did: what it put away, what it merges,
    and what it started from (gitrevisions(7); git's own prune keeps them)."""
    found = []
    for _, home in homes(repo):
        for name in (*_AUTOSTASHES, "ORIG_HEAD", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD",
                     "rebase-merge/orig-head", "rebase-apply/orig-head"):  # fmt: skip
            found += _commits_in(os.path.join(home, name))
    return repo.existing(f"{commit}^{{commit}}" for commit in found)


def _commits_in(path: str) -> list[str]:
    """The object names at the beginnings of a file's lines; none where there is no such file."""
    try:
        with open(path, "rb") as file:
            return [name.decode() for name in re.findall(rb"^([0-9a-f]{40,64})\b", file.read(), re.MULTILINE)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def indexes(repo: Repo) -> Iterator[Repo]:
    """The repository with each of its indexes: of every worktree, and one that the environment names."""
    yield repo
    for _, home in homes(repo):
        env = {name: value for name, value in repo.env.items() if name not in ("GIT_INDEX_FILE", "GIT_WORK_TREE")}
        yield replace(repo, git_dir=home, work_tree=None, cwd=home, env=env | {"GIT_DIR": home})


def private_refs(repo: Repo) -> list[str]:
    """The refs that each worktree has for itself (git-worktree(1), "REFS"): --all names only those of this one."""
    found = []
    for prefix, home in homes(repo):
        for kind in ("bisect", "rewritten", "worktree"):
            for folder, _, names in os.walk(os.path.join(home, "refs", kind)):
                inside = os.path.relpath(folder, home)
                found += [f"{prefix}/{inside}/{name}" for name in names if not name.endswith(".lock")]
    return found


def heads(repo: Repo) -> list[str]:
    """The commits that the HEADs of all worktrees are at; an unborn branch has none. Raises ToolError for a lost one."""
    found = []
    for name in (f"{prefix}/HEAD" for prefix, _ in homes(repo)):
        commit = repo.resolve(name)
        if commit:
            found.append(commit)
        elif repo.run("rev-parse", "-q", "--verify", name, ok=(0, 1, 128)):
            raise ToolError(f"the commit that {name} names is missing: the repository is damaged", "git fsck says more")
    return found


def _linked_worktrees(repo: Repo) -> list[str]:
    try:
        return sorted(os.listdir(os.path.join(repo.common_dir, "worktrees")))
    except FileNotFoundError:
        return []


def check_index(repo: Repo) -> None:
    """Raises ToolError where an index is not what git wrote: git itself does not look at the checksum, and reads on."""
    paths = [repo.index]
    with suppress(FileNotFoundError):  # no worktree yet
        paths += [entry.path for entry in os.scandir(repo.git_dir) if entry.name.startswith("sharedindex.")]
    size = hashlib.new(repo.object_format, usedforsecurity=False).digest_size
    for path in paths:
        try:
            with open(path, "rb") as file:
                content = file.read()
        except FileNotFoundError:  # nothing was added yet
            continue
        body, end = content[:-size], content[-size:]
        sound = hashlib.new(repo.object_format, body, usedforsecurity=False).digest() == end
        if len(content) <= size or not (sound or not any(end)):  # zeros: index.skipHash
            raise ToolError(f"the index {path} is damaged", "git fsck says more; git reset makes it anew")


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A regular file of the index. `stage` is 0, or 1 to 3 in a conflict; `skipped` marks skip-worktree."""

    path: bytes
    mode: int
    blob: str
    stage: int
    skipped: bool


def index_entries(repo: Repo, pathspecs: Collection[str] = ()) -> Iterator[IndexEntry]:
    """The regular files of the index (git-ls-files(1), -t and --stage)."""
    limits = pathspecs or [":(top)"]
    argv = repo.argv("ls-files", "-z", "-t", "--stage", "--full-name", "--", *limits)
    with process.pipeline(argv, env=repo.env, cwd=repo.cwd) as output:
        yield from parse_entries(output)


def parse_entries(output: IO[bytes]) -> Iterator[IndexEntry]:
    """Read the regular files off what git lists. What was cut off before its end is left out: git failed then, and its
    exit code says so."""
    for field in zsplit(output):
        found = _LISTED.match(field)
        if not found:
            raise ToolError(f"git ls-files said {field!r}, which is no entry of an index")
        if found[2] in git.REGULAR:
            yield IndexEntry(found[5], int(found[2], 8), found[3].decode(), int(found[4]), found[1] == b"S")


def zsplit(stream: IO[bytes]) -> Iterator[bytes]:
    """The NUL-terminated fields of a stream; a line end after the last one is no field."""
    rest = b""
    while block := stream.read(1 << 16):
        *whole, rest = (rest + block).split(b"\0")
        yield from whole
