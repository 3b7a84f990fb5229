"""Output of gitlob-sync: the list, the JSON object, or a summary line with what is missing or damaged."""

import sys
from collections.abc import Iterable

from gitlob_rsync.commands.as_json import listed, print_json, text
from gitlob_rsync.git.paths import quote
from gitlob_rsync.jobs import listing
from gitlob_rsync.jobs.context import Context
from gitlob_rsync.jobs.sync import SyncPlan, SyncResult
from gitlob_rsync.jobs.transfer_report import TransferReport
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.progress import Meter, size_text
from gitlob_rsync.store.local import Stores
from gitlob_rsync.wording import counted

_MOST = 5
"""Paths, or refs, shown for a binary; --json lists all."""


def print_list(context: Context, plan: SyncPlan, *, as_object: bool, nul: bool) -> None:
    """Print a line for each selected binary, sorted by path: sha, size in bytes or -, and one path, quoted as git does
    unless `nul`."""
    stores = context.stores
    rows = sorted(listing.selected(context, plan).items(), key=lambda row: (row[1], row[0]))
    if as_object:
        binaries = [
            {"sha": sha, "size": size_of(sha, stores), "paths": [text(path) for path in paths]} for sha, paths in rows
        ]
        print_json({"selected": len(binaries), "binaries": binaries})
        return
    end = b"\0" if nul else b"\n"
    for sha, paths in rows:
        path = paths[0] if paths else b"-"
        size = size_of(sha, stores)
        shown = path if nul else quote(path).encode()
        sys.stdout.buffer.write(b"%s %s %s%s" % (sha.encode(), b"-" if size is None else b"%d" % size, shown, end))
    sys.stdout.buffer.flush()


def size_of(sha: Sha, stores: Stores) -> int | None:
    meta = stores.find(sha)
    return meta.size if meta else None


def print_result(result: SyncResult, meter: Meter, *, as_object: bool = False) -> None:
    """Print the result: JSON on stdout, or a summary on stderr; what is missing or damaged always on stderr."""
    report = result.report
    if as_object:
        print_json(as_json(result))
    where = f" at {result.remote}" if result.remote else ""
    for what, binaries in (("missing", report.missing), ("damaged", report.damaged)):
        for sha, paths in binaries.items():
            meter.warn(f"{what}{where}: {sha} {_paths(paths)}")
    if (
        result.pulled
        and report.missing
        and not result.pulled.transferred
        and report.missing.keys() == result.pulled.selected
    ):
        meter.warn(f"{result.remote} has none of the requested binaries: is this the right location?")
    if as_object:
        return
    for path, why in result.left_alone.items():
        meter.detail(f"left alone: {quote(path)} ({why})")
    meter.say(summary(result))


def _paths(paths: list[bytes]) -> str:
    return some(list(map(quote, paths))) if paths else "(no commit names it)"


def some(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more


def as_json(result: SyncResult) -> dict[str, object]:
    """The result as JSON; the keys are documented in gitlob-sync(1)."""

    def counts(report: TransferReport) -> dict[str, object]:
        return {
            "selected": len(report.selected),
            "present": len(report.present),
            "transferred": report.transferred,
            "bytes": report.bytes,
        }

    answer = counts(result.report)
    answer["missing"] = listed(result.report.missing)
    answer["damaged"] = listed(result.report.damaged)
    answer |= {"expanded": result.expanded, "left_alone": len(result.left_alone), "seconds": result.seconds}
    if result.pushed and result.pulled:
        answer |= {"push": counts(result.pushed), "pull": counts(result.pulled)}
    return answer


def summary(result: SyncResult) -> str:
    """One line."""
    parts = list(_directions(result))
    if result.expanded or (result.pulled is None and result.pushed is None):
        parts.append(f"{'would fill in' if result.dry_run else 'filled in'} {counted(result.expanded, 'file')}")
    if result.left_alone:
        parts.append(f"left alone {counted(len(result.left_alone), 'file')}")
    if result.waiting and not result.report.missing:
        parts.append(f"{counted(result.waiting, 'file')} still without content (gitlob-sync --checkout)")
    if result.report.missing:
        parts.append(f"missing {len(result.report.missing)}")
    if result.report.damaged:
        parts.append(f"damaged {len(result.report.damaged)}")
    return "; ".join(parts)


def _directions(result: SyncResult) -> Iterable[str]:
    for done, verb, would in (
        (result.pushed, "pushed", "would push at most"),
        (result.pulled, "pulled", "would pull"),
    ):
        if done:
            size = "" if done.bytes is None else f" ({size_text(done.bytes)})"
            yield f"{would if result.dry_run else verb} {done.transferred} of {len(done.selected)} binaries{size}"
            if done.absent:
                yield f"{done.absent} missing on both sides"
