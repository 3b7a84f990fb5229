"""The rsync that is run: its arguments, old and foreign ones, its exit codes, and what must not outlive a run."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from gitlob_rsync import location
from gitlob_rsync.transport.rsync import flags
from gitlob_rsync.transport.rsync.reports import Patience
from tests.support.handmade import CHUNK, check, drop, put, sha_of
from tests.support.places import Place, make_place
from tests.support.processes import one_line, processes, program, wait_until
from tests.support.repositories import repository
from tests.support.servers import Sshd, daemon, free_port
from tests.support.work import Work

NEW = (3, 5, 0)
OLD = (3, 1, 3)


# Arguments, as data


FORBIDDEN = ("--inplace", "--append", "--append-verify", "--partial", "--delay-updates", "-W", "--whole-file", "--temp-dir",
             "-a", "-l", "-t", "--links", "--times", "--delete", "--existing", "-z")  # fmt: skip


def every_argv() -> dict[str, list[str]]:
    return {
        "fetch": flags.fetch_args(NEW, (), "/stage/partial"),
        "send": flags.send_args(NEW, (), "0123456789ab", True),
        "look": flags.look_args(NEW, ()),
        "list": flags.list_args(),
        "old fetch": flags.fetch_args(OLD, (), "/stage/partial"),
        "old send": flags.send_args(OLD, (), "0123456789ab", True),
    }


@pytest.mark.parametrize("which", every_argv())
def test_no_run_can_leave_a_part_under_a_final_name(which: str) -> None:
    argv = every_argv()[which]
    assert not [word for word in argv if word.split("=")[0] in FORBIDDEN]
    assert all(word.startswith("--") for word in argv)


@pytest.mark.smoke
def test_a_pull_asks_for_names_and_trusts_nothing_else() -> None:
    argv = every_argv()["fetch"]
    for flag in ("--files-from=-", "--from0", "--no-perms", "--chmod=ugo=rwX", "--ignore-missing-args", "--trust-sender",
                 "--size-only", "--partial-dir=/stage/partial"):  # fmt: skip
        assert flag in argv


def test_a_push_never_replaces_what_has_the_right_size_and_survives_a_crash() -> None:
    argv = every_argv()["send"]
    for flag in ("--files-from=-", "--from0", "--size-only", "--fsync", "--mkpath", "--no-perms", "--chmod=ugo=rwX",
                 "--partial-dir=.rsync-partial-0123456789ab"):  # fmt: skip
        assert flag in argv
    assert "--fsync" not in flags.send_args(NEW, (), "0123456789ab", False)


def test_two_clients_have_partial_folders_of_their_own() -> None:
    one, other = (flags.send_args(NEW, (), client, True) for client in ("a" * 12, "b" * 12))
    assert set(one) ^ set(other) == {
        f"--partial-dir=.rsync-partial-{'a' * 12}",
        f"--partial-dir=.rsync-partial-{'b' * 12}",
    }


def test_looking_moves_nothing() -> None:
    assert "--dry-run" in every_argv()["look"]
    assert "--dry-run" in every_argv()["list"]


@pytest.mark.parametrize(
    ("version", "missing"),
    [
        ((3, 1, 3), {"--mkpath", "--fsync", "--trust-sender"}),
        ((3, 2, 3), {"--fsync", "--trust-sender"}),
        ((3, 2, 4), {"--trust-sender"}),
        ((3, 2, 5), set()),
        ((4, 0, 0), set()),
    ],
)
def test_an_old_rsync_is_not_asked_for_what_it_does_not_know(version: tuple[int, ...], missing: set[str]) -> None:
    every = {*flags.send_args(version, (), "x", True), *flags.fetch_args(version, (), "x")}
    assert {"--mkpath", "--fsync", "--trust-sender"} - every == missing


def test_what_the_far_rsync_does_not_know_is_left_out() -> None:
    assert "--mkpath" not in flags.send_args(NEW, {"--mkpath"}, "x", True)
    assert "--fsync" in flags.send_args(NEW, {"--mkpath"}, "x", True)


def test_transports() -> None:
    def reach(text: str, ssh: str | None = None, version: tuple[int, ...] = NEW, timeout: int = 99) -> list[str]:
        return flags.transport(location.parse(text), version, timeout, ssh)

    assert reach("/store") == ["--timeout=99"], "--contimeout is a usage error here"
    assert reach("nas:/store", "ssh -x") == ["--timeout=99", "-e", "ssh -x"]
    assert reach("rsync://nas/m/store") == ["--timeout=99", "--contimeout=20", "--no-motd"], "-e would start an ssh"
    assert reach("nas::m/store", timeout=5) == ["--timeout=5", "--contimeout=5", "--no-motd"]
    assert "--protect-args" in reach("nas:/a b", "ssh", OLD)
    assert "--protect-args" not in reach("nas:/a-b", "ssh", OLD), "rrsync refuses it"
    assert "--protect-args" not in reach("nas:/a b", "ssh", NEW)
    assert "--protect-args" in reach("nas:/a`b`", "ssh", NEW), "it would be executed"


# Old and foreign ones on this side


@pytest.fixture
def shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that comes first on PATH."""
    folder = tmp_path / "shim"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def ready(tmp_path: Path, store: Path) -> Work:
    """A repository with one binary that can be pushed to a path."""
    return repository(tmp_path / "ready", store, {"a.bin": b"abc"})


@pytest.mark.parametrize(
    ("version", "hint"),
    [
        ("rsync  version 3.0.9  protocol version 30", "3.1.3"),
        ("rsync  version 2.6.9  protocol version 29", "3.1.3"),
        ("openrsync: protocol version 29", "rsync.samba.org"),
        ("openrsync 0.1 compatible with rsync 2.6.9", "rsync.samba.org"),
        ("busybox", "3.1.3"),
    ],
)
def test_an_rsync_that_will_not_do(ready: Work, shim: Path, store: Path, version: str, hint: str) -> None:
    program(shim / "rsync", f"echo '{version}'")
    line = one_line(ready.sync("--push", code=2))
    assert hint in line
    assert not store.exists()


def test_an_rsync_that_does_not_run(ready: Work, shim: Path) -> None:
    program(shim / "rsync", "echo 'rsync: error while loading shared libraries: libpopt.so.0' >&2; exit 127")
    assert "libpopt" in one_line(ready.sync("--push", code=1))


def test_an_old_rsync_here(tmp_path: Path, shim: Path) -> None:
    """It says that it is 3.1.3 and knows none of the newer options."""
    real = shutil.which("rsync")
    program(
        shim / "rsync",
        'case "$*" in\n'
        "--version) echo 'rsync  version 3.1.3  protocol version 31'; exit;;\n"
        '*--mkpath*|*--fsync*|*--trust-sender*) echo "rsync: --mkpath: unknown option" >&2; exit 1;;\nesac\n'
        f'exec {real} "$@"',
    )
    deep = tmp_path / "not" / "there" / "yet"
    work = repository(tmp_path / "work", deep, {"a.bin": b"abc", "b.bin": b"def"})
    work.sync("--push")
    assert check(deep) == {sha_of(b"abc"), sha_of(b"def")}
    drop(work.content, b"abc")
    assert work.json("--pull")["transferred"] == 1
    assert check(work.content) == check(deep)


# Old and foreign ones at the far side


REFUSES = """\
case "$SSH_ORIGINAL_COMMAND" in
*--mkpath*) echo "rsync: on remote machine: --mkpath: unknown option" >&2;;
*--fsync*) echo "rsync: --fsync: unknown option" >&2;;
*) exec sh -c "$SSH_ORIGINAL_COMMAND";;
esac
echo "rsync error: syntax or usage error (code 1) at main.c(1643) [server=3.1.3]" >&2
exit 1
"""


def test_an_old_rsync_at_the_remote(tmp_path: Path, sshd: Sshd, brief: Path) -> None:
    env = {"GIT_SSH_COMMAND": sshd.forced(REFUSES), "TMPDIR": str(brief)}
    deep = tmp_path / "not" / "there" / "yet"
    work = repository(tmp_path / "work", sshd.location(deep), {"a.bin": b"abc", "b.bin": b"def"})
    said = work.sync("--push", env=env)
    assert len(said.stderr.splitlines()) == 2, "a new store, and what was pushed"
    assert check(deep) == {sha_of(b"abc"), sha_of(b"def")}
    drop(work.content, b"abc")
    work.sync("--pull", env=env)
    assert check(work.content) == check(deep)


def test_a_daemon_that_refuses_options(tmp_path: Path) -> None:
    with daemon(tmp_path, "refuse options = mkpath fsync") as there:
        work = repository(tmp_path / "work", f"{there}/not/there/yet", {"a.bin": b"abc"})
        work.sync("--push")
        assert check(tmp_path / "module" / "not" / "there" / "yet") == {sha_of(b"abc")}


@pytest.mark.parametrize(
    ("chroot", "folder"), [("no", "größe"), ("no", "-x"), ("yes" if os.geteuid() == 0 else "no", "deep/er")]
)
def test_a_folder_below_the_module_of_a_daemon(tmp_path: Path, chroot: str, folder: str) -> None:
    """How a daemon tells that it is missing depends on both."""
    with daemon(tmp_path, f"use chroot = {chroot}") as there:
        work = repository(tmp_path / "work", f"{there}/{folder}", {"a.bin": b"abc"})
        other = repository(tmp_path / "other", f"{there}/{folder}", {"a.bin": b"abc"}, have=False)
        missing = other.sync("--pull", code=None)
        work.sync("--push")
        assert check(tmp_path / "module" / folder) == {sha_of(b"abc")}
        assert other.json("--pull")["transferred"] == 1
    assert "does not exist" in one_line(missing)
    assert missing.returncode == 2


def test_a_daemon_that_wants_a_password(tmp_path: Path) -> None:
    """It is taken from RSYNC_PASSWORD, and nobody is asked for it."""
    (tmp_path / "secrets").write_text("me:right\n")
    (tmp_path / "secrets").chmod(0o600)
    with daemon(tmp_path, f"auth users = me\nsecrets file = {tmp_path}/secrets") as there:
        there = there.replace("rsync://", "rsync://me@")
        work = repository(tmp_path / "work", f"{there}", {"a.bin": b"abc"})
        line = one_line(work.sync("--push", code=2))
        assert "auth failed" in line
        assert "auth failed" in one_line(work.sync("--push", code=2, env={"RSYNC_PASSWORD": "wrong"}))
        work.sync("--push", env={"RSYNC_PASSWORD": "right"})
        assert check(tmp_path / "module") == {sha_of(b"abc")}


@pytest.mark.parametrize(
    ("said", "word", "codes"),
    [
        (b"", "connection broke", {4}),
        (b"@RSYNCD: 31.0 sha1 md5\n", "connection broke", {4}),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1.1 400", {2}),
        (b"@RSYNCD: 31.0\n@ERROR: no \x1b[31m\nentry\n", "@ERROR: no ", {2}),
        (b"@RSYNCD: 31.0 sha1 md5\n@RSYNCD: OK\n" + bytes(range(256)) * 4, "127.0.0.1", {1, 2, 4}),
    ],
)
def test_a_daemon_that_is_none(tmp_path: Path, said: bytes, word: str, codes: set[int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with server.accept()[0] as client:
                        client.sendall(said)
                        client.settimeout(1)
                        client.recv(1000)

        threading.Thread(target=answer, daemon=True).start()
        work = repository(tmp_path / "work", f"rsync://127.0.0.1:{server.getsockname()[1]}/m/x", {"a.bin": b"abc"})
        done = work.sync("--push", "--timeout", "5", code=None)
        line = one_line(done)
        assert word in line
        assert "\x1b" not in line
        assert done.returncode in codes
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("length", [42, 43, 49, 50, 90])
def test_a_temporary_folder_with_a_name_of_any_length(
    tmp_path: Path, request: pytest.FixtureRequest, length: int
) -> None:
    """The socket by which runs of ssh share a connection has to fit in, or to be done without."""
    place = make_place("ssh", request)
    work = repository(tmp_path / "work", place.location, {"a.bin": b"abc"})
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        own = Path(short, "x" * (length - len(f"{short}//gitlob-12345678")))
        own.mkdir()
        work.sync("--push", env={"TMPDIR": str(own)})
    assert check(place.folder) == {sha_of(b"abc")}


# Exit codes


@pytest.mark.parametrize(
    ("code", "said", "ours", "word"),
    [
        (1, "rsync: --from0: unknown option", 2, "--from0"),
        (1, "ERROR: module is read only", 2, "read only"),
        (2, "protocol version mismatch -- is your shell clean?", 1, "is your shell clean"),
        (3, "rsync: [sender] change_dir failed: No such file or directory (2)", 2, "does not exist"),
        (3, 'rsync: [sender] change_dir "/x" failed: Transport endpoint is not connected (107)', 1, "cannot be opened"),
        (3, 'rsync: change_dir "/x" failed: Input/output error (5)', 1, "cannot be opened"),
        (3, 'rsync: change_dir#3 "/x" failed: Host is down (112)', 1, "cannot be opened"),
        (3, "", 1, "exit code 3"),
        (4, "rsync: unsupported checksum", 2, "unsupported checksum"),
        (5, "@ERROR: Unknown module 'x'", 2, "Unknown module"),
        (5, "@ERROR: chdir failed", 2, "chdir failed"),
        (5, "@ERROR: max connections (5) reached -- try again later", 4, "is busy"),
        (4, "rsync: The server is configured to refuse --size-only", 2, "refuse options"),
        (1, "rsync: The server is configured to refuse size-only", 2, "--size-only"),
        (5, "@ERROR: early exec failed\nrsync: didn't get server startup line", 2, "early exec"),
        (5, "rsync: did not see server greeting", 4, "run it again"),
        (5, "rsync: didn't get server startup line", 4, "run it again"),
        (10, "rsync: [Receiver] failed to connect to nas (10.0.0.1): Connection refused (111)", 4, "Connection refused"),
        (11, "rsync: [receiver] write failed: No space left on device (28)", 1, "no space left"),
        (12, "rsync: connection unexpectedly closed (0 bytes received so far) [sender]", 4, "unexpectedly closed"),
        (12, "rsync: mkstemp: Permission denied (13)", 1, "permission denied"),
        (13, "", 1, "13"),
        (14, "fork: Resource temporarily unavailable", 1, "fork"),
        (20, "", 4, "run it again"),
        (22, "out of memory", 1, "out of memory"),
        (23, "rsync: [sender] read errors mapping: Input/output error (5)", 1, "Input/output"),
        (25, "", 1, "25"),
        (30, "[sender] io timeout after 120 seconds -- exiting", 4, "io timeout"),
        (35, "", 4, "run it again"),
        (127, "sh: 1: rsync: not found", 2, "install rsync"),
        (12, "sh: 1: rsync: not found", 2, "install rsync"),
        (255, "ssh: Could not resolve hostname nas: Name or service not known", 4, "resolve hostname"),
        (255, "root@nas: Permission denied (publickey).", 4, "ssh login refused"),
        (255, "Host key verification failed.", 4, "host's key"),
        (255, "a\nb: Disk quota exceeded\nc", 4, "run it again"),
    ],
)  # fmt: skip
def test_what_an_exit_code_means(ready: Work, shim: Path, code: int, said: str, ours: int, word: str) -> None:
    (shim / "said").write_text(f"{said}\n" if said else "")
    program(
        shim / "rsync",
        f'[ "$1" != --version ] || exec {shutil.which("rsync")} --version\ncat {shim}/said >&2\n'
        f'echo "rsync error: something (code {code}) at main.c(1) [sender=3.5.0]" >&2\nexit {code}',
    )
    ready.git("config", "git-lob.retries", "0")
    if said.startswith("@ERROR"):  # which only a daemon says
        ready.git("config", "remote.origin.git-lob-path", "rsync://localhost/module/store")
    line = one_line(ready.sync("--push", code=ours))
    assert word in line


def test_the_words_that_are_quoted_are_fit_for_a_terminal(ready: Work, shim: Path) -> None:
    program(
        shim / "rsync",
        f'[ "$1" != --version ] || exec {shutil.which("rsync")} --version\nprintf "\\033]0;x\\007\\377bad\\r\\nmore\\n" >&2\nexit 12',
    )
    line = one_line(ready.sync("--push", code=4))
    assert all(c.isprintable() for c in line)


def test_an_rsync_that_ends_by_a_signal(ready: Work, shim: Path) -> None:
    program(shim / "rsync", f'[ "$1" != --version ] || exec {shutil.which("rsync")} --version\nkill -9 $$')
    one_line(ready.sync("--push", code=4))


@pytest.mark.parametrize(
    "report", ["garbage\\n", ">f+++++++++|1|1|../../etc/passwd\\n", ">f+++++++++|99999999999999999999999|1|x\\n"]
)
def test_an_rsync_that_lies_about_a_push(ready: Work, shim: Path, report: str) -> None:
    ready.run("gitlob-setup", "-q", "origin", "--create")
    program(shim / "rsync", f'[ "$1" != --version ] || exec {shutil.which("rsync")} --version\nprintf "{report}"')
    assert ready.json("--push")["transferred"] == 0


# What hangs


def reading(folder: Path) -> list[int]:
    """The processes that have a file below a folder open: those that send from it, wherever they run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                opened = [os.readlink(fd) for fd in (entry / "fd").iterdir()]
                if any(target.startswith(f"{folder}/") for target in opened):
                    found.append(int(entry.name))
    return found


@pytest.mark.parametrize("kind", ["daemon root", "ssh"])
def test_a_sender_that_freezes_is_given_up(tmp_path: Path, request: pytest.FixtureRequest, kind: str) -> None:
    place = make_place(kind, request)
    content = os.urandom(CHUNK)
    put(place.folder, content)
    work = repository(tmp_path / "work", place.location, {"a.bin": content}, have=False)
    work.git("config", "git-lob.retries", "0")
    started = subprocess.Popen(
        ["gitlob-sync", "--pull", "--bwlimit", "8m", "--timeout", "2"],
        cwd=work.path,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    staging = work.content.parent / "staging"
    wait_until(lambda: any(at.stat().st_size > 1 << 20 for at in staging.rglob(".*")), "a MiB comes", process=started)
    frozen = reading(place.folder)
    assert frozen
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        said = started.communicate(timeout=60)[1]
        took = time.monotonic() - begun
        assert started.returncode == 4
        assert said.startswith("gitlob-sync: ") and said.count("\n") == 1
        assert took < 20
        wait_until(lambda: not set(processes(tmp_path)) - set(frozen), "nothing of it is left")
    finally:
        for pid in frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    work.sync("--pull")
    assert check(work.content) == {sha_of(content)}
    assert not work.staging


@pytest.mark.parametrize(
    ("command", "told"), [("--push", (45, 55, 60, 65, 75)), ("--pull --complete", (90, 130, 170, 210))]
)
def test_a_remote_that_takes_all_and_says_no_more(tmp_path: Path, command: str, told: tuple[int, ...]) -> None:
    """After so many bytes, of which some are such that rsync's own timeout does not notice: the keep-alives that it sends
    count. What is said by then may be all."""
    started = []
    for number in told:
        top = tmp_path / str(number)
        content = os.urandom(100)
        put(top / "remote", content)
        work = repository(top / "work", f"nas:{top}/remote", {"b.bin": b"b"})
        work.git("config", "git-lob.retries", "0")
        work.git("config", "git-lob.timeout", "2")
        far = top / "far"
        program(far, f'shift; sh -c "$*" | (dd bs=1 count={number} 2>&-; cat >/dev/null)')
        started.append(
            subprocess.Popen(
                ["gitlob-sync", *command.split()], cwd=work.path, env={**os.environ, "GIT_SSH_COMMAND": str(far)},
                stderr=subprocess.PIPE, encoding="utf-8",
            )
        )  # fmt: skip
    try:
        said = [process.communicate(timeout=60)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    codes = [process.returncode for process in started]
    assert 4 in codes and set(codes) <= {0, 4}, said
    wait_until(lambda: not processes(tmp_path), "nothing of it is left")
    assert sum("sent nothing for 2 seconds" in line for line in said) > 0, said


@pytest.mark.parametrize("arguments", [["--push"], ["--pull"], ["--pull", "--complete"]], ids=" ".join)
def test_a_daemon_that_never_answers_is_given_up(tmp_path: Path, arguments: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = f"rsync://127.0.0.1:{server.getsockname()[1]}/m/x"
        work = repository(tmp_path / "work", there, {"a.bin": b"abc"}, have="--push" in arguments)
        one_line(work.sync(*arguments, "--timeout", "1", code=4))
        assert not processes(tmp_path)


# What must not be left behind


def masters(folder: Path) -> list[str]:
    """The ssh connections that wait for another run in a TMPDIR."""
    return [name for name in processes(folder).values() if name == "ssh"]


@pytest.mark.parametrize("host", ["127.0.0.1", "root@127.0.0.1", "[::1]"])
def test_the_shared_connection_ends_with_the_run(tmp_path: Path, sshd: Sshd, brief: Path, host: str) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"{(sshd.folder / 'config').read_text()}"
        f"Host ::1\n  HostName 127.0.0.1\n  HostKeyAlias [127.0.0.1]:{sshd.port}\n"
    )
    env = {"GIT_SSH_COMMAND": f"ssh -F {config}", "TMPDIR": str(brief)}
    work = repository(tmp_path / "work", f"ssh://{host}:{sshd.port}{tmp_path}/remote", {"a.bin": b"abc"})
    log = sshd.folder / "log"
    before = log.read_text().count("Accepted publickey")
    work.sync("--push", env=env)
    assert log.read_text().count("Accepted publickey") == before + 1, "two runs over one connection"
    wait_until(lambda: not masters(brief), "the connection ends")
    assert not list(brief.iterdir())


def test_the_shared_connection_ends_with_an_interrupted_run(tmp_path: Path, sshd: Sshd, brief: Path) -> None:
    content = os.urandom(CHUNK)
    put(tmp_path / "remote", content)
    work = repository(tmp_path / "work", sshd.location(tmp_path / "remote"), {"a.bin": content}, have=False)
    started = subprocess.Popen(
        ["gitlob-sync", "--pull", "--bwlimit", "4m"], cwd=work.path, stderr=subprocess.DEVNULL,
        env={**os.environ, "GIT_SSH_COMMAND": sshd.command, "TMPDIR": str(brief)},
    )  # fmt: skip
    wait_until(lambda: bool(masters(brief)) and bool(list(work.content.parent.rglob(".*_0.*"))), "it comes")
    started.terminate()
    assert started.wait(15) == 143
    wait_until(lambda: not masters(brief), "the connection ends")
    assert not list(brief.iterdir())


def test_nothing_is_left_in_tmpdir(tmp_path: Path, sshd: Sshd, store: Path, brief: Path) -> None:
    env = {"GIT_SSH_COMMAND": sshd.command, "TMPDIR": str(brief)}
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    for arguments, code in (
        (["--push"], 0),
        (["--push", "--complete"], 0),
        (["--pull", "--complete", "-n"], 0),
        (["--push", sshd.location(tmp_path / "second")], 0),
        (["--push", f"ssh://127.0.0.1:{free_port()}/x"], 4),
        (["--push", f"rsync://127.0.0.1:{free_port()}/x"], 4),
        (["--pull", "--complete", str(tmp_path / "nowhere")], 2),
    ):
        work.sync(*arguments, code=code, env=env)
        assert not list(brief.iterdir()), arguments


def test_nothing_is_left_in_tmpdir_where_there_is_no_ssh(tmp_path: Path, brief: Path) -> None:
    work = repository(tmp_path / "work", "nas:/store", {"a.bin": b"abc"})
    (tmp_path / "some").mkdir()
    for name in ("git", "rsync", "python3", "env", "sh"):
        (tmp_path / "some" / name).symlink_to(shutil.which(name) or "")
    env = {"PATH": f"{tmp_path}/some:{os.environ['PATH'].split(':')[0]}", "TMPDIR": str(brief)}
    assert "ssh is not installed" in one_line(work.sync("--push", code=2, env=env))
    assert not list(brief.iterdir())


def test_the_ssh_of_git_is_used(tmp_path: Path, sshd: Sshd) -> None:
    """GIT_SSH_COMMAND, core.sshCommand and GIT_SSH, in this order, shell syntax and all."""
    place = Place(sshd.location(tmp_path / "remote"), tmp_path / "remote")
    work = repository(tmp_path / "work", place.location, {"a.bin": b"abc"})
    log = tmp_path / "log"
    own = tmp_path / "my ssh"
    program(own, f'echo "$0" >>{log}\nexec {sshd.command} -oBatchMode=yes "$@"')
    work.sync("--push", env={"GIT_SSH": str(own)})
    assert str(own) in log.read_text()
    log.unlink()
    work.git("config", "core.sshCommand", f"'{own}' -oCompression=no")
    work.sync("--push", "--recheck")
    assert str(own) in log.read_text()
    log.unlink()
    work.sync("--push", "--recheck", env={"GIT_SSH_COMMAND": sshd.command, "GIT_SSH": "/bin/false"})
    assert not log.exists()
    assert check(place.folder) == {sha_of(b"abc")}


@pytest.mark.parametrize("form", ["NAME=value {}", "umask 077; {}", "cd / && {}"])
def test_the_ssh_command_is_one_for_the_shell(tmp_path: Path, sshd: Sshd, form: str) -> None:
    """As git runs it: git(1), GIT_SSH_COMMAND."""
    work = repository(tmp_path / "work", sshd.location(tmp_path / "remote"), {"a.bin": b"abc"})
    work.sync("--push", env={"GIT_SSH_COMMAND": form.format(sshd.command)})
    assert check(tmp_path / "remote") == {sha_of(b"abc")}


@pytest.mark.parametrize(
    ("read", "over"),
    [((5, 5), 2), ((5, 6, 7, 7), 6), ((0, 0), 2), ((None, None, None, None), None), ((5, None, None, 5), None)],
)
def test_an_rsync_is_silent_only_while_it_reads_nothing(
    mocker: MockerFixture, read: tuple[int | None, ...], over: int | None
) -> None:
    """With a timeout of two seconds, asked each second: after how many it is over. A push that finds all there already
    reports nothing for long, and all is well."""
    clock = mocker.patch("gitlob_rsync.transport.rsync.reports.time")
    patience = Patience(2, mocker.Mock(side_effect=read))
    answers = []
    for clock.monotonic.return_value in range(2 * len(read) - 1):
        answers.append(patience.is_over())
    assert (answers.index(True) if True in answers else None) == over
