"""Output of gitlob-purge: each binary and why it is purged or kept, or the number of binaries for each reason."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields

from gitlob_rsync import age
from gitlob_rsync.commands.as_json import print_json, text
from gitlob_rsync.errors import ExitCode, printable
from gitlob_rsync.git.paths import quote
from gitlob_rsync.jobs.purge import Reason, Verdict
from gitlob_rsync.jobs.purge_remote import Clone, RemotePurge
from gitlob_rsync.jobs.trash import Cleaned
from gitlob_rsync.location import Remote
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.progress import Meter, size_text
from gitlob_rsync.wording import counted


def print_verdicts(verdicts: Sequence[Verdict], remote: Remote | None, given: argparse.Namespace, meter: Meter) -> int:
    """Print the result, and return the exit code: JSON on stdout, or a summary on stderr and, with -n or -v, a line for
    each binary on stdout."""
    lacking = [verdict for verdict in verdicts if verdict.reason is Reason.LACKING]
    for verdict in lacking:
        meter.warn(f"kept, missing at {remote}: {verdict.sha} {_path(verdict)}")
    if given.json:
        print_json(_as_json(verdicts))
    elif (given.dry_run or given.verbose) and not given.quiet:
        for verdict in verdicts:
            done = _done(verdict.reason, given.dry_run)
            print(printable(f"{done} {verdict.sha} {verdict.size} {_path(verdict)}: {verdict.reason.value}"))
    if not given.json:
        for line in _summary(verdicts, given.dry_run):
            meter.say(line)
    return ExitCode.INCOMPLETE if lacking else ExitCode.DONE


def _done(reason: Reason, dry_run: bool) -> str:
    return ("would purge" if dry_run else "purged") if reason.goes else "kept"


def _path(verdict: Verdict) -> str:
    return quote(verdict.path) if verdict.path is not None else "-"


def _count(verdicts: Sequence[Verdict]) -> str:
    return f"{len(verdicts)} ({size_text(sum(verdict.size for verdict in verdicts))})"


def _summary(verdicts: Sequence[Verdict], dry_run: bool) -> list[str]:
    going = [verdict for verdict in verdicts if verdict.reason.goes]
    kept = [verdict for verdict in verdicts if not verdict.reason.goes]
    lines = [f"{'would purge' if dry_run else 'purged'} {_count(going)} of {_count(verdicts)}; kept {_count(kept)}"]
    for reason in Reason:
        if of_it := [verdict for verdict in verdicts if verdict.reason is reason]:
            lines.append(f"  {_done(reason, dry_run)} {_count(of_it)}: {reason.value}")
    return lines


def _as_json(verdicts: Sequence[Verdict]) -> dict[str, object]:
    def counts(of_it: list[Verdict]) -> dict[str, int]:
        return {"count": len(of_it), "bytes": sum(verdict.size for verdict in of_it)}

    return {
        "purged": counts([verdict for verdict in verdicts if verdict.reason.goes]),
        "kept": counts([verdict for verdict in verdicts if not verdict.reason.goes]),
        "reasons": {
            reason.name.lower(): counts([verdict for verdict in verdicts if verdict.reason is reason])
            for reason in Reason
        },
        "binaries": [
            {
                "sha": verdict.sha,
                "size": verdict.size,
                "path": None if verdict.path is None else text(verdict.path),
                "goes": verdict.reason.goes,
                "reason": verdict.reason.name.lower(),
            }
            for verdict in verdicts
        ],
    }


_WORDS = {
    "moved": ("would move to the trash", "moved to the trash"),
    "restored": ("would move back from the trash", "moved back from the trash"),
    "emptied": ("would delete from the trash", "deleted from the trash"),
    "named": ("kept, needed by a clone", "kept, needed by a clone"),
    "young": ("kept, younger than the grace time", "kept, younger than the grace time"),
}


def print_remote(done: RemotePurge, remote: Remote, given: argparse.Namespace, meter: Meter) -> None:
    """Print the result of the purge of a remote store."""
    groups = {one.name: getattr(done.cleaned, one.name) for one in fields(Cleaned)}
    lists = sum(not clone.forgotten for clone in done.clones)
    if given.json:
        said = {
            key: {"count": len(group), "bytes": sum(group.values()), "binaries": sorted(group)}
            for key, group in groups.items()
        }
        clones = [{**asdict(clone), "age": round(clone.age)} for clone in done.clones]
        print_json({"lists": lists, "clones": clones, **said})
        return
    if (given.dry_run or given.verbose) and not given.quiet:
        for key, group in groups.items():
            for sha in sorted(group):
                print(f"{_words(key, given.dry_run)}: {sha} {group[sha]}")
    meter.say(f"{remote}: {counted(lists, 'list')} of what clones need")
    for clone in done.clones:
        meter.say(f"  {_clone_line(clone, given.dry_run)}")
    for key, group in groups.items():
        if group:
            meter.say(f"  {_remote_count(group)}: {_words(key, given.dry_run)}")


def _clone_line(clone: Clone, dry_run: bool) -> str:
    """A line about a clone: its list, its place, and the list's age."""
    if clone.own:
        what = "this clone's list " + ("would be rewritten" if dry_run else "was rewritten")
    else:
        what = f"its list is {age.text(clone.age)} old"
    if clone.forgotten:
        count = "would be forgotten" if dry_run else "forgotten"
    else:
        count = f"{counted(clone.count, 'binary')}"
    return printable(f"{clone.name or 'a new list'} {clone.place}: {count}; {what}")


def _words(key: str, dry_run: bool) -> str:
    return _WORDS[key][0 if dry_run else 1]


def _remote_count(group: Mapping[Sha, int]) -> str:
    return f"{len(group)} ({size_text(sum(group.values()))})"
