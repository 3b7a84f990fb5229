"""Which binaries a part of history needs: the selections of spec/selection.md, from the local repository alone.

Every tree is read as a difference against one that was read already (`git diff-tree --stdin -r`), so that a long
history costs what changed in it. Whatever stands in a tree either stands in the one it is compared with, or shows in the
difference: by induction over the order of comparison nothing is missed, at every path, whatever the merges did. That is
also what makes pathspecs exact, which they are not with `rev-list --objects` (it visits a tree once, at one path).
"""

import os
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO

from gitlob_rsync import git, partial, process
from gitlob_rsync.age import ALL
from gitlob_rsync.errors import ToolError, UsageError
from gitlob_rsync.git import Repo
from gitlob_rsync.placeholder import Sha

DIFF_TREE = ("diff-tree", "--stdin", "-r", "-z", "--raw", "--root", "-m", "--no-renames", "--no-commit-id",
              "--no-ext-diff", "--no-textconv", "--ignore-submodules=none")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Committed:
    """Every tree of every commit that can be reached from `refs` (none: all refs, every HEAD and stash).

    `known`: commits whose whole history is done with; of what comes after them, only what they had not is looked at.
    """

    refs: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    pathspecs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unpushed:
    """The whole tree of every commit that can be reached from `refs` (none: as above) and from no tracking branch."""

    refs: tuple[str, ...] = ()
    pathspecs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """How old a ref may be to count, and how far back its history does: HEAD's and the others'. Seconds, or ALL."""

    refs: float
    head: float
    other: float


@dataclass(frozen=True, slots=True)
class Recent:
    """The window over HEAD, branches, the tracking branches of `remote`, and tags; or over `refs` alone, however old.

    `now` is in seconds since 1970.
    """

    window: Window
    now: float
    remote: str | None = None
    refs: tuple[str, ...] = ()
    pathspecs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Indexed:
    """What the index of this worktree names, entries with skip-worktree (sparse checkout) left out."""

    pathspecs: tuple[str, ...] = ()


Scope = Committed | Unpushed | Recent | Indexed


def references(repo: Repo, scope: Scope, every_path_of: Collection[Sha] = ()) -> dict[Sha, list[bytes]]:
    """The binaries that `scope` needs, each with one path, or with all its paths for those in `every_path_of`.

    Raises UsageError for an unknown ref, ToolError where any git process failed.
    """
    if isinstance(scope, Committed | Unpushed):
        # what a replacement hides goes to the remote too: other clones do not know the replacement
        repo = replace(repo, env=repo.env | {"GIT_NO_REPLACE_OBJECTS": "1"})
    found: dict[Sha, list[bytes]] = {}
    try:
        with _blobs(repo, scope) as blobs:
            for sha, _, path in git.placeholders(repo, partial.readable(repo, blobs)):
                paths = found.setdefault(sha, [])
                if not paths or (sha in every_path_of and path not in paths):
                    paths.append(path)
    except ToolError as error:
        if scope.pathspecs and re.search("pathspec|outside repository", str(error)):
            raise UsageError(str(error)) from None
        raise
    return found


@contextmanager
def _blobs(repo: Repo, scope: Scope) -> Iterator[Iterator[tuple[str, bytes]]]:
    """The (blob, path) pairs of regular files in `scope`; a pair may come more than once."""
    if isinstance(scope, Indexed):
        yield ((entry.blob, entry.path) for entry in index_entries(repo, scope.pathspecs) if not entry.skipped)
        return
    diff_tree = repo.argv(*DIFF_TREE, *(["--", *scope.pathspecs] if scope.pathspecs else []))
    with tempfile.TemporaryFile() as feed:
        if isinstance(scope, Committed):
            feed.writelines(
                f"{commit}\n".encode() for commit in [*_start(repo, scope), *(f"^{tip}" for tip in scope.known)]
            )
            argvs = [repo.argv("rev-list", "--parents", "--stdin", *_everything(scope)), diff_tree]
        else:
            feed.writelines(
                _compared(repo, _recent(repo, scope) if isinstance(scope, Recent) else _unpushed(repo, scope))
            )
            argvs = [diff_tree]
        feed.seek(0)
        with process.pipeline(*argvs, env=repo.env, cwd=repo.cwd, stdin=feed) as output:
            yield _new_sides(output)


def _start(repo: Repo, scope: Committed | Unpushed) -> list[str]:
    """The commits to start from beside _everything."""
    return [commit_of(repo, ref) for ref in scope.refs] or [*stashes(repo), *private_refs(repo)]


def _everything(scope: Committed | Unpushed) -> list[str]:
    """rev-list's option for refs/ and the HEAD of every worktree, unless refs were named."""
    return [] if scope.refs else ["--all"]


def tips(repo: Repo, scope: Committed) -> list[str]:
    """The commits that `scope` starts from."""
    named = _start(repo, scope)
    return [*named, *_tips(repo, "--all")] if not scope.refs else named


def _new_sides(output: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """(blob, path) of each regular file on the new side of raw differences: `:MODE MODE OLD NEW STATUS NUL PATH NUL`."""
    fields = zsplit(output)
    for raw in fields:
        path = next(fields, b"")
        if not raw.startswith(b":"):
            raw = raw.partition(b"\n")[2]  # the line that names a pair of trees stands before its first entry
        _, mode, _, blob, _ = raw.split(b" ")
        if mode in git.REGULAR:
            yield blob.decode(), path


def zsplit(stream: IO[bytes]) -> Iterator[bytes]:
    """The NUL-terminated fields of a stream; a line end after the last one is no field."""
    rest = b""
    while block := stream.read(1 << 16):
        *whole, rest = (rest + block).split(b"\0")
        yield from whole


def commit_of(repo: Repo, ref: str) -> str:
    """The commit that `ref` names. Raises UsageError where there is none."""
    commit = repo.resolve(ref)
    if not commit:
        raise UsageError(f"there is no commit called {ref!r} here", "git branch -a and git tag list the refs")
    return commit


def stashes(repo: Repo) -> list[str]:
    """The commits of all stashes, newest first: older ones hang on the reflog alone. One that is lost is named all the
    same, so that whoever reads it fails (rev-list --walk-reflogs would pass over it)."""
    found: list[str] = []
    while name := repo.run("rev-parse", "-q", "--verify", f"refs/stash@{{{len(found)}}}", ok=(0, 1, 128)):
        found.append(name.decode().strip())
    return found


def private_refs(repo: Repo) -> list[str]:
    """The refs that each worktree has for itself (git-worktree(1), "REFS"): --all names only those of this one."""
    found = []
    homes = [("main-worktree", repo.common_dir)]
    homes += [
        (f"worktrees/{name}", os.path.join(repo.common_dir, "worktrees", name)) for name in linked_worktrees(repo)
    ]
    for prefix, home in homes:
        for kind in ("bisect", "rewritten", "worktree"):
            for folder, _, names in os.walk(os.path.join(home, "refs", kind)):
                inside = os.path.relpath(folder, home)
                found += [f"{prefix}/{inside}/{name}" for name in names if not name.endswith(".lock")]
    return found


def heads(repo: Repo) -> list[str]:
    """The commits that the HEADs of all worktrees are at; an unborn branch has none. Raises ToolError for a lost one."""
    found = []
    for name in ["main-worktree/HEAD", *(f"worktrees/{name}/HEAD" for name in linked_worktrees(repo))]:
        commit = repo.resolve(name)
        if commit:
            found.append(commit)
        elif repo.run("rev-parse", "-q", "--verify", name, ok=(0, 1, 128)):
            raise ToolError(f"the commit that {name} names is missing: the repository is damaged", "git fsck says more")
    return found


def linked_worktrees(repo: Repo) -> list[str]:
    try:
        return sorted(os.listdir(os.path.join(repo.common_dir, "worktrees")))
    except FileNotFoundError:
        return []


def _tips(repo: Repo, *which: str) -> dict[str, int]:
    """Commits that refs (or names) point at, tags peeled, with their committer dates (seconds since 1970)."""
    out = repo.run("rev-list", "--no-walk", "--timestamp", *which).decode().split()
    return dict(zip(out[1::2], map(int, out[::2]), strict=True))


def _recent(repo: Repo, scope: Recent) -> dict[str, str | None]:
    """The commits whose trees belong to the window, each with its first parent where that is known."""
    window = scope.window
    if scope.refs:
        named = [(commit_of(repo, ref), window.head if ref in ("HEAD", "@") else window.other) for ref in scope.refs]
        dates = _tips(repo, *{commit for commit, _ in named})
        tips = [(commit, dates[commit], days) for commit, days in named]
    else:
        at_head = heads(repo)
        tips = [(commit, date, window.head) for commit, date in (_tips(repo, *at_head) if at_head else {}).items()]
        tracked = [f"--remotes={scope.remote}"] if scope.remote else []
        tips += [
            (commit, date, window.other)
            for commit, date in _tips(repo, "--branches", "--tags", *tracked).items()
            if scope.now - date <= window.refs
        ]
    commits: dict[str, str | None] = dict.fromkeys(commit for commit, _, _ in tips)
    bounds: dict[str, float] = {}  # commit -> the oldest date that counts for it and what it comes from
    for commit, date, days in tips:
        if days > 0:
            bounds[commit] = min(bounds.get(commit, ALL), date - days)
    for commit, date, parents in walk(repo, bounds):
        bound = bounds.pop(commit)
        for parent in parents:
            bounds[parent] = min(bounds.get(parent, ALL), bound)
        if date >= bound:
            commits.setdefault(commit)
            for parent in parents:
                commits.setdefault(parent)
        if commit in commits and parents:
            commits[commit] = parents[0]
    return commits


def _unpushed(repo: Repo, scope: Unpushed) -> dict[str, str | None]:
    """The commits that no tracking branch has, each with its first parent."""
    lacking = walk(repo, _start(repo, scope), *_everything(scope), "--not", "--remotes")
    return {commit: parents[0] if parents else None for commit, _, parents in lacking}


def _compared(repo: Repo, commits: Mapping[str, str | None]) -> Iterator[bytes]:
    """diff-tree's standard input: for each commit one to compare it with, its first parent where that is among them, so
    that all their trees are read. The first of the others is compared with nothing."""
    # diff-tree passes over a commit that is lost, and that rev-list knew from the commit-graph alone
    if len(repo.existing(commits)) != len(commits):
        raise ToolError("a commit is missing: the repository is damaged", "git fsck says more")
    previous = None
    for commit, parent in commits.items():
        if parent in commits:
            yield f"{commit} {parent}\n".encode()
            continue
        if previous is None:
            tree = repo.existing([f"{commit}^{{tree}}"])
            if not tree:
                raise ToolError(f"the tree of commit {commit} is missing", "git fsck says more")
            yield f"{git.EMPTY_TREE[repo.object_format]} {tree[0]}\n".encode()
        else:
            yield f"{commit} {previous}\n".encode()
        previous = commit


def walk(repo: Repo, tips: Collection[str], *options: str) -> Iterator[tuple[str, int, list[str]]]:
    """(commit, committer date, parents) of all that can be reached, children before parents: whatever dates say, an old
    one in the middle does not end the walk."""
    if not tips and not options:
        return
    with tempfile.TemporaryFile() as feed:
        feed.writelines(f"{tip}\n".encode() for tip in tips)
        feed.seek(0)
        argv = repo.argv("rev-list", "--topo-order", "--timestamp", "--parents", "--stdin", *options)
        with process.pipeline(argv, env=repo.env, cwd=repo.cwd, stdin=feed) as output:
            for line in output:
                date, commit, *parents = line.decode().split()
                yield commit, int(date), parents


def tracked(repo: Repo, remote: str) -> list[str]:
    """The commits that the tracking branches of a remote are at."""
    return list(_tips(repo, f"--remotes={remote}"))


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A regular file of the index. `stage` is 0, or 1 to 3 in a conflict; `skipped` marks skip-worktree."""

    path: bytes
    mode: int
    blob: str
    stage: int
    skipped: bool


def index_entries(repo: Repo, pathspecs: Collection[str] = ()) -> Iterator[IndexEntry]:
    """The regular files of the index: `TAG MODE BLOB STAGE TAB PATH NUL` (git-ls-files(1), -t and --stage)."""
    limits = pathspecs or [":(top)"]
    argv = repo.argv("ls-files", "-z", "-t", "--stage", "--full-name", "--", *limits)
    with process.pipeline(argv, env=repo.env, cwd=repo.cwd) as output:
        for field in zsplit(output):
            head, _, path = field.partition(b"\t")
            tag, mode, blob, stage = head.split(b" ")
            if mode in git.REGULAR:
                yield IndexEntry(path, int(mode, 8), blob.decode(), int(stage), tag == b"S")
