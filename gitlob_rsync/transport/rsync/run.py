"""One run of rsync: starts it, reads its reports, and ends it with all its processes. The only user of `sh`."""

import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Any

from gitlob_rsync import process
from gitlob_rsync.progress import Meter
from gitlob_rsync.store.layout import IN_TEXT
from gitlob_rsync.transport.base import Item
from gitlob_rsync.transport.rsync.reports import Heard, Patience, listen

_NO_FOLDER = re.compile(
    rf'(change_dir|link_stat) "[^"]*{IN_TEXT}"( \(in .*\))? failed: '.encode()
    + rb"(No such file or directory \(2\)|Not a directory \(20\))"
)
"""A folder of a store does not exist, or is something else."""


_LEAVE = 5.0
"""Seconds to wait for a thread that is ending."""


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    items: list[Item]
    stderr: str
    moved: int
    folders: dict[str, int] = field(default_factory=dict)

    def sizes(self) -> dict[str, int]:
        return {item.name: item.size for item in self.items}


def run(
    argv: Sequence[str], names: Iterable[str], meter: Meter, *, env: Mapping[str, str],
    patience: int, steady: bool = False, umask: int | None = None, arrived: Callable[[str], None] | None = None,
) -> Ended:  # fmt: skip
    """Start rsync in a session of its own, feed it a list of names, read its reports, and make sure that none of its
    processes outlive us. Calls `arrived` with each file while the transfer goes on.

    Stops it after `patience` seconds of silence; `steady`: it reports all the time unless something is wrong.
    """
    with process.scratch() as feed, tempfile.TemporaryFile() as errors:
        feed.writelines(name.encode() + b"\0" for name in names)
        feed.seek(0)
        return _supervise(argv, env, feed, errors, meter, patience, steady, umask, arrived)


def _supervise(
    argv: Sequence[str], env: Mapping[str, str], feed: IO[bytes], errors: IO[bytes], meter: Meter,
    patience: int, steady: bool, umask: int | None, arrived: Callable[[str], None] | None,
) -> Ended:  # fmt: skip
    import sh

    threads = set(threading.enumerate())
    read_end, write_end = os.pipe()
    with open(read_end, "rb", buffering=0) as reports:
        with open(write_end, "wb") as output:
            with _umask(umask):
                # paths are bytes, but sh encodes arguments: latin-1 maps every byte to itself
                plain = [os.fsencode(word).decode("latin-1") for word in (process.tool("rsync"), *argv)]
                running = sh.Command(plain[0])(
                    *plain[1:], _encoding="latin-1", _in=feed, _out=output, _err=errors, _tty_out=False,
                    _bg=True, _bg_exc=False, _new_session=True, _preexec_fn=process.end_with_parent,
                    _close_fds=_lists_descriptors(),
                    _ok_code=list(range(256)), _env=dict(env),
                )  # fmt: skip
        heard = Heard()
        said = ""
        silence = Patience(patience, None if steady else lambda: process.bytes_read(running.pid))
        try:
            if listen(reports, running.is_alive, silence, arrived, heard, meter):
                running.wait()
                code = running.exit_code
            else:
                _stop(running)
                code, said = 30, f"it sent nothing for {patience} seconds"
        except sh.SignalException as error:
            _stop(running)  # its receiver may still be running
            code = error.exit_code
        except BaseException:
            _stop(running)
            raise
        finally:
            _join(set(threading.enumerate()) - threads)
    return Ended(code, heard.items, said or _stderr_of(errors), heard.moved, heard.folders)


def _lists_descriptors() -> bool:
    """Whether sh can list the descriptors to close before it starts a program; it fails without /proc. Our own descriptors
    are closed in any case; only those that we inherited would stay open."""
    return os.path.isdir("/dev/fd") or os.path.isdir("/proc/self/fd")


def _join(threads: Iterable[threading.Thread]) -> None:
    """Wait for the threads that sh started for a program: it leaves one of them running, and a process with threads must
    not fork (Python 3.12 warns about it)."""
    for thread in threads:
        thread.join(_LEAVE)


@contextmanager
def _umask(mask: int | None) -> Iterator[None]:
    """Start programs in the block with this umask; None: with our own."""
    if mask is None:
        yield
        return
    own = os.umask(mask)
    try:
        yield
    finally:
        os.umask(own)


def _stderr_of(errors: IO[bytes]) -> str:
    """What was printed on stderr, without messages about missing folders of a store: they only mean that files are
    missing."""
    said, at, rest = bytearray(), 0, b""
    # no seek and read: an ssh that still writes shares the file's position
    while block := os.pread(errors.fileno(), 1 << 20, at):
        at += len(block)
        *lines, rest = (rest + block).split(b"\n")
        said += b"".join(line + b"\n" for line in lines if len(said) < 1 << 20 and not _NO_FOLDER.search(line))
    return (said + rest).decode(errors="replace")


def _stop(running: Any) -> None:
    """End rsync and all its processes: SIGTERM first, then wait for the whole group, since a receiver outlives its
    leader."""
    deadline = time.monotonic() + 4
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            running.is_alive()  # reaps the leader
            os.killpg(running.pid, 0)
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGKILL)
    with suppress(Exception):
        running.wait()
