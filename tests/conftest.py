"""Real repositories, a real sshd and a real rsync daemon on loopback; nothing of the developer's own is touched."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.servers import Daemon, Sshd, serve_rsync, serve_ssh
from tests.support.work import Work, init, own_environment


@pytest.fixture(autouse=True, scope="session")
def as_at_a_terminal() -> None:
    """What is started in the background of a script ignores Ctrl-C, and so does what that starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the developer's own counts."""
    for name in list(os.environ):
        if name.startswith(("GIT_", "PYTHON", "RSYNC_", "XDG_")):
            monkeypatch.delenv(name)
    for name, value in own_environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


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
    return folder


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with serve_ssh(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def rsyncd(tmp_path: Path) -> Iterator[Daemon]:
    with serve_rsync(tmp_path) as server:
        yield server


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The command lines of rsync since the last call (`rsync --version` does not count)."""
    folder, log = tmp_path / "shim", tmp_path / "runs"
    folder.mkdir()
    shim = folder / "rsync"
    shim.write_text(f'#!/bin/sh\n[ "$1" = --version ] || echo "$*" >>{log}\nexec {shutil.which("rsync")} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def taken() -> list[str]:
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    return taken


@pytest.fixture
def brief() -> Iterator[Path]:
    """A TMPDIR with a name short enough for the socket of a shared ssh connection."""
    folder = Path(tempfile.mkdtemp(prefix="g", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)
