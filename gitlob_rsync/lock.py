"""Who is at work in a repository's store.

Whoever brings binaries in, or counts on those that are there (a sync, the filter, the fix-up), is a user of the store: any
number at once, and none waits for another, however long its transfer takes. Whoever takes binaries away (a purge) has to
be alone for the moment in which it does: it waits for the users, and who comes then waits for it.

The locks are the kernel's (flock), so that a dead holder's is void at once. On a file system that has none, users go on:
unique names and renames are what they rely on; who has to be alone is told that it cannot be had.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from gitlob_rsync.errors import ExitCode, GitlobError

WAIT = 60.0
"""Seconds to wait for others, unless the user says otherwise."""
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Busy(GitlobError):
    """Others are at work, and did not end in time."""

    exit_code = ExitCode.LOCKED


@dataclass(frozen=True, slots=True)
class Job:
    """A run at work. `since` in seconds since 1970."""

    what: str
    pid: int
    host: str
    since: float

    def __str__(self) -> str:
        minutes, seconds = divmod(max(0, round(time.time() - self.since)), 60)
        age = f"{minutes} minutes" if minutes else f"{seconds} seconds"
        return f"{self.what} (pid {self.pid} on {self.host}, for {age})"


@contextlib.contextmanager
def using(folder: str, what: str, wait: float = WAIT) -> Iterator[None]:
    """Be a user of the store below `folder` (Repo.folder). Raises Busy where a purge does not end in `wait` seconds."""
    with contextlib.ExitStack() as stack:
        # where we may not write, nothing is brought in, and nobody could be told
        with contextlib.suppress(OSError):
            lock = _open(folder, "lock")
            stack.callback(os.close, lock)
            _acquire(lock, fcntl.LOCK_SH, folder, wait)
            _announce(folder, what, stack)
        yield


@contextlib.contextmanager
def alone(folder: str, what: str, wait: float = WAIT) -> Iterator[bool]:
    """Have the store below `folder` to ourselves; False where the file system knows no locks. Raises Busy where others are
    still at work after `wait` seconds, OSError where the folder cannot be written."""
    with contextlib.ExitStack() as stack:
        lock = _open(folder, "lock")
        stack.callback(os.close, lock)
        known = _acquire(lock, fcntl.LOCK_EX, folder, wait)
        _announce(folder, what, stack)
        yield known


@contextlib.contextmanager
def only_one(folder: str, name: str) -> Iterator[bool]:
    """Whether no other run holds the lock `name` in `folder`: nobody is waited for."""
    lock = _open(folder, name)
    try:
        yield _try(lock, fcntl.LOCK_EX)
    finally:
        os.close(lock)


def running(folder: str) -> list[Job]:
    """The runs at work in the store below `folder`, oldest first. What a killed one left of itself is removed."""
    found = []
    for name in _notes(folder):
        at = os.path.join(folder, "running", name)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError), open(at, "rb") as file:
            if _try(file.fileno(), fcntl.LOCK_SH):
                os.unlink(at)
                continue
            said = json.load(file)
            found.append(Job(str(said["what"]), int(said["pid"]), str(said["host"]), float(said["since"])))
    return sorted(found, key=lambda job: job.since)


def _notes(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(os.path.join(folder, "running")) if not name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _open(folder: str, name: str) -> int:
    os.makedirs(folder, exist_ok=True)
    return os.open(os.path.join(folder, name), _FLAGS, 0o666)


def _try(lock: int, how: int) -> bool:
    """Take a lock that nobody has. Raises OSError, but for BlockingIOError, where there are no locks."""
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _acquire(lock: int, how: int, folder: str, wait: float) -> bool:
    """Wait for a lock; False where the file system knows none. Raises Busy."""
    deadline = time.monotonic() + wait
    try:
        while not _try(lock, how):
            if time.monotonic() >= deadline:
                others = "; ".join(map(str, running(folder))) or "another run"
                raise Busy(f"{folder} is in use: {others}", "wait for it to end, or longer: --lock-wait SECONDS")
            time.sleep(0.05)
    except OSError:
        return False
    return True


def _announce(folder: str, what: str, stack: contextlib.ExitStack) -> None:
    """Leave a note for who has to wait, and for gitlob-status. It counts as long as we hold the lock on it."""
    notes = os.path.join(folder, "running")
    os.makedirs(notes, exist_ok=True)
    name = f"{os.getpid()}-{os.urandom(4).hex()}"
    new, at = os.path.join(notes, f".{name}"), os.path.join(notes, name)
    note = os.open(new, _FLAGS | os.O_EXCL, 0o666)
    stack.callback(os.close, note)
    try:
        fcntl.flock(note, fcntl.LOCK_EX)
    except OSError:
        os.unlink(new)
        return
    said = {"what": what, "pid": os.getpid(), "host": os.uname().nodename, "since": time.time()}
    os.write(note, json.dumps(said).encode())
    os.rename(new, at)
    stack.callback(_remove, at)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
