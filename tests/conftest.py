"""Real repositories, a real sshd and a real rsync daemon on loopback; nothing of the developer's own is touched."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import programs
from tests.support.handmade import put

ROOT = Path(__file__).resolve().parent.parent
DAY = 86400


@pytest.fixture(autouse=True, scope="session")
def as_at_a_terminal() -> None:
    """What is started in the background of a script ignores Ctrl-C, and so does what that starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def own_environment(folder: Path) -> dict[str, str]:
    """A home, a configuration and an identity below a folder; our programs first on PATH."""
    home = folder / "home"
    home.mkdir()
    path = [
        str(ROOT / "bin"),
        str(Path(sys.executable).parent),
        "/usr/local/bin",
        "/usr/bin",
        "/bin",
        "/usr/sbin",
        "/sbin",
    ]
    (home / ".gitconfig").write_text('[init]\n\tdefaultBranch = main\n[protocol "file"]\n\tallow = always\n')
    return {
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CEILING_DIRECTORIES": str(folder),
        "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "C", "GIT_COMMITTER_EMAIL": "c@example.org",
        "PATH": os.pathsep.join(path),
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(folder),
        "LC_ALL": "C.UTF-8",
    }  # fmt: skip


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the developer's own counts."""
    for name in list(os.environ):
        if name.startswith(("GIT_", "PYTHON", "RSYNC_", "XDG_")):
            monkeypatch.delenv(name)
    for name, value in own_environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


@dataclass(frozen=True)
class Work:
    """A repository with a few short verbs. Contents and paths may be bytes."""

    path: Path

    def git(self, *args: str, input: bytes = b"", date: int | None = None, code: int = 0) -> bytes:
        env = dict(os.environ)
        if date is not None:
            env["GIT_AUTHOR_DATE"] = env["GIT_COMMITTER_DATE"] = f"{date} +0000"
        done = subprocess.run(["git", *args], cwd=self.path, input=input, env=env, capture_output=True)
        assert done.returncode == code, f"git {args}: {done.returncode}\n{done.stderr.decode(errors='replace')}"
        return done.stdout

    def write(self, path: str | bytes, content: bytes | str) -> None:
        at = os.path.join(os.fsencode(self.path), os.fsencode(path))
        os.makedirs(os.path.dirname(at), exist_ok=True)
        with open(at, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)

    def read(self, path: str | bytes) -> bytes:
        with open(os.path.join(os.fsencode(self.path), os.fsencode(path)), "rb") as file:
            return file.read()

    def commit(self, message: str = "change", date: int | None = None, **files: bytes | str) -> str:
        """Write files (`a__bin` stands for a.bin), add everything, commit; returns the commit."""
        for name, content in files.items():
            self.write(name.replace("__", "."), content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message, date=date)
        return self.git("rev-parse", "HEAD").decode().strip()

    def fetches(self, *remotes: str) -> None:
        """Have remotes be fetched as git configures it; else no ref is known to be a branch of theirs."""
        for remote in remotes:
            self.git("config", f"remote.{remote}.fetch", f"+refs/heads/*:refs/remotes/{remote}/*")

    def run(
        self, *argv: str, code: int | None = 0, env: dict[str, str] | None = None, cwd: str = "."
    ) -> subprocess.CompletedProcess[str]:
        """One of our commands, which must end with `code` (None: whatever)."""
        done = programs.run(argv, cwd=self.path / cwd, env={**os.environ, **(env or {})}, timeout=300)
        assert code is None or done.returncode == code, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def sync(
        self, *args: str, code: int | None = 0, env: dict[str, str] | None = None, cwd: str = "."
    ) -> subprocess.CompletedProcess[str]:
        return self.run("gitlob-sync", *args, code=code, env=env, cwd=cwd)

    def json(self, *args: str, code: int | None = 0, env: dict[str, str] | None = None) -> dict:
        return json.loads(self.sync(*args, "--json", code=code, env=env).stdout)

    def listed(self, *args: str, cwd: str = ".") -> dict[str, bytes]:
        """What --list -z prints: sha -> path."""
        out = os.fsencode(self.sync("--list", "-z", *args, cwd=cwd).stdout)
        rows = [row.split(b" ", 2) for row in out.split(b"\0")[:-1]]
        return {sha.decode(): path for sha, _, path in rows}

    @property
    def content(self) -> Path:
        common = self.git("rev-parse", "--git-common-dir").decode().strip()  # relative to us, or absolute
        return Path(os.path.abspath(self.path / common)) / "git-lob" / "content"

    @property
    def staging(self) -> list[Path]:
        folder = self.content.parent / "staging"
        return sorted(folder.iterdir()) if folder.exists() else []


def init(path: Path, *args: str, attributes: str = "*.bin filter=lob -text\n", location: object = None) -> Work:
    """A repository in which *.bin are binaries; `location`: where the store of its remote origin is."""
    subprocess.run(["git", "init", "-q", "-b", "main", *args, path], check=True)
    work = Work(path)
    work.run("gitlob-setup", "-q", *(["origin", str(location)] if location else []))
    if attributes:
        work.write(".gitattributes", attributes)
    return work


def clone(origin: Work, path: Path, *args: str, location: object = None) -> Work:
    """A clone whose placeholders wait to be filled in."""
    subprocess.run(["git", "clone", "-q", *args, str(origin.path), str(path)], check=True)
    work = Work(path)
    work.run("gitlob-setup", "-q", *(["origin", str(location)] if location else []))
    return work


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where a remote store is to be; it is not there yet."""
    return tmp_path / "remote" / "store"


@pytest.fixture
def work(tmp_path: Path, store: Path) -> Work:
    """A repository whose remote origin has a store at a path."""
    return init(tmp_path / "work", location=store)


@pytest.fixture
def handmade(tmp_path: Path) -> Path:
    """A store made without our code, empty; `put` fills it."""
    folder = tmp_path / "handmade"
    folder.mkdir()
    assert put
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, "the server ended"
        time.sleep(0.05)
    raise AssertionError("the server does not listen")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    if process.poll() is None:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Sshd:
    """A running sshd. `command` is the ssh that reaches it, for GIT_SSH_COMMAND or core.sshCommand."""

    port: int
    folder: Path
    command: str

    def location(self, path: Path) -> str:
        return f"ssh://127.0.0.1:{self.port}{path}"

    def forced(self, script: str) -> str:
        """The ssh command of a key for which the server runs `script` in the place of what was asked for
        ("$SSH_ORIGINAL_COMMAND")."""
        key = self.folder / "forced"
        if not key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        at = self.folder / "forced.sh"
        at.write_text(script)
        own = (self.folder / "id.pub").read_text()
        public = Path(f"{key}.pub").read_text()
        (self.folder / "authorized_keys").write_text(f'{own}command="sh {at}" {public}')
        return self.command.replace(str(self.folder / "config"), str(self.folder / "config.forced"))


@contextlib.contextmanager
def serve_ssh(folder: Path, *settings: str) -> Iterator[Sshd]:
    """An sshd whose keys and configurations are in a folder; `settings` are lines of its own configuration."""
    port = free_port()
    for key in ("host", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    shutil.copy(folder / "id.pub", folder / "authorized_keys")
    os.makedirs("/run/sshd", exist_ok=True)
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nPasswordAuthentication no\nPermitRootLogin yes\nUsePAM no\n"
        "MaxStartups 100\nMaxSessions 100\n" + "".join(f"{line}\n" for line in settings)
    )
    host_key = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
    config = (
        f"UserKnownHostsFile {folder}/known_hosts\nGlobalKnownHostsFile /dev/null\nIdentitiesOnly yes\nIdentityFile "
    )
    (folder / "config").write_text(f"{config}{folder}/id\n")
    (folder / "config.forced").write_text(f"{config}{folder}/forced\n")
    sshd_path = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    assert sshd_path, "these tests need openssh-server"
    process = subprocess.Popen(
        [sshd_path, "-D", "-e", "-f", folder / "sshd_config"], stderr=(folder / "log").open("wb")
    )
    try:
        _await_port(port, process)
        yield Sshd(port, folder, f"ssh -F {folder}/config")
    finally:
        _end(process)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with serve_ssh(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@dataclass(frozen=True)
class Daemon:
    """A running rsync daemon with the modules `store` (writable) and `readonly`, both on `folder`."""

    port: int
    folder: Path
    pid: int

    def location(self, path: str = "", module: str = "store") -> str:
        return f"rsync://127.0.0.1:{self.port}/{module}/{path}"


@contextlib.contextmanager
def serve_rsync(top: Path, program: str = "rsync") -> Iterator[Daemon]:
    """The daemon of an rsync; its files are below a folder."""
    folder = top / "rsyncd"
    folder.mkdir()
    port = free_port()
    config = top / "rsyncd.conf"
    who = "uid = root\ngid = root\n" if os.getuid() == 0 else ""
    config.write_text(
        f"{who}use chroot = no\naddress = 127.0.0.1\nport = {port}\nlog file = {top}/rsyncd.log\n"
        f"[store]\npath = {folder}\nread only = no\n[readonly]\npath = {folder}\nread only = yes\n"
    )
    process = subprocess.Popen([program, "--daemon", "--no-detach", f"--config={config}"], stdin=subprocess.DEVNULL)
    try:
        _await_port(port, process)
        yield Daemon(port, folder, process.pid)
    finally:
        _end(process)


@pytest.fixture
def rsyncd(tmp_path: Path) -> Iterator[Daemon]:
    with serve_rsync(tmp_path) as server:
        yield server
