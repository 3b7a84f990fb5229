"""A store that is spoilt at random, elsewhere and here."""

import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.faults.damage import RESPELT, Left, cut, flip, mend, remove, whole
from tests.faults.kit import TORTURE, dice, ended, fault, intact, times
from tests.faults.world import World, worlds
from tests.support.handmade import check, chunk, placeholder, put, sha_of, shas_in, tree
from tests.support.places import make_place


@pytest.fixture(autouse=True)
def tidy(tmp_path: Path) -> Iterator[None]:
    """pytest keeps what its last runs left, and that is large here."""
    yield
    shutil.rmtree(tmp_path, ignore_errors=True)


def named(done: "CompletedProcess[str]") -> set[str]:
    """The binaries that a command says it could not have."""
    return set(re.findall(r"^gitlob-sync: (?:missing|damaged) at [^\n]*?: ([0-9a-f]{40})", done.stderr, re.MULTILINE))


def pull(world: World, rng: random.Random) -> None:
    """What is whole arrives; what is not is named, and nothing else."""
    how = rng.choice([["--pull"], ["--pull", "--window", "all"], ["--pull", "--complete"], ["--checkout"], []])
    done = world.work.sync(*how, code=None)
    ended(done.returncode, done.stderr, 0, 3)
    lacking = world.shas - shas_in(world.work.content)
    lost, perhaps = world.left(Left.NOTHING, Left.LOOKS_WHOLE), world.left(Left.PERHAPS)
    if "--complete" in how:  # what has no meta there does not count then
        assert lost <= lacking <= world.harmed
        return
    assert lost <= lacking <= lost | perhaps
    # a push looks for metas alone, before the pull brings what lacks one
    assert named(done) == lacking or (not how and named(done) > lacking), done.stderr
    assert done.returncode == (3 if named(done) else 0)


def git_checkout(world: World, _: random.Random) -> None:
    for path in world.edited:
        world.work.write(path, placeholder(world.files[path]))
    world.edited.clear()
    done = world.work.run("git", "checkout", "-q", "-f", "main", "--", ".")
    lacking = world.shas - shas_in(world.work.content)
    lost, perhaps = world.left(Left.NOTHING, Left.LOOKS_WHOLE), world.left(Left.PERHAPS)
    assert lost <= lacking <= lost | perhaps
    for path, content in world.files.items():
        assert world.work.read(path) == (placeholder(content) if sha_of(content) in lacking else content), path
    assert (f"{len(lacking)} file" in done.stderr) == bool(lacking)
    assert done.stderr.count("\n") == bool(lacking)


def fsck(world: World, rng: random.Random) -> None:
    """What is spoilt here is mended from there, but for what is spoilt at both."""
    here = rng.sample([path for path, content in sorted(world.files.items()) if content], 3)
    here = sorted({*here, *rng.sample(sorted(world.spoilt), 1)})
    for path in here:
        rng.choice([flip, cut, remove])(chunk(world.work.content, world.files[path]), Path(), b"", rng)
    done = world.work.run("gitlob-fsck", "--repair", code=None)
    ended(done.returncode, done.stderr, 0, 3)
    lost, perhaps = world.left(Left.NOTHING, Left.LOOKS_WHOLE), world.left(Left.PERHAPS)
    wrong = {sha_of(world.files[path]) for path in here}
    lacking = world.shas - {sha for sha in shas_in(world.work.content) if sha not in wrong & lost}
    assert wrong & lost <= lacking <= wrong & (lost | perhaps)
    assert done.returncode == (3 if lacking else 0)
    for path in here:
        content = world.files[path]
        assert f": {sha_of(content)}: " in done.stderr, "each one is named"
        assert whole(world.work.content, content) == (sha_of(content) not in lacking)


def purge(world: World, _: random.Random) -> None:
    """Only older commits need them: those go that are proven to be there."""
    work = world.work
    old = work.git("rev-parse", "main").decode().strip()
    empty = work.git("mktree").decode().strip()
    new = work.git("commit-tree", empty, "-p", old, "-m", "x").decode().strip()
    work.git("read-tree", "--empty")
    work.fetches("origin")
    for ref in ("refs/heads/main", "refs/remotes/origin/main"):
        work.git("update-ref", ref, new)
    for key in WINDOWS:
        work.git("config", key, "0")
    done = work.run("gitlob-purge", "--grace", "0", code=None)
    ended(done.returncode, done.stderr, 0, 3)
    here = shas_in(work.content)
    assert (done.returncode == 3) == bool(here), "what is kept because the remote lacks it is told"
    assert world.left(Left.NOTHING) <= here <= world.harmed
    for key in WINDOWS:
        work.git("config", "--unset", key)
    work.git("update-ref", "refs/heads/main", old)
    work.git("read-tree", "main")


def push(world: World, _: random.Random) -> None:
    """What has a wrong size, or is none, is mended; what has the right size is not touched."""
    looked = {path: content for path, content in world.files.items() if sha_of(content) in world.left(Left.LOOKS_WHOLE)}
    before = {path: chunk(world.remote, content).read_bytes() for path, content in looked.items()}
    done = world.work.sync("--push", "--recheck", code=None)
    ended(done.returncode, done.stderr, 0, 1, 2)
    assert done.returncode == 0 or any("folder" in what for what, _ in world.spoilt.values()), done.stderr
    for path, content in world.files.items():
        if path not in world.spoilt or (done.returncode == 0 and sha_of(content) in world.left(Left.NOTHING)):
            assert whole(world.remote, content), path
    assert before == {path: chunk(world.remote, content).read_bytes() for path, content in looked.items()}


WINDOWS = [
    f"git-lob.{key}" for key in
    ("fetch-refs", "fetch-commits-head", "fetch-commits-other", "retention-period-refs", "retention-period-head", "retention-period-other")
]  # fmt: skip
READING = (pull, git_checkout)
ACTIONS = (pull, pull, git_checkout, fsck, purge, push)


def test_a_spoilt_store_elsewhere(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Whatever of it is sound comes, and nothing else does."""
    rng = dice("a spoilt store elsewhere")
    for folder, place in worlds(tmp_path, request, rng, times(3, 40)):
        action = rng.choice(ACTIONS)
        world = World.make(folder, place, rng, have=action not in READING)
        world.spoil(world.remote, rng)
        if rng.random() < 0.3:  # one that nobody needs is not what its name says
            put(world.remote, stray := rng.randbytes(30))
            flip(chunk(world.remote, stray), Path(), b"", rng)
        print(folder.name, place.location, action.__name__, world.told())
        with fault("a remote store spoilt at random: bytes, lengths, metas, links, folders"):
            action(world, rng)
            world.settled()
            world.completes()


COMMANDS = (
    "git add .", "git checkout -q -f main -- .", "gitlob-sync --pull", "gitlob-sync --pull --refetch", "gitlob-sync --push --recheck",
    "gitlob-sync --push --complete", "gitlob-sync --checkout --offline", "gitlob-sync", "gitlob-purge --grace 0", "gitlob-fsck --repair",
)  # fmt: skip


def test_a_spoilt_store_here(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Nothing wrong leaves it, for elsewhere or for the working tree; no link is written through; and it can be mended."""
    rng = dice("a spoilt store here")
    for folder, place in worlds(tmp_path, request, rng, times(3, 35)):
        world = World.make(folder, place, rng, have=True)
        content = world.work.content
        world.spoil(content, rng)
        command = rng.choice(COMMANDS).split()
        print(folder.name, place.location, command, world.told())
        if command[1:2] == ["checkout"]:
            world.edited.clear()
        if command[1:2] == ["add"]:
            for path, data in world.files.items():
                world.work.write(path, data)
            world.edited.clear()
        outside = tree(content.parent / "elsewhere content")
        with fault("a local store spoilt at random: bytes, lengths, metas, links, hard links, folders"):
            done = world.work.run(*command, code=None)
            if command[0] == "git":
                assert done.returncode in (0, 1, 128) and "Traceback" not in done.stderr
            else:
                ended(done.returncode, done.stderr)
            intact(world.work, world.files, world.edited)
            assert check(world.remote) == world.shas
            assert tree(content.parent / "elsewhere content") == outside
            for path, data in world.files.items():
                assert whole(content, data) or path in world.spoilt
            ended(*outcome(world.work.run("gitlob-fsck", "--repair", code=None)))
            for path, (what, _) in world.spoilt.items():
                if "folder" in what.removesuffix(": folder").removesuffix("link_to_folder"):
                    mend(content, world.files[path])  # a folder that is none is for its owner to move away
                assert whole(content, world.files[path]) or what == RESPELT, (path, what)
            world.completes()


def outcome(done: "CompletedProcess[str]") -> tuple[int, str]:
    return done.returncode, done.stderr


LINKS = [
    (leads, kind, action)
    for leads in ("in a circle", "out of the store")
    for kind, usual in (("path", (purge, git_checkout, pull, fsck, push)), ("ssh", ()), ("daemon root", (pull, push)))
    for action in (purge, git_checkout, pull, fsck, push)
    if TORTURE or action in usual
]


@pytest.mark.parametrize(("leads", "kind", "action"), LINKS)
def test_a_link_for_a_folder(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    leads: str,
    kind: str,
    action: Callable[[World, random.Random], None],
) -> None:
    """What should be behind it is not there, or is there for some ways alone; that is no reason to stop."""
    rng = dice("a link for a folder")
    world = World.make(tmp_path / "round", make_place(kind, request), rng, have=action not in READING)
    circle = leads == "in a circle"
    at = chunk(world.remote, world.files["0.bin"]).parent
    elsewhere = Path(at.name) if circle else (world.remote.parent / "elsewhere").absolute()
    if circle:
        shutil.rmtree(at)
    else:
        at.rename(elsewhere)
    at.symlink_to(elsewhere)
    world.spoilt["0.bin"] = ("chunk: link_folder", Left.NOTHING if circle else Left.PERHAPS)
    with fault("a remote store spoilt at random: bytes, lengths, metas, links, folders"):
        action(world, rng)
        if action is purge:
            assert shas_in(world.work.content) == {sha_of(world.files["0.bin"])} or not circle
        world.settled()
        world.completes()
