"""What needs a few binaries: all paths, and all refs that reach a commit which has one of them.

A binary is in the tree of a commit that a ref reaches only if some commit that it reaches added it, and there it shows as
a difference from each parent. So one walk over all differences finds these commits, and one over the commits alone,
children first, passes to each parent the refs that reach it, as the bits of a number.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

from gitlob_rsync import process
from gitlob_rsync.git import roots
from gitlob_rsync.git.diff import DIFF_TREE, differences
from gitlob_rsync.git.output import REGULAR
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.selection import placeholders, references
from gitlob_rsync.selection.commits import walk
from gitlob_rsync.selection.scopes import IndexedAnywhere


@dataclass(frozen=True, slots=True)
class Need:
    """Paths of commits and of indexes; full names of refs, also HEAD and stash@{1}, and of files like rebase-merge/autostash
    that name a commit. A binary that only an index names has no refs."""

    paths: list[bytes] = field(default_factory=list)
    refs: list[str] = field(default_factory=list)


def find(repo: Repo, shas: Collection[Sha]) -> dict[Sha, Need]:
    """Those of the binaries that a commit or the index of a worktree needs. Raises ToolError if any git process failed."""
    if not shas:
        return {}
    # as for every selection of what is committed: other clones do not have the replacements
    plain = repo.without_replacements()
    wanted = frozenset(shas)
    tips = _tips(plain)
    paths: dict[Sha, dict[bytes, None]] = {}
    holders: dict[str, set[Sha]] = {}
    with _differences(plain, tips.values()) as blobs:
        for sha, _, (commit, path) in placeholders.among(plain, placeholders.readable(plain, blobs)):
            if sha in wanted:
                paths.setdefault(sha, {})[path] = None
                holders.setdefault(commit, set()).add(sha)
    refs = _reaching(plain, tips, holders) if holders else {}
    named = references.needed_by(repo, IndexedAnywhere(), wanted)
    for sha in named.keys() & wanted:
        paths.setdefault(sha, {}).update(dict.fromkeys(named[sha]))
    return {sha: Need(list(at), refs.get(sha, [])) for sha, at in paths.items()}


def _tips(repo: Repo) -> dict[str, str]:
    """Where history starts, by name: the commits of refs, tags peeled, and further ones of HEADs, older stashes,
    autostashes, and the private refs of worktrees."""
    refs = os.fsdecode(repo.run("for-each-ref", "--format=%(refname)")).split("\n")[:-1]
    tips = {ref: commit for ref, commit in zip(refs, repo.resolve(refs), strict=True) if commit}
    private = roots.private_refs(repo)
    named: list[tuple[str, str | None]] = [
        ("HEAD", repo.resolve(["HEAD"])[0]),
        *roots.heads(repo).items(),
        *zip(private, repo.resolve(list(private.values())), strict=True),
        *((f"stash@{{{number}}}", commit) for number, commit in enumerate(roots.stashes(repo))),
        *roots.autostashes(repo).items(),
    ]
    seen = set(tips.values())
    for name, at in named:
        if at and at not in seen:
            tips[name] = at
            seen.add(at)
    return tips


@contextmanager
def _differences(repo: Repo, tips: Collection[str]) -> Iterator[Iterator[tuple[str, tuple[str, bytes]]]]:
    """(blob, (commit, path)) of each regular file on the new side of a commit's difference from each of its parents."""
    how = [option for option in DIFF_TREE if option != "--no-commit-id"]
    with process.scratch() as feed:
        feed.writelines(f"{commit}\n".encode() for commit in tips)
        feed.seek(0)
        argvs = [repo.argv("rev-list", "--parents", "--stdin", "--all"), repo.argv(*how)]
        with process.pipeline(*argvs, env=repo.env, cwd=repo.cwd, stdin=feed) as output:
            yield _by_commit(output)


def _by_commit(output: IO[bytes]) -> Iterator[tuple[str, tuple[str, bytes]]]:
    commit = ""
    for heading, mode, blob, path in differences(output):
        commit = heading.decode() or commit
        if mode in REGULAR:
            yield blob, (commit, path)


def _reaching(repo: Repo, tips: dict[str, str], holders: dict[str, set[Sha]]) -> dict[Sha, list[str]]:
    """For each binary, the names of the tips that reach a commit which added it."""
    names = list(tips)
    reached: dict[str, int] = {}
    for number, name in enumerate(names):
        reached[tips[name]] = reached.get(tips[name], 0) | 1 << number
    by: dict[Sha, int] = {}
    for commit, _, parents in walk(repo, reached.keys(), "--all"):
        bits = reached.pop(commit, 0)
        for parent in parents:
            reached[parent] = reached.get(parent, 0) | bits
        for sha in holders.get(commit, ()):
            by[sha] = by.get(sha, 0) | bits
    return {sha: [name for number, name in enumerate(names) if bits >> number & 1] for sha, bits in by.items()}
