"""One run of rsync: started, listened to, and ended with all that it started. The only user of `sh`."""

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
from gitlob_rsync.transport.base import Item
from gitlob_rsync.transport.rsync.reports import Heard, Patience, listen

_NO_FOLDER = re.compile(
    rb'(change_dir|link_stat) "[^"]*\b[0-9a-f]{3}/[0-9a-f]{3}(/[0-9a-f]{40}_(meta|\d+))?"( \(in .*\))? failed: '
    rb"(No such file or directory \(2\)|Not a directory \(20\))"
)
"""A folder of a store is not there, or something else stands in its place."""


_LEAVE = 5.0
"""Seconds for a thread that has been told to end."""


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
    """Start rsync in a session of its own, give it a list of names, read what it reports, and see to it that nothing of it
    outlives us. `arrived` is told of each file that came while others still come.

    It is stopped when it is silent for `patience` seconds; `steady`: it reports all the time while all is well.
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

    there = set(threading.enumerate())
    read_end, write_end = os.pipe()
    with open(read_end, "rb", buffering=0) as reports:
        with open(write_end, "wb") as output:
            with _umask(umask):
                # paths are bytes: sh writes arguments in an encoding, and this one has every byte
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
            _stop(running)  # its receiver may live on
            code = error.exit_code
        except BaseException:
            _stop(running)
            raise
        finally:
            _join(set(threading.enumerate()) - there)
    return Ended(code, heard.items, said or _told(errors), heard.moved, heard.folders)


def _lists_descriptors() -> bool:
    """Whether sh finds out which descriptors to close, as it does before it starts a program: without /proc it fails. All
    of ours are closed anyway; what stays open then is what somebody left open for us."""
    return os.path.isdir("/dev/fd") or os.path.isdir("/proc/self/fd")


def _join(threads: Iterable[threading.Thread]) -> None:
    """See to it that the threads by which sh looked after a program are gone: it does not wait for one of them, and no
    process with threads may fork again (Python 3.12 warns of it)."""
    for thread in threads:
        thread.join(_LEAVE)


@contextmanager
def _umask(mask: int | None) -> Iterator[None]:
    """Have what is started in the block run with this umask, or with our own."""
    if mask is None:
        yield
        return
    own = os.umask(mask)
    try:
        yield
    finally:
        os.umask(own)


def _told(errors: IO[bytes]) -> str:
    """What was said on stderr, but for folders of a store that are not there: what they would hold is not there either."""
    said, at, rest = bytearray(), 0, b""
    # not by seek and read: an ssh that still writes shares the file's position
    while block := os.pread(errors.fileno(), 1 << 20, at):
        at += len(block)
        *lines, rest = (rest + block).split(b"\n")
        said += b"".join(line + b"\n" for line in lines if len(said) < 1 << 20 and not _NO_FOLDER.search(line))
    return (said + rest).decode(errors="replace")


def _stop(running: Any) -> None:
    """End rsync and all it started: ask first, and wait for the whole group, since a receiver outlives its leader."""
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
