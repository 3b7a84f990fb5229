"""Who runs for a test, and kill -9 of one of them at a chosen moment: when so many things were done to files."""

import ctypes
import os
import random
import select
import signal
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import wait_until

OURS = ("gitlob-sync", "gitlob-filter", "gitlob-purge")
SECONDS = 60
"""What may take this long hangs."""

_OPEN, _MODIFY, _CLOSED, _FROM, _TO, _CREATE, _DELETE = 0x20, 0x2, 0x8, 0x40, 0x80, 0x100, 0x200
_ONLY_FOLDERS = 0x01000000
_IS_FOLDER = 0x40000000
_EVENT = struct.Struct("iIII")
_LIBC = ctypes.CDLL(None, use_errno=True)


class Events:
    """What is done to the files below some folders (inotify(7)): it goes as far as the work does, however slow the
    machine. Use it in a `with` block."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.count = 0
        self._folders: dict[int, bytes] = {}
        self._fd: int = _LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._fd >= 0, os.strerror(ctypes.get_errno())
        for folder in folders:
            self._watch(os.fsencode(folder))

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def _watch(self, top: bytes) -> None:
        for folder, _, _ in os.walk(top):
            mask = _OPEN | _MODIFY | _CLOSED | _FROM | _TO | _CREATE | _DELETE | _ONLY_FOLDERS
            if (number := _LIBC.inotify_add_watch(self._fd, folder, mask)) >= 0:
                self._folders[number] = folder

    def look(self) -> None:
        """Wait a moment for events, and count them."""
        select.select([self._fd], [], [], 0.01)
        data = b""
        with suppress(BlockingIOError):
            data = os.read(self._fd, 4096)
        at = 0
        while at < len(data):
            number, mask, _, size = _EVENT.unpack_from(data, at)
            name = data[at + _EVENT.size : at + _EVENT.size + size].rstrip(b"\0")
            at += _EVENT.size + size
            if not mask & _IS_FOLDER:  # reading a folder, as we do, is none
                self.count += 1
            elif mask & (_CREATE | _TO):
                self._watch(os.path.join(self._folders[number], name))


@dataclass(frozen=True)
class Ended:
    """How what was started ended, and whether a process was killed on the way. `seen`: a role -> after how many events it
    was at work."""

    code: int
    stderr: str
    killed: bool
    seen: dict[str, list[int]]


@dataclass(frozen=True)
class Kill:
    """Who is killed: the first of this role, or one of the first, that is at work after so many events. `within`: one of
    our programs, after so many things that it did to files itself."""

    role: str
    after: int
    rng: random.Random
    within: bool = False


class Crowd:
    """The processes of a test: those that have its TMPDIR, and what a server runs for it."""

    def __init__(self, tmp_path: Path, server: int | None = None) -> None:
        self._tmp_path = tmp_path
        self._mark = b"\0TMPDIR=%s\0" % os.environb[b"TMPDIR"]
        self._server = server
        """The rsync daemon, if there is one: it is not killed, what it starts is."""
        self._others = {entry for entry in os.listdir("/proc") if entry.isdigit()}

    def alive(self) -> Iterator[tuple[int, str]]:
        """pid and role of each."""
        for entry in os.listdir("/proc"):
            if entry.isdigit() and entry not in self._others:
                with suppress(OSError):
                    if role := self._role(int(entry)):
                        yield int(entry), role

    def _role(self, pid: int) -> str | None:
        """None for what is not of this test, or dead, but not yet reaped: that has no command line."""
        at = Path("/proc", str(pid))
        words = _words(pid)
        if words == [b""]:
            return None
        name = (at / "comm").read_text().strip()
        if name == "rsync":
            parent = _parent(pid)
            served = b"--server" in words and any(os.fsencode(self._tmp_path) in word for word in words)
            if served or (self._server and self._server in (parent, _parent(parent))):
                return "the far rsync"
        if self._mark not in b"\0" + (at / "environ").read_bytes():
            return None
        for ours in OURS:
            if any(os.path.basename(word) == ours.encode() for word in words[:3]):
                # a fork that is about to become git or rsync has our command line for a moment
                return f"the child of {ours}" if words == _words(_parent(pid)) else ours
        if name != "rsync":
            return name
        if b"--version" in words:
            return "rsync --version"
        return "the child of rsync" if _comm(parent) == "rsync" else "rsync"

    def run(self, argv: Sequence[str], cwd: Path, folders: Sequence[Path], kill: Kill | None = None) -> Ended:
        """Run a command to its end, or to that of a `kill`; events are those in `folders`."""
        errors = self._tmp_path / "stderr"
        killed = False
        mark = self._tmp_path / "killed"
        mark.unlink(missing_ok=True)
        env = dict(os.environ)
        if kill and kill.within:
            env["GITLOB_KILLED"] = f"{kill.role}:{kill.after}:{mark}"
            env["PYTHONPATH"] = f"{Path(__file__).parent}:{env['PYTHONPATH']}"
        seen: dict[str, list[int]] = {}
        with Events(folders) as events, errors.open("wb") as stderr:
            process = subprocess.Popen(
                argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
            )
            end = time.monotonic() + SECONDS
            while process.poll() is None:
                assert time.monotonic() < end, f"{argv} hangs\n{errors.read_text()}"
                events.look()
                if not kill:
                    for _, role in self.alive():
                        seen.setdefault(role, []).append(events.count)
                elif not (kill.within or killed) and events.count >= kill.after:
                    killed = self._kill(kill.role, kill.rng)
        return Ended(process.returncode, errors.read_text(), killed or mark.exists(), seen)

    def _kill(self, role: str, rng: random.Random) -> bool:
        """Kill one of a role, if there is one: at the receiving side rsync is two."""
        if pids := [pid for pid, found in self.alive() if found == role]:
            with suppress(ProcessLookupError):
                os.kill(rng.choice(pids), signal.SIGKILL)
                return True
        return False

    def settle(self) -> None:
        """Nothing that was started outlives what started it for long. A connection that ssh keeps for the next rsync would
        do so for a minute, doing nothing: it is ended."""
        for pid, role in self.alive():
            if role == "ssh" and b"[mux]" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not list(self.alive()), "everything that was started ends", SECONDS)

    def end(self) -> None:
        for pid, _ in self.alive():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _words(pid: int) -> list[bytes]:
    return Path("/proc", str(pid), "cmdline").read_bytes().split(b"\0")


def _parent(pid: int) -> int:
    """0 for one that is gone."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _comm(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""
