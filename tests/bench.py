"""Measure gitlob-sync beside git-lfs on the same history: `make bench`. Not a test.

The history comes from make_repo.py, which is not part of this repository (--make-repo PATH). Compare ratios within one
run, never seconds between machines. "peak" is the memory of the largest process of a command, in MiB; this program's own
(about 15) is the least that can be told.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SYNC = str(Path(sys.executable).parent / "gitlob-sync")
ENV = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "LC_ALL": "C",
}
DAYS = 30
LFS_WINDOW = ("-c", f"lfs.fetchrecentrefsdays={DAYS}", "-c", f"lfs.fetchrecentcommitsdays={DAYS}")


@dataclass
class Case:
    """One command, measured in one folder. `peer`: the case that its ratios are against."""

    work: str
    argv: Sequence[str]
    folder: Path
    peer: "Case | None" = None
    seconds: list[float] = field(default_factory=list)
    peak: float = 0.0
    lines: int = 0

    def run(self) -> None:
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            started = time.perf_counter()
            process = subprocess.Popen(
                self.argv, cwd=self.folder, env=ENV, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
            )
            # the usage that wait4 gives is that of the process and of all that it waited for itself
            _, status, usage = os.wait4(process.pid, 0)
            self.seconds.append(time.perf_counter() - started)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                errors.seek(0)
                sys.exit(f"{self.name}: exit code {process.returncode}\n{errors.read().decode(errors='replace')}")
            output.seek(0)
            self.lines = sum(1 for _ in output)
        unit = 1 if sys.platform == "darwin" else 1024
        self.peak = max(self.peak, usage.ru_maxrss * unit / 2**20)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def name(self) -> str:
        words = [word for at, word in enumerate(self.argv) if not {word, self.argv[at - 1]} & {"-c"}]
        return " ".join([Path(words[0]).name, *words[1:]])

    def row(self) -> list[str]:
        times = f"{self.peer.median / self.median:.1f}" if self.peer else ""
        memory = f"{self.peer.peak / self.peak:.1f}" if self.peer else ""
        return [self.work, self.name, f"{self.median:.3f}", times, f"{self.peak:.0f}", memory, str(self.lines)]


def make_repo(script: Path, at: Path, given: argparse.Namespace, *options: str) -> None:
    if at.exists():
        print(f"{at} is there already and is used", file=sys.stderr)
        return
    size = [f"--{name}={getattr(given, name)}" for name in ("commits", "assets", "sources")]
    print(f"making {at.name} ...", file=sys.stderr)
    argv = [sys.executable, str(script), str(at), f"--format={at.name}", *size, "--size=16", *options]
    subprocess.run(argv, check=True, env=ENV, stdout=sys.stderr)


def cases(folder: Path, with_lfs: bool) -> list[Case]:
    lob, lfs = folder / "lob", folder / "lfs"
    found = []

    def add(work: str, ours: Sequence[str], theirs: Sequence[str] = ()) -> None:
        peer = Case(work, theirs, lfs) if with_lfs and theirs else None
        found.extend([Case(work, [SYNC, *ours], lob, peer), *([peer] if peer else [])])

    add("all of history", ["--list", "--committed"], ["git", "lfs", "ls-files", "--all"])
    add(f"{DAYS} days", ["--list", "--window", f"{DAYS}d"], ["git", *LFS_WINDOW, "lfs", "fetch", "--recent"])
    add("start", ["--help"], ["git", "lfs", "version"])
    return found


def print_table(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if at < 2 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make-repo", type=Path, default=ROOT.parent / "shared" / "bench" / "make_repo.py")
    parser.add_argument("--folder", type=Path, help="where the repositories are, or are made and stay")
    parser.add_argument("--runs", type=int, default=3, help="how often each command runs (3)")
    parser.add_argument("--commits", type=int, default=20000)
    parser.add_argument("--assets", type=int, default=3000)
    parser.add_argument("--sources", type=int, default=5000)
    given = parser.parse_args()
    if not given.make_repo.is_file():
        sys.exit(f"there is no {given.make_repo}: the script that makes the history; name it with --make-repo PATH")
    if not os.access(SYNC, os.X_OK):
        sys.exit(f"there is no {SYNC}: run this as make bench")
    with_lfs = shutil.which("git-lfs") is not None
    with tempfile.TemporaryDirectory(prefix="gitlob-bench-") as temporary:
        folder = given.folder.absolute() if given.folder else Path(temporary)
        make_repo(given.make_repo, folder / "lob", given, "--no-store")
        if with_lfs:
            # with its objects, so that fetch has nothing to download
            make_repo(given.make_repo, folder / "lfs", given)
        chosen = cases(folder, with_lfs)
        for _ in range(given.runs):
            for case in chosen:
                case.run()
    print(f"medians of {given.runs}, {given.commits} commits")
    print_table(
        [["work", "command", "seconds", "x faster", "peak MiB", "x less", "lines"], *(case.row() for case in chosen)]
    )
    print(f"lob has no content in its store, lfs objects of 16 bytes; git lfs fetch has a window of {DAYS} days too.")
    if not with_lfs:
        print("git-lfs is not installed, so nothing stands beside.")


if __name__ == "__main__":
    main()
