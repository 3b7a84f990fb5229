"""What a person sees while work goes on. Jobs report to a Meter, whose kind the command chooses.

A terminal gets printable text only, whatever a message quotes.
"""

import math
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from gitlob_rsync.errors import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Meter:
    """Shows warnings, but no progress. Everything goes to stderr.

    A step of work is begun with `begin`, moved on with `reached` (bytes so far in it), and ended with `end`.
    """

    def __init__(self, program: str, *, quiet: bool = False, verbose: int = 0) -> None:
        self._program = program
        self._quiet = quiet
        self._verbose = verbose

    def begin(self, what: str, total: int | None = None) -> None:
        """Begin a step: `what` in a few words, and its bytes where they are known."""

    def reached(self, done: int) -> None:
        """`done` bytes of the step are done."""

    def end(self) -> None:
        """The step is over."""

    def _print(self, text: str) -> None:
        # that nobody reads stderr any more is no reason to stop
        with suppress(BrokenPipeError):
            print(text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Something is wrong, but work goes on: shown even with -q."""
        self._print(printable(f"{self._program}: {' '.join(text.split())}"))

    def say(self, text: str) -> None:
        """The summary of a run: not shown with -q."""
        if not self._quiet:
            self._print(printable(text))

    def note(self, text: str) -> None:
        """Good to know, but nothing is wrong: not shown with -q."""
        if not self._quiet:
            self.warn(text)

    def detail(self, text: str) -> None:
        """Shown with -v."""
        if self._verbose:
            self._print(printable(text))


class Silent(Meter):
    """Shows not even warnings: its user reports the outcome at the end."""

    def _print(self, text: str) -> None:
        pass


class Line(Meter):
    """Prints a line of plain text now and then, for logs."""

    SECONDS = 10.0
    _what = ""
    _total: int | None = None
    _last = math.inf
    """Before a step begins: what is transferred then, like our own lists, is not shown."""

    def begin(self, what: str, total: int | None = None) -> None:
        self._what, self._total, self._last = what, total, time.monotonic()
        self._print(f"{what} ...")

    def reached(self, done: int) -> None:
        now = time.monotonic()
        if now - self._last >= self.SECONDS:
            self._last = now
            of = f" of {size_text(self._total)}" if self._total else ""
            self._print(f"{self._what}: {size_text(done)}{of}")


class Bar(Meter):
    """Draws a bar on a terminal: bytes, rate, time left. It is drawn when progress is reported, not by a thread: rsync is
    started by a fork."""

    SECONDS = 0.1
    _progress: "Progress | None" = None
    _task: "TaskID"
    _last = 0.0

    def begin(self, what: str, total: int | None = None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        console = Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
            TimeRemainingColumn(), console=console, transient=True, redirect_stdout=False, redirect_stderr=False,
            auto_refresh=False,
        )  # fmt: skip
        self._progress.start()
        self._task = self._progress.add_task(what, total=total)
        self._progress.refresh()

    def reached(self, done: int) -> None:
        if self._progress:
            now = time.monotonic()
            due = now - self._last >= self.SECONDS
            self._last = now if due else self._last
            self._progress.update(self._task, completed=done, refresh=due)

    def end(self) -> None:
        if self._progress:
            self._progress.stop()
            self._progress = None

    def _print(self, text: str) -> None:
        if self._progress:
            self._progress.print(text)
        else:
            super()._print(text)


def make_meter(program: str, kind: str, *, quiet: bool, verbose: int) -> Meter:
    """The meter for --progress `kind`: auto, bar, plain or none. `auto` draws a bar on a terminal that is capable of it,
    and nothing elsewhere."""
    import os

    if kind == "auto":
        able = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        kind = "bar" if able and not quiet else "none"
    meter = {"bar": Bar, "plain": Line, "none": Meter}[kind]
    return meter(program, quiet=quiet, verbose=verbose)


def size_text(size: int | None) -> str:
    """A number of bytes for people, in units of 1024, as rsync counts."""
    if size is None:
        return "?"
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
