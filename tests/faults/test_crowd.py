"""Many at once on one store: pulls, pushes, purges and git add, by several clones and linked worktrees."""

import random
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.kit import TORTURE, dice, ended, fault, intact, sound, times
from tests.support.handmade import check, chunk, placeholder, put, sha_of, shas_in
from tests.support.places import Place, make_place
from tests.support.purging_remote import age, strew
from tests.support.work import DAY, Work, clone, init

NAMES = ("a", "b", "c", "d")
SIZES = (1, 49, 3000, 70_000, 300_000, 2 << 20)
OLD = {f"old{n}.bin": random.Random(n).randbytes(size) for n, size in enumerate((10, 5000, 200_000))}
"""In commits that are older than any window."""
FILES = {f"deep/{n}.bin": random.Random(10 + n).randbytes(size) for n, size in enumerate(SIZES)}
OWN = {name: random.Random(name).randbytes(50_000) for name in NAMES}
"""In a commit that each clone has for itself, and pushes."""
AGAIN = {name: f"needed again by {name}".encode() for name in NAMES}
"""The same, of binaries that lie at the remote since long, and that nobody else needs."""
ADDED = {name: random.Random(f"added {name}").randbytes(40_000) for name in NAMES}
STRAYS = (b"nobody needs it", random.Random(99).randbytes(30_000))
SECONDS = 120
"""What may take this long hangs."""

PULLS = (["--pull"], ["--pull", "--window", "all"], ["--pull", "--complete"], ["--checkout"], ["--pull", "--refetch"])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("crowd")


def build(folder: Path) -> None:
    """`git`, a bare repository; `store`, its remote store; and a clone of each name, with a commit that is not pushed."""
    store = folder / "store"
    first = init(folder / "first", location=store)
    long_ago = int(time.time()) - 400 * DAY
    for path, content in OLD.items():
        first.write(path, content)
    first.commit("old", date=long_ago)
    first.git("rm", "-q", *OLD)
    for path, content in FILES.items():
        first.write(path, content)
    first.commit("new")
    first.sync("--push")
    subprocess.run(["git", "clone", "-q", "--bare", first.path, folder / "git"], check=True)
    for name in NAMES:
        work = clone(Work(folder / "git"), folder / name, "-c", "git-lob.autofetch=false", location=store)
        work.git("config", "git-lob.fsync", "false")
        work.git("checkout", "-q", "-b", name)
        work.sync("--push")
        work.git("config", "--unset", "git-lob.autofetch")
        work.run("gitlob-setup", "-q", "--hooks")
        work.write("again.bin", AGAIN[name])
        work.write("own.bin", OWN[name])
        work.commit("own")


@dataclass
class Crowd:
    """A copy of what was built, and who is at work in it."""

    folder: Path
    remote: Path
    shared: Path | None
    works: dict[str, Work]
    running: list[tuple[list[str], str, "subprocess.Popen[str]"]]

    @classmethod
    def make(cls, template: Path, folder: Path, place: Place, rng: random.Random) -> "Crowd":
        shutil.copytree(template, folder, symlinks=True)
        remote = place.folder / folder.name
        remote.parent.mkdir(parents=True, exist_ok=True)
        (folder / "store").rename(remote)
        for content in AGAIN.values():
            strew(remote, content, 20)
        for content in STRAYS:
            strew(remote, content, 20)
        works = {name: Work(folder / name) for name in NAMES}
        shared = folder / "shared" if rng.random() < 0.5 else None
        for name, work in works.items():
            for key, value in (
                ("remote.origin.url", str(folder / "git")),
                ("remote.origin.git-lob-path", f"{place.location.rstrip('/')}/{folder.name}"),
                *([("git-lob.sharedstore", str(shared))] if shared else []),
            ):
                work.git("config", key, value)
            here = [*rng.sample(sorted(FILES.values()), 2), *(OLD.values() if name in "cd" else ())]
            for content in here:
                put(work.content, content)
                age(work.content, content, 20)
        if shared:
            shared.mkdir()
        works["a"].git("-c", "git-lob.autofetch=false", "worktree", "add", "-q", "-b", "linked", str(folder / "linked"))
        works["linked"] = Work(folder / "linked")
        return cls(folder, remote, shared, works, [])

    def start(self, name: str, *argv: str) -> None:
        process = subprocess.Popen(
            argv, cwd=self.works[name].path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
        self.running.append((list(argv), name, process))

    def all_end(self) -> list[tuple[list[str], str, int]]:
        """Wait for all; returns what each was, where it was, and its exit code."""
        outcomes = []
        for argv, name, process in self.running:
            _, said = process.communicate(timeout=SECONDS)
            outcomes.append((argv, name, process.returncode))
            print(name, *argv, "->", process.returncode, said.strip())
            if argv[0] == "git":
                # git's own turns: who finds another's index.lock, gives up
                assert process.returncode == 0 or "index.lock" in said, said
            else:
                ended(process.returncode, said, 0, 3, 5)
                assert process.returncode != 5 or ("in use" in said and argv[argv.index("--lock-wait") + 1] == "0"), (
                    said
                )
        return outcomes

    @property
    def stores(self) -> list[Path]:
        return [self.remote, *({work.content for work in self.works.values()}), *([self.shared] if self.shared else [])]


def jobs(rng: random.Random) -> list[tuple[str, list[str]]]:
    """8 pulls, 4 pushes, 2 purges and some git add, in a random order: where, and what."""

    def ours(*argv: str) -> list[str]:
        return [*argv, "--lock-wait", rng.choice(["0", "60", "60"])]

    pulls = [(rng.choice([*NAMES, "linked"]), ours("gitlob-sync", *rng.choice(PULLS))) for _ in range(6)]
    pulls += [(name, ["git", "checkout", "-q", "-f", "HEAD", "--", "."]) for name in ("linked", "b")]
    pushes = [
        (name, ["git", "push", "-q", "origin", name] if rng.random() < 0.5 else ours("gitlob-sync", "--push"))
        for name in NAMES
    ]
    purges = [
        ("c", ours("gitlob-purge", "--grace", "0")),
        ("d", ours("gitlob-purge", "--remote-store", "--grace", "2d")),
    ]
    adds = [(name, ["git", "add", "added.bin"]) for name in ("a", "c", "d")]
    found = [*pulls, *pushes, *purges, *adds]
    rng.shuffle(found)
    return found


@pytest.mark.parametrize("kind", ["path", "ssh"] if TORTURE else ["path"])
def test_a_crowd_at_one_store(tmp_path: Path, template: Path, request: pytest.FixtureRequest, kind: str) -> None:
    rng = dice(f"a crowd at one store, {kind}")
    if not (template / "git").exists():
        build(template)
    place = make_place(kind, request)
    for number in range(times(1, 5)):
        with fault("8 pulls, 4 pushes, 2 purges and git add, at once at one store"):
            crowd = Crowd.make(template, tmp_path / f"{kind}{number}", place, rng)
            for name in ("a", "c", "d"):
                crowd.works[name].write("added.bin", ADDED[name])
            for name, argv in jobs(rng):
                crowd.start(name, *argv)
                time.sleep(rng.choice([0, 0, 0.02, 0.2]))
            outcomes = crowd.all_end()
            after(crowd, outcomes)
            then(crowd)
        shutil.rmtree(crowd.folder)
        shutil.rmtree(crowd.remote)


def after(crowd: Crowd, outcomes: list[tuple[list[str], str, int]]) -> None:
    """Nothing that anybody needs is lost."""
    sound(*crowd.stores)
    there = check(crowd.remote)
    assert there >= {sha_of(content) for content in (*FILES.values(), *OLD.values())}
    for argv, name, code in outcomes:
        if "push" in " ".join(argv) and code == 0:
            assert there >= {sha_of(OWN[name]), sha_of(AGAIN[name])}, f"{name} pushed"
    for name, work in crowd.works.items():
        content = shas_in(work.content)
        owner = "a" if name == "linked" else name
        assert {sha_of(OWN[owner]), sha_of(AGAIN[owner])} <= content, (
            "these are of unpushed commits, or of a recent one"
        )
        intact(work, {**FILES, "own.bin": OWN[owner], "again.bin": AGAIN[owner]})
    for argv, name, code in outcomes:
        if argv[:2] == ["git", "add"] and code == 0:
            work = crowd.works[name]
            assert work.git("cat-file", "blob", ":added.bin") == placeholder(ADDED[name])
            assert chunk(work.content, ADDED[name]).read_bytes() == ADDED[name] == work.read("added.bin")


def then(crowd: Crowd) -> None:
    """The next plain runs complete."""
    for name in ("a", "b", "c", "d", "linked"):
        crowd.works[name].sync()
    crowd.works["d"].run("gitlob-purge", "--remote-store", "--grace", "2d")
    needed = (*FILES.values(), *OLD.values(), *AGAIN.values(), *OWN.values())
    assert check(crowd.remote) >= set(map(sha_of, needed))
    assert not check(crowd.remote) & set(map(sha_of, STRAYS))
    for name, work in crowd.works.items():
        owner = "a" if name == "linked" else name
        for path, content in {**FILES, "own.bin": OWN[owner], "again.bin": AGAIN[owner]}.items():
            assert work.read(path) == content, (name, path)
        assert not work.staging
    assert not [at for at in crowd.remote.rglob(".*") if re.search(r"\.\w{6}$", at.name)], (
        "rsync left something half-written"
    )
    sound(*crowd.stores)
