"""A sync in the background: detached from the terminal, one at a time in a repository, polite, and writing a log."""

import fcntl
import os
import signal
import sys
import time
from contextlib import suppress

from gitlob_rsync import process
from gitlob_rsync.errors import GitlobError
from gitlob_rsync.store.locks import Job, take_now
from gitlob_rsync.store.store import Store

_LOCK = "background"
_LOG = "background.log"
_MOST = 1 << 20
"""Bytes of a log before it is put aside; the one before that goes."""
_STOP_SECONDS = 30
_NICE = 10


def log_path(folder: str) -> str:
    return os.path.join(folder, "log", _LOG)


def running(folder: str) -> Job | None:
    """The run at work in the background of the repository whose Repo.folder this is."""
    with suppress(OSError), open(os.path.join(folder, _LOCK), "rb") as file:
        return Job.of(file)
    return None


def detach(store: Store, what: str) -> bool:
    """Go on in the background, and end this process with 0; False where another run is there already.

    Raises OSError where the repository's folder cannot be written, GitlobError where it knows no locks. Whoever calls this
    has started no thread, and holds no lock: what goes on is a copy of this process.
    """
    store.make_root()
    folder = store.folder
    lock = os.open(os.path.join(folder, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    with suppress(PermissionError):
        store.sharing.apply(os.path.join(folder, _LOCK))
    try:
        mine = take_now(lock, fcntl.LOCK_EX)
    except OSError:
        raise GitlobError(
            f"{folder}: this file system knows no locks, so nobody could tell what runs in the background",
            "leave --background out",
        ) from None
    if not mine:
        os.close(lock)
        return False
    log = _open_log(folder)
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():  # no leader of a session: no terminal can become ours
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number, target in ((0, nothing), (1, log), (2, log)):
        os.dup2(target, number)
    # whoever started us may wait for the end of a pipe, or of a lock, that we have inherited: git does, of its filter's
    os.closerange(3, lock)
    os.closerange(lock + 1, os.sysconf("SC_OPEN_MAX"))
    os.ftruncate(lock, 0)
    os.pwrite(lock, Job.own(what).note(), 0)
    _be_polite()
    with suppress(OSError):  # a log on a full disk is no reason not to go on
        os.write(2, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {what} (pid {os.getpid()})\n".encode(errors="replace"))
    return True


def _open_log(folder: str) -> int:
    at = log_path(folder)
    os.makedirs(os.path.dirname(at), exist_ok=True)
    with suppress(FileNotFoundError):
        if os.stat(at).st_size > _MOST:
            os.replace(at, f"{at}.1")
    return os.open(at, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)


def _be_polite() -> None:
    """Let everybody else go first: with the processor, and with the disk where there is ionice."""
    with suppress(OSError):
        os.nice(_NICE)
    with suppress(GitlobError):
        process.run([process.tool("ionice"), "-c", "3", "-p", str(os.getpid())], env=process.clean_env())


def stop(folder: str) -> Job | None:
    """Ask the run in the background to end, and wait until it has; it keeps what had come. None where there is none.

    Raises GitlobError where it is on another machine, or does not end.
    """
    job = running(folder)
    if not job:
        return None
    if job.host != os.uname().nodename:
        raise GitlobError(f"{job} is on another machine", f"run gitlob-sync --stop on {job.host}")
    with suppress(ProcessLookupError):
        os.kill(job.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while running(folder):
        if time.monotonic() > deadline:
            raise GitlobError(f"{job} does not end", f"kill -9 {job.pid} loses nothing")
        time.sleep(0.05)
    return job
