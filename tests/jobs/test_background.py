"""A sync in the background: detached, one at a time, visible, to be stopped; and the hooks that start one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.handmade import check, put, sha_of
from tests.support.processes import processes, wait_until
from tests.support.repositories import repository
from tests.support.work import Work, clone

LARGE = b""


@pytest.fixture(autouse=True, scope="module")
def large() -> Iterator[None]:
    """Held no longer than tests of this module run: what a process holds makes each of its forks slower."""
    global LARGE
    LARGE = os.urandom(1 << 20) * 24
    yield
    LARGE = b""


@pytest.fixture
def slow(tmp_path: Path, store: Path) -> Work:
    """A prefetch in its background takes some seconds."""
    put(store, LARGE)
    put(store, b"small")
    files = {"large.bin": LARGE, "small.bin": b"small"}
    work = repository(tmp_path / "work", store, files, have=False)
    (work.path / ".git" / "info").mkdir(exist_ok=True)
    (work.path / ".git" / "info" / "attributes").write_text("*.bin filter=lob -text\n")
    work.git("-c", "git-lob.autofetch=false", "reset", "-q", "--hard")
    return work


def start(work: Work, rate: str = "1m") -> None:
    done = work.sync("--pull", "--background", "--bwlimit", rate)
    assert (done.stdout, done.stderr) == ("", "")


def jobs(work: Work) -> list[dict]:
    return json.loads(work.run("gitlob-status", "--json").stdout)["running"]


def log_of(work: Work) -> str:
    return (work.content.parent / "log" / "background.log").read_text()


def test_it_goes_on_without_the_terminal_and_leaves_files_alone(tmp_path: Path, slow: Work) -> None:
    start(slow, "100m")
    wait_until(lambda: "pulled 2 of 2" in log_of(slow), "it is done and said so in its log")
    assert check(slow.content) == {sha_of(LARGE), sha_of(b"small")}
    assert slow.read("small.bin").startswith(b"git-lob: "), "nobody expects files to change by themselves"
    assert log_of(slow).splitlines()[0].partition(" gitlob-sync ")[2].startswith("--pull --background")
    wait_until(lambda: not jobs(slow) and not processes(tmp_path), "nothing of it is left")


def test_it_is_seen_detached_and_polite(tmp_path: Path, slow: Work) -> None:
    start(slow)
    wait_until(lambda: bool(jobs(slow)), "it is named")
    (job,) = jobs(slow)
    stat = Path(f"/proc/{job['pid']}/stat").read_text().rpartition(")")[2].split()
    assert int(stat[4]) == 0, "it has no terminal"
    assert int(stat[3]) != os.getsid(0) and int(stat[16]) >= min(os.nice(0) + 1, 19)
    assert "--background" in job["what"]
    assert f"pid {job['pid']}" in slow.run("gitlob-status").stdout
    slow.sync("--stop")


def test_one_at_a_time(slow: Work) -> None:
    start(slow)
    wait_until(lambda: bool(jobs(slow)), "it is named")
    (job,) = jobs(slow)
    done = slow.sync("--pull", "--background")
    assert f"pid {job['pid']}" in done.stderr and done.stderr.startswith(
        "gitlob-sync: another run is already in the background"
    )
    assert slow.sync("-q", "--pull", "--background").stderr == ""
    assert [other["pid"] for other in jobs(slow)] == [job["pid"]]
    slow.sync("--stop")


def test_stop_keeps_what_had_come(tmp_path: Path, slow: Work) -> None:
    start(slow)
    wait_until(lambda: bool([*slow.content.parent.glob("staging/*/.*_0.*")]), "it is at work")
    said = slow.sync("--stop").stderr
    assert said.startswith("stopped: gitlob-sync --pull --background")
    assert not processes(tmp_path) and not jobs(slow)
    assert "interrupted" in log_of(slow)
    assert slow.sync("--stop").stderr == "nothing is running in the background\n"
    assert slow.json("--pull")["transferred"] + len(check(slow.content)) >= 2
    assert slow.read("small.bin") == b"small"


def test_a_killed_one_holds_nobody_up(slow: Work) -> None:
    start(slow)
    wait_until(lambda: bool(jobs(slow)), "it is named")
    os.kill(jobs(slow)[0]["pid"], signal.SIGKILL)
    wait_until(lambda: not jobs(slow), "it is not named any more")
    start(slow, "100m")
    wait_until(lambda: "pulled" in log_of(slow), "the next one does its work")


def test_a_checkout_meanwhile_is_not_held_up(slow: Work) -> None:
    start(slow)
    wait_until(lambda: bool(jobs(slow)), "it is named")
    (slow.path / "small.bin").unlink()
    slow.git("checkout", "-q", "--", "small.bin")
    assert slow.read("small.bin") == b"small"
    assert jobs(slow), "the other is still at work"
    slow.sync("--stop")
    slow.sync("--pull")
    assert check(slow.content) == {sha_of(LARGE), sha_of(b"small")}


def test_whoever_reads_a_pipe_of_the_starter_does_not_wait(slow: Work) -> None:
    """git waits for the end of a pipe to its filter, and its hooks inherit that pipe."""
    reader, writer = os.pipe()
    argv = ["gitlob-sync", "--pull", "--background", "--bwlimit", "1m"]
    subprocess.run(argv, cwd=slow.path, check=True, pass_fds=[writer])
    os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)
    wait_until(lambda: bool(jobs(slow)), "the run is still at work")
    slow.sync("--stop")


def test_a_file_system_without_locks(slow: Work) -> None:
    """Nobody could see the run, or end it, or tell a second one that it is there."""
    script = "import fcntl, sys\ndef flock(*_): raise OSError(37, 'No locks available')\nfcntl.flock = flock\n"
    script += "from gitlob_rsync.commands.sync import main\nsys.exit(main())"
    argv = [sys.executable, "-c", script, "--pull"]
    done = subprocess.run([*argv, "--background"], cwd=slow.path, capture_output=True, text=True)
    assert done.returncode == 1 and "does not support locks" in done.stderr and done.stderr.count("\n") == 1
    subprocess.run(argv, cwd=slow.path, check=True)
    assert check(slow.content) == {sha_of(LARGE), sha_of(b"small")}


def test_the_log_is_put_aside_when_it_is_large(slow: Work) -> None:
    folder = slow.content.parent / "log"
    folder.mkdir(parents=True)
    (folder / "background.log").write_text("x" * (1 << 20) + "\n")
    (folder / "background.log.1").write_text("older")
    start(slow, "100m")
    wait_until(lambda: "pulled" in log_of(slow), "it is done")
    assert "xxx" not in log_of(slow) and (folder / "background.log.1").read_text().startswith("xxx")


@pytest.mark.parametrize(
    "args", [("--background", "--json"), ("--background", "-n"), ("--background", "--list"), ("--stop", "--pull")]
)
def test_what_does_not_go_together(slow: Work, args: tuple[str, ...]) -> None:
    assert slow.sync(*args, code=2).stderr.count("\n") == 1


def test_wrong_usage_is_told_at_once(slow: Work) -> None:
    assert "nowhere" in slow.sync("--pull", "--background", "nowhere", code=2).stderr


# The hooks


@pytest.fixture
def hooked(tmp_path: Path, slow: Work, store: Path) -> Work:
    """A clone with another branch whose binary is neither here nor in the working tree."""
    slow.git("checkout", "-q", "-b", "other")
    put(store, b"other")
    slow.write("other.bin", b"git-lob: " + sha_of(b"other").encode())
    slow.git("add", "-A")
    slow.git("commit", "-q", "-m", "other")
    slow.git("checkout", "-q", "main")
    work = clone(slow, tmp_path / "clone", "-b", "main", location=store)
    work.git("config", "git-lob.autofetch", "false")
    work.run("gitlob-setup", "-q", "--hooks")
    return work


@pytest.mark.parametrize("how", ["checkout", "merge"])
def test_a_checkout_and_a_merge_start_a_prefetch(hooked: Work, how: str) -> None:
    hooked.git("config", "git-lob.prefetch", "true")
    argv = ["checkout", "-q", "-b", "new"] if how == "checkout" else ["merge", "-q", "origin/other"]
    hooked.git(*argv)
    wait_until(lambda: (hooked.content.parent / "log").exists() and "pulled" in log_of(hooked), "it brings them")
    assert check(hooked.content) == {sha_of(LARGE), sha_of(b"small"), sha_of(b"other")}


@pytest.mark.parametrize("value", [None, "false"])
def test_only_where_it_is_wanted(hooked: Work, value: str | None) -> None:
    if value:
        hooked.git("config", "git-lob.prefetch", value)
    hooked.git("checkout", "-q", "-b", "new")
    hooked.git("merge", "-q", "origin/other")
    assert not (hooked.content.parent / "log").exists()


def test_a_checkout_of_files_starts_none(hooked: Work) -> None:
    hooked.git("config", "git-lob.prefetch", "true")
    hooked.git("checkout", "-q", "--", ".")
    assert not (hooked.content.parent / "log").exists()


def test_hooks_that_were_there_are_called_first_and_come_back(hooked: Work, tmp_path: Path) -> None:
    hooked.run("gitlob-setup", "-q", "--uninstall")
    hook = hooked.path / ".git" / "hooks" / "post-checkout"
    assert not hook.exists()
    hook.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/called\n')
    hook.chmod(0o755)
    before = hook.read_text()
    hooked.run("gitlob-setup", "-q", "--hooks")
    hooked.git("checkout", "-q", "-b", "new")
    assert (tmp_path / "called").read_text().endswith(" 1\n")
    hooked.run("gitlob-setup", "-q")
    hooked.run("gitlob-setup", "-q", "--uninstall")
    assert hook.read_text() == before


def test_a_broken_remote_does_not_fail_the_checkout(hooked: Work, tmp_path: Path) -> None:
    hooked.git("config", "git-lob.prefetch", "true")
    hooked.git("config", "remote.origin.git-lob-path", str(tmp_path / "nowhere"))
    done = subprocess.run(["git", "checkout", "-q", "-b", "new"], cwd=hooked.path, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    wait_until(lambda: (hooked.content.parent / "log").exists() and "does not exist" in log_of(hooked), "its log tells")
