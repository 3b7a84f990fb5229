"""Reads what rsync reports while it runs: files, and the number of bytes transferred."""

import re
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO

from gitlob_rsync.progress import Meter
from gitlob_rsync.transport.base import Item

FORMAT = "--out-format=%i|%l|%M|%B|%n"
"""What is done, size in bytes, time of the last change, permissions, name."""
_ITEM = re.compile(rb"([<>]f[^|]{9})\|(\d{1,19})\|(\d{4}(?:/\d\d){2}-\d\d(?::\d\d){2})\|[^|]{9}\|(.*)\Z", re.DOTALL)
_FOLDER = re.compile(rb"cd[^|]{9}\|\d+\|[^|]*\|([-r][-w][-xsS][-r][-w][-xsS][-r][-w][-xtT])\|(.*)/\Z", re.DOTALL)
_TOTAL = re.compile(rb" *(\d{1,19}) +\d+%")
_LOOK = 0.5
"""Seconds of silence after which to check that rsync is still running."""


@dataclass(slots=True)
class Heard:
    """What a run has reported so far. `moved`: bytes; `folders`: created locally, name -> permission bits at the remote."""

    items: list[Item] = field(default_factory=list)
    folders: dict[str, int] = field(default_factory=dict)
    moved: int = 0


@dataclass(slots=True)
class Patience:
    """How many `seconds` an rsync may be silent. Its own timeout does not fire while the other side is frozen or the
    network drops everything, because the keep-alives that it sends count as activity.

    `read` returns how many bytes it has read so far, or None if unknown. While that grows, an rsync without reports may be
    fine; if it is unknown, it is never called silent. Without `read`, only reports count, for an rsync that reports
    steadily: a remote may send keep-alives for ever and nothing else."""

    seconds: float
    read: Callable[[], int | None] | None = None
    _since: float | None = None
    _had: int | None = None

    def heard(self) -> None:
        self._since = None

    def is_over(self) -> bool:
        """To be polled while nothing is reported."""
        now = time.monotonic()
        if self._since is not None and now - self._since < self.seconds:
            return False
        had, self._had = self._had, self.read() if self.read else 0
        begun, self._since = self._since is None, now
        return not begun and had is not None and had == self._had


def listen(
    reports: IO[bytes], is_alive: Callable[[], bool], patience: Patience, arrived: Callable[[str], None] | None,
    heard: Heard, meter: Meter,
) -> bool:  # fmt: skip
    """Read reports to the end; False if patience ran out first. An rsync that is killed leaves its receiver behind, which
    keeps the pipe open and reports nothing more."""
    items = heard.items
    rest = b""
    while True:
        ready, _, _ = select.select([reports], [], [], _LOOK)
        if not ready:
            if not is_alive():
                return True
            if patience.is_over():
                return False
            continue
        patience.heard()
        block = reports.read(1 << 16)
        *lines, rest = re.split(rb"[\r\n]", rest + block)
        for line in lines:
            if item := _ITEM.match(line):
                if arrived and items:
                    arrived(items[-1].name)  # rsync reports a file just before it renames it into place
                items.append(Item(item[4].decode(errors="replace"), int(item[2]), item[3].decode()))
            elif folder := _FOLDER.match(line):
                heard.folders[folder[2].decode(errors="replace")] = _mode(folder[1].decode())
            elif total := _TOTAL.match(line):
                heard.moved = int(total[1])
                meter.reached(heard.moved)
        if not block:
            return True


def _mode(text: str) -> int:
    """Permission bits from rsync's notation, such as `rwxrwsr-x`."""
    bits = 0
    for at, letter in enumerate(text):
        if letter not in "-ST":
            bits |= 0o400 >> at
        if letter in "sStT":
            bits |= {2: 0o4000, 5: 0o2000, 8: 0o1000}[at]
    return bits
