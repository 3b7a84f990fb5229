"""The long-running filter, spoken to as git does, and as nobody should."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.gitclient import GitClient, content, lines, packet
from tests.support.handmade import CHUNK, check, chunk, drop, files_of, placeholder, put, shas_in
from tests.support.work import Work


@pytest.fixture
def lacking(work: Work, store: Path, tmp_path: Path) -> Work:
    """A repository whose remote store has the binaries `one` and `two`, and the local one neither."""
    put(store, b"one")
    put(store, b"two")
    work.commit("nothing")
    return work


def test_handshake_and_capabilities(work: Work) -> None:
    client = GitClient(work.path, "clean", "smudge", "delay", "teleport")
    assert client.capabilities == ["clean", "smudge", "delay"]
    assert client.end() == (0, "")
    assert GitClient(work.path, "smudge").capabilities == ["smudge"]


@pytest.mark.parametrize("size", [0, 1, 49, 65515, 65516, 65517, 5_000_000, CHUNK + 1])
def test_clean_and_smudge(work: Work, size: int) -> None:
    data = os.urandom(size)
    client = GitClient(work.path, "clean", "smudge")
    assert client.ask("clean", "a.bin", data).content == placeholder(data)
    assert client.ask("smudge", "a.bin", placeholder(data)).content == data
    assert client.end() == (0, "")
    assert {str(at.relative_to(work.content)): at.read_bytes() for at in work.content.glob("???/???/*")} == files_of(
        data
    )
    assert not work.staging


def test_content_that_is_no_placeholder_passes_smudge(work: Work) -> None:
    data = os.urandom(3_000_000)
    client = GitClient(work.path, "clean", "smudge")
    assert client.ask("smudge", "a.bin", data).content == data
    assert client.ask("smudge", "a.bin", placeholder(b"x") + b"\n").content == placeholder(b"x") + b"\n"
    assert client.ask("clean", "a.bin", placeholder(b"x")).content == placeholder(b"x")
    assert client.end() == (0, "")


def test_a_placeholder_in_several_packets(work: Work) -> None:
    put(work.content, b"one")
    client = GitClient(work.path, "smudge")
    text = placeholder(b"one")
    client.send(
        lines("command=smudge", "pathname=a.bin") + packet(text[:5]) + packet(text[5:40]) + packet(text[40:]) + b"0000"
    )
    assert client.answer().content == b"one"
    client.end()


def test_missing_ones_are_delayed_and_brought_in_one_download(lacking: Work, store: Path) -> None:
    client = GitClient(lacking.path, "clean", "smudge", "delay")
    assert client.ask("smudge", "a.bin", placeholder(b"one"), "can-delay=1").status == "delayed"
    assert client.ask("smudge", b"b\xff.bin", placeholder(b"two"), "can-delay=1").status == "delayed"
    assert client.ask("smudge", "gone.bin", placeholder(b"gone"), "can-delay=1").status == "delayed"
    assert client.available() == ["a.bin", b"b\xff.bin".decode(errors="surrogateescape"), "gone.bin"]
    assert client.ask("smudge", "a.bin", b"").content == b"one"
    assert client.ask("smudge", b"b\xff.bin", b"").content == b"two"
    assert client.ask("smudge", "gone.bin", b"").content == placeholder(b"gone")
    assert client.available() == []
    code, said = client.end()
    assert code == 0 and said.count("\n") == 1 and "1 file waits" in said and "gitlob-sync --checkout" in said
    assert check(lacking.content) == check(store)


LARGE = 100_000
"""More than what is hashed at once when git asks for it."""


def test_a_large_one_that_is_here_is_hashed_while_git_asks_on(lacking: Work, store: Path) -> None:
    """Those that are here do not wait for the download of the others."""
    data, other = os.urandom(LARGE), os.urandom(LARGE)
    for each in (data, other, b"small"):
        put(lacking.content, each)
    client = GitClient(lacking.path, "clean", "smudge", "delay")
    assert client.ask("smudge", "gone.bin", placeholder(b"one"), "can-delay=1").status == "delayed"
    assert client.ask("smudge", "large.bin", placeholder(data), "can-delay=1").status == "delayed"
    assert client.ask("smudge", "other.bin", placeholder(other), "can-delay=1").status == "delayed"
    assert client.ask("smudge", "small.bin", placeholder(b"small"), "can-delay=1").content == b"small"
    first = client.available()
    while len(first) < 2:
        first += client.available()
    assert sorted(first) == ["large.bin", "other.bin"] and len(shas_in(lacking.content)) == 3
    assert client.ask("smudge", "large.bin", b"").content == data
    assert client.available() == ["gone.bin"]
    assert client.ask("smudge", "other.bin", b"").content == other
    assert client.ask("smudge", "gone.bin", b"").content == b"one"
    assert client.available() == []
    # one git command may check the same out again, and another in its place
    assert client.ask("smudge", "large.bin", placeholder(data), "can-delay=1").content == data
    assert client.end() == (0, "")


@pytest.mark.parametrize("there", [True, False])
def test_a_large_one_that_is_damaged_here_is_brought_with_the_others(lacking: Work, store: Path, there: bool) -> None:
    data, fine = os.urandom(LARGE), os.urandom(LARGE)
    put(lacking.content, data)
    put(lacking.content, fine)
    if there:
        put(store, data)
    chunk(lacking.content, data).write_bytes(fine)
    client = GitClient(lacking.path, "clean", "smudge", "delay")
    for path, binary in (("bad.bin", data), ("gone.bin", b"one"), ("fine.bin", fine)):
        assert client.ask("smudge", path, placeholder(binary), "can-delay=1").status == "delayed"
    assert client.available() == ["fine.bin"]
    assert client.available() == ["bad.bin", "gone.bin"]
    assert client.ask("smudge", "bad.bin", b"").content == (data if there else placeholder(data))
    assert client.ask("smudge", "fine.bin", b"").content == fine
    assert client.ask("smudge", "gone.bin", b"").content == b"one"
    assert client.available() == []
    code, said = client.end()
    assert code == 0 and said.count("\n") == (0 if there else 1)


def test_a_large_one_that_cannot_be_read_holds_up_no_other(lacking: Work) -> None:
    """Its folder turns to a file while git asks on."""
    data, fine = os.urandom(LARGE), os.urandom(LARGE)
    put(lacking.content, fine)
    at = chunk(lacking.content, data)
    put(lacking.content, data)
    at.unlink()
    at.mkdir()
    client = GitClient(lacking.path, "clean", "smudge", "delay")
    answers = [
        client.ask("smudge", path, placeholder(content), "can-delay=1").status
        for path, content in (("bad.bin", data), ("fine.bin", fine))
    ]
    assert answers == ["delayed", "delayed"]
    assert client.available() == ["fine.bin"]
    assert client.available() == ["bad.bin"]
    assert client.ask("smudge", "bad.bin", b"").content == placeholder(data)
    assert client.ask("smudge", "fine.bin", b"").content == fine
    assert client.available() == []
    assert client.end()[0] == 0


def test_without_delay_it_is_brought_at_once(lacking: Work) -> None:
    client = GitClient(lacking.path, "smudge")
    assert client.ask("smudge", "a.bin", placeholder(b"one")).content == b"one"
    assert client.end() == (0, "")


def test_after_one_failure_there_is_no_further_try(lacking: Work, tmp_path: Path) -> None:
    log = tmp_path / "calls"
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "rsync").write_text(
        f'#!/bin/sh\ncase "$1" in --version) exec /usr/bin/rsync --version;; esac\necho x >>{log}\necho refused >&2\nexit 10\n'
    )
    (shim / "rsync").chmod(0o755)
    os.environ["PATH"] = f"{shim}:{os.environ['PATH']}"
    client = GitClient(lacking.path, "smudge", "delay")
    assert client.ask("smudge", "a.bin", placeholder(b"one")).content == placeholder(b"one")
    assert client.ask("smudge", "b.bin", placeholder(b"two"), "can-delay=1").content == placeholder(b"two")
    code, said = client.end()
    assert code == 0 and said.count("\n") == 1 and "2 files wait" in said and "refused" in said
    assert log.read_text() == "x\n"


@pytest.mark.parametrize(("key", "setting"), [("git-lob.autofetch", "false"), ("remote.origin.git-lob-path", None)])
def test_nothing_is_downloaded_where_that_is_off_or_there_is_no_store(
    lacking: Work, key: str, setting: str | None
) -> None:
    lacking.git("config", *((key, setting) if setting else ("--remove-section", "remote.origin")))
    client = GitClient(lacking.path, "smudge", "delay")
    answer = client.ask("smudge", "a.bin", placeholder(b"one"), "can-delay=1")
    if setting is None:  # the checkout may yet write the team's file
        assert answer.status == "delayed" and client.available() == ["a.bin"]
        answer = client.ask("smudge", "a.bin", b"")
    assert answer.content == placeholder(b"one")
    code, said = client.end()
    assert code == 0 and said.count("\n") == 1 and ("autofetch" in said if setting else "no remote has a store" in said)


def test_on_missing_fail_is_an_error_for_these_files_alone(lacking: Work) -> None:
    lacking.git("config", "git-lob.on-missing", "fail")
    client = GitClient(lacking.path, "smudge", "delay")
    assert client.ask("smudge", "gone.bin", placeholder(b"gone")).status == "error"
    assert client.ask("smudge", "a.bin", placeholder(b"one")).content == b"one"
    assert "1 file waits" in client.end()[1]


def test_a_damaged_binary_here_is_brought_again(lacking: Work) -> None:
    put(lacking.content, b"one")
    (lacking.content / next(n for n in files_of(b"one") if n.endswith("_0"))).write_bytes(b"ONE")
    client = GitClient(lacking.path, "smudge")
    assert client.ask("smudge", "a.bin", placeholder(b"one")).content == b"one"
    client.end()
    assert check(lacking.content) == {placeholder(b"one")[9:].decode()}


def test_a_damaged_binary_there_never_gets_through(lacking: Work, store: Path) -> None:
    (store / next(n for n in files_of(b"one") if n.endswith("_0"))).write_bytes(b"ONE")
    client = GitClient(lacking.path, "smudge")
    assert client.ask("smudge", "a.bin", placeholder(b"one")).content == placeholder(b"one")
    assert client.ask("smudge", "b.bin", placeholder(b"two")).content == b"two"
    client.end()
    assert shas_in(lacking.content) == {placeholder(b"two")[9:].decode()}


def test_a_clean_that_cannot_store_is_an_error_and_the_next_goes_on(work: Work) -> None:
    blocked = placeholder(b"blocked")[9:].decode()
    (work.content / blocked[:3]).parent.mkdir(parents=True)
    (work.content / blocked[:3]).write_text("a file in the place of a folder")
    client = GitClient(work.path, "clean")
    assert client.ask("clean", "a.bin", b"blocked").status == "error"
    assert client.ask("clean", "b.bin", b"fine").content == placeholder(b"fine")
    assert "is not a folder" in client.end()[1]
    assert shas_in(work.content) == {placeholder(b"fine")[9:].decode()}
    assert not work.staging


@pytest.mark.parametrize(
    "data",
    [
        b"hello world\n",
        b"zzzz",
        b"0001",
        b"0003",
        b"ffff" + b"x" * 60000,
        packet(b"git-lfs-client\n"),
        lines("git-filter-client", "version=1"),
        lines("git-filter-client", "version=2"),
        lines("git-filter-client", "version=2")[:-6],
        b"00",
    ],
)
def test_a_broken_handshake_is_told(work: Work, data: bytes) -> None:
    client = GitClient(work.path)
    client.send(data)
    code, said = client.end()
    assert code == 1 and said.startswith("gitlob-filter: ") and said.count("\n") == 1


@pytest.mark.parametrize(
    "data",
    [
        lines("command=launch", "pathname=a.bin"),
        b"0000",
        lines("command=clean", "pathname=a.bin"),
        lines("command=clean", "pathname=a.bin") + packet(b"half of it"),
        lines("command=clean", "pathname=a.bin") + packet(b"cut off")[:-3],
        lines("command=clean", "pathname=a.bin") + packet(b"fine") + b"fffe" + b"x" * 70000,
        lines("command=clean", "pathname=a.bin") + packet(b"fine") + b"+123" + b"x" * 400,
        lines("command=clean", "pathname=a.bin") + content(os.urandom(CHUNK + 9))[:-9],
        packet(b"command=clean\n"),
    ],
)
def test_a_broken_request_is_told_and_stores_nothing(work: Work, data: bytes) -> None:
    client = GitClient(work.path, "clean", "smudge")
    client.send(data)
    code, said = client.end()
    assert code == 1 and said.startswith("gitlob-filter: ") and said.count("\n") == 1
    assert not shas_in(work.content) and not work.staging


def test_an_early_end_between_requests_is_no_error(work: Work) -> None:
    assert GitClient(work.path).end() == (0, "")
    client = GitClient(work.path, "clean")
    client.ask("clean", "a.bin", b"x")
    assert client.end() == (0, "")


def test_killed_in_the_middle_of_a_clean_it_leaves_nothing_for_long(work: Work) -> None:
    client = GitClient(work.path, "clean")
    client.send(lines("command=clean", "pathname=a.bin") + content(os.urandom(CHUNK + 9))[:-1000])
    deadline = time.monotonic() + 10
    while not any(list(folder.iterdir()) for folder in work.staging):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    client.process.send_signal(signal.SIGKILL)
    client.process.wait()
    assert not shas_in(work.content)
    other = GitClient(work.path, "clean")
    other.ask("clean", "b.bin", b"next" * 2_000_000)
    assert other.end() == (0, "")
    assert not work.staging


def test_large_files_are_not_held_in_memory(work: Work, tmp_path: Path) -> None:
    """300 MiB through clean and back, in less than 60 MB of resident memory (the peak that the kernel reports)."""
    measure = (
        "import resource, subprocess, sys\n"
        "code = subprocess.call(sys.argv[1:])\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=open('rss', 'w'))\n"
        "sys.exit(code)\n"
    )
    client = GitClient(
        work.path, "clean", "smudge", program=(sys.executable, "-c", measure, "gitlob-filter", "process")
    )
    block = os.urandom(1 << 20)
    data = block * 300
    assert client.ask("clean", "a.bin", data).content == placeholder(data)
    assert client.ask("smudge", "a.bin", placeholder(data)).content == data
    client.end()
    assert int((work.path / "rss").read_text()) < 60_000


def test_nothing_that_only_a_download_needs_is_loaded(work: Work) -> None:
    script = (
        "import sys\n"
        "from gitlob_rsync.commands.filter import run\n"
        "code = run(['process'])\n"
        "heavy = {'sh', 'rich', 'asyncio', 'gitlob_rsync.transport', 'gitlob_rsync.config', 'gitlob_rsync.jobs'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else code)\n"
    )
    put(work.content, b"one")
    client = GitClient(work.path, "clean", "smudge", "delay", program=(sys.executable, "-c", script))
    assert client.ask("smudge", "a.bin", placeholder(b"one"), "can-delay=1").content == b"one"
    assert client.ask("clean", "a.bin", b"two").content == placeholder(b"two")
    assert client.end() == (0, "")


def test_another_file_system_for_temporary_files(work: Work) -> None:
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat(work.path).st_dev:
        other = work.path.parent
    else:
        other = Path("/dev/shm")
    os.environ["TMPDIR"] = str(other)
    client = GitClient(work.path, "clean", "smudge")
    data = os.urandom(6_000_000)
    assert client.ask("clean", "a.bin", data).content == placeholder(data)
    assert client.ask("smudge", "a.bin", data).content == data
    client.end()
    check(work.content)


def test_eight_git_adds_at_once(work: Work, tmp_path: Path) -> None:
    """On one store, by eight worktrees, with the same and with different content."""
    work.commit("first")
    works = []
    for number in range(8):
        work.git("worktree", "add", "-q", "--detach", str(tmp_path / f"w{number}"))
        works.append(Work(tmp_path / f"w{number}"))
        for name in range(20):
            works[-1].write(f"same{name}.bin", b"same %d" % name * 1000)
            works[-1].write(f"own{name}.bin", b"own %d %d" % (number, name) * 1000)
    running = [subprocess.Popen(["git", "add", "."], cwd=one.path) for one in works]
    assert [process.wait() for process in running] == [0] * 8
    assert len(check(work.content)) == 20 + 8 * 20
    assert not work.staging


def test_dropped_binaries_are_told_by_number(lacking: Work, store: Path) -> None:
    drop(store, b"two")
    client = GitClient(lacking.path, "smudge", "delay")
    for name in ("a", "b", "c"):
        client.ask("smudge", name, placeholder(b"two"), "can-delay=1")
    for name in client.available():
        assert client.ask("smudge", name, b"").content == placeholder(b"two")
    assert "3 files wait" in client.end()[1]
