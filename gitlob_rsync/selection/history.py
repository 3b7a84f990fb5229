"""Which binaries a part of history needs: the selections of spec/selection.md, from the local repository alone.

Every tree is read as a difference against one that was read already (`git diff-tree --stdin -r`), so that a long
history costs what changed in it. Whatever stands in a tree either stands in the one it is compared with, or shows in the
difference: by induction over the order of comparison nothing is missed, at every path, whatever the merges did. That is
also what makes pathspecs exact, which they are not with `rev-list --objects` (it visits a tree once, at one path).
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from gitlob_rsync import process
from gitlob_rsync.age import ALL
from gitlob_rsync.errors import ToolError, UsageError
from gitlob_rsync.git import index, roots, tracking
from gitlob_rsync.git.diff import DIFF_TREE, EMPTY_TREE, differences
from gitlob_rsync.git.output import REGULAR
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.selection import placeholders


@dataclass(frozen=True, slots=True)
class Committed:
    """Every tree of every commit that can be reached from `refs` (none: all refs, every HEAD and stash).

    `known`: commits whose whole history is done with; of what comes after them, only what they had not is looked at.
    `reflogs`: also what reflogs and unfinished operations of git alone still name.
    """

    refs: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    pathspecs: tuple[str, ...] = ()
    reflogs: bool = False


@dataclass(frozen=True, slots=True)
class Unpushed:
    """The whole tree of every commit that can be reached from `refs` (none: as above) and from no tracking branch of
    `remote` ("*": of any; None: it has none; tracking.branches)."""

    refs: tuple[str, ...] = ()
    pathspecs: tuple[str, ...] = ()
    remote: str | None = "*"
    reflogs: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """How old a ref may be to count, and how far back its history does: HEAD's and the others'. Seconds, or ALL."""

    refs: float
    head: float
    other: float


@dataclass(frozen=True, slots=True)
class Recent:
    """The window over HEAD, branches, what is fetched from `remote` ("*": from any; tracking.seen), and tags; or over `refs`
    alone, however old.

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


@dataclass(frozen=True, slots=True)
class IndexedAnywhere:
    """All that the index of any worktree names."""

    pathspecs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stashed:
    """The trees of all stashes, also of those that git put away by itself, and of what these rest on: the index and the
    untracked files of each are parents of it."""

    pathspecs: tuple[str, ...] = ()


Scope = Committed | Unpushed | Recent | Indexed | IndexedAnywhere | Stashed


def references(repo: Repo, scope: Scope, every_path_of: Collection[Sha] = ()) -> dict[Sha, list[bytes]]:
    """The binaries that `scope` needs, each with one path, or with all its paths for those in `every_path_of`.

    Raises UsageError for an unknown ref, ToolError where any git process failed.
    """
    repo = _view(repo, scope)
    found: dict[Sha, list[bytes]] = {}
    with wrong_pathspecs(scope.pathspecs), _blobs(repo, scope) as blobs:
        for sha, _, path in placeholders.among(repo, placeholders.readable(repo, blobs)):
            paths = found.setdefault(sha, [])
            if not paths or (sha in every_path_of and path not in paths):
                paths.append(path)
    return found


def by_blob(repo: Repo, scope: Scope) -> dict[str, Sha]:
    """The placeholders that `scope` needs by their blobs. Raises as references."""
    repo = _view(repo, scope)
    with wrong_pathspecs(scope.pathspecs), _blobs(repo, scope) as blobs:
        found = placeholders.among(repo, placeholders.readable(repo, _once(blobs)))
        return {blob: sha for sha, blob, _ in found}


def selected(repo: Repo, scope: Scope, known: Mapping[str, Sha]) -> set[Sha]:
    """The binaries that `scope` needs, where all placeholders are known by their blobs: none is read."""
    repo = _view(repo, scope)
    with wrong_pathspecs(scope.pathspecs), _blobs(repo, scope) as blobs:
        return {known[blob] for blob, _ in blobs if blob in known}


def _view(repo: Repo, scope: Scope) -> Repo:
    """What a replacement hides goes to the remote too: other clones do not know the replacement."""
    return repo.without_replacements() if isinstance(scope, Committed | Unpushed | Stashed) else repo


def _once(blobs: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    seen = set()
    for blob, path in blobs:
        if blob not in seen:
            seen.add(blob)
            yield blob, path


@contextmanager
def wrong_pathspecs(pathspecs: Collection[str]) -> Iterator[None]:
    """Have git's complaint about one of the user's pathspecs be a UsageError."""
    try:
        yield
    except ToolError as error:
        if pathspecs and re.search("pathspec|outside repository", str(error)):
            raise UsageError(str(error)) from None
        raise


@contextmanager
def _blobs(repo: Repo, scope: Scope) -> Iterator[Iterator[tuple[str, bytes]]]:
    """The (blob, path) pairs of regular files in `scope`; a pair may come more than once."""
    if isinstance(scope, Indexed):
        yield ((entry.blob, entry.path) for entry in index.index_entries(repo, scope.pathspecs) if not entry.skipped)
        return
    if isinstance(scope, IndexedAnywhere):
        indexes = list(roots.indexes(repo))
        for one in indexes:
            index.check_index(one)
        entries = (entry for one in indexes for entry in index.index_entries(one, scope.pathspecs))
        yield ((entry.blob, entry.path) for entry in entries)
        return
    diff_tree = repo.argv(*DIFF_TREE, *(["--", *scope.pathspecs] if scope.pathspecs else []))
    with process.scratch() as feed:
        if isinstance(scope, Committed):
            feed.writelines(
                os.fsencode(f"{commit}\n") for commit in [*_start(repo, scope), *(f"^{tip}" for tip in scope.known)]
            )
            argvs = [repo.argv("rev-list", "--parents", "--stdin", *_everything(scope)), diff_tree]
        else:
            feed.writelines(_compared(repo, _commits(repo, scope)))
            argvs = [diff_tree]
        feed.seek(0)
        with process.pipeline(*argvs, env=repo.env, cwd=repo.cwd, stdin=feed) as output:
            yield _regular(output)


def _start(repo: Repo, scope: Committed | Unpushed) -> list[str]:
    """The commits to start from beside _everything."""
    if scope.refs:
        return roots.commits_of(repo, scope.refs)
    return [
        *roots.stashes(repo),
        *roots.private_refs(repo).values(),
        *(roots.unfinished(repo) if scope.reflogs else []),
    ]


def _everything(scope: Committed | Unpushed) -> list[str]:
    """rev-list's options for refs/ and the HEAD of every worktree, unless refs were named."""
    return [] if scope.refs else ["--all", *(["--reflog"] if scope.reflogs else [])]


def tips(repo: Repo, scope: Committed) -> list[str]:
    """The commits that `scope` starts from."""
    named = _start(repo, scope)
    return [*named, *_tips(repo, "--all")] if not scope.refs else named


def _regular(output: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """(blob, path) of each regular file on the new side of differences."""
    return ((blob, path) for _, mode, blob, path in differences(output) if mode in REGULAR)


def _tips(repo: Repo, *which: str, named: bytes = b"") -> dict[str, int]:
    """Commits that refs point at, tags peeled, with their committer dates (seconds since 1970). `which`: rev-list's options;
    `named`: a line for each of further ones."""
    out = repo.run("rev-list", "--no-walk", "--timestamp", *which, "--stdin", input=named).decode().split()
    return dict(zip(out[1::2], map(int, out[::2]), strict=True))


def _dated(repo: Repo, names: Collection[str]) -> dict[str, int]:
    """The commits behind objects, with their committer dates. Raises ToolError for one that is lost."""
    return _tips(repo, named="".join(f"{name}\n" for name in names).encode()) if names else {}


def _recent(repo: Repo, scope: Recent) -> dict[str, str | None]:
    """The commits whose trees belong to the window, each with its first parent where that is known."""
    window = scope.window
    if scope.refs:
        ages = [window.head if ref in ("HEAD", "@") else window.other for ref in scope.refs]
        named = list(zip(roots.commits_of(repo, scope.refs), ages, strict=True))
        dates = _dated(repo, {commit for commit, _ in named})
        tips = [(commit, dates[commit], days) for commit, days in named]
    else:
        tips = [(commit, date, window.head) for commit, date in _dated(repo, roots.heads(repo).values()).items()]
        dated = _tips(repo, "--branches", "--tags") | _dated(repo, tracking.seen(repo, scope.remote))
        tips += [(commit, date, window.other) for commit, date in dated.items() if scope.now - date <= window.refs]
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
    pushed = [f"^{name}" for name in tracking.branches(repo, scope.remote)]
    lacking = walk(repo, [*_start(repo, scope), *pushed], *_everything(scope))
    return {commit: parents[0] if parents else None for commit, _, parents in lacking}


def _stashed(repo: Repo) -> dict[str, str | None]:
    """The commits of all stashes and their parents."""
    found: dict[str, str | None] = {}
    if names := [*roots.stashes(repo), *roots.autostashes(repo).values()]:
        for line in repo.run("rev-list", "--no-walk=unsorted", "--parents", *names).decode().splitlines():
            commit, *parents = line.split()
            found[commit] = parents[0] if parents else None
            found |= {parent: found.get(parent) for parent in parents}
    return found


def _commits(repo: Repo, scope: Recent | Unpushed | Stashed) -> dict[str, str | None]:
    """The commits whose whole trees `scope` needs, each with its first parent where that is known."""
    if isinstance(scope, Recent):
        return _recent(repo, scope)
    return _unpushed(repo, scope) if isinstance(scope, Unpushed) else _stashed(repo)


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
            yield f"{EMPTY_TREE[repo.object_format]} {tree[0]}\n".encode()
        else:
            yield f"{commit} {previous}\n".encode()
        previous = commit


def walk(repo: Repo, tips: Collection[str], *options: str) -> Iterator[tuple[str, int, list[str]]]:
    """(commit, committer date, parents) of all that can be reached, children before parents: whatever dates say, an old
    one in the middle does not end the walk."""
    if not tips and not options:
        return
    with process.scratch() as feed:
        feed.writelines(os.fsencode(f"{tip}\n") for tip in tips)
        feed.seek(0)
        argv = repo.argv("rev-list", "--topo-order", "--timestamp", "--parents", "--stdin", *options)
        with process.pipeline(argv, env=repo.env, cwd=repo.cwd, stdin=feed) as output:
            for line in output:
                date, commit, *parents = line.decode().split()
                yield commit, int(date), parents


def in_objects(repo: Repo, names: Collection[str]) -> dict[Sha, list[bytes]]:
    """The binaries that objects need which are no commits, tags peeled: trees, and placeholders themselves (without a
    path). Raises ToolError where any git process failed."""
    if not names:
        return {}
    repo = repo.without_replacements()
    asked = "".join(f"{name}^{{}}\n" for name in names).encode()
    said = repo.run("cat-file", "--batch-check=%(objecttype) %(objectname)", input=asked).decode().splitlines()
    peeled = [line.split(" ") for line in said]
    empty = EMPTY_TREE[repo.object_format]
    with process.scratch() as feed:
        feed.writelines(f"{empty} {name}\n".encode() for kind, name, *_ in peeled if kind == "tree")
        feed.seek(0)
        with process.pipeline(repo.argv(*DIFF_TREE), env=repo.env, cwd=repo.cwd, stdin=feed) as output:
            blobs = [*_regular(output), *((name, b"") for kind, name, *_ in peeled if kind == "blob")]
    found: dict[Sha, list[bytes]] = {}
    for sha, _, path in placeholders.among(repo, placeholders.readable(repo, blobs)):
        found.setdefault(sha, []).append(path)
    return found


def loose(repo: Repo) -> dict[Sha, list[bytes]]:
    """The binaries that refs need which name no commit, but a tree or a blob (git-tag(1)): no walk over history meets
    them. Raises as in_objects."""
    said = repo.run("for-each-ref", "--format=%(objectname) %(objecttype) %(*objecttype)").decode().splitlines()
    named = (line.split(" ") for line in said)
    aside = ("tree", "blob", "tag")
    return in_objects(repo, [name for name, kind, peeled in named if kind in aside[:2] or peeled in aside])


def unreached(repo: Repo, commits: Collection[str], others: Collection[str]) -> list[str]:
    """Of `commits`, those that the history of `others` does not hold."""
    if not commits:
        return []
    revisions = "".join(f"{commit}\n" for commit in commits) + "".join(f"^{commit}\n" for commit in others)
    outside = set(repo.run("rev-list", "--stdin", input=revisions.encode()).decode().split())
    return [commit for commit in commits if commit in outside]
