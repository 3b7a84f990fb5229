"""Random histories, for hypothesis: a repository of a few commits, refs and stashes."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random as Dice

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from gitlob_rsync.age import ALL
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.selection.scopes import Window
from tests.support.handmade import placeholder
from tests.support.model import Model
from tests.support.work import DAY

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
        head=dice.choice(["main", "b", dice.randrange(size)]),  # type: ignore[arg-type]
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
        for tagged in (f"{tag}-inner", tag) if nested else (tag,):
            mark += 1
            yield b"tag %s\nmark :%d\nfrom :%d\n" % (tagged.encode(), mark, source)
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


ages = st.sampled_from([3 * DAY, DAY, 6 * DAY, 3 * DAY + 1, ALL, 0])

windows = st.builds(Window, st.one_of(st.just(ALL), ages), ages, ages)
