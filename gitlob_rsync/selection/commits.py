"""Which commits belong to a scope: where its history starts, the walk over it, and the window's rule."""

import os
from collections.abc import Collection, Iterator

from gitlob_rsync import process
from gitlob_rsync.age import ALL
from gitlob_rsync.git import roots, tracking
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.selection.scopes import Committed, Recent, Stashed, Unpushed

Parents = dict[str, str | None]
"""Commit -> its first parent, None where it has none or it was not looked up."""


def walk(repo: Repo, tips: Collection[str], *options: str) -> Iterator[tuple[str, int, list[str]]]:
    """(commit, committer date, parents) of every reachable commit, children before parents, whatever their dates: an old
    commit between newer ones does not end the walk. `options`: more of rev-list's."""
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


def start(repo: Repo, scope: Committed | Unpushed) -> list[str]:
    """The commits to start from, in addition to those of start_options."""
    if scope.refs:
        return roots.commits_of(repo, scope.refs)
    return [
        *roots.stashes(repo),
        *roots.private_refs(repo).values(),
        *(roots.unfinished(repo) if scope.reflogs else []),
    ]


def start_options(scope: Committed | Unpushed) -> list[str]:
    """rev-list's options for refs/ and the HEAD of every worktree; none where the scope names refs."""
    return [] if scope.refs else ["--all", *(["--reflog"] if scope.reflogs else [])]


def tips_of(repo: Repo, scope: Committed) -> list[str]:
    """All the commits that `scope` starts from."""
    named = start(repo, scope)
    return named if scope.refs else [*named, *_dated_tips(repo, "--all")]


def unreached(repo: Repo, commits: Collection[str], others: Collection[str]) -> list[str]:
    """Of `commits`, those that are not in the history of `others`."""
    if not commits:
        return []
    revisions = "".join(f"{commit}\n" for commit in commits) + "".join(f"^{commit}\n" for commit in others)
    outside = set(repo.run("rev-list", "--stdin", input=revisions.encode()).decode().split())
    return [commit for commit in commits if commit in outside]


def with_whole_trees(repo: Repo, scope: Recent | Unpushed | Stashed) -> Parents:
    """The commits whose whole trees `scope` needs."""
    if isinstance(scope, Recent):
        return _recent(repo, scope)
    return _unpushed(repo, scope) if isinstance(scope, Unpushed) else _stashed(repo)


def _recent(repo: Repo, scope: Recent) -> Parents:
    """The commits in the window."""
    tips = _tips_in_window(repo, scope)
    commits: Parents = dict.fromkeys(commit for commit, _, _ in tips)
    bounds: dict[str, float] = {}  # commit -> the oldest date that counts for it and its ancestors
    for commit, date, seconds in tips:
        if seconds > 0:
            bounds[commit] = min(bounds.get(commit, ALL), date - seconds)
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


def _tips_in_window(repo: Repo, scope: Recent) -> list[tuple[str, int, float]]:
    """(commit, committer date, how far back its history counts: seconds) of each ref that counts."""
    window = scope.window
    if scope.refs:
        lengths = [window.head if ref in ("HEAD", "@") else window.other for ref in scope.refs]
        named = list(zip(roots.commits_of(repo, scope.refs), lengths, strict=True))
        dates = _dated(repo, {commit for commit, _ in named})
        return [(commit, dates[commit], seconds) for commit, seconds in named]
    heads = _dated(repo, roots.heads(repo).values())
    others = _dated_tips(repo, "--branches", "--tags") | _dated(repo, tracking.seen(repo, scope.remote))
    return [
        *((commit, date, window.head) for commit, date in heads.items()),
        *((commit, date, window.other) for commit, date in others.items() if scope.now - date <= window.refs),
    ]


def _dated_tips(repo: Repo, *which: str, named: bytes = b"") -> dict[str, int]:
    """Commits that refs point at, tags peeled, with their committer dates (seconds since 1970). `which`: rev-list's
    options; `named`: further ones, a line each."""
    out = repo.run("rev-list", "--no-walk", "--timestamp", *which, "--stdin", input=named).decode().split()
    return dict(zip(out[1::2], map(int, out[::2]), strict=True))


def _dated(repo: Repo, names: Collection[str]) -> dict[str, int]:
    """The commits that objects are or point at, with their committer dates. Raises ToolError for a missing one."""
    return _dated_tips(repo, named="".join(f"{name}\n" for name in names).encode()) if names else {}


def _unpushed(repo: Repo, scope: Unpushed) -> Parents:
    """The commits that no tracking branch has."""
    pushed = [f"^{name}" for name in tracking.branches(repo, scope.remote)]
    lacking = walk(repo, [*start(repo, scope), *pushed], *start_options(scope))
    return {commit: parents[0] if parents else None for commit, _, parents in lacking}


def _stashed(repo: Repo) -> Parents:
    """The commits of all stashes and their parents."""
    found: Parents = {}
    if names := [*roots.stashes(repo), *roots.autostashes(repo).values()]:
        for line in repo.run("rev-list", "--no-walk=unsorted", "--parents", *names).decode().splitlines():
            commit, *parents = line.split()
            found[commit] = parents[0] if parents else None
            found |= {parent: found.get(parent) for parent in parents}
    return found
