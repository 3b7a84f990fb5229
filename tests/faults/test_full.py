"""The disk is full: at each place in turn, with room for nothing, for a part, or for almost all of what is to be written.

A disk is a small tmpfs over a folder: of so many pages (4 KiB), or so many files, as are used already, and a few more. So
it becomes full at the first byte, in the middle of a chunk, before the meta, at a list, a note or a lock, as it comes.
Afterwards it is made larger, and the next plain run has to complete.
"""

import fcntl
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.kit import TORTURE, dice, ended, fault, intact, sound
from tests.support.handmade import check, chunk, put, sha_of, shas_in
from tests.support.places import Place, make_place
from tests.support.repositories import commit, repository
from tests.support.work import Work

PAGE = 4096
PLENTY = "size=64m,nr_inodes=100000"
MOST = 40
"""Pages or files that no run here needs."""
FILES = {"a.bin": random.Random(1).randbytes(5000), "deep/b.bin": random.Random(2).randbytes(40_000)}
EDITED = {"edited.bin": b"what the user wrote"}
OTHER = {"a.bin": random.Random(3).randbytes(30_000), "deep/new.bin": random.Random(4).randbytes(9000)}
ALL = [*FILES.values(), *OTHER.values(), b"as committed"]
ADDED = random.Random(5).randbytes((4 << 20) + PAGE)
"""More than the filter holds in memory."""
PLAIN = random.Random(6).randbytes(3 << 20)
"""What was committed past the filter."""
STALE = b"nobody needs it"
WAYS_OUT = ("make room there, and run it again", "gitlob-sync --checkout fetches it")


@dataclass
class Disk:
    """A file system of its own over a folder, which keeps what was in it. Use it in a `with` block."""

    at: Path

    def __enter__(self) -> "Disk":
        self.at.mkdir(parents=True, exist_ok=True)
        aside = self.at.with_name(f"{self.at.name}.aside")
        subprocess.run(["cp", "-a", self.at, aside], check=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", PLENTY, "tmpfs", self.at], capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(aside)
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        subprocess.run(["cp", "-a", f"{aside}/.", self.at], check=True)
        shutil.rmtree(aside)
        (self.at / ".filler").write_bytes(bytes(PAGE))  # a size of 0 would be no limit
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", self.at], check=True)

    def _remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", self.at], check=True)

    def leave(self, room: int, unit: str) -> None:
        """Be full, but for so many pages or files."""
        now = os.statvfs(self.at)
        if unit == "pages":
            self._remount(f"size={(now.f_blocks - now.f_bfree + room) * PAGE}")
        else:
            self._remount(f"nr_inodes={now.f_files - now.f_ffree + room}")

    def make_room(self) -> None:
        self._remount(PLENTY)


@dataclass
class World:
    """A repository with a remote store, and a remote of git, in which a run is to meet a full disk."""

    folder: Path
    place: Place
    work: Work
    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    """What the working tree is to hold, as placeholders or whole."""

    @property
    def own(self) -> Path:
        return self.folder / "work" / ".git" / "git-lob"

    @property
    def content(self) -> Path:
        return self.own / "content"

    @property
    def tmp(self) -> Path:
        return self.folder / "tmp"

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """To its end, also in the background."""
        done = self.work.run(*argv, code=None, env={"TMPDIR": str(self.tmp)})
        if "--background" in argv:
            with suppress(FileNotFoundError), (self.own / "background").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                done.stderr += (self.own / "log" / "background.log").read_text()
        return done

    def litter(self) -> list[Path]:
        """What no run may leave behind, not even one that found no room."""
        found = [
            *self.tmp.iterdir(),
            *self.work.path.rglob(".gitlob-*"),
            *(self.folder / "work" / ".git").rglob("index.lock"),
        ]
        found += [at for folder in ("running", "state") for at in (self.own / folder).rglob("*") if at.is_file()
                  and (at.name.startswith(".") or at.suffix[1:].isdigit() or folder == "running")]  # fmt: skip
        return [at for at in found if at.name != ".filler"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose working tree holds placeholders; and its remote."""
    return tmp_path_factory.mktemp("full")


def fill(template: Path) -> None:
    work = repository(template / "work", None, {**FILES, "edited.bin": b"as committed"}, have=False)
    work.git("branch", "other")
    commit(work, OTHER, "other")
    raw = b"commit refs/heads/plain\ncommitter C <c@example.org> 1 +0000\ndata 1\nx\nfrom refs/heads/other^0\n"
    raw += b"M 100644 inline Plain.bin\ndata %d\n%s\n" % (len(PLAIN), PLAIN)
    work.git("fast-import", "--quiet", input=raw)
    (work.path / ".git" / "info").mkdir(exist_ok=True)
    (work.path / ".git" / "info" / "attributes").write_text("*.bin filter=lob -text\n")
    work.git("-c", "git-lob.autofetch=false", "reset", "-q", "--hard")
    subprocess.run(["git", "init", "-q", "--bare", template / "git"], check=True)
    work.run("gitlob-setup", "-q", "--hooks")


@contextmanager
def world(template: Path, folder: Path, place: Place, linked: bool) -> Iterator[World]:
    """`linked`: work in a second working tree, which has an index of its own."""
    if not any(template.iterdir()):
        fill(template)
    shutil.copytree(template, folder, symlinks=True)
    try:
        work = Work(folder / "work")
        work.git("config", "remote.origin.url", str(folder / "git"))
        work.git("config", "remote.origin.git-lob-path", place.location)
        if linked:
            work.git("-c", "git-lob.autofetch=false", "worktree", "add", "-q", "--detach", str(folder / "linked"))
            work = Work(folder / "linked")
        for path, content in EDITED.items():
            work.write(path, content)
        made = World(folder, place, work)
        made.tmp.mkdir()
        made.content.mkdir(parents=True, exist_ok=True)
        yield made
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(place.folder, ignore_errors=True)


# What is done while a disk is full


@dataclass(frozen=True)
class Doing:
    """`before` puts there what it needs; `after` tells whether it is done."""

    argv: str
    before: Callable[[World], None]
    after: Callable[[World], bool]

    @property
    def codes(self) -> tuple[int, ...]:
        """git has codes of its own."""
        return (0, 1, 128) if self.argv.startswith("git ") else ()


def here(world: World) -> None:
    for content in ALL:
        put(world.content, content)


def there(world: World) -> None:
    for content in ALL:
        put(world.place.folder, content)


def added(world: World) -> None:
    world.work.write("added.bin", ADDED)
    world.files["added.bin"] = ADDED


def stale(world: World) -> None:
    here(world)
    put(world.content, STALE)


def damaged(world: World) -> None:
    here(world)
    there(world)
    at = chunk(world.content, FILES["deep/b.bin"])
    at.write_bytes(at.read_bytes()[::-1])


def holds(store: Path, *contents: bytes) -> bool:
    return check(store) >= {sha_of(content) for content in contents}


def holds_files(world: World, files: dict[str, bytes]) -> bool:
    """They are whole, and git takes them for unchanged."""
    whole = all(world.work.read(path) == content for path, content in files.items())
    return whole and not world.work.git("status", "--porcelain", "-uno", "--", *files)


DOINGS = {
    "push": Doing("gitlob-sync --push", here, lambda world: holds(world.place.folder, *ALL)),
    "git push": Doing("git push -q origin main other", here, lambda world: holds(world.place.folder, *ALL)),
    "pull": Doing("gitlob-sync --pull --window all", there, lambda world: holds_files(world, FILES)),
    "pull in the background": Doing("gitlob-sync --pull --window all --background", there, lambda world: holds(world.content, *ALL)),
    "pull for the index": Doing("gitlob-sync --checkout", there, lambda world: holds_files(world, FILES)),
    "fix-up": Doing("gitlob-sync --checkout --offline", here, lambda world: holds_files(world, FILES)),
    "git add": Doing("git add added.bin", added, lambda world: holds(world.content, ADDED)),
    "checkout": Doing("git checkout -q other", here, lambda world: checked_out(world, OTHER)),
    "checkout, downloading": Doing("git checkout -q other", there, lambda world: checked_out(world, OTHER)),
    "checkout of what is no placeholder": Doing("git checkout -q plain", here, lambda world: checked_out(world, OTHER) and world.work.read("Plain.bin") == PLAIN),
    "purge": Doing("gitlob-purge --unreferenced --grace 0", stale, lambda world: sha_of(STALE) not in shas_in(world.content)),
    "fsck": Doing("gitlob-fsck --repair", damaged, lambda world: holds(world.content, *ALL)),
    "status": Doing("gitlob-status", here, lambda world: True),
}  # fmt: skip


@dataclass(frozen=True)
class Spot:
    """Where the disk is full: under which folder, and what is done then. `spared` needs no room there, and is done at once."""

    what: str
    at: Callable[[World], Path]
    meet: tuple[str, ...]
    spared: tuple[str, ...] = ()
    kind: str = "path"
    linked: bool = False
    first: int = 0
    """Files for which there has to be room, so that it is met. (Python looks elsewhere when TMPDIR takes none at all.)"""


def own_store(world: World) -> Path:
    """The store and its staging folder on a disk of their own, by a link."""
    disk = world.folder / "disk"
    disk.mkdir()
    world.content.rename(disk / "content")
    world.content.symlink_to(disk / "content")
    return disk


BRINGS = ("pull", "pull in the background", "checkout, downloading", "git add")
SPOTS = (
    Spot("of the store and of what is staged for it", own_store, (*BRINGS, "fsck"), ("push", "checkout", "purge")),
    Spot("of all that is kept below .git/git-lob", lambda world: world.own, (*BRINGS, "push", "git push", "fsck"), ("purge", "status")),
    Spot("of .git", lambda world: world.own.parent, (*BRINGS, "push", "git push", "fix-up", "fsck", "checkout")),
    Spot("of the working tree", lambda world: world.work.path, ("pull", "fix-up", "git add")),
    Spot("of the index", lambda world: world.folder / "work/.git/worktrees/linked", ("pull", "pull for the index", "fix-up", "git add", "checkout"), ("push", "status"), linked=True),
    Spot("of the remote store, a path", lambda world: world.place.folder, ("push", "git push"), ("purge",)),
    Spot("of the remote store, over ssh", lambda world: world.place.folder, ("push",), kind="ssh"),
    Spot("of the remote store, at a daemon", lambda world: world.place.folder, ("push",), kind="daemon root"),
    Spot("of temporary files", lambda world: world.tmp, ("push", "pull", "checkout, downloading", "checkout of what is no placeholder", "purge", "status", "fsck"), first=1),
    Spot("of the log of what is in the background", lambda world: world.own / "log", ("pull in the background",), ("push",)),
    Spot("of what is noted of pushes and pulls", lambda world: world.own / "state", ("push", "git push"), ("pull", "status")),
    Spot("of the notes on who is at work", lambda world: world.own / "running", (), ("pull", "git add", "purge")),
)  # fmt: skip


def checked_out(world: World, files: dict[str, bytes]) -> bool:
    world.work.sync("--checkout", "-q")
    return holds_files(world, files)


def rooms(rng: random.Random, first: int, spared: bool) -> Iterator[tuple[str, int]]:
    """The least, and some; where there is time for it, every eighth size, from another one on each time."""
    if TORTURE:
        yield ("files", first)
        yield from ((unit, room) for unit in ("pages", "files") for room in range(first + rng.randrange(8), MOST, 8))
    else:
        yield from (("files", first), ("pages", 0 if spared else rng.randrange(1, 24)))


@pytest.mark.parametrize(
    "spot, name",
    [(spot, name) for spot in SPOTS for name in (*spot.meet, *spot.spared)],
    ids=lambda x: getattr(x, "what", x),
)
def test_the_disk_is_full(
    request: pytest.FixtureRequest, tmp_path: Path, template: Path, spot: Spot, name: str
) -> None:
    doing, spared = DOINGS[name], name in spot.spared
    place = make_place(spot.kind, request)
    met, done_in = 0, dict.fromkeys(("pages", "files"), 0)
    for unit, room in rooms(dice(f"{spot.what}: {name}"), spot.first, spared):
        if done_in[unit] > 1:
            continue  # more room changes nothing
        if met and not TORTURE and name != spot.meet[0]:
            break  # where time is short, one of the two will do, but for the first
        print(f"{name}, with room for {room} {unit}")
        with world(template, tmp_path / "try", place, spot.linked) as there, fault(f"no room on the disk {spot.what}"):
            doing.before(there)
            with Disk(spot.at(there)) as disk:
                there.work.git("status")
                disk.leave(room, unit)
                done = there.run(*doing.argv.split())
                said = done.stdout + done.stderr
                print(done.returncode, said)
                ended(done.returncode, said, *doing.codes)
                full = [line for line in said.splitlines() if "o space left" in line or "Out of diskspace" in line]
                assert full or not done.returncode, "it does not say why"
                if not done.stderr.startswith(("fatal: ", "error: ")):  # git has words of its own
                    names = (str(disk.at), str(there.own), place.location.rstrip("/"))
                    assert all(any(way in line for way in WAYS_OUT) for line in full)
                    assert all(any(name in line for name in names) for line in full)
                met += bool(full)
                done_in[unit] += not full
                if spared:
                    assert not full and (name == "checkout" or doing.after(there)), "it needs no room there"
                sound(place.folder, *([] if name == "fsck" else [there.content]))  # it may not have found it yet
                intact(there.work, there.files if "checkout" not in name else {}, EDITED)
                assert not there.litter()
                disk.make_room()
                # git may have written files, and not that it did
                again = there.run(*doing.argv.replace("checkout -q", "checkout -q -f").split())
                assert again.returncode == 0 and doing.after(there), again.stderr
                assert not there.litter() and not there.work.staging
    assert spared or met, "the disk was not full at all"


@pytest.mark.parametrize(
    "command",
    ["gitlob-sync -n --push --json", "gitlob-sync --list", "gitlob-status", "gitlob-fsck", "gitlob-purge -n -v"],
)
def test_an_answer_that_cannot_be_written(
    tmp_path: Path, template: Path, request: pytest.FixtureRequest, command: str
) -> None:
    """Its file is on a full disk: Linux has one of that kind at hand."""
    place = make_place("path", request)
    with world(template, tmp_path / "try", place, False) as there, Path("/dev/full").open("w") as full:
        here(there)
        with fault("no room on the disk of what a command prints"):
            done = subprocess.run(command.split(), cwd=there.work.path, stdout=full, stderr=subprocess.PIPE, text=True)
            ended(done.returncode, done.stderr, 0, 1)
            assert not done.returncode or "standard output: No space left on device (make room there" in done.stderr
            assert done.returncode or command == "gitlob-fsck", "it tells on stderr"
            both = subprocess.run(command.split(), cwd=there.work.path, stdout=full, stderr=full)
            assert both.returncode == 1
            sound(there.content)
            intact(there.work, there.files, EDITED)
            there.run(*command.split()).check_returncode()
