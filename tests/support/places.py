"""Where remote stores are: one for each way there."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.servers import Daemon, Sshd


@dataclass(frozen=True)
class Place:
    """Where a remote store is to be: its location, and the folder that this is; it is not there yet."""

    location: str
    folder: Path


def make_place(kind: str, request: pytest.FixtureRequest) -> Place:
    folder: Path = request.getfixturevalue("tmp_path") / "remote" / "deep" / "er"
    if kind.startswith("daemon"):
        daemon: Daemon = request.getfixturevalue("rsyncd")
        if kind == "daemon root":
            return Place(daemon.location(), daemon.folder)
        return Place(daemon.location("deep/er"), daemon.folder / "deep" / "er")
    if kind == "path":
        return Place(str(folder), folder)
    sshd: Sshd = request.getfixturevalue("sshd")
    config = folder.parents[2] / "ssh_config"
    config.write_text(
        f"{(sshd.folder / 'config').read_text()}"
        f"Host nas\n  HostName 127.0.0.1\n  Port {sshd.port}\n  HostKeyAlias [127.0.0.1]:{sshd.port}\n"
    )
    patch = request.getfixturevalue("monkeypatch")
    patch.setenv("GIT_SSH_COMMAND", f"ssh -F {config}")
    if os.environ["TMPDIR"] == str(folder.parents[2]):  # too long for the socket of a connection that runs share
        patch.setenv("TMPDIR", str(request.getfixturevalue("brief")))
    forms = {"ssh": sshd.location(folder), "host:path": f"root@nas:{folder}"}
    return Place(forms[kind], folder)
