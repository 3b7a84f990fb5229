"""Output of gitlob-status: aligned text, with bars on a terminal."""

import os
import shutil
import time
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from gitlob_rsync.config import Settings
from gitlob_rsync.errors import ExitCode, printable
from gitlob_rsync.git.paths import quote
from gitlob_rsync.jobs.status import AGES, Files, Holdings, Move, Paths, Status
from gitlob_rsync.progress import size_text
from gitlob_rsync.state.sync_log import Log, Run

_MOST_BRANCHES = 10
"""Branches shown; --json has all."""
_LONGEST_BAR, _SHORTEST_BAR = 40, 4
_SHORTEST_NAME = 8
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_INDENT = "  "

Row = tuple[str, str, str, int]
"""A line with a bar: its name, counts, the size as text, and the value that the bar shows."""


@dataclass(frozen=True, slots=True)
class Page:
    """The output's properties. `columns`: width of the terminal, for bars; None if it is not a terminal."""

    columns: int | None
    encoding: str

    @classmethod
    def of(cls, stream: TextIO) -> "Page":
        encoding = stream.encoding or "ascii"
        plain = not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
        return cls(None if plain else shutil.get_terminal_size().columns, encoding)

    @property
    def has_blocks(self) -> bool:
        """Whether the encoding has the block characters of which bars are drawn."""
        try:
            return bool(_EIGHTHS.encode(self.encoding))
        except UnicodeEncodeError:
            return False


def render(found: Status, settings: Settings, page: Page, *, verbose: bool) -> Iterator[str]:
    """The page, as lines."""
    if found.files:
        yield "working tree"
        yield from _files(found.files, verbose)
    yield f"to transfer with {found.remote.name}" if found.remote else "to transfer"
    yield from _moves(found)
    for title, store in (("store", found.store), ("shared store", found.shared)):
        if store:
            yield from _store(title, store, page)
            if title == "store":
                yield from _branches(found, page)
    yield "setup"
    yield from _setup(found, settings)
    if found.running:
        yield "running now"
        yield from (_INDENT + printable(str(job)) for job in found.running)
    yield "last syncs"
    yield from _table(list(_syncs(found.logs, settings))) if found.logs else [f"{_INDENT}none"]
    if found.errors:
        yield "cannot be determined"
        yield from _table([(part.replace("_", " "), printable(why)) for part, why in found.errors.items()])


def _files(files: Files, verbose: bool) -> Iterator[str]:
    counted = (
        (files.to_fill_in, "to fill in", "gitlob-sync --checkout --offline fills them in"),
        (_number(files.not_here), "not here", "gitlob-sync --checkout fetches them"),
        (_number(files.nowhere), "nowhere", "no remote had them when last asked"),
        (len(files.left_alone), "left alone", "" if verbose else "-v lists them"),
    )
    rows = [(what, _count(count, "file"), hint) for count, what, hint in counted if count]
    yield from _table(rows, right=(1,)) if rows else [f"{_INDENT}no placeholders"]
    if files.empty:
        empty = _count(len(files.empty), "empty file")
        yield f'{_INDENT}{empty}: git merge may fail with "stash failed"; see gitlob-filter(1), NOTES'
    if verbose:
        for what, binaries in (("not here", files.not_here), ("nowhere", files.nowhere)):
            for sha, paths in binaries.items():
                yield from (f"{_INDENT}{what}: {sha} {printable(quote(path))}" for path in paths)
        for path, why in files.left_alone.items():
            yield f"{_INDENT}left alone: {printable(quote(path))} ({why})"
        yield from (f"{_INDENT}empty: {printable(quote(path))}" for path in files.empty)


def _moves(found: Status) -> Iterator[str]:
    if not found.remote:
        yield _INDENT + printable(found.no_remote)
        return

    def row(what: str, move: Move, most: str) -> tuple[str, str, str]:
        return what, f"{most}{move.transferred} of {_count(move.selected, 'binary')}", size_text(move.bytes)

    rows = [row("--pull --window", found.pull, "")] if found.pull else []
    rows += [row("--push", found.push, "at most " if found.push.transferred else "")] if found.push else []
    yield from _table(rows, right=(2,))


def _store(title: str, store: Holdings, page: Page) -> Iterator[str]:
    torn = f"; {store.torn} incomplete" if store.torn else ""
    total = f"{_count(store.total.binaries, 'binary')}, {size_text(store.total.bytes)}{torn}"
    yield f"{title}: {total}, in {printable(store.root)}"
    if store.total.binaries:
        names = [_age_name(days) for days in AGES]
        rows = [
            (name, str(amount.binaries), size_text(amount.bytes), amount.bytes)
            for name, amount in zip(names, store.ages, strict=True)
        ]
        yield from _bars(rows, page)


def _age_name(days: int | None) -> str:
    return {1: "last day", 365: "last year", None: "older"}.get(days, f"last {days} days")


def _branches(found: Status, page: Page) -> Iterator[str]:
    if not found.branches or not found.others:
        return
    yield "by branch: how many of the binaries that its last commit needs are here"
    rows: list[Row] = [
        (
            printable(quote(branch.name)),
            f"{branch.here} of {branch.needed}",
            size_text(branch.bytes),
            branch.bytes,
        )
        for branch in found.branches[:_MOST_BRANCHES]
    ]
    rows.append(("(no branch)", str(found.others.binaries), size_text(found.others.bytes), found.others.bytes))
    yield from _bars(rows, page)
    if len(found.branches) > _MOST_BRANCHES:
        yield f"{_INDENT}and {len(found.branches) - _MOST_BRANCHES} more branches (--json lists all)"


def _setup(found: Status, settings: Settings) -> Iterator[str]:
    rows = []
    for name, remote in settings.remotes.items():
        default = " (default)" if found.remote and found.remote.name == name else ""
        rows.append((f"remote {name}", f"{remote.location}{default}"))
    rows += [(f"remote {name}", f"WRONG {error.line()}") for name, error in settings.wrong_remotes.items()]
    rows.append(("filter", found.filter or f"WRONG {found.no_filter}"))
    missing = [name for name, runs in found.hooks.items() if not runs]
    rows.append(
        ("hooks", f"none: {', '.join(missing)} (gitlob-setup --hooks)" if missing else "pre-push sends binaries")
    )
    yield from _table([(printable(name), printable(what)) for name, what in rows])


def _syncs(logs: Sequence[Log], settings: Settings) -> Iterator[tuple[str, str, str, str]]:
    names = {str(remote.location): name for name, remote in settings.remotes.items()}
    for log in logs:
        for direction, last in log.runs.items():
            yield printable(names.get(log.location, log.location)), direction, _ago(last.when), printable(_result(last))


def _result(last: Run) -> str:
    if last.interrupted:
        return last.error
    if last.error:
        return f"FAILED ({last.exit_code}): {last.error}"
    moved = f"{_count(last.transferred, 'binary')}, {size_text(last.bytes)} in {last.seconds:.1f} s"
    failed = f"; {last.missing} missing or damaged" if last.exit_code == ExitCode.INCOMPLETE else ""
    return moved + failed


def _ago(when: float) -> str:
    seconds = max(0, round(time.time() - when))
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return f"{_count(seconds // size, unit)} ago"
    return f"{_count(seconds, 'second')} ago"


def _count(count: int, what: str) -> str:
    if count == 1:
        return f"1 {what}"
    return f"{count} {what[:-1] + 'ies' if what.endswith('y') and what != 'day' else what + 's'}"


def _number(binaries: Paths) -> int:
    return sum(map(len, binaries.values()))


def _table(rows: Sequence[Sequence[str]], right: tuple[int, ...] = ()) -> Iterator[str]:
    """Rows as aligned columns; those in `right` are right-aligned."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - _width(cell))
            cells.append(space + cell if number in right else cell + space)
        yield (_INDENT + "  ".join(cells)).rstrip()


def _bars(rows: Sequence[Row], page: Page) -> Iterator[str]:
    """Rows with a bar each on a terminal, if there is room; names are truncated there so that no line wraps."""
    names = [name for name, *_ in rows]
    bars = [""] * len(rows)
    if page.columns:
        counts = max(_width(count) for _, count, _, _ in rows) + max(_width(size) for _, _, size, _ in rows)
        room = page.columns - len(_INDENT) - counts - 2 * 2
        most = max(_SHORTEST_NAME, room - 2 - _SHORTEST_BAR)
        names = [_cut(name, most) for name in names]
        length = min(_LONGEST_BAR, room - 2 - max(map(_width, names)))
        largest = max(value for *_, value in rows)
        if length >= _SHORTEST_BAR and largest and page.has_blocks:
            bars = [_bar(value / largest * length) for *_, value in rows]
    cells = [(name, row[1], row[2], bar) for name, row, bar in zip(names, rows, bars, strict=True)]
    yield from _table(cells, right=(1, 2))


def _bar(length: float) -> str:
    """A bar of this many columns, to the eighth; a value above 0 gets at least an eighth."""
    eighths = max(round(length * 8), 1 if length else 0)
    return _EIGHTHS[8] * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _width(text: str) -> int:
    """The width of a text in terminal columns."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _cut(text: str, most: int) -> str:
    if _width(text) <= most:
        return text
    while text and _width(text) >= most:
        text = text[:-1]
    return text + "…"
