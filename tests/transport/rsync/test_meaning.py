"""What is said of a line that does not carry: only rsync's and ssh's own words are a cause, each with its code and way out."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from gitlob_rsync.transport.rsync import ssh as ssh_of_ours
from tests.support.handmade import CHUNK, check, chunk, drop, put, sha_of
from tests.support.places import make_place
from tests.support.processes import one_line, program, wait_until
from tests.support.repositories import repository
from tests.support.servers import Sshd, daemon, free_port, serve_ssh
from tests.support.work import Work

BANNER = """\
##########
root@nas: Permission denied (publickey).
Host key verification failed.
Do not touch: No space left on device, Not a directory, rsync is where you find it
##########
"""
CHATTER = """\
echo 'bash: fortune: command not found' >&2
echo '/root/.profile: line 3: /var/log/x: Permission denied' >&2
echo 'quota: /home: Disk quota exceeded' >&2
echo 'stat: /x: Not a directory' >&2
echo 'git@forge: Permission denied (publickey).' >&2
"""
"""What a start file of a far shell may print."""


@pytest.mark.parametrize("line", ["@ERROR: access denied", "openrsync: old", "rrsync: old", "Permission denied (13)"])
def test_a_start_file_that_speaks_as_others_do_refuses_nothing(sshd: Sshd, tmp_path: Path, line: str) -> None:
    ssh = sshd.forced(f'echo "{line}" >&2; exec sh -c "$SSH_ORIGINAL_COMMAND"\n')
    work = repository(tmp_path / "work", sshd.location(tmp_path / "remote"), {"a.bin": b"abc"})
    work.sync("--push", env={"GIT_SSH_COMMAND": ssh})
    assert check(tmp_path / "remote") == {sha_of(b"abc")}


@pytest.fixture
def ready(tmp_path: Path, sshd: Sshd) -> Work:
    """A repository with a binary whose store is to be behind ssh."""
    work = repository(tmp_path / "ready", sshd.location(tmp_path / "remote" / "x"), {"a.bin": b"abc"})
    work.git("config", "git-lob.retries", "1")
    return work


@pytest.fixture(scope="module")
def greeting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An sshd with a banner."""
    folder = tmp_path_factory.mktemp("greeting")
    (folder / "banner").write_text(BANNER)
    with serve_ssh(folder, f"Banner {folder}/banner") as server:
        yield server


def config_of(server: Sshd, tmp_path: Path, *lines: str) -> str:
    """An ssh command whose configuration begins with these lines."""
    at = tmp_path / "ssh_config"
    at.write_text("".join(f"{line}\n" for line in lines) + (server.folder / "config").read_text())
    return f"ssh -F {at}"


# A line that breaks is a line that breaks, whatever else was said


@pytest.mark.parametrize(("breaks", "whom", "code"), [(1, "$PPID", 4), (2, "$PPID", 0), (2, "$$", 0)])
def test_a_broken_line_is_tried_again_whatever_start_files_print(
    ready: Work, sshd: Sshd, tmp_path: Path, breaks: int, whom: str, code: int
) -> None:
    """The connection of this number breaks at once, the others are well. Who never answered is not waited for."""
    count = tmp_path / "count"
    ssh = sshd.forced(
        f"{CHATTER}echo x >>{count}\n"
        f'if [ "$(wc -l <{count})" -eq {breaks} ]; then kill -9 {whom}; sleep 1; fi; exec sh -c "$SSH_ORIGINAL_COMMAND"'
    )
    # a connection for each run, so that only one breaks
    env = {"GIT_SSH_COMMAND": f"{ssh} -oControlPath={tmp_path}/none -oControlMaster=no"}
    said = ready.sync("--push", env=env, code=code).stderr
    assert "fortune" not in said and "quota" not in said and "publickey" not in said
    assert "retrying in 2 seconds" in said if code == 0 else "or the connection broke" in said
    ready.sync("--push", env=env)
    assert check(tmp_path / "remote" / "x") == {sha_of(b"abc")}


def test_a_line_that_breaks_amid_a_transfer_is_tried_again(ready: Work, sshd: Sshd, tmp_path: Path) -> None:
    content = os.urandom(1 << 20) * 40
    put(tmp_path / "remote" / "x", content)
    work = repository(tmp_path / "work", sshd.location(tmp_path / "remote" / "x"), {"a.bin": content}, have=False)
    pid = tmp_path / "pid"
    ssh = sshd.forced(f'{CHATTER}echo "$PPID" >{pid}; exec sh -c "$SSH_ORIGINAL_COMMAND"')
    process = subprocess.Popen(
        ["gitlob-sync", "--pull", "--bwlimit", "20m"], cwd=work.path, stderr=subprocess.PIPE, encoding="utf-8",
        env={**os.environ, "GIT_SSH_COMMAND": ssh},
    )  # fmt: skip
    staging = work.content.parent / "staging"
    wait_until(lambda: any(at.stat().st_size > 1 << 20 for at in staging.rglob(".*_0.*")), "it comes", process=process)
    os.kill(int(pid.read_text()), signal.SIGKILL)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0, said
    assert "retrying in 2 seconds" in said and "fortune" not in said and "quota" not in said
    assert check(work.content) == {sha_of(content)}


@pytest.mark.parametrize("code", [10, 12, 255])
def test_a_dropped_connection_has_its_own_code_whatever_was_printed(
    ready: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    folder = tmp_path / "shim"
    folder.mkdir()
    program(
        folder / "rsync",
        f'[ "$1" != --version ] || exec {shutil.which("rsync")} --version\n{CHATTER}'
        f"echo '##########' >&2\necho 'rsync: [sender] write error: Broken pipe (32)' >&2\n"
        f"echo 'rsync: connection unexpectedly closed (1234 bytes received so far) [sender]' >&2\n"
        f'echo "rsync error: something (code {code}) at io.c(1) [sender=3.5.0]" >&2\nexit {code}',
    )
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    line = one_line(ready.sync("--push", code=4))
    assert "connection unexpectedly closed (1234" in line and line.endswith("(run it again: it resumes)")


# ssh's own reasons, behind a banner


def refused(work: Work, server: Sshd, tmp_path: Path, ssh: str, code: int) -> str:
    line = one_line(work.sync("--push", server.location(tmp_path / "y"), code=code, env={"GIT_SSH_COMMAND": ssh}))
    assert "####" not in line and "run it again" not in line
    return line


def test_a_banner_is_never_a_cause(ready: Work, greeting: Sshd, tmp_path: Path) -> None:
    there = greeting.location(tmp_path / "nowhere")
    drop(ready.content, b"abc")
    line = one_line(ready.sync("--pull", there, code=2, env={"GIT_SSH_COMMAND": greeting.command}))
    assert f"{there} does not exist" in line and "change_dir" in line
    put(tmp_path / "nowhere", b"abc")
    ready.sync("--pull", there, env={"GIT_SSH_COMMAND": greeting.command})
    assert check(ready.content) == {sha_of(b"abc")}


def test_a_key_that_is_not_let_in_behind_a_banner(ready: Work, greeting: Sshd, tmp_path: Path) -> None:
    (greeting.folder / "config.stranger").write_text(
        (greeting.folder / "config").read_text().replace(f"{greeting.folder}/id", f"{greeting.folder}/host")
    )
    line = refused(ready, greeting, tmp_path, f"ssh -F {greeting.folder}/config.stranger", 4)
    assert "ssh login refused: root@127.0.0.1: Permission denied (publickey" in line


def test_a_key_that_is_too_open(ready: Work, greeting: Sshd, tmp_path: Path) -> None:
    shutil.copy(greeting.folder / "id", tmp_path / "open")
    (tmp_path / "open").chmod(0o644)
    config = tmp_path / "config.open"
    config.write_text((greeting.folder / "config").read_text().replace(f"{greeting.folder}/id", f"{tmp_path}/open"))
    line = refused(ready, greeting, tmp_path, f"ssh -F {config}", 2)
    assert f"Permissions 0644 for '{tmp_path}/open' are too open" in line and "chmod 600" in line


def test_a_host_key_that_has_changed(ready: Work, greeting: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known"
    key = " ".join((greeting.folder / "id.pub").read_text().split()[:2])
    known.write_text(f"[127.0.0.1]:{greeting.port} {key}\n")
    line = refused(ready, greeting, tmp_path, config_of(greeting, tmp_path, f"UserKnownHostsFile {known}"), 2)
    assert "key has changed" in line and "does not know" not in line


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("Ciphers aes128-cbc", "no matching cipher found"),
        ("KexAlgorithms diffie-hellman-group1-sha1", "no matching key exchange method found"),
        ("HostKeyAlgorithms rsa-sha2-512", "no matching host key type found"),
        ("NoSuchOption yes", "Bad configuration option: nosuchoption"),
        ("Port many", "line 1: Bad"),
    ],
)
def test_an_ssh_configuration_that_cannot_go_well(
    ready: Work, greeting: Sshd, tmp_path: Path, setting: str, words: str
) -> None:
    assert words in refused(ready, greeting, tmp_path, config_of(greeting, tmp_path, setting), 2)


def test_an_ssh_of_a_script_that_has_a_command_of_its_own(ready: Work, sshd: Sshd, tmp_path: Path) -> None:
    """Ours gets the reset; one that is called otherwise gets no options."""
    ssh = config_of(sshd, tmp_path, "RemoteCommand tmux")
    program(tmp_path / "own", f'exec {ssh} "$@"')
    assert "RemoteCommand none" in refused(ready, sshd, tmp_path, str(tmp_path / "own"), 2)


def test_an_ssh_command_that_does_not_run(ready: Work, sshd: Sshd, tmp_path: Path) -> None:
    """It is not the far machine that lacks something."""
    line = refused(ready, sshd, tmp_path, f"{tmp_path}/no/such/program", 2)
    assert "the ssh command cannot be run" in line and "GIT_SSH_COMMAND" in line and "remote machine" not in line


# The far machine's reasons


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'This service allows sftp connections only.'; exit 1", "allows only sftp"),
        ("echo 'This service allows sftp connections only.' >&2; exit 1", "allows only sftp"),
        ("echo; echo 'This account is currently not available.'; exit 1", "has no shell"),
        ("exec rrsync -ro {}", "is read-only"),
        ("exec rrsync -no-overwrite {}", "remote rrsync refused"),
        ("echo 'rrsync error: no such thing' >&2; exit 1", "remote rrsync refused"),
        (
            "echo 'rsync: unrecognized option `--from0'\"'\" >&2; echo 'usage: openrsync [-a]' >&2; exit 1",
            "is openrsync",
        ),
        ("echo 'openrsync: unknown option -- e' >&2; exit 1", "is openrsync"),
        ("PATH=/nowhere; eval $SSH_ORIGINAL_COMMAND", "rsync not found"),
    ],
)
def test_what_the_far_machine_does_not_do(ready: Work, sshd: Sshd, tmp_path: Path, script: str, words: str) -> None:
    (tmp_path / "root").mkdir()
    ssh = sshd.forced(CHATTER + script.format(tmp_path / "root"))
    line = refused(ready, sshd, tmp_path, ssh, 2)
    assert words in line
    assert "fortune" not in line and "publickey" not in line


def test_a_real_account_for_sftp_alone(ready: Work, tmp_path: Path) -> None:
    folder = tmp_path / "sftp"
    folder.mkdir()
    with serve_ssh(folder, "ForceCommand internal-sftp") as server:
        assert "allows only sftp" in refused(ready, server, tmp_path, server.command, 2)


def test_what_a_start_file_prints_where_rsync_should_is_named(ready: Work, sshd: Sshd, tmp_path: Path) -> None:
    ssh = sshd.forced('echo "Welcome to this machine"; exec sh -c "$SSH_ORIGINAL_COMMAND"')
    line = refused(ready, sshd, tmp_path, ssh, 1)
    assert "'Welcome to this machine'" in line and "start files" in line


def test_an_old_rrsync_serves(sshd: Sshd, tmp_path: Path) -> None:
    """It does not say which option it does not know."""
    there = tmp_path / "not" / "there" / "yet"
    work = repository(tmp_path / "work", sshd.location(there), {"a.bin": b"abc"})
    ssh = sshd.forced(
        'case "$SSH_ORIGINAL_COMMAND" in *--fsync*|*--mkpath*)\n'
        "echo '/usr/bin/rrsync: invalid rsync-command syntax or options' >&2; exit 1;; esac\n"
        'exec sh -c "$SSH_ORIGINAL_COMMAND"'
    )
    work.sync("--push", env={"GIT_SSH_COMMAND": ssh})
    assert check(there) == {sha_of(b"abc")}


def test_an_rrsync_serves(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    work = repository(tmp_path / "work", f"ssh://127.0.0.1:{sshd.port}/~/deep/er", {"a.bin": b"abc"})
    env = {"GIT_SSH_COMMAND": sshd.forced(f"{CHATTER}exec rrsync {tmp_path}/root")}
    work.sync("--push", env=env)
    assert check(tmp_path / "root" / "deep" / "er") == {sha_of(b"abc")}
    drop(work.content, b"abc")
    work.sync("--pull", env=env)
    assert check(work.content) == {sha_of(b"abc")}


# Daemons


def test_a_daemon_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with daemon(tmp_path, f"max connections = 1\nlock file = {lock}") as there:
        put(tmp_path / "module", os.urandom(2 << 20))
        other = subprocess.Popen(
            ["rsync", "-r", "--bwlimit=500", f"{there}/", tmp_path / "slow"], stdout=subprocess.DEVNULL
        )
        wait_until(lambda: bool([*(tmp_path / "slow").rglob(".*")]), "the other one has begun", process=other)
        try:
            work = repository(tmp_path / "work", there, {"a.bin": b"abc"})
            work.git("config", "git-lob.retries", "0")
            line = one_line(work.sync("--push", code=4))
            assert "the rsync daemon is busy" in line and "run it again later" in line
            work.git("config", "--unset", "git-lob.retries")
            threading.Timer(1, other.terminate).start()
            assert "retrying in 2 seconds" in work.sync("--push").stderr
        finally:
            other.terminate()
            other.wait()
    assert sha_of(b"abc") in check(tmp_path / "module")


def test_a_daemon_that_refuses_what_is_needed(tmp_path: Path) -> None:
    with daemon(tmp_path, "refuse options = size-only") as there:
        work = repository(tmp_path / "work", there, {"a.bin": b"abc"})
        work.git("config", "git-lob.retries", "0")
        done = work.sync("--push", code=None)
        line = one_line(done)
        # one of version 3.1 resets the connection before that is read
        assert (done.returncode, "refuse options" in line) in ((2, True), (4, False))
        assert done.returncode == 4 or ("--size-only" in line and "run it again" not in line)


def test_a_daemon_where_nothing_may_be_deleted_can_be_pushed_to(tmp_path: Path) -> None:
    with daemon(tmp_path, "refuse options = delete") as there:
        work = repository(tmp_path / "work", there, {"a.bin": b"abc"})
        work.sync("--push")
        said = work.run("gitlob-setup", "--check", code=None).stderr
        assert "ok: remote" in said and "files cannot be deleted" in said


@pytest.mark.parametrize("password", [None, "wrong"])
def test_a_password_that_lacks_is_named(tmp_path: Path, password: str | None) -> None:
    (tmp_path / "secrets").write_text("me:right\n")
    (tmp_path / "secrets").chmod(0o600)
    env = {"RSYNC_PASSWORD": password} if password else {}
    with daemon(tmp_path, f"auth users = me\nsecrets file = {tmp_path}/secrets") as there:
        work = repository(tmp_path / "work", there.replace("rsync://", "rsync://me@"), {"a.bin": b"abc"})
        line = one_line(work.sync("--push", code=2, env=env))
    assert "RSYNC_PASSWORD" in line and "Password:" not in line and "run it again" not in line
    assert ("requires a password" in line) == (password is None)


def test_a_daemon_that_resets_the_connection_is_asked_without_what_it_may_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of version 3.1.3 does: what it has to say of an option comes too late."""
    folder = tmp_path / "shim"
    folder.mkdir()
    program(
        folder / "rsync",
        f'case "$*" in *--fsync*|*--mkpath*) echo x >>{tmp_path}/count\n'
        "echo 'rsync: [sender] read error: Connection reset by peer (104)' >&2\n"
        "echo 'rsync error: error in socket IO (code 10) at io.c(907) [sender=3.5.0]' >&2; exit 10;; esac\n"
        f'[ "$1" != --version ] || {{ echo "rsync  version 3.5.0  protocol version 32"; exit; }}\n'
        f'exec {shutil.which("rsync")} "$@"',
    )
    with daemon(tmp_path, "") as there:
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        work = repository(tmp_path / "work", f"{there}/not/there/yet", {"a.bin": b"abc", "b.bin": b"b"})
        work.sync("--push")
    assert (tmp_path / "count").read_text() == "x\n", "once in a run"
    assert check(tmp_path / "module" / "not" / "there" / "yet") == {sha_of(b"abc"), sha_of(b"b")}


# There or not


@pytest.mark.parametrize("kind", ["path", "ssh", "daemon"])
@pytest.mark.parametrize("what", ["loop", "long"])
def test_a_store_that_cannot_be_opened_is_not_one_that_is_not_there_yet(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, what: str
) -> None:
    place = make_place(kind, request)
    above = place.folder.parent.parent
    above.mkdir(parents=True, exist_ok=True)
    location = place.location
    if what == "loop":
        (above / "deep").symlink_to("deep")
    else:
        location = location.replace("/er", f"/{'x' * 300}")
        (above / "deep").mkdir()
    work = repository(tmp_path / "work", location, {"a.bin": b"abc"}, have=False)
    for command in (["gitlob-sync", "--pull"], ["gitlob-sync", "--pull", "--complete"], ["gitlob-setup", "--check"]):
        done = work.run(*command, code=None)
        assert done.returncode in (1, 2), (command, done.stderr, done.stdout)
        assert "does not exist" not in done.stderr and "first push" not in done.stdout + done.stderr, (command, done)
        assert location in done.stderr
        assert "cannot be opened" in done.stderr, (command, done.stderr)


# The user's ssh, as it is


@pytest.fixture
def brief() -> Iterator[Path]:
    """A folder with a name short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="g", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def logins(server: Sshd) -> int:
    return (server.folder / "log").read_text().count("Accepted publickey")


def test_an_open_connection_of_the_users_is_used(sshd: Sshd, tmp_path: Path, brief: Path) -> None:
    """Whoever has to type a token for each has opened it before."""
    ssh = config_of(sshd, tmp_path, f"ControlPath {brief}/%C")
    to = ["-p", str(sshd.port), "127.0.0.1"]
    subprocess.run([*ssh.split(), "-fMN", "-oControlPersist=yes", *to], check=True, stderr=subprocess.DEVNULL)
    before = logins(sshd)
    try:
        work = repository(tmp_path / "work", sshd.location(tmp_path / "remote"), {"a.bin": b"abc"})
        work.sync("--push", env={"GIT_SSH_COMMAND": ssh, "TMPDIR": str(brief)})
        assert logins(sshd) == before
        assert subprocess.run([*ssh.split(), "-O", "check", *to], capture_output=True).returncode == 0, "it stays"
    finally:
        subprocess.run([*ssh.split(), "-O", "exit", *to], check=True, stderr=subprocess.DEVNULL)
    assert check(tmp_path / "remote") == {sha_of(b"abc")}


@pytest.mark.parametrize(
    "setting",
    ["RequestTTY force", "RequestTTY yes", "RemoteCommand tmux attach", "StdinNull yes", "SessionType none",
     "ForkAfterAuthentication yes", "PermitLocalCommand yes\nLocalCommand echo hello",
     "ExitOnForwardFailure yes\nLocalForward 127.0.0.1:TAKEN 127.0.0.1:9"],
)  # fmt: skip
def test_what_the_user_has_set_for_a_terminal_does_not_break_the_stream(
    sshd: Sshd, tmp_path: Path, setting: str
) -> None:
    ssh = config_of(sshd, tmp_path, setting.replace("TAKEN", str(sshd.port)))
    if b"Bad configuration option" in subprocess.run([*ssh.split(), "-G", "nas"], capture_output=True).stderr:
        pytest.skip(f"this ssh does not know {setting}")
    work = repository(tmp_path / "work", sshd.location(tmp_path / "remote"), {"a.bin": bytes(range(256)) * 99})
    work.sync("--push", env={"GIT_SSH_COMMAND": ssh})
    assert check(tmp_path / "remote") == check(work.content) != set()


def test_an_old_ssh_gets_no_option_that_it_does_not_know(sshd: Sshd, tmp_path: Path) -> None:
    """One before 6.8 has no -G, and stops at RemoteCommand and the like."""
    old = tmp_path / "old"
    old.mkdir()
    program(
        old / "ssh",
        'for word; do case "$word" in -G) echo "unknown option -- G" >&2; exit 255;;\n'
        "*RemoteCommand*|*SessionType*|*StdinNull*|*Fork*) echo 'Bad configuration option' >&2; exit 255;; esac; done\n"
        f'exec {sshd.command} "$@"',
    )
    work = repository(tmp_path / "work", sshd.location(tmp_path / "remote"), {"a.bin": b"abc"})
    work.sync("--push", env={"GIT_SSH_COMMAND": str(old / "ssh")})
    assert check(tmp_path / "remote") == {sha_of(b"abc")}


@pytest.mark.parametrize(
    "name", ["a b", "a%2Fb", "a%b", "a'b", 'a"b', "a\\b", "a#b", "a$HOME", "${X}", "~", "a;b", "größe"]
)
def test_a_temporary_folder_of_any_name(sshd: Sshd, tmp_path: Path, brief: Path, name: str) -> None:
    (brief / name).mkdir()
    for command in (sshd.command, f"umask 022; {sshd.command}"):
        work = repository(tmp_path / f"work{len(command)}", sshd.location(tmp_path / "remote"), {"a.bin": b"abc"})
        before = logins(sshd)
        work.sync("--push", "--recheck", env={"GIT_SSH_COMMAND": command, "TMPDIR": str(brief / name)})
        assert not list((brief / name).iterdir())
        shared = logins(sshd) == before + 1
        assert shared or set(name) & set('"\\$')
    assert check(tmp_path / "remote") == {sha_of(b"abc")}


def test_ssh_has_no_socket_where_the_file_system_has_none(tmp_path: Path, brief: Path, mocker: MockerFixture) -> None:
    assert ssh_of_ours.takes_sockets(str(brief))
    assert not ssh_of_ours.takes_sockets("/proc")
    mocker.patch("os.link", side_effect=PermissionError)
    assert not ssh_of_ours.takes_sockets(str(brief)), "ssh names its socket by a hard link"
    assert not list(brief.iterdir())


def test_a_key_with_a_passphrase_is_asked_for_where_that_is_wanted(sshd: Sshd, tmp_path: Path) -> None:
    key = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "open sesame", "-f", key], check=True)
    known = sshd.folder / "authorized_keys"
    with known.open("a") as file:
        file.write(Path(f"{key}.pub").read_text())
    config = tmp_path / "config"
    config.write_text((sshd.folder / "config").read_text().replace(f"{sshd.folder}/id", str(key)))
    program(tmp_path / "askpass", f'echo "$1" >>{tmp_path}/asked; echo open sesame')
    env = {"GIT_SSH_COMMAND": f"ssh -F {config}", "SSH_ASKPASS": str(tmp_path / "askpass")}
    work = repository(tmp_path / "work", sshd.location(tmp_path / "remote"), {"a.bin": b"abc"})
    (work.path / ".gitlobconfig").write_text("[git-lob]\n\taskpass = true\n")
    assert "login refused" in work.sync("--push", code=4, env=env).stderr, "a tracked file does not switch it on"
    assert not (tmp_path / "asked").exists(), "by default nobody is asked"
    work.git("config", "git-lob.askpass", "true")
    assert "login refused" in work.sync("--push", code=4, env={"GIT_SSH_COMMAND": f"ssh -F {config}"}).stderr
    work.sync("--push", env=env)
    assert "passphrase" in (tmp_path / "asked").read_text()
    assert check(tmp_path / "remote") == {sha_of(b"abc")}


# Where the far rsync is


def test_the_far_rsync_is_where_the_user_says(sshd: Sshd, tmp_path: Path) -> None:
    own = tmp_path / "own rsync"
    program(own, f'echo "$*" >>{tmp_path}/log; exec {shutil.which("rsync")} "$@"')
    work = repository(tmp_path / "work", sshd.location(tmp_path / "remote"), {"a.bin": b"abc"})
    (work.path / ".gitlobconfig").write_text(
        f"[git-lob]\n\trsync-path = touch {tmp_path}/executed; rsync\n"
        f'[remote "origin"]\n\tgit-lob-rsync-path = touch {tmp_path}/executed; rsync\n'
    )
    env = {"GIT_SSH_COMMAND": sshd.command}
    for key in ("git-lob.rsync-path", "remote.origin.git-lob-rsync-path"):
        said = work.sync("--push", "--recheck", env=env).stderr
        assert f"{key} in .gitlobconfig is ignored" in said
        assert not (tmp_path / "log").exists() and not (tmp_path / "executed").exists()
    work.git("config", "git-lob.rsync-path", "/nowhere/rsync")
    assert "rsync not found" in work.sync("--push", "--recheck", env=env, code=2).stderr
    work.git("config", "remote.origin.git-lob-rsync-path", f"'{own}'")
    work.sync("--push", "--recheck", env=env)
    assert "--server" in (tmp_path / "log").read_text()
    work.git("config", "git-lob.rsync-path", "a\tb")
    assert "git-lob.rsync-path" in one_line(work.sync("--push", env=env, code=2))


@pytest.mark.parametrize("text", ["nas", "nas.example.org", "C:/x", "C:\\x", "\\\\nas\\share"])
def test_what_may_be_a_host_is_not_made_into_a_folder(tmp_path: Path, text: str) -> None:
    work = repository(tmp_path / "work", None, {"a.bin": b"abc"})
    done = work.run("gitlob-setup", "origin", text, code=2)
    assert "./" in done.stderr and ("PATH" in done.stderr)
    assert not work.git("config", "--get", "remote.origin.git-lob-path", code=1)
    work.git("config", "remote.origin.git-lob-path", text)
    assert "remote.origin.git-lob-path" in one_line(work.sync("--push", code=2))
    assert not (work.path / text).exists()


def test_a_home_of_somebody_else(sshd: Sshd, tmp_path: Path) -> None:
    """~root is known everywhere; the far shell says where it is."""
    home = Path(os.path.expanduser("~root"))
    name = f".gitlob-test-{os.getpid()}-{free_port()}"
    work = repository(tmp_path / "work", f"ssh://127.0.0.1:{sshd.port}/~root/{name}", {"a.bin": b"abc"})
    try:
        work.sync("--push", env={"GIT_SSH_COMMAND": sshd.command})
        assert check(home / name) == {sha_of(b"abc")}
    finally:
        shutil.rmtree(home / name, ignore_errors=True)


# openrsync, and what goes on between folders of one machine


@pytest.mark.parametrize(
    "script",
    ["echo 'openrsync: protocol version 29' >&2", "echo 'rsync: unrecognized option `--version'\"'\" >&2; exit 1",
     "echo 'openrsync: protocol version 29'; echo 'rsync version 2.6.9 compatible'"],
)  # fmt: skip
def test_an_openrsync_here_is_named(ready: Work, tmp_path: Path, script: str) -> None:
    (tmp_path / "shim").mkdir()
    program(tmp_path / "shim" / "rsync", script)
    line = one_line(ready.sync("--push", code=2, env={"PATH": f"{tmp_path}/shim:{os.environ['PATH']}"}))
    assert "openrsync" in line and "rsync.samba.org" in line


@pytest.mark.parametrize("direction", ["--push", "--pull"])
def test_a_path_resumes_a_chunk_that_was_cut_off(tmp_path: Path, store: Path, direction: str) -> None:
    content = os.urandom(CHUNK)
    work = repository(tmp_path / "work", store, {"a.bin": content}, have=direction == "--push")
    if direction == "--pull":
        put(store, content)
    process = subprocess.Popen(["gitlob-sync", direction, "--bwlimit", "8m"], cwd=work.path, stderr=subprocess.DEVNULL)
    lands = store if direction == "--push" else work.content.parent / "staging"
    wait_until(lambda: any(at.stat().st_size > 16 << 20 for at in lands.rglob(".*_0.*")), "half comes", process=process)
    process.terminate()
    process.wait(30)
    (tmp_path / "shim").mkdir()
    program(
        tmp_path / "shim" / "rsync",
        f'[ "$1" != --version ] || exec {shutil.which("rsync")} --version\n'
        f'{shutil.which("rsync")} --stats "$@" >{tmp_path}/out\ncode=$?; cat {tmp_path}/out >>{tmp_path}/stats\n'
        f"cat {tmp_path}/out; exit $code",
    )
    work.sync(direction, env={"PATH": f"{tmp_path}/shim:{os.environ['PATH']}"})
    told = [line for line in (tmp_path / "stats").read_text().splitlines() if line.startswith("Literal data: ")]
    literal = sum(int(line.split()[2].replace(",", "")) for line in told)
    assert 0 < literal < CHUNK * 3 / 4
    assert check(store) == check(work.content) == {sha_of(content)}
    assert chunk(store, content).stat().st_size == CHUNK
