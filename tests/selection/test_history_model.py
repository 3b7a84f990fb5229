"""Random histories: what references.needed_by finds is what the model of the specification finds."""

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random as Dice

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from gitlob_rsync.age import ALL
from gitlob_rsync.git.paths import to_pathspecs
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.selection import usage
from gitlob_rsync.selection.references import needed_by
from gitlob_rsync.selection.scopes import Committed, Recent, Scope, Unpushed, Window
from tests.conftest import DAY
from tests.support.handmade import placeholder
from tests.support.model import Model, Needs, anywhere

NOW = 1_700_000_000
EXAMPLES = os.environ.get("GITLOB_EXAMPLES")
"""How many histories a test looks at, then new ones at every run; without it the same few each time."""

few = settings(
    max_examples=int(EXAMPLES or 35),
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

Entry = tuple[str, bytes]
Tree = dict[str, Entry]

PATHS = ["a.bin", "d", "d/a.bin", "d/b.bin", "d/s/c.bin", "d/s/a.bin", "e/a.bin", "e/s/c.bin", "e", "-x", 'q" \n.bin']
LOBS = [placeholder(b"%d" % number) for number in range(16)]
CONTENTS = [*LOBS, *LOBS, LOBS[0].replace(b"b", b"B"), LOBS[1] + b"\n", b"x" * 49, b""]
MODES = ["100644"] * 6 + ["100755", "120000", "160000"]
SPECS = {
    "d": r"d(/.*)?",
    "e": r"e(/.*)?",
    "d/s": r"d/s(/.*)?",
    "*.bin": r".*\.bin",
    "*/s/*": r".*/s/.*",
    "d/*": r"d/.*",
    ":(glob)*/a.bin": r"[^/]*/a\.bin",
    ":(icase)D/A.BIN": r"d/a\.bin",
    ":(literal)-x": r"-x",
    "-x": r"-x",
    ":/e/s": r"e/s(/.*)?",
}
"""Pathspecs, and as regular expressions what they mean (gitglossary(7))."""


@dataclass(frozen=True)
class Node:
    """A commit: numbers of its parents, committer date, and its whole tree."""

    parents: tuple[int, ...]
    date: int
    tree: Tree


@dataclass(frozen=True)
class Random:
    """A repository to be made; commits by number. `head`: a branch, born or not, or a commit; `side`: another worktree's."""

    nodes: list[Node]
    refs: dict[str, int]
    annotated: dict[str, tuple[int, bool]]
    head: str | int
    side: int | None
    stashes: list[int]
    odd_tags: bool


def place(tree: Tree, path: str, entry: Entry) -> None:
    """Put a file into a tree, in the place of what stands in its way."""
    for other in list(tree):
        if f"{other}/".startswith(f"{path}/") or path.startswith(f"{other}/"):
            del tree[other]
    tree[path] = entry


def edit(dice: Dice, tree: Tree) -> None:
    what = dice.choice(["put", "put", "put", "put", "drop", "move", "copy"])
    if what == "put":
        place(tree, dice.choice(PATHS), (dice.choice(MODES), dice.choice(CONTENTS)))
    elif what == "copy":
        for path in [path for path in tree if path.startswith("d/")]:
            place(tree, path.replace("d/", "e/", 1), tree[path])
    elif tree:
        entry = tree.pop(dice.choice(sorted(tree)))
        if what == "move":
            place(tree, dice.choice(PATHS), entry)


def node(dice: Dice, number: int, earlier: list[Node]) -> Node:
    """A commit on earlier ones: its tree is the first parent's, or a mixture, or neither, with a few changes; its date
    follows theirs, or not at all."""
    most = min(number, dice.choice([0, 1, 1, 1, 1, 2, 2, 3]))
    parents = dice.sample(range(max(0, number - 4), number), most)
    tree: Tree = {}
    for parent in dice.sample(parents, dice.randint(0, len(parents))) if dice.random() < 0.4 else parents[:1]:
        for path, entry in earlier[parent].tree.items():
            place(tree, path, entry)
    for _ in range(dice.randint(0, 3) if tree else 7):
        edit(dice, tree)
    days = 12 - number if dice.random() < 0.7 else dice.randint(0, 12)
    return Node(tuple(parents), NOW - days * DAY + dice.choice([0, 0, 0, 0, -1, 1]), tree)


def invent(seed: bytes, size: int) -> Random:
    """The same commits for the same seed, of which a smaller size takes away the last ones."""
    nodes: list[Node] = []
    for number in range(size):
        nodes.append(node(Dice(seed + bytes([number])), number, nodes))
    dice = Dice(seed)
    names = ["heads/main", "heads/b", "heads/c/d", "tags/t", "tags/u", "remotes/origin/main", "remotes/origin/b"]
    names += ["remotes/other/main", "changes/1"]

    def some(most: int, least: int = 0) -> list[int]:
        return [dice.randrange(size) for _ in range(dice.randint(least, most))]

    return Random(
        nodes,
        refs=dict(zip(dice.sample(names, 5), some(5, 2), strict=False)),
        annotated={f"v{n}": (commit, dice.random() < 0.5) for n, commit in enumerate(some(2))},
        head=dice.choice(["main", "b", dice.randrange(size)]),
        side=dice.choice([None, None, dice.randrange(size)]),
        stashes=some(3) if dice.random() < 0.3 else [],
        odd_tags=dice.random() < 0.3,
    )


histories = st.builds(invent, st.binary(min_size=8, max_size=8), st.sampled_from([8, 12, 10, 6, 4, 3, 2, 1]))


def stream(random: Random) -> Iterator[bytes]:
    """The commits, refs and annotated tags, for git fast-import. Commit N has the mark N + 1."""
    scratch = b"refs/scratch/it\n"
    for number, node in enumerate(random.nodes):
        yield b"reset " + scratch + b"\ncommit " + scratch
        yield b"mark :%d\ncommitter C <c@example.org> %d +0000\ndata 0\n" % (number + 1, node.date)
        for word, parent in zip([b"from", *[b"merge"] * 9], node.parents, strict=False):
            yield b"%s :%d\n" % (word, parent + 1)
        yield b"deleteall\n"
        for path, (mode, content) in node.tree.items():
            name = b'"%s"' % path.replace('"', '\\"').replace("\n", "\\n").encode()
            if mode == "160000":
                yield b"M 160000 %s %s\n" % (b"1" * 40, name)
            else:
                yield b"M %s inline %s\ndata %d\n%s\n" % (mode.encode(), name, len(content), content)
    for ref, number in random.refs.items():
        yield b"reset refs/%s\nfrom :%d\n\n" % (ref.encode(), number + 1)
    mark = 1000
    for tag, (number, nested) in random.annotated.items():
        source = number + 1
        for name in (f"{tag}-inner", tag) if nested else (tag,):
            mark += 1
            yield b"tag %s\nmark :%d\nfrom :%d\n" % (name.encode(), mark, source)
            yield b"tagger T <t@example.org> %d +0000\ndata 0\n" % NOW
            source = mark


def make(random: Random, path: Path) -> list[str]:
    """Make the repository; returns its commits, by number."""

    def run(*args: str, input: bytes = b"") -> None:
        subprocess.run(["git", *args], cwd=path, input=input, check=True)

    run("init", "-q", "-b", "main", "--template=")
    for remote in ("origin", "other"):
        run("config", f"remote.{remote}.fetch", f"+refs/heads/*:refs/remotes/{remote}/*")
    run("fast-import", "--quiet", "--export-marks=.git/marks", input=b"".join(stream(random)))
    marks = dict(line.split() for line in (path / ".git/marks").read_text().splitlines())
    commits = [marks[f":{number + 1}"] for number in range(len(random.nodes))]
    updates = ["delete refs/scratch/it"]
    if random.odd_tags:
        updates.append(f"create refs/tags/tree {commits[0]}^{{tree}}")
    if random.stashes:
        updates.append(f"create refs/stash {commits[random.stashes[-1]]}")
        log = path / ".git/logs/refs/stash"
        log.parent.mkdir(parents=True, exist_ok=True)
        nothing = "0" * 40
        log.write_text("".join(f"{nothing} {commits[n]} C <c@example.org> {NOW} +0000\tx\n" for n in random.stashes))
    run("update-ref", "--stdin", input="".join(f"{line}\n" for line in updates).encode())
    head = commits[random.head] if isinstance(random.head, int) else f"ref: refs/heads/{random.head}"
    (path / ".git/HEAD").write_text(f"{head}\n")
    if random.side is not None:
        linked = path / ".git/worktrees/side"
        linked.mkdir(parents=True)
        (linked / "HEAD").write_text(f"{commits[random.side]}\n")
        (linked / "commondir").write_text("../..\n")
        (linked / "gitdir").write_text(f"{path}-side/.git\n")
    return commits


@contextlib.contextmanager
def made(random: Random) -> Iterator[tuple[Repo, Model, list[str]]]:
    """The repository, as the current folder."""
    with tempfile.TemporaryDirectory(dir=os.environ["TMPDIR"]) as folder, contextlib.chdir(folder):
        commits = make(random, Path(folder))
        yield Repo.discover(), Model(Path(folder)), commits


@dataclass(frozen=True)
class Limit:
    """Pathspecs, and the paths they choose."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def pathspecs(self) -> tuple[str, ...]:
        return tuple(to_pathspecs(self.include, self.exclude))

    @property
    def chosen(self) -> Callable[[bytes], bool]:
        def some(specs: tuple[str, ...], path: str) -> bool:
            return any(re.fullmatch(SPECS[spec], path, re.DOTALL) for spec in specs)

        def chooses(path: bytes) -> bool:
            text = path.decode()
            return (not self.include or some(self.include, text)) and not some(self.exclude, text)

        return chooses if self.include or self.exclude else anywhere


specs = st.lists(st.sampled_from(sorted(SPECS)), max_size=2, unique=True).map(tuple)
limits = st.one_of(st.just(Limit()), st.just(Limit()), st.builds(Limit, specs, specs))
ages = st.sampled_from([3 * DAY, DAY, 6 * DAY, 3 * DAY + 1, ALL, 0])
windows = st.builds(Window, st.one_of(st.just(ALL), ages), ages, ages)


def agree(repo: Repo, scope: Scope, model: Needs) -> None:
    """All binaries, each at all its paths; and where one path is enough, at one that is true."""
    every = needed_by(repo, scope, every_path_of=model.keys())
    assert {sha: sorted(paths) for sha, paths in every.items()} == {sha: sorted(paths) for sha, paths in model.items()}
    one = needed_by(repo, scope)
    assert one.keys() == model.keys()
    assert all(len(paths) == 1 and paths[0] in model[sha] for sha, paths in one.items())
    event(f"{min(len(model), 4)} binaries")


@few
@given(histories, limits)
def test_committed(random: Random, limit: Limit) -> None:
    with made(random) as (repo, model, _):
        agree(repo, Committed(pathspecs=limit.pathspecs), model.needed_by(model.committed(), limit.chosen))


@few
@given(histories, limits, st.data())
def test_committed_and_unpushed_of_refs(random: Random, limit: Limit, data: st.DataObject) -> None:
    with made(random) as (repo, model, commits):
        chosen = data.draw(st.lists(st.sampled_from(commits), min_size=1, max_size=3))
        agree(
            repo,
            Committed(tuple(chosen), pathspecs=limit.pathspecs),
            model.needed_by(model.committed(chosen), limit.chosen),
        )
        agree(repo, Unpushed(tuple(chosen), limit.pathspecs), model.needed_by(model.unpushed(chosen), limit.chosen))


@few
@given(histories, limits)
def test_unpushed(random: Random, limit: Limit) -> None:
    with made(random) as (repo, model, _):
        agree(repo, Unpushed(pathspecs=limit.pathspecs), model.needed_by(model.unpushed(), limit.chosen))


@settings(few, max_examples=2 * few.max_examples)
@given(histories, windows, st.sampled_from(["origin", "other", "orig", None]), limits)
def test_window(random: Random, days: Window, remote: str | None, limit: Limit) -> None:
    with made(random) as (repo, model, _):
        scope = Recent(days, NOW, remote, pathspecs=limit.pathspecs)
        needed = model.recent(days.refs, days.head, days.other, NOW, remote)
        agree(repo, scope, model.needed_by(needed, limit.chosen))


@few
@given(histories, ages, ages, limits, st.data())
def test_window_of_refs(random: Random, head: float, other: float, limit: Limit, data: st.DataObject) -> None:
    with made(random) as (repo, model, commits):
        named = {commit: (commit, other) for commit in commits}
        named |= {ref.removeprefix("refs/"): (tips[0], other) for ref, tips in model.refs.items() if tips}
        at = commits[random.head] if isinstance(random.head, int) else named.get(f"heads/{random.head}", [None])[0]
        if at:
            named["HEAD"] = (at, head)
        refs = data.draw(st.lists(st.sampled_from(sorted(named)), min_size=1, max_size=3))
        scope = Recent(Window(0, head, other), NOW, None, tuple(refs), limit.pathspecs)
        agree(repo, scope, model.needed_by(model.recent_of([named[ref] for ref in refs]), limit.chosen))


@few
@given(histories, limits, st.data())
def test_what_comes_after_known_commits(random: Random, limit: Limit, data: st.DataObject) -> None:
    """With what the known commits need it is everything; and it is nothing but what the others need."""
    with made(random) as (repo, model, commits):
        known = data.draw(st.lists(st.sampled_from(commits), min_size=1, max_size=3))
        found = needed_by(repo, Committed(known=tuple(known), pathspecs=limit.pathspecs))
        done = model.history(known)
        new = model.needed_by(model.committed() - done, limit.chosen)
        assert found.keys() >= new.keys() - model.needed_by(done, limit.chosen).keys()
        assert found.keys() <= new.keys()
        assert all(paths[0] in new[sha] for sha, paths in found.items())


@few
@given(histories)
def test_who_needs_a_binary(random: Random) -> None:
    """All paths, and exactly the refs that reach a commit which has it; a tip without a ref is named once."""
    with made(random) as (repo, model, _):
        paths = model.needed_by(model.committed())
        found = usage.find(repo, [Sha(sha) for sha in paths] + [Sha("0" * 40)])
        assert {sha: set(need.paths) for sha, need in found.items()} == paths
        behind = {ref: model.needed_by(model.history(tips)) for ref, tips in model.refs.items()}
        others = (model.heads | model.stashes) - {tip for tips in model.refs.values() for tip in tips}
        nameless = [model.needed_by(model.history([tip])) for tip in others]
        for sha, need in found.items():
            refs = [name for name in need.refs if name.startswith("refs/")]
            assert refs == [ref for ref in model.refs if sha in behind[ref]]
            assert len(need.refs) - len(refs) == sum(sha in needed for needed in nameless)
        some = sorted(found)[::3]
        assert usage.find(repo, some) == {sha: found[sha] for sha in some}


@pytest.mark.parametrize("late", [0, 1])
def test_both_bounds_are_inclusive(late: int) -> None:
    """A ref of exactly the age counts, as does a commit of exactly the age; one second more, and they do not."""
    trees: list[Tree] = [{"a.bin": ("100644", content)} for content in LOBS[:4]]
    dates = [NOW - 20 * DAY, NOW - 8 * DAY - late, NOW - 5 * DAY, NOW - 5 * DAY - late]
    nodes = [Node((0,) if 0 < n < 2 else (1,) if n == 2 else (), dates[n], tree) for n, tree in enumerate(trees)]
    with made(Random(nodes, {"heads/main": 2, "heads/b": 3}, {}, "none", None, [], False)) as (repo, _, commits):
        scope = Recent(Window(5 * DAY, 0, 3 * DAY), NOW)
        found = {content for content in LOBS if content[9:].decode() in needed_by(repo, scope)}
        # the commit before the tip is its parent and counts in any case; what it replaced counts if it does itself
        assert found == ({LOBS[0], LOBS[1], LOBS[2], LOBS[3]} if not late else {LOBS[1], LOBS[2]})
        assert len(commits) == 4
