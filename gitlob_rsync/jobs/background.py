"""A sync in the background: detached from the terminal, at low priority, one at a time per repository, writing a log."""

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
"""Bytes of a log before it is rotated; one older log is kept."""
_STOP_SECONDS = 30
_NICE = 10


def log_path(folder: str) -> str:
    return os.path.join(folder, "log", _LOG)


def running(folder: str) -> Job | None:
    """The background run of a repository, if there is one. `folder`: its Repo.folder."""
    with suppress(OSError), open(os.path.join(folder, _LOCK), "rb") as file:
        return Job.of(file)
    return None


def detach(store: Store, what: str) -> bool:
    """Continue in the background, and end this process with exit code 0; False if another run is in the background already.

    It forks, so the caller must not have started threads or hold locks. Raises OSError if the repository's folder cannot be
    written, GitlobError if its file system has no locks.
    """
    store.make_root()
    folder = store.folder
    lock = os.open(os.path.join(folder, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    with suppress(PermissionError):
        store.sharing.apply(os.path.join(folder, _LOCK))
    try:
        acquired = take_now(lock, fcntl.LOCK_EX)
    except OSError:
        raise GitlobError(
            f"{folder}: this file system does not support locks, which background runs need",
            "run it without --background",
        ) from None
    if not acquired:
        os.close(lock)
        return False
    log = _open_log(folder)
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():  # the child does not lead a session, so it cannot acquire a terminal
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number, target in ((0, nothing), (1, log), (2, log)):
        os.dup2(target, number)
    # the caller may wait for the end of a pipe, or for a lock, that we have inherited, as git does with its filter
    os.closerange(3, lock)
    os.closerange(lock + 1, os.sysconf("SC_OPEN_MAX"))
    os.ftruncate(lock, 0)
    os.pwrite(lock, Job.own(what).note(), 0)
    _be_polite()
    with suppress(OSError):  # a full disk must not stop the run
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
    """Lower our priority for the processor, and for the disk if ionice is installed."""
    with suppress(OSError):
        os.nice(_NICE)
    with suppress(GitlobError):
        process.run([process.tool("ionice"), "-c", "3", "-p", str(os.getpid())], env=process.clean_env())


def stop(folder: str) -> Job | None:
    """Stop the background run and wait until it has ended; what it transferred is kept. None if there is none.

    Raises GitlobError if it runs on another machine, or does not end.
    """
    job = running(folder)
    if not job:
        return None
    if job.host != os.uname().nodename:
        raise GitlobError(f"{job} is running on another machine", f"run gitlob-sync --stop on {job.host}")
    with suppress(ProcessLookupError):
        os.kill(job.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while running(folder):
        if time.monotonic() > deadline:
            raise GitlobError(f"{job} does not end", f"kill -9 {job.pid} is safe: nothing is lost")
        time.sleep(0.05)
    return job
