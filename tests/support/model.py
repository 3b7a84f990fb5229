"""The model of docs/selection.md: every tree of every commit is read whole. Slow, plain, without the code under test."""

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

Needs = dict[str, set[bytes]]
"""Binaries, each with all paths at which it stands."""

PLACEHOLDER = re.compile(rb"git-lob: ([0-9a-fA-F]{40})")


def anywhere(_: bytes) -> bool:
    return True


@dataclass(frozen=True)
class Commit:
    parents: tuple[str, ...]
    date: int


@dataclass(frozen=True)
class Model:
    """A repository of loose and packed objects, none replaced, not shallow. `path`: its work tree or git folder."""

    path: Path

    def git(self, *args: str) -> bytes:
        env = {**os.environ, "GIT_NO_REPLACE_OBJECTS": "1"}
        return subprocess.run(["git", *args], cwd=self.path, env=env, stdout=subprocess.PIPE, check=True).stdout

    @cached_property
    def _objects(self) -> dict[str, tuple[str, bytes]]:
        """All objects there are, reachable or not: name -> (type, content)."""
        rest = self.git("cat-file", "--batch-all-objects", "--batch")
        found = {}
        while rest:
            head, _, rest = rest.partition(b"\n")
            name, kind, size = head.decode().split()
            found[name] = (kind, rest[: int(size)])
            rest = rest[int(size) + 1 :]
        return found

    @cached_property
    def commits(self) -> dict[str, Commit]:
        found = {}
        for name, (kind, content) in self._objects.items():
            if kind == "commit":
                header = content.partition(b"\n\n")[0].decode()
                parents = re.findall(r"^parent (\w+)$", header, re.MULTILINE)
                date = re.search(r"^committer .* (\d+) \+0000$", header, re.MULTILINE)
                assert date
                found[name] = Commit(tuple(parents), int(date[1]))
        return found

    def peel(self, name: str) -> Iterator[str]:
        """The commit behind a ref's object, if it is one."""
        kind, content = self._objects[name]
        if kind == "tag":
            yield from self.peel(content.split(maxsplit=2)[1].decode())
        if kind == "commit":
            yield name

    @cached_property
    def refs(self) -> dict[str, list[str]]:
        """Full name of each ref -> the commit it leads to, or none."""
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)").decode().splitlines()
        return {ref: list(self.peel(name)) for ref, name in (line.split() for line in lines)}

    def _behind(self, *prefixes: str) -> set[str]:
        return {commit for ref, commits in self.refs.items() if ref.startswith(prefixes) for commit in commits}

    @cached_property
    def heads(self) -> set[str]:
        said = self.git("worktree", "list", "--porcelain").decode()
        return {name for name in re.findall(r"^HEAD (\w+)$", said, re.MULTILINE) if name in self.commits}

    @cached_property
    def stashes(self) -> set[str]:
        """Of all stashes: the newest hangs on refs/stash, the others on its reflog alone."""
        log = self.path / self.git("rev-parse", "--git-common-dir").decode()[:-1] / "logs/refs/stash"
        return {line.split()[1] for line in log.read_text().splitlines()} if log.exists() else set()

    def history(self, tips: Iterable[str]) -> set[str]:
        """The commits that can be reached."""
        found: set[str] = set()
        waiting = list(tips)
        while waiting:
            commit = waiting.pop()
            if commit not in found:
                found.add(commit)
                waiting += self.commits[commit].parents
        return found

    @cached_property
    def _trees(self) -> dict[str, list[tuple[str, bytes]]]:
        return {}

    def tree(self, commit: str) -> list[tuple[str, bytes]]:
        """(binary, path) of each placeholder in the tree of a commit."""
        if commit not in self._trees:
            found = []
            for entry in self.git("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0")[:-1]:
                head, _, path = entry.partition(b"\t")
                mode, _, blob = head.decode().split()
                if mode in ("100644", "100755") and (match := PLACEHOLDER.fullmatch(self._objects[blob][1])):
                    found.append((match[1].decode().lower(), path))
            self._trees[commit] = found
        return self._trees[commit]

    def needed_by(self, commits: Iterable[str], chosen: Callable[[bytes], bool] = anywhere) -> Needs:
        needs: Needs = {}
        for commit in commits:
            for sha, path in self.tree(commit):
                if chosen(path):
                    needs.setdefault(sha, set()).add(path)
        return needs

    # The selections, as sets of commits whose whole trees are needed

    def committed(self, tips: Iterable[str] = ()) -> set[str]:
        return self.history(tips or self._behind("refs/") | self.heads | self.stashes)

    def unpushed(self, tips: Iterable[str] = ()) -> set[str]:
        return self.committed(tips) - self.history(self._behind("refs/remotes/"))

    def recent(self, refs: float, head: float, other: float, now: float, remote: str | None) -> set[str]:
        """The window; ages in seconds."""
        young = self._behind("refs/heads/", "refs/tags/", *([f"refs/remotes/{remote}/"] if remote else []))
        tips = [(tip, head) for tip in self.heads]
        tips += [(tip, other) for tip in young if now - self.commits[tip].date <= refs]
        return self.recent_of(tips)

    def recent_of(self, tips: Iterable[tuple[str, float]]) -> set[str]:
        """The window over these commits, each with how far its history counts."""
        needed = set()
        for tip, age in tips:
            needed.add(tip)
            for commit in self.history([tip]) if age > 0 else ():
                if self.commits[commit].date >= self.commits[tip].date - age:
                    needed |= {commit, *self.commits[commit].parents}
        return needed
