"""Which binaries the tip of each local branch needs, from one run of diff-tree: each tip against the one before."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gitlob_rsync import process
from gitlob_rsync.errors import ToolError
from gitlob_rsync.git.diff import EMPTY_TREE, differences
from gitlob_rsync.git.output import REGULAR
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.placeholder import Sha


@dataclass(frozen=True, slots=True)
class Branch:
    """A local branch. `needed`: binaries of its tip's tree; `here`: how many of these are here; `bytes`: their size."""

    name: bytes
    needed: int
    here: int
    bytes: int


Tip = tuple[bytes, list[tuple[bytes, Sha | None]]]
"""A branch, and the paths that have another binary than in the tree of the branch before; None: they have none."""


def tips(repo: Repo, known: Mapping[str, Sha]) -> list[Tip]:
    """The local branches, the one with the latest commit first; all placeholders are `known` by their blobs. Raises
    ToolError where a tree cannot be read."""
    wanted = "--format=%(objectname) %(refname)"
    lines = repo.run("for-each-ref", "--sort=-committerdate", wanted, "refs/heads").splitlines()
    named = [line.split(b" ", 1) for line in lines]
    trees = repo.existing(f"{commit.decode()}^{{tree}}" for commit, _ in named)
    if len(trees) != len(named):
        raise ToolError("the commit of a branch is missing: the repository is damaged", "git fsck says more")
    found: list[Tip] = [(name.removeprefix(b"refs/heads/"), []) for _, name in named]
    for number, path, blob in _changes(repo, trees):
        found[number][1].append((path, known.get(blob) if blob else None))
    return found


def _changes(repo: Repo, trees: list[str]) -> Iterator[tuple[int, bytes, str | None]]:
    """(number of the tree, path, blob) of what differs from the tree before; None: not a regular file there."""
    argv = repo.argv("diff-tree", "--stdin", "-r", "-z", "--raw", "--no-renames", "--ignore-submodules=none")
    with process.scratch() as feed:
        before = [EMPTY_TREE[repo.object_format], *trees]
        feed.writelines(f"{one} {other}\n".encode() for one, other in zip(before, trees, strict=False))
        feed.seek(0)
        number = -1
        with process.pipeline(argv, env=repo.env, cwd=repo.cwd, stdin=feed) as output:
            for heading, mode, blob, path in differences(output):
                # each pair of trees is named on a line of its own, which is all that equal ones have
                number += heading.count(b"\n") + 1 if heading else 0
                yield number, path, blob if mode in REGULAR else None


def count(tips: list[Tip], sizes: Mapping[Sha, int]) -> list[Branch]:
    """What each branch needs, and how much of that is among `sizes` (bytes)."""
    tree: dict[bytes, Sha] = {}
    uses: Counter[Sha] = Counter()
    needed = here = total = 0
    branches = []
    for name, changes in tips:
        for path, sha in changes:
            gone = tree.pop(path, None)
            if gone:
                uses[gone] -= 1
                if not uses[gone]:
                    needed, here, total = needed - 1, here - (gone in sizes), total - sizes.get(gone, 0)
            if sha:
                tree[path] = sha
                uses[sha] += 1
                if uses[sha] == 1:
                    needed, here, total = needed + 1, here + (sha in sizes), total + sizes.get(sha, 0)
        branches.append(Branch(name, needed, here, total))
    return branches
