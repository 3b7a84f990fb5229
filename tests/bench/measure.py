"""One command, run several times, and the table of all of them."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = Path(os.environ.get("PROGRAMS") or Path(sys.executable).parent)
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "RSYNC_"))} | {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "C",
    "GIT_COMMITTER_EMAIL": "c@example.org",
    "PATH": os.pathsep.join([str(PROGRAMS), os.environ.get("PATH", os.defpath)]),
    "LC_ALL": "C",
}
HEADER = ["work", "command", "seconds", "x ours", "peak MiB", "x ours", "lines"]


@dataclass
class Case:
    """One command, measured in one folder. `ours`: the case that its ratios are against; None: it is ours.

    Before each run `prepare` makes the state that it starts from, and after it `check` says whether it did its work.
    Neither is measured.
    """

    work: str
    argv: Sequence[str]
    folder: Path
    ours: "Case | None" = None
    name: str = ""
    env: dict[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    prepare: Callable[[], object] | None = None
    check: Callable[[], bool] | None = None
    seconds: list[float] = field(default_factory=list)
    peak: float = 0.0
    lines: int = 0

    def __post_init__(self) -> None:
        self.name = self.name or " ".join([Path(self.argv[0]).name, *self.argv[1:]])

    def run(self) -> None:
        if self.prepare:
            self.prepare()
            os.sync()  # so that nobody waits for what another one wrote
        with tempfile.TemporaryFile() as feed, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            feed.write(self.stdin)
            feed.seek(0)
            started = time.perf_counter()
            process = subprocess.Popen(
                self.argv, cwd=self.folder, env=ENV | self.env, stdin=feed, stdout=output, stderr=errors
            )
            # the usage that wait4 gives is that of the process and of all that it waited for itself
            _, status, usage = os.wait4(process.pid, 0)
            self.seconds.append(time.perf_counter() - started)
            process.returncode = os.waitstatus_to_exitcode(status)
            errors.seek(0)
            said = errors.read().decode(errors="replace")
            if process.returncode:
                sys.exit(f"{self.work}: {self.name}: exit code {process.returncode}\n{said}")
            output.seek(0)
            self.lines = sum(1 for _ in output)
        if self.check and not self.check():
            sys.exit(f"{self.work}: {self.name}: it did not do its work\n{said}")
        unit = 1 if sys.platform == "darwin" else 1024
        self.peak = max(self.peak, usage.ru_maxrss * unit / 2**20)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def row(self) -> list[str]:
        times = f"{self.median / self.ours.median:.2f}" if self.ours else ""
        memory = f"{self.peak / self.ours.peak:.2f}" if self.ours else ""
        lines = str(self.lines) if self.lines else ""
        return [self.work, self.name, f"{self.median:.3f}", times, f"{self.peak:.0f}", memory, lines]


def print_table(cases: Iterable[Case]) -> None:
    rows = [HEADER, *(case.row() for case in cases)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if at < 2 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
