"""Processes: which run, waiting for what they do, programs of a few lines, and what one may not do."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def processes(of: Path) -> dict[int, str]:
    """What runs for a test: pid -> program, of rsync, ssh and gitlob-sync that name its folder in their command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes()
            name = (entry / "comm").read_text().strip()
        except OSError:
            continue
        if name in ("rsync", "ssh", "gitlob-sync") and os.fsencode(of) in words and b"--no-detach" not in words:
            found[int(entry.name)] = name
    return found


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def client_of(pid: int, of: Path) -> int:
    """The rsync that gitlob-sync started."""
    (found,) = [rsync for rsync, name in processes(of).items() if name == "rsync" and parent(rsync) == pid]
    return found


def wait_until(
    happened: Callable[[], bool], what: str, seconds: float = 60, process: "subprocess.Popen[Any] | None" = None
) -> None:
    """`process`: what has to go on until then."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"this did not happen in {seconds} seconds: {what}"
        assert process is None or process.poll() is None, f"it ended before this happened: {what}"
        time.sleep(0.02)


def program(at: Path, text: str) -> None:
    at.write_text(f"#!/bin/sh\n{text}\n")
    at.chmod(0o755)


def one_line(said: "subprocess.CompletedProcess[str]") -> str:
    """The only line on stderr, without our name."""
    assert said.stderr.count("\n") == 1, said.stderr
    assert said.stderr.startswith("gitlob-sync: ")
    assert said.stdout == ""
    return said.stderr.removeprefix("gitlob-sync: ").rstrip("\n")


UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
"""What root puts before a command so that the permissions of files mean something."""


def locked(
    path: Path, mode: int, run: Callable[[], "subprocess.CompletedProcess[str]"]
) -> "subprocess.CompletedProcess[str]":
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        return run()
    finally:
        path.chmod(before)
