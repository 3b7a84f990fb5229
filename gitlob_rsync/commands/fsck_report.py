"""Output of gitlob-fsck: a line for each problem, and a summary line or the JSON object."""

import argparse
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gitlob_rsync.commands.as_json import print_json, text
from gitlob_rsync.commands.sync_report import some
from gitlob_rsync.errors import ExitCode, printable
from gitlob_rsync.git.paths import quote
from gitlob_rsync.jobs.check_remote import Comparison
from gitlob_rsync.jobs.fsck import Finding, FsckReport, Remedy, State
from gitlob_rsync.location import Remote
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.progress import Meter, size_text
from gitlob_rsync.selection.usage import Need
from gitlob_rsync.wording import counted

_MOST_LINES = 10
"""Misplaced or foreign files that are listed; -v and --json list all."""


@dataclass(frozen=True, slots=True)
class Result:
    """All that a run found and did. `given`: the options; `root`: of the store; `quarantine`: the run's own folder."""

    report: FsckReport
    given: argparse.Namespace
    remote: Remote | None
    comparison: Comparison | None
    root: str
    quarantine: str | None
    seconds: float

    @property
    def exit_code(self) -> int:
        codes = [error.exit_code for error in self.report.failures]
        if ExitCode.REMOTE in codes:
            return ExitCode.REMOTE
        lacking = self.comparison and (self.comparison.lacking or self.comparison.wrong_sized)
        if self.report.remaining or lacking:
            return ExitCode.INCOMPLETE
        return max([*codes, ExitCode.FAILED if self.report.unchecked else ExitCode.DONE])

    def count(self, state: State) -> int:
        return sum(finding.state is state for finding in self.report.findings)


def print_result(result: Result, meter: Meter) -> None:
    """Print the result: JSON on stdout, or a summary on stderr; problems always on stderr."""
    report = result.report
    if result.given.json:
        print_json(as_json(result))
    for finding in report.findings:
        meter.warn(printable(_line(finding, result)))
    for path, why in report.unchecked.items():
        meter.warn(printable(f"not checked: {_at(result, path)}: {why}"))
    for error in report.failures:
        meter.warn(printable(error.line()))
    if result.comparison:
        for what, binaries in (
            ("missing", result.comparison.lacking),
            ("of a wrong size", result.comparison.wrong_sized),
        ):
            for sha, need in binaries.items():
                meter.warn(printable(f"{what} at {result.remote}: {sha}: {_who(need)}"))
    if result.given.json:
        return
    misplaced = [f"misplaced: {_at(result, path)}" for path in report.misplaced]
    foreign = [f"foreign {kind}: {_at(result, path)}" for path, kind in report.foreign.items()]
    for lines in (misplaced, foreign):
        shown = len(lines) if result.given.verbose else _MOST_LINES
        for line in lines[:shown]:
            meter.note(printable(line))
        if lines[shown:]:
            meter.note(f"and {len(lines[shown:])} more of this kind (-v shows all)")
    meter.say(printable(summary(result)))


def _at(result: Result, path: bytes) -> str:
    return quote(os.path.join(os.fsencode(result.root), path))


def _who(need: Need | None) -> str:
    if need is None:
        return "what needs it is not known"
    if not need.paths:
        return "nothing needs it"
    paths = some(list(map(quote, need.paths)))
    return f"needed by {paths} ({some(need.refs) if need.refs else 'index'})"


def _line(finding: Finding, result: Result) -> str:
    parts = [f"{finding.state}: {finding.sha}: {finding.why}", _who(finding.need)]
    if finding.set_aside:
        parts.append("set aside")
    if finding.shared:
        parts.append(f"the same file in the shared store {finding.shared}")
    if finding.repaired:
        parts.append(f"repaired from {_source(finding.repaired, result)}")
    return "; ".join(parts)


def _source(source: Remedy, result: Result) -> str:
    words = {Remedy.ITSELF: "its own chunks", Remedy.SHARED: "the shared store", Remedy.REMOTE: str(result.remote)}
    return words[source]


def summary(result: Result) -> str:
    """One line."""
    report, given = result.report, result.given
    size = f"{size_text(report.size)}, sizes only" if given.fast else size_text(report.size)
    wrong = [f"{result.count(state)} {state}" for state in State if result.count(state)]
    if report.unchecked:
        wrong.append(f"{len(report.unchecked)} not checked")
    parts = [f"checked {counted(report.checked, 'binary')} ({size}): {', '.join(wrong) or 'nothing is wrong'}"]
    if result.quarantine:
        parts.append(f"set aside in {result.quarantine}")
    if given.repair:
        parts += _repaired(result)
    elif report.remaining:
        parts.append("gitlob-fsck --repair restores what is needed")
    out_of_place = [f"{len(report.misplaced)} misplaced"] if report.misplaced else []
    out_of_place += [counted(n, f"foreign {kind}") for kind, n in Counter(report.foreign.values()).items()]
    if out_of_place:
        parts.append(", ".join(out_of_place))
    if result.comparison:
        parts.append(_compared(result.comparison, result.remote))
    return "; ".join(parts)


def _repaired(result: Result) -> Iterable[str]:
    findings = result.report.findings
    if result.given.dry_run:
        needed = sum(finding.needed is True for finding in findings)
        if needed:
            yield f"would repair {needed}"
        return
    repaired = sum(finding.repaired is not None for finding in findings)
    if repaired:
        yield f"repaired {repaired}"
    if result.report.remaining:
        yield f"{len(result.report.remaining)} could not be repaired"


def _compared(comparison: Comparison, remote: Remote | None) -> str:
    problems = [f"lacks {len(comparison.lacking)}"] if comparison.lacking else []
    problems += [f"has {len(comparison.wrong_sized)} in a wrong size"] if comparison.wrong_sized else []
    if not problems:
        return f"{remote} has all {counted(comparison.needed, 'binary')} that commits need"
    hint = "gitlob-sync --push --recheck sends those in the local store"
    return f"{remote} {' and '.join(problems)} of {counted(comparison.needed, 'binary')} that commits need ({hint})"


def as_json(result: Result) -> dict[str, object]:
    """The result as JSON; the keys are documented in gitlob-fsck(1)."""
    report = result.report
    answer: dict[str, object] = {"checked": report.checked, "bytes": report.size}
    for state in State:
        answer[state] = [_as_object(finding) for finding in report.findings if finding.state is state]
    comparison = result.comparison
    return answer | {
        "misplaced": [text(path) for path in report.misplaced],
        "foreign": [{"path": text(path), "kind": kind} for path, kind in report.foreign.items()],
        "unchecked": [{"path": text(path), "why": why} for path, why in report.unchecked.items()],
        "quarantine": result.quarantine,
        "mended": sum(finding.repaired is not None for finding in report.findings),
        "remaining": len(report.remaining),
        "remote": comparison and {
            "location": str(result.remote.location) if result.remote else None,
            "needed": comparison.needed,
            "lacking": _listed(comparison.lacking),
            "wrong_sized": _listed(comparison.wrong_sized),
        },
        "failures": [error.line() for error in report.failures],
        "seconds": result.seconds,
    }  # fmt: skip


def _as_object(finding: Finding) -> dict[str, object]:
    need = finding.need or Need()
    return {
        "sha": finding.sha,
        "why": finding.why,
        "paths": [text(path) for path in need.paths],
        "refs": need.refs,
        "needed": finding.needed,
        "set_aside": finding.set_aside,
        "shared": finding.shared,
        "mended": finding.repaired,
    }


def _listed(binaries: Mapping[Sha, Need]) -> list[dict[str, object]]:
    return [
        {"sha": sha, "paths": [text(path) for path in need.paths], "refs": need.refs} for sha, need in binaries.items()
    ]
