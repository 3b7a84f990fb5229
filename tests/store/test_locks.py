"""Users of a store do not wait for one another; who takes away waits for them, and is named."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gitlob_rsync import location
from gitlob_rsync.state import files
from gitlob_rsync.store import locks
from gitlob_rsync.store.store import Store
from tests.support.gitclient import GitClient, content, lines
from tests.support.handmade import check, drop, sha_of
from tests.support.work import Work

HOLD = """
import sys, time
from gitlob_rsync.store import locks
from gitlob_rsync.store.store import Store
with getattr(locks, sys.argv[1])(Store(sys.argv[2] + "/content"), "a test's job"):
    print("held", flush=True)
    time.sleep(60)
"""


def store_in(folder: Path) -> Store:
    return Store(str(folder / "content"))


def hold(how: str, folder: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, how, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "git-lob"


def test_users_do_not_wait_for_one_another(folder: Path) -> None:
    with locks.using(store_in(folder), "one", 0), locks.using(store_in(folder), "two", 0):
        assert [job.what for job in locks.running(str(folder))] == ["one", "two"]
    assert locks.running(str(folder)) == [] and not list((folder / "running").iterdir())


@pytest.mark.parametrize(("holder", "waiter"), [("using", "alone"), ("alone", "using"), ("alone", "alone")])
def test_who_has_to_wait_is_told_for_whom(folder: Path, holder: str, waiter: str) -> None:
    process = hold(holder, folder)
    with pytest.raises(locks.Busy) as busy, getattr(locks, waiter)(store_in(folder), "waiter", 0.1):
        raise AssertionError("it got in")
    assert f"a test's job (pid {process.pid} on " in busy.value.line() and "--lock-wait" in busy.value.line()
    assert busy.value.exit_code == 5
    process.kill()
    process.wait()


@pytest.mark.smoke
@pytest.mark.parametrize(("holder", "waiter"), [("using", "alone"), ("alone", "using")])
def test_a_dead_holders_lock_is_void_at_once(folder: Path, holder: str, waiter: str) -> None:
    process = hold(holder, folder)
    assert len(list((folder / "running").iterdir())) == 1
    process.kill()
    process.wait()
    with getattr(locks, waiter)(store_in(folder), "next", 0):
        assert [job.what for job in locks.running(str(folder))] == ["next"]


def test_who_waits_gets_in_when_the_other_is_done(folder: Path) -> None:
    process = hold("using", folder)
    started = time.monotonic()
    subprocess.Popen(["sh", "-c", f"sleep 0.5; kill {process.pid}"])
    with locks.alone(store_in(folder), "waiter", 30) as known:
        assert known and time.monotonic() - started >= 0.4
    process.wait()


def test_where_nothing_can_be_written_users_go_on(folder: Path) -> None:
    folder.write_text("a file in its place")
    with locks.using(store_in(folder), "one", 0):
        pass


@pytest.mark.parametrize("junk", ["", "[]", "{}", '{"what": 1, "pid": "x", "host": 0, "since": null}', "[" * 5000])
def test_notes_that_say_nothing_are_passed_over(folder: Path, junk: str) -> None:
    process = hold("using", folder)
    (note,) = (folder / "running").iterdir()
    note.write_text(junk)
    assert locks.running(str(folder)) == []
    process.kill()
    process.wait()


def test_commands_wait_for_a_purge_and_say_so(work: Work) -> None:
    work.commit(a__bin="one")
    work.sync("--push")
    process = hold("alone", work.content.parent)
    done = work.sync("--pull", "--lock-wait", "0.2", code=5)
    assert done.stderr.startswith("gitlob-sync: ") and f"pid {process.pid}" in done.stderr
    assert done.stderr.count("\n") == 1
    work.git("config", "git-lob.lock-wait", "0")
    work.sync("--push", code=5)
    work.sync("--list")  # reading needs no lock
    process.kill()
    process.wait()
    work.sync("--push")


def test_the_filter_is_a_user_until_git_is_done_with_it(work: Work) -> None:
    client = GitClient(work.path, "clean")
    client.send(lines("command=clean", "pathname=a.bin") + content(b"one"))
    assert client.answer().status == "success"
    folder = str(work.content.parent)
    assert [job.what for job in locks.running(folder)] == ["gitlob-filter process"]
    with pytest.raises(locks.Busy), locks.alone(store_in(Path(folder)), "purge", 0):
        pass
    client.end()
    with locks.alone(store_in(Path(folder)), "purge", 0) as known:
        assert known


def test_two_pulls_do_not_bring_the_same_twice(work: Work) -> None:
    """The second waits, but not where only the working tree has to be completed; nor does anything else wait."""
    work.commit(a__bin="one")
    with locks.turn(Store(str(work.content)), "pull", "another pull"):
        done = work.sync("--pull", "--lock-wait", "0.1", code=5)
        assert f"another pull (pid {os.getpid()} on " in done.stderr and done.stderr.count("\n") == 1
        work.sync("--push", "--lock-wait", "0")
        drop(work.content, b"one")
        (work.path / "a.bin").unlink()
        work.sync("--pull", "--dry-run")
        work.git("checkout", "-q", "a.bin")
        drop(work.content, b"one")
        work.sync("--checkout", "--lock-wait", "0")
        assert check(work.content) == {sha_of(b"one")}
    work.sync("--pull", "--lock-wait", "0")


def test_two_pushes_to_one_place_do_not_send_the_same_twice(work: Work, store: Path, tmp_path: Path) -> None:
    """The hook waits for nobody: git does not."""
    work.commit(a__bin="one")
    work.git("init", "-q", "--bare", str(tmp_path / "bare.git"))
    work.git("config", "remote.origin.url", str(tmp_path / "bare.git"))
    work.run("gitlob-setup", "-q", "--hooks")
    name = files.name_of(location.parse(str(store)))
    with locks.turn(Store(str(work.content)), f"push-{name}", "another push"):
        done = work.sync("--push", "--lock-wait", "0.1", code=5)
        assert f"another push (pid {os.getpid()} on " in done.stderr and done.stderr.count("\n") == 1
        work.sync("--push", "--lock-wait", "0", str(tmp_path / "elsewhere"))
        work.git("push", "-q", "origin", "main")
    assert check(store) == check(tmp_path / "elsewhere") == {sha_of(b"one")}


def test_two_pushes_at_once_do_not_forget_what_the_other_needs(work: Work, store: Path) -> None:
    """A purge of the remote store goes by what each clone said, and pushes by the hook may be many."""
    work.commit("none")
    work.sync("--push")
    with locks.turn(Store(str(work.content)), "publish", "a push"):
        work.commit(a__bin="one")
        assert "a push (pid" in work.sync("--push", "--lock-wait", "0.1", code=5).stderr
    pushes = []
    for branch in ("one", "two", "three"):
        work.git("checkout", "-q", "-b", branch)
        commit = work.commit(a__bin=branch)
        pushes.append(["gitlob-sync", "--pre-push", "origin"])
        pushes[-1].append(f"refs/heads/{branch} {commit} refs/heads/{branch} {'0' * 40}\n")
    running = [subprocess.Popen(argv[:3], cwd=work.path, stdin=subprocess.PIPE, text=True) for argv in pushes]
    for process, (*_, said) in zip(running, pushes, strict=True):
        assert process.stdin
        process.stdin.write(said)
        process.stdin.close()
    assert [process.wait() for process in running] == [0, 0, 0]
    (told,) = (store / "gitlob" / "lists").glob("?" * 24)
    assert all(sha_of(word) in told.read_text() for word in (b"one", b"two", b"three"))


def test_a_job_tells_its_age() -> None:
    job = locks.Job("gitlob-sync --pull", 7, "nas", time.time() - 185)
    assert str(job) == "gitlob-sync --pull (pid 7 on nas, for 3 minutes)"
    assert str(locks.Job("x", 7, "nas", time.time() - 62)).endswith("for 1 minute)")
