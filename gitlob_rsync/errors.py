"""What can go wrong, and the exit code that says so.

    GitlobError               1  failed
      UsageError              2  wrong usage or configuration; nothing was done
      ToolError               1  git or rsync failed in a way that is not the user's doing
        ToolKilled          1  a signal ended it, whatever it was asked
      RemoteError             4  the remote cannot be reached or broke off
      lock.Busy               5  another run holds the lock
    KeyboardInterrupt       130  Ctrl-C
      Interrupted       128 + n  another signal asked us to stop

Each class owns its exit code (the table of spec/commands.md, repeated in every manual page). Code 3, "finished, but
binaries are missing or damaged", is not an error: it is read off a report. Code 70 is whatever is not in this tree.
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
    """An expected failure: one line that names the thing and the place, and in `hint` the way out."""

    exit_code: int = ExitCode.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def line(self) -> str:
        """The message and its way out, as one printable line: what a tool quoted is folded into it."""
        text = f"{self} ({self.hint})" if self.hint else str(self)
        return printable(" ".join(text.split()))


def line_of(error: GitlobError | OSError) -> str:
    """The same for what the system refused."""
    if isinstance(error, GitlobError):
        return error.line()
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    text = f"{where}: {error.strerror}" if where else str(error)
    return printable(f"{text} ({hint})" if (hint := way_out(error)) else text)


def way_out(error: OSError) -> str:
    return "make room there, and run it again" if error.errno in _FULL else ""


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Have an error that says that a disk is full say which: that of a write names no file, that of a file in an open
    folder not where it is."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL and not os.path.isabs(error.filename or ""):
            error.filename = path
        raise


def printable(text: str) -> str:
    """Text without what a terminal would act on: it may hold a path, or a far machine's words."""
    return "".join(c if c.isprintable() or c == "\t" else "?" for c in text)


class UsageError(GitlobError):
    exit_code = ExitCode.USAGE


class ToolError(GitlobError):
    pass


class ToolKilled(ToolError):
    """Nothing is wrong with what it was asked."""


class RemoteError(GitlobError):
    exit_code = ExitCode.REMOTE


class Interrupted(KeyboardInterrupt):
    """Raised from a signal handler, so that every `with` and `finally` on the way out does its work. Like Ctrl-C, it is none
    of the errors that one may live with."""

    LINE = "interrupted (run it again: it goes on where it stopped)"

    def __init__(self, number: int) -> None:
        super().__init__(self.LINE)
        self.number = number


def signal_of(error: KeyboardInterrupt) -> int:
    """The number of the signal that asked us to stop."""
    return error.number if isinstance(error, Interrupted) else signal.SIGINT
