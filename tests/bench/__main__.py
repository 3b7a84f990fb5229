"""Measure gitlob-sync and its filter beside git-lfs, plain git and plain rsync. Compare ratios within one run, never
seconds between machines.

"x ours" says how many times as long as ours, or as much memory, a peer took. "peak" is the memory of the largest process
of a command; that of this program (about 15) is the least that can be told.
"""

import argparse
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.bench.measure import PROGRAMS, Case, print_table
from tests.bench.scenes import DAYS, SCENES, WORKS
from tests.bench.stage import Lacking, Stage

ROOT = Path(__file__).resolve().parents[2]


def options() -> argparse.Namespace:
    width = max(map(len, WORKS))
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        epilog="\n".join(["what NAME can be:", *(f"  {name.ljust(width)}  {what}" for name, what in WORKS.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="NAME", nargs="+", choices=[*WORKS], help="measure these alone (see below)")
    parser.add_argument("--runs", type=int, default=3, help="how often each command runs (3)")
    parser.add_argument("--scale", type=float, default=1.0, help="the part of the files that is made (1)")
    parser.add_argument(
        "--folder", type=Path, help="where all is made; the long histories stay there, and are used again"
    )
    parser.add_argument(
        "--make-repo",
        type=Path,
        default=ROOT.parent / "shared" / "bench" / "make_repo.py",
        help="the script that makes the long histories; it is not part of this repository",
    )
    parser.add_argument("--commits", type=int, default=20000, help="the length of these")
    parser.add_argument("--assets", type=int, default=3000)
    parser.add_argument("--sources", type=int, default=5000)
    return parser.parse_args()


def stage_scenes(stage: Stage, names: set[str]) -> list[Case]:
    cases: list[Case] = []
    for scene, works in SCENES.items():
        if not names & {*works}:
            continue
        print(f"making what {', '.join(sorted(names & {*works}))} needs ...", file=sys.stderr)
        try:
            cases += [case for case in scene(stage) if case.work in names]
        except Lacking as lacking:
            if stage.given.only:
                sys.exit(str(lacking))
            print(f"left out: {', '.join(works)}: {lacking}", file=sys.stderr)
    return cases


def main() -> None:
    given = options()
    if not os.access(PROGRAMS / "gitlob-sync", os.X_OK):
        sys.exit(f"there is no {PROGRAMS / 'gitlob-sync'}: run this as make bench")
    if given.folder:
        given.folder.mkdir(parents=True, exist_ok=True)
    with_lfs = shutil.which("git-lfs") is not None
    names = set(given.only or WORKS)
    with tempfile.TemporaryDirectory(prefix="gitlob-bench-", dir=given.folder) as temporary, ExitStack() as stack:
        top = Path(temporary).resolve()
        kept = given.folder.resolve() if given.folder else top
        cases = stage_scenes(Stage(top, kept, given, stack, with_lfs), names)
        for number in range(given.runs):
            print(f"run {number + 1} of {given.runs} ...", file=sys.stderr)
            for case in cases:
                case.run()
    print(f"medians of {given.runs}")
    print_table(cases)
    for name in dict.fromkeys(case.work for case in cases):
        print(f"{name}: {WORKS[name]}")
    if names & {"list", "window"}:
        print(f"{given.commits} commits; no content in the lob store; git lfs fetch has a window of {DAYS} days too.")
    if given.scale != 1:
        print(f"with {given.scale} of the files")
    if not with_lfs:
        print("git-lfs is not installed, so nothing of it stands beside.")


if __name__ == "__main__":
    main()
