"""`make torture`: the fault tests for long, and a page of what was done and what was lost."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "torture.md"
APART = ("tests/faults/test_fuzz.py", "tests/faults/test_kills.py")
SIDE_BY_SIDE = (*([path] for path in APART), ["tests/faults", *(f"--ignore={path}" for path in APART)])
"""Each third takes about as long; the first keeps a processor busy, the others wait for much of their time."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="so many times, until one fails (default: 1)")
    parser.add_argument("pytest", nargs="*", help="what to give to pytest; no page is written then")
    args = parser.parse_args()
    version = version_under_test()  # the page that the first run writes is no change to what the second one tests
    runs: list[tuple[float, dict[str, list[int]]]] = []
    for number in range(1, args.runs + 1):
        begun = time.monotonic()
        parts = [args.pytest] if args.pytest else list(SIDE_BY_SIDE)
        clean, count = torture(parts)
        runs.append((time.monotonic() - begun, count))
        lost = sum(lost for _, lost in count.values())
        print(f"run {number} of {args.runs}: {'clean' if clean else 'FAILED'}, faults: {total(count)}, lost: {lost}")
        if not clean:
            return 1
        if not args.pytest:
            PAGE.parent.mkdir(exist_ok=True)
            PAGE.write_text(page(runs, version))
            print(f"{PAGE.relative_to(ROOT)} is written", flush=True)
    return 0


def torture(parts: list[list[str]]) -> tuple[bool, dict[str, list[int]]]:
    """Run parts of the tests at once. Returns whether all passed, and what was done: [times, lost] by kind of fault."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "GITLOB_TORTURE": "1", "GITLOB_FAULTS": f"{folder}/faults"}
        argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
        tests = [subprocess.Popen([*argv, *part], cwd=ROOT, env=env) for part in parts]
        clean = not any([test.wait() for test in tests])
        count: dict[str, list[int]] = {}
        for line in Path(folder, "faults").read_text().splitlines():
            said = json.loads(line)
            entry = count.setdefault(said["what"], [0, 0])
            entry[0] += said["times"]
            entry[1] += said["lost"]
    return clean, count


def total(count: dict[str, list[int]]) -> str:
    return f"{sum(times for times, _ in count.values()):,}"


def version_under_test() -> str:
    git = ["git", "describe", "--always", "--dirty", "--tags"]
    return subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def page(runs: list[tuple[float, dict[str, list[int]]]], version: str) -> str:
    ran = "once" if len(runs) == 1 else f"{len(runs)} times in a row"
    took = ", ".join(f"{seconds / 60:.0f}" for seconds, _ in runs)
    kinds = sorted({what for _, count in runs for what in count})
    rows: list[list[object]] = [
        [what, *(f"{count.get(what, [0, 0])[0]:,}" for _, count in runs), sum(c.get(what, [0, 0])[1] for _, c in runs)]
        for what in kinds
    ]
    head: list[object] = ["what was done", *(f"run {number + 1}" for number in range(len(runs))), "lost"]
    lines: list[list[object]] = [head, ["--"] * len(head), *rows]
    table = [" | ".join(map(str, line)) for line in lines]
    return "\n".join(
        [
            "# What was done to it, and what was lost",
            "",
            f"Written by `make torture`, which ran {ran} on {time.strftime('%Y-%m-%d')}, on version {version}"
            f" ({took} minutes). After each fault, every binary in every store hashed to its name, no file of a working tree"
            " was lost or half-written, exit codes were the documented ones, and the next plain run completed. Lost counts"
            " the times that one of these was not so.",
            "",
            *(f"| {row} |" for row in table),
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
