"""A real sshd and real rsync daemons on loopback."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


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


@contextlib.contextmanager
def daemon(tmp_path: Path, module: str) -> Iterator[str]:
    """A daemon with one module, `store`, on the folder tmp_path/module; yields rsync://HOST:PORT/store."""
    (tmp_path / "module").mkdir()
    port = free_port()
    config = tmp_path / "own.conf"
    config.write_text(
        f"use chroot = no\naddress = 127.0.0.1\nport = {port}\nuid = {os.getuid()}\ngid = {os.getgid()}\n"
        f"log file = {tmp_path}/own.log\n[store]\npath = {tmp_path}/module\nread only = no\n{module}\n"
    )
    process = subprocess.Popen(["rsync", "--daemon", "--no-detach", f"--config={config}"], stdin=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        yield f"rsync://127.0.0.1:{port}/store"
    finally:
        process.terminate()
        process.wait()
