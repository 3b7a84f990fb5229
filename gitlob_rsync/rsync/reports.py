"""What rsync reports while it runs: files, and how many bytes were moved."""

import calendar
import math
import re
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO

from gitlob_rsync.progress import Meter

FORMAT = "--out-format=%i|%l|%M|%n"
"""What happened, size in bytes, time of the last change, name."""
_ITEM = re.compile(rb"([<>]f[^|]{9})\|(\d{1,19})\|(\d{4}(?:/\d\d){2}-\d\d(?::\d\d){2})\|(.*)\Z", re.DOTALL)
_TOTAL = re.compile(rb" *(\d{1,19}) +\d+%")
_LOOK = 0.5
"""Seconds of silence after which to see whether rsync is still there."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file that rsync tells of: `size` in bytes, `stamp` as rsync prints a time."""

    name: str
    size: int
    stamp: str

    @property
    def changed(self) -> float:
        """When it was changed last, in seconds since 1970 by the clock of its machine. What cannot be a time is later than
        all: nothing is deleted for its age then."""
        try:
            return calendar.timegm(time.strptime(self.stamp, "%Y/%m/%d-%H:%M:%S"))
        except ValueError:
            return math.inf


@dataclass(slots=True)
class Heard:
    """What a run reported so far; `moved` in bytes."""

    items: list[Item] = field(default_factory=list)
    moved: int = 0


def listen(
    reports: IO[bytes], is_alive: Callable[[], bool], patience: float | None, arrived: Callable[[str], None] | None,
    heard: Heard, meter: Meter,
) -> bool:  # fmt: skip
    """To the end; False where nothing came for `patience` seconds. An rsync that was killed leaves its receiver behind,
    which waits with the reports open, and says no more."""
    items = heard.items
    rest = b""
    heard_at = time.monotonic()
    while True:
        ready, _, _ = select.select([reports], [], [], min(patience or _LOOK, _LOOK))
        if not ready:
            if not is_alive():
                return True
            if patience and time.monotonic() - heard_at >= patience:
                return False
            continue
        heard_at = time.monotonic()
        block = reports.read(1 << 16)
        *lines, rest = re.split(rb"[\r\n]", rest + block)
        for line in lines:
            if item := _ITEM.match(line):
                if arrived and items:
                    arrived(items[-1].name)  # rsync tells of a file just before it gives it its name
                items.append(Item(item[4].decode(errors="replace"), int(item[2]), item[3].decode()))
            elif total := _TOTAL.match(line):
                heard.moved = int(total[1])
                meter.reached(heard.moved)
        if not block:
            return True
