"""What all commands share: common options, and guard(), the one place that turns errors into messages and exit codes."""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import IO, NoReturn

from gitlob_rsync import __version__, age
from gitlob_rsync.errors import ExitCode, GitlobError, Interrupted, line_of, printable, signal_of, writing

EXIT_CODES = """\
exit codes:
  0    done
  1    failed
  2    wrong usage or configuration
  3    finished, but binaries are missing or damaged (they are listed)
  4    the remote cannot be reached, or the connection broke (run again: it resumes)
  5    another run holds the lock
  70   a bug (the traceback's file is printed)
  130  interrupted
"""


CONFIGURED = "configured"
"""The value of --window without an AGE."""


class Parser(argparse.ArgumentParser):
    """A parser without abbreviated options, with one-line errors, and with the exit codes at the end of --help."""

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=f"{epilog}{EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--version", action="version", version=f"{prog} {__version__}")

    def error(self, message: str) -> NoReturn:
        line = printable(" ".join(message.split()))
        self.exit(ExitCode.USAGE, f"{self.prog}: {line} ({self.prog} --help lists the options)\n")


def add_verbosity(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing unless something is wrong")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="print more")


def add_timeout(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    parser.add_argument(
        "--timeout", type=_seconds(1, int), metavar="SECONDS", help="give up after this long without progress (120)"
    )


def add_lock_wait(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    parser.add_argument(
        "--lock-wait", type=_seconds(0, float), metavar="SECONDS", help="how long to wait for other runs (60)"
    )


def _seconds(least: int, number: Callable[[str], float]) -> Callable[[str], float]:
    """The type of an option in seconds, from `least` to a day."""

    def read(text: str) -> float:
        try:
            value = number(text)
        except ValueError:
            value = -1
        if not least <= value <= 86400:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from {least} to 86400")
        return value

    return read


def split_window(argv: Sequence[str]) -> list[str]:
    """Join --window and the following word if that has the form of an AGE; otherwise --window stands alone."""
    args: list[str] = []
    rest = list(argv)
    while rest:
        arg = rest.pop(0)
        if arg == "--":
            return [*args, arg, *rest]
        if arg == "--window":
            arg += f"={rest.pop(0) if rest and age.is_age(rest[0]) else CONFIGURED}"
        args.append(arg)
    return args


def guard(program: str, main: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None) -> int:
    """Run a command's main and return its exit code. An expected error becomes one line on stderr, an unexpected one a
    traceback in a file."""
    _reserve_standard_streams()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    sys.unraisablehook = _interrupt_again
    try:
        with writing("standard output"):  # errors about other files name them
            code = main(sys.argv[1:] if argv is None else argv)
            sys.stdout.flush()
            return code
    except GitlobError as error:
        return _fail(program, error.line(), error.exit_code)
    except KeyboardInterrupt as error:
        return _fail(program, Interrupted.LINE, 128 + signal_of(error))
    except BrokenPipeError:
        _discard(sys.stdout)  # the reader has closed the pipe
        return ExitCode.FAILED
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:  # it cannot be written at exit either
            _discard(sys.stdout)
        closed = error.errno == errno.EBADF and not error.filename
        line = "standard input or output is closed, but needed" if closed else line_of(error)
        return _fail(program, line, ExitCode.FAILED)
    except Exception:
        return _fail(program, f"this is a bug; the traceback is in {_log_crash()}", ExitCode.BUG)


def _reserve_standard_streams() -> None:
    """Open something in place of a standard stream that the caller has closed: otherwise the next file that is opened would
    get its number, and output would end up in that file.

    What we print is then lost, as with git. The filter and the hook, which use descriptors 0 and 1 directly, get EBADF,
    because each is opened in the wrong direction: no output must not be mistaken for an answer.
    """
    for number, way in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, way), True)  # open() takes the lowest free number: this one
    # Python sets a stream to None if it was closed at startup
    sys.stdin = sys.stdin or open(0, closefd=False)
    sys.stdout = sys.stdout or open(os.devnull, "w")
    sys.stderr = sys.stderr or open(os.devnull, "w")


def _interrupt(number: int, _: object) -> NoReturn:
    raise Interrupted(number)


def _interrupt_again(lost: "sys.UnraisableHookArgs") -> None:
    """Raise an interruption again, a moment later, that occurred in a callback (of a fork, a finalizer) and so was lost."""
    if not isinstance(lost.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    number = signal_of(lost.exc_value)
    signal.signal(signal.SIGALRM, lambda *_: _interrupt(number, None))
    signal.setitimer(signal.ITIMER_REAL, 0.01)


def _fail(program: str, line: str, code: int) -> int:
    try:
        print(f"{program}: {printable(line)}", file=sys.stderr, flush=True)
    except ValueError:
        pass
    except OSError:
        _discard(sys.stderr)
    return code


def _discard(stream: IO[str]) -> None:
    """Discard the rest of a stream's output: flushing it at exit would fail, and end with Python's own exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _log_crash() -> str:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="gitlob-crash-", suffix=".log", delete=False) as log:
        log.write(f"gitlob-rsync {__version__}, python {sys.version}\n{sys.argv!r}\n")
        traceback.print_exc(file=log)
    return log.name
