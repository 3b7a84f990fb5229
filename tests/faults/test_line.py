"""What breaks on the way: the line to the other machine, the permission to write, the clock."""

import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.damage import cut, whole
from tests.faults.killing import SECONDS, Events
from tests.faults.kit import dice, ended, fault, intact, sound, times
from tests.faults.line import line
from tests.faults.world import World, worlds
from tests.support.handmade import check, chunk, placeholder, shas_in
from tests.support.places import Place
from tests.support.servers import Daemon, Sshd
from tests.support.work import DAY, Work

READING = (
    "gitlob-sync --pull",
    "gitlob-sync --pull --complete",
    "gitlob-sync --checkout",
    "git checkout -q -f main -- .",
)
WRITING = ("gitlob-sync --push", "gitlob-sync --push --complete", "gitlob-purge --remote-store --grace 2d")
BOTH = ("gitlob-sync", "gitlob-fsck --repair")
COMMANDS = (*READING, *WRITING, *BOTH)


@pytest.fixture(autouse=True)
def tidy(tmp_path: Path) -> Iterator[None]:
    """pytest keeps what its last runs left, and that is large here."""
    yield
    shutil.rmtree(tmp_path, ignore_errors=True)


def prepare(world: World, command: str, rng: random.Random) -> None:
    """What a command needs, to have something to do."""
    if command in WRITING:
        world.work.sync("--push")  # a list of what is needed
        shutil.rmtree(world.remote / "gitlob" / "trash", ignore_errors=True)
    if "--push" in command:
        for at in world.remote.glob("???"):
            shutil.rmtree(at)
        shutil.rmtree(world.work.content.parent / "state")
    if "fsck" in command:
        for content in world.files.values():
            if content:
                cut(chunk(world.work.content, content), Path(), b"", rng)


def run(world: World, command: str) -> None:
    """The command ends as documented, and spoils nothing."""
    if command.startswith("git "):
        world.edited.clear()
        done = world.work.run(*command.split(), code=None)
        assert done.returncode in (0, 1, 128), done.stderr
    else:
        done = world.work.run(*command.split(), code=None)
        ended(done.returncode, done.stderr, 0, 1, 2, 3, 4)
    print(command, "->", done.returncode, done.stderr.strip())


def then(world: World, command: str) -> None:
    """Nothing is lost, and with all as it should be the next plain run completes."""
    if "fsck" in command:  # this began with a store that was spoilt
        world.work.run("gitlob-fsck", "--repair")
    sound(world.work.content, world.remote)
    intact(world.work, world.files, world.edited)
    world.completes()
    assert check(world.remote) >= world.shas
    assert not world.work.staging


def through(kind: str, port: int, place: Place, sshd: Sshd, at: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The same place, by another port."""
    if kind == "daemon":
        return Place(f"rsync://127.0.0.1:{port}/store/", place.folder)
    config = (sshd.folder / "config").read_text()
    at.write_text(f"{config}Host line\n  HostName 127.0.0.1\n  Port {port}\n  HostKeyAlias [127.0.0.1]:{sshd.port}\n")
    monkeypatch.setenv("GIT_SSH_COMMAND", f"ssh -F {at}")
    return Place(f"root@line:{place.folder}", place.folder)


def test_a_line_that_breaks(tmp_path: Path, sshd: Sshd, rsyncd: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = dice("a line that breaks")
    for number in range(times(2, 25)):
        kind, command = ("ssh", "daemon")[number % 2], rng.choice(COMMANDS)
        closes, room = rng.random() < 0.5, int(10 ** rng.uniform(0.5, 6.5))
        folder = tmp_path / f"round{number}"
        place = Place("", rsyncd.folder if kind == "daemon" else tmp_path / "remote")
        with line(rsyncd.port if kind == "daemon" else sshd.port, closes=closes) as broken:
            place = through(kind, broken.port, place, sshd, tmp_path / "ssh_config", monkeypatch)
            world = World.make(folder, place, rng, have=command not in READING)
            prepare(world, command, rng)
            world.work.git("config", "git-lob.timeout", "2")
            world.work.git("config", "git-lob.retries", str(rng.choice([0, 0, 1])))
            broken.limits = [room]
            print(folder.name, place.location, "closes" if closes else "silent", room)
            with fault("a line that closes" if closes else "a line that falls silent"):
                run(world, command)
                broken.limits = []
                then(world, command)
        shutil.rmtree(folder)
        shutil.rmtree(place.folder / folder.name)


def without_permission(argv: list[str]) -> list[str]:
    """What root may do whatever the mode, this may not."""
    if os.geteuid() != 0:
        return argv
    none = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={none}", f"--inh-caps={none}", *argv]


def forbid(root: Path) -> dict[Path, int]:
    """Let nobody write into a folder, and what is below it; returns the modes that were."""
    before = {}
    for folder in [root, *(at for at in root.rglob("*") if at.is_dir() and not at.is_symlink())]:
        before[folder] = folder.stat().st_mode & 0o7777
        folder.chmod(0o555)
    return before


LOSING = (*COMMANDS, "git add .", "gitlob-purge --grace 0")


def test_permission_is_lost_midway(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    rng = dice("permission is lost midway")
    for number in range(times(2, 35)):
        folder, command = tmp_path / f"round{number}", rng.choice(LOSING)
        place = Place(str(tmp_path / "remote"), tmp_path / "remote")
        world = World.make(folder, place, rng, have=command not in READING)
        prepare(world, command, rng)
        if command == "git add .":
            for path, content in world.files.items():
                world.work.write(path, content)
            world.edited.clear()
        edited = dict(world.edited)
        if command.startswith("git checkout"):
            world.edited.clear()
        git = world.work.content.parent
        victim = rng.choice([git, git, world.work.path / "deep", world.remote])
        moment = rng.randrange(60)
        print(folder.name, command, victim, moment)
        with fault("permission to write that is lost midway"):
            code, said = forbidden(world.work, command.split(), victim, moment)
            print("->", code, said.strip())
            if command.startswith("git "):
                # git says 255 of a file that it may not replace
                assert code in (0, 1, 128, 255) and "Traceback" not in said, said
                failed = r"^error: unable to (?:create file (.*)|unlink old '(.*)'): Permission denied$"
                for path in map("".join, re.findall(failed, said, re.MULTILINE)):
                    # git itself removes a file before it makes it anew; what it may not remove stays as the user made it
                    if not os.path.lexists(world.work.path / path) or world.work.read(path) == edited.get(path):
                        world.work.write(path, placeholder(world.files[path]))
            else:
                ended(code, said, 0, 1, 2, 3, 4)
            then(world, command)
        shutil.rmtree(folder)
        shutil.rmtree(world.remote)


def forbidden(work: Work, argv: list[str], victim: Path, moment: int) -> tuple[int, str]:
    """Run a command, and after so many events below a folder forbid to write there, until it ends."""
    victim.mkdir(parents=True, exist_ok=True)
    modes: dict[Path, int] = {}
    with Events([work.path, victim]) as events:
        process = subprocess.Popen(
            without_permission(argv), cwd=work.path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, encoding="utf-8", errors="replace",
        )  # fmt: skip
        end = time.monotonic() + SECONDS
        while process.poll() is None and time.monotonic() < end:
            events.look()
            if not modes and events.count >= moment:
                modes = forbid(victim)
    try:
        _, said = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        for folder, mode in modes.items():
            if folder.exists():
                folder.chmod(mode)
    return process.returncode, said


def test_a_clock_that_jumps(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Times of files that were written before it was set back, or ahead, by a second or by years."""
    rng = dice("a clock that jumps")
    for number, (folder, place) in enumerate(worlds(tmp_path, request, rng, times(3, 25))):
        command = rng.choice([*COMMANDS, "gitlob-purge --grace 1d", "gitlob-purge --grace 0", "gitlob-status"])
        world = World.make(folder, place, rng, have=command not in READING)
        prepare(world, command, rng)
        for root in (world.work.path, world.remote):
            for at in root.rglob("*"):
                if rng.random() < 0.7 and not at.is_symlink():
                    moment = time.time() + rng.choice([-1, 1]) * rng.choice([1, 3600, 2 * DAY, 9000 * DAY])
                    os.utime(at, (moment, moment))
        date = f"{int(time.time() + rng.choice([-1, 1]) * 400 * DAY)} +0000"
        print(number, command, date)
        with fault("a clock set back or ahead"):
            world.work.git("-c", "user.name=x", "commit", "-q", "--allow-empty", "-m", "x", date=int(date.split()[0]))
            run(world, command)
            if command.startswith("gitlob-purge") and "--remote-store" not in command:
                assert shas_in(world.work.content) >= world.shas, "HEAD needs them"
            assert all(whole(world.remote, content) for content in world.files.values()) or "--push" in command
            then(world, command)
