"""What can go wrong, and the exit codes for it.

    GitlobError               1  failed
      UsageError              2  wrong usage or configuration; nothing was done
      ToolError               1  git or rsync failed, and not by a fault of the user
        ToolKilled          1  a signal ended it
      RemoteError             4  the remote cannot be reached or broke off
      locks.Busy              5  another run holds the lock
    KeyboardInterrupt       130  Ctrl-C
      Interrupted       128 + n  another signal asked us to stop

Each class owns its exit code (every manual page has the table). Code 3, "finished, but
binaries are missing or damaged", is not an error: it comes from a report. Code 70 is for anything else.
"""

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

_FULL = (errno.ENOSPC, errno.EDQUOT)


class ExitCode(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    INCOMPLETE = 3
    REMOTE = 4
    LOCKED = 5
    BUG = 70
    INTERRUPTED = 130


class GitlobError(Exception):
    """An expected failure: one line that names the thing and the place, and in `hint` what to do about it."""

    exit_code: int = ExitCode.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def line(self) -> str:
        """The message and its hint, as one printable line, whatever a tool quoted."""
        text = f"{self} ({self.hint})" if self.hint else str(self)
        return printable(" ".join(text.split()))


def line_of(error: GitlobError | OSError) -> str:
    """The same, also for an error of the system."""
    if isinstance(error, GitlobError):
        return error.line()
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    text = f"{where}: {error.strerror}" if where else str(error)
    return printable(f"{text} ({hint})" if (hint := way_out(error)) else text)


def way_out(error: OSError) -> str:
    return "make room there, and run it again" if error.errno in _FULL else ""


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Have an error about a full disk name the place: after a write it names no file, and for a file in an open folder it
    does not say where that is."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL and not os.path.isabs(error.filename or ""):
            error.filename = path
        raise


def printable(text: str) -> str:
    """Text without control characters: it may hold a path, or the words of another machine."""
    return "".join(c if c.isprintable() or c == "\t" else "?" for c in text)


class UsageError(GitlobError):
    exit_code = ExitCode.USAGE


class ToolError(GitlobError):
    pass


class ToolKilled(ToolError):
    """A signal ended the tool: its arguments need not be wrong."""


class RemoteError(GitlobError):
    exit_code = ExitCode.REMOTE


class Interrupted(KeyboardInterrupt):
    """Raised from a signal handler, so that every `with` and `finally` on the way out does its work. Like Ctrl-C, it is not
    an Exception, which may be caught and survived."""

    LINE = "interrupted (run it again: it goes on where it stopped)"

    def __init__(self, number: int) -> None:
        super().__init__(self.LINE)
        self.number = number


def signal_of(error: KeyboardInterrupt) -> int:
    """The number of the signal that interrupted us."""
    return error.number if isinstance(error, Interrupted) else signal.SIGINT
