"""A connection that worked and broke is tried again, with growing pauses; what cannot go well is not."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.handmade import CHUNK, check, put, sha_of
from tests.support.places import make_place
from tests.support.processes import client_of, wait_until
from tests.support.repositories import repository
from tests.support.shims import put_rsync
from tests.support.work import Work


@pytest.fixture
def breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in rsync's place that counts its runs, and that breaks off after its work, with the exit code in the file
    `codes` whose turn it is: a line a run, none left means to go on as rsync does."""
    folder = tmp_path / "shim"
    script = (
        '[ "$1" = --version ] && exec REAL "$@"\n'
        f"date +%s.%N >>{folder}/runs\n"
        f"code=$(head -n 1 {folder}/codes)\nsed -i 1d {folder}/codes\n"
        f'case $code in "") ;; *-) code=${{code%-}}; cat >/dev/null; echo "broken pipe" >&2; exit $code ;; esac\n'
        'REAL "$@" || exit\n'
        '[ -z "$code" ] || { echo "broken pipe" >&2; exit $code; }\n'
    )
    put_rsync(folder, script, monkeypatch)
    (folder / "codes").write_text("")
    return folder


def runs(breaks: Path) -> list[float]:
    return [float(line) for line in (breaks / "runs").read_text().splitlines()]


@pytest.fixture
def work(tmp_path: Path, store: Path) -> Work:
    for content in (b"one", b"two"):
        put(store, content)
    return repository(tmp_path / "work", store, {"a.bin": b"one", "b.bin": b"two"}, have=False)


@pytest.mark.parametrize("code", [10, 12, 20, 30, 35, 255])
def test_a_broken_connection_is_tried_again(work: Work, breaks: Path, code: int) -> None:
    (breaks / "codes").write_text(f"{code}\n")
    done = work.sync("--pull")
    assert len(runs(breaks)) == 2
    (note,) = [line for line in done.stderr.splitlines() if "retrying in" in line]
    assert note.startswith("gitlob-sync: ") and "retrying in 2 seconds (1 of 3)" in note
    assert check(work.content) == {sha_of(b"one"), sha_of(b"two")}


def test_pauses_grow_and_tries_end(work: Work, breaks: Path) -> None:
    work.git("config", "git-lob.retries", "2")
    (breaks / "codes").write_text("12\n" + "12-\n" * 9)
    done = work.sync("--pull", code=4)
    first, second, third = runs(breaks)
    assert 2 <= second - first < third - second and third - second >= 4
    assert done.stderr.splitlines()[-1].endswith("(run it again: it resumes)")
    assert check(work.content) == {sha_of(b"one"), sha_of(b"two")}, "what had come is kept"


def test_quiet_says_nothing_of_it_where_it_ends_well(work: Work, breaks: Path) -> None:
    (breaks / "codes").write_text("12\n")
    assert work.sync("-q", "--pull").stderr == ""


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 11, 127])
def test_what_is_wrong_is_not_tried_again(work: Work, breaks: Path, code: int) -> None:
    (breaks / "codes").write_text(f"{code}\n")
    work.sync("--pull", code=None)
    assert len(runs(breaks)) == 1 or code == 3


def test_who_never_answered_is_not_asked_again(work: Work, breaks: Path) -> None:
    """A wrong name, or a machine that is off: a checkout must not wait for it four times."""
    (breaks / "codes").write_text("255-\n" * 9)
    work.sync("--pull", code=4)
    assert len(runs(breaks)) == 1


@pytest.mark.parametrize(("value", "code"), [("0", 4), ("-1", 2), ("x", 2), ("101", 2)])
def test_the_setting(work: Work, breaks: Path, value: str, code: int) -> None:
    work.git("config", "git-lob.retries", value)
    (breaks / "codes").write_text("12\n")
    done = work.sync("--pull", code=code)
    assert code == 4 or "git-lob.retries" in done.stderr


@pytest.mark.parametrize(("kind", "direction"), [("ssh", "--pull"), ("daemon root", "--push")])
def test_a_killed_rsync_goes_on_where_it_was(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, direction: str
) -> None:
    content = os.urandom(1 << 20) * 96
    place = make_place(kind, request)
    other = repository(tmp_path / "work", place.location, {"a.bin": content}, have=direction == "--push")
    if direction == "--pull":
        put(place.folder, content)
    lands = place.folder if direction == "--push" else other.content.parent / "staging"
    process = subprocess.Popen(["gitlob-sync", direction, "--bwlimit", "60m"], cwd=other.path, stderr=subprocess.PIPE)
    wait_until(lambda: bool([*lands.rglob(f"{sha_of(content)}_1")]), "two chunks arrive", process=process)
    os.kill(client_of(process.pid, tmp_path), signal.SIGKILL)
    begun = time.monotonic()
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0 and b"retrying in 2 seconds" in said
    assert time.monotonic() - begun >= 2
    assert check(place.folder) == check(other.content) == {sha_of(content)} and len(content) > 2 * CHUNK
