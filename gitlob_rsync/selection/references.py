"""Which binaries a scope needs (docs/selection.md), from the local repository alone.

Every tree is read as a difference from one that was read before (`git diff-tree --stdin -r`), so that a long history
costs what changed in it. What is in a tree either is in the tree that it is compared with, or shows in the difference:
by induction over the order of comparison nothing is missed, at any path, whatever the merges did. That is also what makes
pathspecs exact, which they are not with `rev-list --objects` (it visits a tree once, at one path).
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO

from gitlob_rsync import process
from gitlob_rsync.errors import ToolError
from gitlob_rsync.git import index, roots
from gitlob_rsync.git.diff import DIFF_TREE, EMPTY_TREE, differences
from gitlob_rsync.git.output import REGULAR
from gitlob_rsync.git.paths import pathspec_errors
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.selection import commits, placeholders
from gitlob_rsync.selection.commits import Parents
from gitlob_rsync.selection.scopes import Committed, Indexed, IndexedAnywhere, Scope, Stashed, Unpushed

Blobs = Iterator[tuple[str, bytes]]
"""(blob, path) pairs; a pair may come more than once."""


def needed_by(repo: Repo, scope: Scope, every_path_of: Collection[Sha] = ()) -> dict[Sha, list[bytes]]:
    """The binaries that `scope` needs, each with one path, or with all its paths for those in `every_path_of`.

    Raises UsageError for an unknown ref, ToolError where any git process failed.
    """
    repo = _view(repo, scope)
    found: dict[Sha, list[bytes]] = {}
    with pathspec_errors(scope.pathspecs), _blobs(repo, scope) as blobs:
        for sha, _, path in placeholders.among(repo, placeholders.readable(repo, blobs)):
            paths = found.setdefault(sha, [])
            if not paths or (sha in every_path_of and path not in paths):
                paths.append(path)
    return found


def by_blob(repo: Repo, scope: Scope) -> dict[str, Sha]:
    """The placeholders that `scope` needs by their blobs. Raises as needed_by."""
    repo = _view(repo, scope)
    with pathspec_errors(scope.pathspecs), _blobs(repo, scope) as blobs:
        found = placeholders.among(repo, placeholders.readable(repo, _once(blobs)))
        return {blob: sha for sha, blob, _ in found}


def among_known(repo: Repo, scope: Scope, known: Mapping[str, Sha]) -> set[Sha]:
    """The binaries that `scope` needs, where all placeholders are `known` by their blobs: none is read."""
    repo = _view(repo, scope)
    with pathspec_errors(scope.pathspecs), _blobs(repo, scope) as blobs:
        return {known[blob] for blob, _ in blobs if blob in known}


def in_objects(repo: Repo, names: Collection[str]) -> dict[Sha, list[bytes]]:
    """The binaries needed by objects that are not commits, tags peeled: trees, and placeholders themselves (which have no
    path). Raises ToolError where any git process failed."""
    if not names:
        return {}
    repo = repo.without_replacements()
    asked = "".join(f"{name}^{{}}\n" for name in names).encode()
    said = repo.run("cat-file", "--batch-check=%(objecttype) %(objectname)", input=asked).decode().splitlines()
    peeled = [line.split(" ") for line in said]
    empty = EMPTY_TREE[repo.object_format]
    trees = [f"{empty} {name}\n".encode() for kind, name, *_ in peeled if kind == "tree"]
    with _differences(repo, trees) as blobs:
        held = [*blobs, *((name, b"") for kind, name, *_ in peeled if kind == "blob")]
    found: dict[Sha, list[bytes]] = {}
    for sha, _, path in placeholders.among(repo, placeholders.readable(repo, held)):
        found.setdefault(sha, []).append(path)
    return found


def outside_commits(repo: Repo) -> dict[Sha, list[bytes]]:
    """The binaries needed by refs that name not a commit, but a tree or a blob (git-tag(1)): no walk over history meets
    them. Raises as in_objects."""
    said = repo.run("for-each-ref", "--format=%(objectname) %(objecttype) %(*objecttype)").decode().splitlines()
    named = (line.split(" ") for line in said)
    aside = ("tree", "blob", "tag")
    return in_objects(repo, [name for name, kind, peeled in named if kind in aside[:2] or peeled in aside])


def _view(repo: Repo, scope: Scope) -> Repo:
    """What a replacement (git-replace(1)) hides is needed at the remote too: other clones do not have the replacement."""
    return repo.without_replacements() if isinstance(scope, Committed | Unpushed | Stashed) else repo


def _once(blobs: Blobs) -> Blobs:
    seen = set()
    for blob, path in blobs:
        if blob not in seen:
            seen.add(blob)
            yield blob, path


@contextmanager
def _blobs(repo: Repo, scope: Scope) -> Iterator[Blobs]:
    """The regular files in `scope`."""
    if isinstance(scope, Indexed):
        yield ((entry.blob, entry.path) for entry in index.index_entries(repo, scope.pathspecs) if not entry.skipped)
    elif isinstance(scope, IndexedAnywhere):
        indexes = list(roots.indexes(repo))
        for one in indexes:
            index.check_index(one)
        entries = (entry for one in indexes for entry in index.index_entries(one, scope.pathspecs))
        yield ((entry.blob, entry.path) for entry in entries)
    elif isinstance(scope, Committed):
        start = [*commits.start(repo, scope), *(f"^{tip}" for tip in scope.known)]
        listed = repo.argv("rev-list", "--parents", "--stdin", *commits.start_options(scope))
        with _differences(repo, (os.fsencode(f"{commit}\n") for commit in start), listed, scope.pathspecs) as blobs:
            yield blobs
    else:
        pairs = _compared(repo, commits.with_whole_trees(repo, scope))
        with _differences(repo, pairs, pathspecs=scope.pathspecs) as blobs:
            yield blobs


@contextmanager
def _differences(
    repo: Repo, lines: Iterable[bytes], feeder: list[str] | None = None, pathspecs: Collection[str] = ()
) -> Iterator[Blobs]:
    """The regular files on the new side of the differences that diff-tree prints for `lines`, or for what a git process,
    `feeder`, prints for them."""
    diff_tree = repo.argv(*DIFF_TREE, *(["--", *pathspecs] if pathspecs else []))
    with process.scratch() as feed:
        feed.writelines(lines)
        feed.seek(0)
        argvs = [feeder, diff_tree] if feeder else [diff_tree]
        with process.pipeline(*argvs, env=repo.env, cwd=repo.cwd, stdin=feed) as output:
            yield _regular(output)


def _regular(output: IO[bytes]) -> Blobs:
    return ((blob, path) for _, mode, blob, path in differences(output) if mode in REGULAR)


def _compared(repo: Repo, parents: Parents) -> Iterator[bytes]:
    """diff-tree's standard input: for each commit one to compare it with, its first parent where that is among them, so
    that all their trees are read. The first of the others is compared with the empty tree."""
    # diff-tree skips a commit whose object is missing, and rev-list may know such a one from the commit-graph
    if len(repo.existing(parents)) != len(parents):
        raise ToolError("a commit is missing: the repository is damaged", "git fsck says more")
    previous = None
    for commit, parent in parents.items():
        if parent in parents:
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
