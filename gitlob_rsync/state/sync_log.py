"""The outcome of the last syncs: for each location, the last push, the last pull, and the binaries that it lacked.

gitlob-sync writes it, gitlob-status reads it, and nothing depends on it: if it cannot be written, the sync goes on.
"""

import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields

from gitlob_rsync.errors import ExitCode, GitlobError, line_of, signal_of
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.location import Location
from gitlob_rsync.placeholder import Sha, is_sha
from gitlob_rsync.state import files

_FOLDER = "synced"
PUSH, PULL = "push", "pull"
"""The directions, as stored."""


@dataclass(frozen=True, slots=True)
class Run:
    """One direction of a run. `when`: when it ended, in seconds since 1970; `transferred`, `missing` (or damaged): numbers
    of binaries; `bytes`: of content; `error`: why it failed."""

    when: float
    seconds: float
    exit_code: int
    transferred: int = 0
    bytes: int = 0
    missing: int = 0
    error: str = ""

    @property
    def interrupted(self) -> bool:
        """Whether a signal stopped it (Ctrl-C, `gitlob-sync --stop`): nothing is wrong."""
        return self.exit_code > 128


@dataclass(frozen=True, slots=True)
class Log:
    """The log of one location. `runs`: direction -> its last run; `lacking`: binaries that the location did not have whole
    when it was last asked."""

    location: str
    runs: dict[str, Run] = field(default_factory=dict)
    lacking: frozenset[Sha] = frozenset()


class Note:
    """Records a run while it goes on."""

    def __init__(self, repo: Repo, location: Location | None, directions: Collection[str]) -> None:
        self._repo = repo
        self._location = location
        self._open = list(directions)
        self._since = time.time()

    def done(
        self, direction: str, transferred: int, moved: int, *, had: Collection[Sha], lacking: Collection[Sha],
        failed: int,
    ) -> None:  # fmt: skip
        """Record that a direction is done except for `failed` binaries. `had`: those that the location turned out to
        have."""
        self._open.remove(direction)
        code = ExitCode.INCOMPLETE if failed else ExitCode.DONE
        now = time.time()
        run = Run(now, round(now - self._since, 3), code, transferred, moved, failed)
        self._since = now
        self._write({direction: run}, had, lacking)

    def broke(self, error: BaseException) -> None:
        """Record that the remaining directions have failed."""
        code: int = ExitCode.BUG
        text = str(error) or type(error).__name__
        if isinstance(error, GitlobError):
            code, text = error.exit_code, error.line()
        elif isinstance(error, KeyboardInterrupt):
            code, text = 128 + signal_of(error), "interrupted"
        elif isinstance(error, OSError):
            code, text = ExitCode.FAILED, line_of(error)
        now = time.time()
        run = Run(now, round(now - self._since, 3), code, error=" ".join(text.split()))
        self._write(dict.fromkeys(self._open, run), (), ())

    def _write(self, runs: dict[str, Run], had: Collection[Sha], lacking: Collection[Sha]) -> None:
        if not runs or not self._location:
            return
        with suppress(OSError):
            before = read(self._repo, self._location)
            files.write(
                files.path(self._repo, _FOLDER, files.name_of(self._location)),
                {
                    "location": str(self._location),
                    "runs": {name: asdict(run) for name, run in (before.runs | runs).items()},
                    "lacking": sorted(before.lacking.difference(had).union(lacking)),
                },
            )


@contextmanager
def keeping(repo: Repo, location: Location | None, directions: Collection[str]) -> Iterator[Note]:
    """Log a run with a location (None: do not log), even if an exception ends it."""
    note = Note(repo, location, directions)
    try:
        yield note
    except BaseException as error:
        note.broke(error)
        raise


def read(repo: Repo, location: Location) -> Log:
    """The log of one location; empty if there is none."""
    return _log(files.path(repo, _FOLDER, files.name_of(location))) or Log(str(location))


def read_all(repo: Repo) -> list[Log]:
    """The logs of all locations, the most recently used first."""
    folder = files.path(repo, _FOLDER)
    names: list[str] = []
    with suppress(OSError):
        names = os.listdir(folder)
    logs = [log for name in names if (log := _log(os.path.join(folder, name)))]
    return sorted(logs, key=lambda log: -max((run.when for run in log.runs.values()), default=0))


def _log(path: str) -> Log | None:
    said = files.read(path)
    location, runs, lacking = said.get("location"), said.get("runs"), said.get("lacking")
    if not isinstance(location, str) or not isinstance(runs, dict) or not isinstance(lacking, list):
        return None
    if not all(isinstance(sha, str) and is_sha(sha) for sha in lacking):
        return None
    with suppress(UnicodeError):
        if os.path.basename(path) == files.name_of(location):
            good = {name: run for name in (PUSH, PULL) if (run := _run(runs.get(name)))}
            return Log(location, good, frozenset(map(Sha, lacking)))
    return None


def _run(said: object) -> Run | None:
    """A run as stored; None for anything else."""
    if not isinstance(said, dict) or said.keys() != {one.name for one in fields(Run)}:
        return None
    error, numbers = said["error"], [said[name] for name in said if name != "error"]
    if not isinstance(error, str) or not all(type(n) in (int, float) and 0 <= n < 1 << 53 for n in numbers):
        return None
    return Run(**said)
