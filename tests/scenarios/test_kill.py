"""Killing gitlob-sync, or its rsync, in the middle of a transfer loses nothing and leaves nothing wrong."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.handmade import CHUNK, check, link_into, put, sha_of
from tests.support.places import Place, make_place
from tests.support.processes import client_of, processes, wait_until
from tests.support.repositories import repository

CONTENT = b""
"""200 MiB: seven chunks, the last one shorter; every MiB alike, so that the tests start quickly."""
SHA = "5a031e8cbd87ef3721420a3aab8884665ea9d9a6"
RATE = "120m"
"""Slow enough to kill it on the way, quick enough to wait for."""
NO_FSYNC = "[git-lob]\n\tfsync = false\n\tretries = 0\n"
"""The machine does not crash here, and the disk is not what is waited for."""


@pytest.fixture(autouse=True, scope="module")
def content() -> Iterator[None]:
    """Held no longer than tests of this module run: what a process holds makes each of its forks slower."""
    global CONTENT
    CONTENT = random.Random(1).randbytes(1 << 20) * 200
    assert sha_of(CONTENT) == SHA
    yield
    CONTENT = b""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store with the content; tests take hard links to it."""
    folder = tmp_path_factory.mktemp("original")
    put(folder, CONTENT)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def tidy(tmp_path: Path) -> Iterator[None]:
    """pytest keeps what its last runs left, and that is large here."""
    yield
    shutil.rmtree(tmp_path, ignore_errors=True)


def arrived(folder: Path) -> set[str]:
    """The names of the chunks that are whole, in a store or in a staging folder."""
    whole = set()
    for at in folder.rglob(f"{SHA}_[0-9]"):
        if at.parent.name != "partial" and not at.parent.name.startswith(".rsync-partial"):
            whole.add(at.name)
    return whole


def bytes_of(names: set[str]) -> int:
    return sum(min(CHUNK, len(CONTENT) - CHUNK * int(name.rpartition("_")[2])) for name in names)


class Transfer:
    """A push or a pull of the content, on its way."""

    def __init__(self, tmp_path: Path, place: Place, original: Path, direction: str) -> None:
        self.tmp_path, self.place, self.direction = tmp_path, place, direction
        self.work = repository(tmp_path / "work", place.location, {"large.bin": CONTENT}, have=False, config=NO_FSYNC)
        link_into(self.work.content if direction == "--push" else place.folder, original)
        self.lands = place.folder if direction == "--push" else self.work.content.parent / "staging"
        self.target = place.folder if direction == "--push" else self.work.content

    def start(self) -> "subprocess.Popen[str]":
        argv = ["gitlob-sync", "-q", self.direction, "--bwlimit", RATE]
        return subprocess.Popen(argv, cwd=self.work.path, stderr=subprocess.PIPE, encoding="utf-8")

    def start_and_wait(self, chunks: int = 3) -> "subprocess.Popen[str]":
        """Started, and past its first chunks."""
        process = self.start()
        wait_until(lambda: len(arrived(self.lands)) >= chunks, f"{chunks} chunks arrive", process=process)
        assert process.poll() is None, "it was too quick for this test"
        return process

    def settle(self) -> set[str]:
        """Wait for whatever still runs; nothing truncated stands under a final name then. Returns what had arrived."""
        wait_until(lambda: not processes(self.tmp_path), "everything that was started ends")
        assert check(self.target, whole=False) <= {SHA}, "all may have come before the kill"
        for name in arrived(self.target):
            at = self.target / SHA[:3] / SHA[3:6] / name
            assert at.stat().st_size == bytes_of({name}), f"{name} is cut off"
        return arrived(self.lands) | arrived(self.target)

    def finish(self, had: set[str]) -> None:
        """The next run sends what is left, and no more."""
        said = self.work.json(self.direction)
        assert said["bytes"] <= len(CONTENT) - bytes_of(had), f"{sorted(had)} had arrived, and were sent again"
        assert check(self.target) == {SHA}
        assert not self.work.staging
        assert not list(self.place.folder.rglob(".rsync-partial*")), "nothing of ours is left at the remote"


@pytest.mark.parametrize(
    ("kind", "direction"),
    [("path", "--push"), ("path", "--pull"), ("ssh", "--pull"), ("daemon root", "--push")],
)
def test_gitlob_sync_is_killed(
    tmp_path: Path, request: pytest.FixtureRequest, original: Path, kind: str, direction: str
) -> None:
    transfer = Transfer(tmp_path, make_place(kind, request), original, direction)
    process = transfer.start_and_wait()
    process.kill()
    process.wait()
    transfer.finish(transfer.settle())


@pytest.mark.parametrize(
    ("kind", "direction"),
    [("path", "--push"), ("path", "--pull"), ("ssh", "--push"), ("daemon root", "--pull")],
)
def test_its_rsync_is_killed(
    tmp_path: Path, request: pytest.FixtureRequest, original: Path, kind: str, direction: str
) -> None:
    transfer = Transfer(tmp_path, make_place(kind, request), original, direction)
    process = transfer.start_and_wait()
    os.kill(client_of(process.pid, tmp_path), signal.SIGKILL)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 4
    assert said.startswith("gitlob-sync: ") and said.count("\n") == 1
    transfer.finish(transfer.settle())


@pytest.mark.parametrize("direction", ["--push", "--pull"])
def test_the_next_run_does_not_wait_for_what_was_killed(
    tmp_path: Path, request: pytest.FixtureRequest, original: Path, direction: str
) -> None:
    """The orphaned rsync is still at work when the next run begins."""
    transfer = Transfer(tmp_path, make_place("path", request), original, direction)
    process = transfer.start_and_wait()
    process.kill()
    process.wait()
    assert processes(tmp_path)
    transfer.work.sync(direction)
    wait_until(lambda: not processes(tmp_path), "everything that was started ends")
    assert check(transfer.place.folder) == check(transfer.work.content) == {SHA}


@pytest.mark.parametrize(
    ("number", "code", "kind", "direction"),
    [
        (signal.SIGTERM, 143, "ssh", "--pull"),
        (signal.SIGINT, 130, "path", "--push"),
        (signal.SIGHUP, 129, "daemon root", "--pull"),
    ],
)
def test_a_signal_ends_it_in_order(
    tmp_path: Path, request: pytest.FixtureRequest, original: Path, number: int, code: int, kind: str, direction: str
) -> None:
    transfer = Transfer(tmp_path, make_place(kind, request), original, direction)
    process = transfer.start_and_wait(chunks=1)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == code
    assert said == "gitlob-sync: interrupted (run it again: it goes on where it stopped)\n"
    wait_until(lambda: not processes(tmp_path), "everything that was started ends")
    assert not list(Path(os.environ["TMPDIR"]).glob("gitlob-*")), "nothing is left in TMPDIR"
    had = transfer.settle()
    assert had, "what had come stays"


def test_the_part_of_a_chunk_that_came_is_used(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A stop in order keeps the begun chunk; the next run sends its rest (over a line, not from disk to disk)."""
    content = random.Random(2).randbytes(CHUNK)
    place = make_place("ssh", request)
    put(place.folder, content)
    work = repository(tmp_path / "work", place.location, {"a.bin": content}, have=False)
    process = subprocess.Popen(["gitlob-sync", "--pull", "--bwlimit", "16m"], cwd=work.path, stderr=subprocess.DEVNULL)
    staging = work.content.parent / "staging"

    def came() -> int:
        return sum(at.stat().st_size for at in staging.rglob(".*") if at.is_file())

    wait_until(lambda: came() > CHUNK // 4, "a quarter of the chunk comes")
    process.terminate()
    assert process.wait() == 143
    (part,) = staging.rglob(f"partial/{sha_of(content)}_0")
    assert part.stat().st_size >= CHUNK // 4
    sent = tmp_path / "sent"
    (tmp_path / "shim").mkdir()
    shim = tmp_path / "shim" / "rsync"
    shim.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] || set -- --log-file={sent} "--log-file-format=%n %b" "$@"\nexec /usr/bin/rsync "$@"\n'
    )
    shim.chmod(0o755)
    work.sync("--pull", env={"PATH": f"{shim.parent}:{os.environ['PATH']}"})
    assert check(work.content) == {sha_of(content)}
    (line,) = [line for line in sent.read_text().splitlines() if f"{sha_of(content)}_0 " in line]
    assert int(line.split()[-1]) < CHUNK - CHUNK // 5, "bytes that went over the line"


def test_killed_again_and_again(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """At any moment, also before and after the transfer: every run leaves a store in which all is right."""
    contents = {f"{number}.bin": random.Random(number).randbytes(2 << 20) for number in range(6)}
    place = make_place("path", request)
    work = repository(tmp_path / "work", place.location, contents)
    other = repository(tmp_path / "other", place.location, contents, have=False)
    rng = random.Random(3)
    for turn in range(10):
        repo, direction = (work, "--push") if turn % 2 else (other, "--pull")
        process = subprocess.Popen(
            ["gitlob-sync", direction, "--bwlimit", "40m"], cwd=repo.path, stderr=subprocess.DEVNULL
        )
        time.sleep(rng.uniform(0.15, 0.6))
        process.kill()
        process.wait()
        check(place.folder, whole=False)
        check(other.content)
    work.sync("--push")
    wait_until(lambda: not processes(tmp_path), "everything that was started ends")
    other.sync("--pull")
    assert check(place.folder) == check(other.content) == {sha_of(content) for content in contents.values()}
    assert not other.staging and not work.staging
