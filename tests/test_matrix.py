"""make matrix tells a pair of programs that does the job from one that does not."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.processes import program
from tests.support.work import ROOT


def matrix(rsync: object) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "tests.matrix", "--way", "path", "--rsync", str(rsync)]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_a_job_that_is_done_is_a_line_and_no_error() -> None:
    done = matrix(shutil.which("rsync"))
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith("ok ") and " path " in line


def test_a_step_that_fails_is_named(tmp_path: Path) -> None:
    """This one changes a byte on each way here."""
    program(
        tmp_path / "rsync",
        f'{shutil.which("rsync")} "$@" || exit\nfor last; do :; done\n'
        'case "$*" in *--max-size*staging*) find "$last" -name "*_0" -exec sh -c "echo x >>{}" \\;;; esac',
    )
    done = matrix(tmp_path / "rsync")
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    assert line.startswith("FAILED ") and "pull: gitlob-sync: " in line and "push:" not in line
