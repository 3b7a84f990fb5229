"""What is running in a repository's store.

A run that adds binaries, or relies on those that are there (a sync, the filter, the fix-up), is a user of the store: any
number at once, and none waits for another, however long its transfer takes. A run that deletes binaries (a purge) has to
be alone while it does: it waits for the users, and new ones wait for it.

Apart from that, some things are done by one run at a time (a turn): two syncs that pull a window would transfer the same
twice.

The locks are the kernel's (flock), so that those of a dead process are void at once. On a file system that has none, users
go on: they rely on unique names and renames. A run that has to be alone learns that it cannot be.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import IO

from gitlob_rsync.errors import ExitCode, GitlobError
from gitlob_rsync.store.store import Store
from gitlob_rsync.wording import counted

WAIT = 60.0
"""Seconds to wait for others, unless the user says otherwise."""
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Busy(GitlobError):
    """Other runs use the store, and did not end in time."""

    exit_code = ExitCode.LOCKED


@dataclass(frozen=True, slots=True)
class Job:
    """What is running. `since` in seconds since 1970."""

    what: str
    pid: int
    host: str
    since: float

    @classmethod
    def of(cls, file: IO[bytes]) -> "Job | None":
        """The run that left the note in a file, if it is still running: it holds the lock on that file then."""
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            if not take_now(file.fileno(), fcntl.LOCK_SH):
                said = json.load(file)
                return cls(str(said["what"]), int(said["pid"]), str(said["host"]), float(said["since"]))
        return None

    @classmethod
    def own(cls, what: str) -> "Job":
        return cls(what, os.getpid(), os.uname().nodename, time.time())

    def note(self) -> bytes:
        """The content of its note."""
        return json.dumps(asdict(self)).encode()

    def __str__(self) -> str:
        minutes, seconds = divmod(max(0, round(time.time() - self.since)), 60)
        number, unit = (minutes, "minute") if minutes else (seconds, "second")
        return f"{self.what} (pid {self.pid} on {self.host}, for {counted(number, unit)})"


@contextlib.contextmanager
def using(store: Store, what: str, wait: float = WAIT) -> Iterator[None]:
    """Be a user of a store. Raises Busy where a purge does not end in `wait` seconds."""
    with contextlib.ExitStack() as stack:
        # where we may not write, nothing is added, and no note can be left
        with contextlib.suppress(OSError):
            _take(store, fcntl.LOCK_SH, what, wait, stack)
        yield


@contextlib.contextmanager
def alone(store: Store, what: str, wait: float = WAIT) -> Iterator[bool]:
    """Have a store to ourselves; False where the file system has no locks. Raises Busy where others still use it after
    `wait` seconds, OSError where its folder cannot be written."""
    with contextlib.ExitStack() as stack:
        yield _take(store, fcntl.LOCK_EX, what, wait, stack)


@contextlib.contextmanager
def turn(store: Store, name: str, what: str, wait: float = WAIT) -> Iterator[None]:
    """Be the only one in a repository to do the thing called `name`. Raises Busy where another run does it for more than
    `wait` seconds. Where the file system has no locks, or we may not write, it is done all the same."""
    at = os.path.join(store.folder, f"{name}.lock")

    def holder() -> list[Job]:
        with contextlib.suppress(OSError), open(at, "rb") as file:
            return [job] if (job := Job.of(file)) else []
        return []

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            store.make_root()
            lock = _open(store, at, stack)
            if _acquire(lock, fcntl.LOCK_EX, at, holder, wait):
                os.ftruncate(lock, 0)
                os.pwrite(lock, Job.own(what).note(), 0)
        yield


def running(folder: str) -> list[Job]:
    """What is running in the store below `folder`, oldest first. Notes of killed runs are deleted."""
    found = []
    for name in _notes(folder):
        at = os.path.join(folder, "running", name)
        with contextlib.suppress(OSError), open(at, "rb") as file:
            if job := Job.of(file):
                found.append(job)
            elif take_now(file.fileno(), fcntl.LOCK_SH):
                os.unlink(at)
    return sorted(found, key=lambda job: job.since)


def _notes(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(os.path.join(folder, "running")) if not name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _take(store: Store, how: int, what: str, wait: float, stack: contextlib.ExitStack) -> bool:
    """Hold the lock, and leave a note, until the stack closes; False where the file system has no locks."""
    store.make_root()
    folder = store.folder
    at, notes = os.path.join(folder, "lock"), os.path.join(folder, "running")
    known = _acquire(_open(store, at, stack), how, folder, lambda: running(folder), wait)
    if known:
        # a full disk must not keep a purge from making room
        with contextlib.suppress(OSError):
            if not os.path.isdir(notes):
                os.makedirs(notes, exist_ok=True)
                store.sharing.apply(notes)
            _announce(notes, what, stack)
    return known


def _open(store: Store, at: str, stack: contextlib.ExitStack) -> int:
    lock = os.open(at, _FLAGS, 0o666)
    stack.callback(os.close, lock)
    with contextlib.suppress(PermissionError):  # another user of the group made it
        store.sharing.apply(at)
    return lock


def take_now(lock: int, how: int) -> bool:
    """Take a lock if it is free; False where it is not. Raises OSError where the file system has no locks."""
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _acquire(lock: int, how: int, place: str, holders: Callable[[], list[Job]], wait: float) -> bool:
    """Wait for a lock; False where the file system has none. Raises Busy."""
    deadline = time.monotonic() + wait
    try:
        while not take_now(lock, how):
            if time.monotonic() >= deadline:
                others = "; ".join(map(str, holders())) or "another run"
                raise Busy(f"{place} is in use: {others}", "wait for it to end, or longer: --lock-wait SECONDS")
            time.sleep(0.05)
    except OSError:
        return False
    return True


def _announce(notes: str, what: str, stack: contextlib.ExitStack) -> None:
    """Leave a note for those who have to wait, and for gitlob-status. It is valid as long as we hold the lock on it."""
    name = f"{os.getpid()}-{os.urandom(4).hex()}"
    new, at = os.path.join(notes, f".{name}"), os.path.join(notes, name)
    note = os.open(new, _FLAGS | os.O_EXCL, 0o666)
    stack.callback(os.close, note)
    fcntl.flock(note, fcntl.LOCK_EX)
    try:
        os.write(note, Job.own(what).note())
        os.rename(new, at)
    except OSError:
        _remove(new)
        raise
    stack.callback(_remove, at)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
