"""What a machine may lack, or have otherwise: folders on PATH, open standard streams, /proc, links, modes, one file system."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Work, clone
from tests.handmade import placeholder, shas_in

BARE = "/usr/local/bin:/usr/bin:/bin"
"""PATH as cron and systemd have it."""


def program(name: str) -> str:
    """One of ours, by its full path, from the folder of the interpreter that has what it needs."""
    return str(Path(sys.executable).parent / name)


@pytest.mark.parametrize("called", ["by its full path", "by a relative one", "through a link"])
def test_git_finds_the_filter_without_our_folder_on_path(work: Work, store: Path, tmp_path: Path, called: str) -> None:
    work.commit(a__bin=b"content")
    work.sync("--push")
    other = clone(work, tmp_path / "other", "-c", "git-lob.autofetch=false", location=store)
    assert other.read("a.bin") == placeholder(b"content")
    argv0 = program("gitlob-sync")
    if called == "by a relative one":
        argv0 = os.path.relpath(argv0, other.path)
    elif called == "through a link":
        argv0 = str(tmp_path / "linked")
        os.symlink(program("gitlob-sync"), argv0)
    other.run(argv0, "--pull", "--committed", env={"PATH": BARE})
    assert other.read("a.bin") == b"content"


def closed(work: Work, numbers: tuple[int, ...], *argv: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a program with standard streams closed, as `<&- >&- 2>&-` do."""
    shell = "".join(f"exec {number}<&-; " for number in numbers) + 'exec "$@"'
    return subprocess.run(["sh", "-c", shell, "sh", *argv], cwd=work.path, input=input, capture_output=True)


@pytest.mark.parametrize("numbers", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_closed_standard_streams_are_no_bug(work: Work, store: Path, numbers: tuple[int, ...]) -> None:
    """And no file that is opened gets what we print."""
    work.commit(a__bin=b"content")
    for argv in (
        ["gitlob-sync", "--push"],
        ["gitlob-status"],
        ["gitlob-status", "--json"],
        ["gitlob-fsck"],
        ["gitlob-purge", "-n"],
        ["gitlob-setup", "--check"],
        ["gitlob-sync", "--list"],
        ["gitlob-sync", "--pull", "--background"],
    ):
        done = closed(work, numbers, *argv)
        assert done.returncode == 0, (argv, done.stderr)
        if 1 in numbers:
            assert done.stdout == b""
    assert shas_in(store) == shas_in(work.content)
    assert closed(work, numbers, "gitlob-sync", "--bogus").returncode == 2
    for file in (work.content.parent / "state").rglob("*.json"):
        json.loads(file.read_bytes())
    assert work.git("fsck", "--strict") == b""


@pytest.mark.parametrize("numbers", [(0,), (1,), (0, 1), (1, 2), (0, 1, 2)])
def test_nothing_at_all_is_no_answer_for_the_filter(work: Work, numbers: tuple[int, ...]) -> None:
    for direction in ("clean", "smudge"):
        done = closed(work, numbers, "gitlob-filter", direction, input=b"content")
        assert done.returncode == 1
        assert done.stderr == b"" if 2 in numbers else b"is closed" in done.stderr
    if 0 in numbers:  # no commit goes because nobody could say that it does
        assert closed(work, numbers, "gitlob-sync", "--pre-push", "--", "origin").returncode == 1
