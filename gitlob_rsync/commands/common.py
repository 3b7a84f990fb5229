"""What all commands share: their common options, and guard(), the one place that turns errors into messages and codes."""

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
  4    the remote cannot be reached or broke off (run again: it resumes)
  5    another run holds the lock
  70   a bug (the traceback's file is printed)
  130  interrupted
"""


CONFIGURED = "configured"
"""What --window without an AGE stands for."""


class Parser(argparse.ArgumentParser):
    """Options in full only, one line for a wrong one, and the exit codes at the end of --help."""

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
    parser.add_argument("-v", "--verbose", action="count", default=0, help="say more")


def add_timeout(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    parser.add_argument(
        "--timeout", type=_seconds(1, int), metavar="SECONDS", help="give up after this long without progress (120)"
    )


def add_lock_wait(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    parser.add_argument(
        "--lock-wait", type=_seconds(0, float), metavar="SECONDS", help="how long to wait for others at work here (60)"
    )


def _seconds(least: int, number: Callable[[str], float]) -> Callable[[str], float]:
    """The type of an option that is at most a day."""

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
    """What follows --window is its AGE only if it has the form of one: join the two, or keep them apart."""
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
    """Run a command's main; an expected error becomes one line on stderr, an unexpected one a traceback in a file."""
    _hold_standard_streams()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    sys.unraisablehook = _interrupt_again
    try:
        with writing("standard output"):  # what is written elsewhere names its place
            code = main(sys.argv[1:] if argv is None else argv)
            sys.stdout.flush()
            return code
    except GitlobError as error:
        return _fail(program, error.line(), error.exit_code)
    except KeyboardInterrupt as error:
        return _fail(program, Interrupted.LINE, 128 + signal_of(error))
    except BrokenPipeError:
        _give_up(sys.stdout)  # the reader of our answer had enough
        return ExitCode.FAILED
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:  # our answer cannot be written: also not at exit
            _give_up(sys.stdout)
        closed = error.errno == errno.EBADF and not error.filename
        line = "standard input or output is closed, and is needed here" if closed else line_of(error)
        return _fail(program, line, ExitCode.FAILED)
    except Exception:
        return _fail(program, f"this is a bug; the traceback is in {_log_crash()}", ExitCode.BUG)


def _hold_standard_streams() -> None:
    """Where whoever started us closed standard input, output or error, have something stand there: the next file that is
    opened would get its number, and what is printed would end up in that file.

    What we print is lost then, as with git; who reads the descriptor 0 or writes to 1, the filter and the hook do, gets
    EBADF: nobody must take nothing at all for an answer. (Nobody can read what is open for writing.)
    """
    for number, way in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, way), True)  # the lowest number that is free, so this one
    # Python has None for what was closed when it began
    sys.stdin = sys.stdin or open(0, closefd=False)
    sys.stdout = sys.stdout or open(os.devnull, "w")
    sys.stderr = sys.stderr or open(os.devnull, "w")


def _interrupt(number: int, _: object) -> NoReturn:
    raise Interrupted(number)


def _interrupt_again(lost: "sys.UnraisableHookArgs") -> None:
    """An interruption that falls into a callback (one of a fork, a finalizer) is not raised by Python: soon it will be."""
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
        _give_up(sys.stderr)
    return code


def _give_up(stream: IO[str]) -> None:
    """Nothing more can be printed to a stream, also not at exit, which would end with a code of Python's own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _log_crash() -> str:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="gitlob-crash-", suffix=".log", delete=False) as log:
        log.write(f"gitlob-rsync {__version__}, python {sys.version}\n{sys.argv!r}\n")
        traceback.print_exc(file=log)
    return log.name
