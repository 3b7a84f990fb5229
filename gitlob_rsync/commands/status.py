"""gitlob-status: shows what a repository lacks, what a sync would transfer, and what its stores hold."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from gitlob_rsync.commands.as_json import listed, print_json, text
from gitlob_rsync.commands.common import Parser, add_verbosity, guard
from gitlob_rsync.errors import ExitCode
from gitlob_rsync.git.paths import to_pathspecs

if TYPE_CHECKING:
    from gitlob_rsync.config import Settings
    from gitlob_rsync.jobs.status import Amount, Holdings, Move, Status

PROGRAM = "gitlob-status"
DESCRIPTION = """\
Show what the working tree lacks, what a pull and a push would transfer, and what the stores hold. Makes no network
connection.
"""
EPILOG = """\
examples:
  gitlob-status                 everything at a glance
  gitlob-status art/characters  only one folder of the working tree
  gitlob-status --json          for programs

"""


def main() -> int:
    return guard(PROGRAM, run)


def make_parser() -> Parser:
    parser = Parser(PROGRAM, DESCRIPTION, EPILOG)
    parser.add_argument(
        "pathspecs", metavar="PATHSPEC", nargs="*", help="limit the working tree to these paths (git's pathspecs)"
    )
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    add_verbosity(parser)
    return parser


def run(argv: Sequence[str]) -> int:
    given = make_parser().parse_args(argv)
    # imported only now, so that --help is quick
    from gitlob_rsync.commands import status_report
    from gitlob_rsync.commands.open_context import open_context, warn_shallow
    from gitlob_rsync.jobs import status

    context = open_context(PROGRAM, given, offline=True)
    settings = context.settings
    found = status.gather(context, to_pathspecs(given.pathspecs, ()))
    warn_shallow(context)
    if given.json:
        print_json(as_json(found, settings))
    elif not given.quiet:
        page = status_report.Page.of(sys.stdout)
        lines = status_report.render(found, settings, page, verbose=bool(given.verbose))
        sys.stdout.buffer.write("".join(f"{line}\n" for line in lines).encode(page.encoding, "replace"))
    if given.json or given.quiet:
        for problem in problems(found, settings):
            context.meter.warn(problem)
    return ExitCode.FAILED if found.errors else ExitCode.DONE


def problems(found: "Status", settings: "Settings") -> Iterator[str]:
    """The problems, one line each."""
    for part, why in found.errors.items():
        yield f"{part} cannot be determined: {why}"
    if found.no_filter:
        yield f"filter: {found.no_filter}"
    for name, error in settings.wrong_remotes.items():
        yield f"{name}: {error.line()}"
    for log in found.logs:
        for direction, last in log.runs.items():
            if last.exit_code != ExitCode.DONE and not last.interrupted:
                why = last.error or f"{last.missing} binaries were missing or damaged"
                yield f"the last {direction} with {log.location} failed: {why}"
    if found.files and found.files.nowhere:
        files = sum(map(len, found.files.nowhere.values()))
        yield f"nowhere: the binaries of {files} files are not in the local store, and no remote had them when last asked"
    for store in (found.store, found.shared):
        if store and store.torn:
            yield f"{store.torn} binaries in {store.root} are incomplete"


def as_json(found: "Status", settings: "Settings") -> dict[str, object]:
    """The status as JSON. A part that does not exist, or could not be determined, is null."""
    files = found.files
    names = {str(remote.location): name for name, remote in settings.remotes.items()}
    default = found.remote.name if found.remote else None
    return {
        "working_tree": files and {
            "to_fill_in": files.to_fill_in,
            "not_here": listed(files.not_here),
            "nowhere": listed(files.nowhere),
            "left_alone": [{"path": text(path), "why": why} for path, why in files.left_alone.items()],
            "empty": [text(path) for path in files.empty],
        },
        "remote": default,
        "pull": _plain(found.pull),
        "push": _plain(found.push),
        "store": _store(found.store),
        "shared_store": _store(found.shared),
        "branches": found.branches and [asdict(branch) | {"name": text(branch.name)} for branch in found.branches],
        "others": _plain(found.others),
        "remotes": [
            {"name": name, "location": str(remote.location), "default": name == default, "error": None}
            for name, remote in settings.remotes.items()
        ] + [
            {"name": name, "location": None, "default": False, "error": error.line()}
            for name, error in settings.wrong_remotes.items()
        ],
        "filter": {"process": found.filter, "error": found.no_filter or None},
        "hooks": found.hooks,
        "running": [asdict(job) for job in found.running],
        "syncs": [
            {"location": log.location, "remote": names.get(log.location), "lacking": sorted(log.lacking)}
            | {direction: asdict(log.runs[direction]) if direction in log.runs else None for direction in ("push", "pull")}
            for log in found.logs
        ],
        "errors": found.errors,
    }  # fmt: skip


def _plain(counts: "Move | Amount | None") -> dict[str, object] | None:
    return asdict(counts) if counts else None


def _store(store: "Holdings | None") -> dict[str, object] | None:
    from gitlob_rsync.jobs.status import AGES

    if not store:
        return None
    ages = [{"days": days} | asdict(amount) for days, amount in zip(AGES, store.ages, strict=True)]
    return {"path": store.root} | asdict(store.total) | {"torn": store.torn, "ages": ages}
