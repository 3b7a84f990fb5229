"""Partial clones: the blobs that a selection needs are fetched at once, or not at all."""

from pathlib import Path

import pytest

from tests.support.handmade import sha_of
from tests.support.work import Work


@pytest.fixture
def origin(work: Work) -> Work:
    work.git("config", "uploadpack.allowFilter", "true")
    work.git("config", "uploadpack.allowAnySHA1InWant", "true")
    for number in range(5):
        work.commit(a__bin=b"version %d" % number, text=f"text {number}\n" * 100)
    return work


def partial_clone(origin: Work, path: Path, filter: str) -> Work:
    origin.git("clone", "-q", "--no-checkout", f"--filter={filter}", f"file://{origin.path}", str(path))
    clone = Work(path)
    clone.run("gitlob-setup", "-q")
    return clone


def fetches(clone: Work, trace: Path, *args: str) -> tuple[set[str], int]:
    """What --list selects, and how many times git went to its remote for it."""
    shim = trace.parent / "shim"
    shim.mkdir()
    (shim / "git-upload-pack").write_text(f'#!/bin/sh\necho x >>{trace}\nexec /usr/bin/git upload-pack "$@"\n')
    (shim / "git-upload-pack").chmod(0o755)
    clone.git("config", "remote.origin.uploadpack", str(shim / "git-upload-pack"))
    listed = set(clone.listed(*args))
    return listed, len(trace.read_text().split()) if trace.exists() else 0


def test_missing_blobs_are_fetched_in_one_go(origin: Work, tmp_path: Path) -> None:
    clone = partial_clone(origin, tmp_path / "clone", "blob:none")
    listed, count = fetches(clone, tmp_path / "trace", "--committed")
    assert listed == {sha_of(b"version %d" % number) for number in range(5)}
    assert count == 1
    assert len(fetches_again(clone)) == 5


def fetches_again(clone: Work) -> dict[str, bytes]:
    clone.git("config", "remote.origin.url", "file:///nowhere")
    return clone.listed("--committed")


def test_blobs_that_are_too_large_for_placeholders_stay_away(origin: Work, tmp_path: Path) -> None:
    clone = partial_clone(origin, tmp_path / "clone", "blob:limit=1k")
    listed, count = fetches(clone, tmp_path / "trace", "--committed")
    assert listed == {sha_of(b"version %d" % number) for number in range(5)}
    assert count == 0


def test_only_what_the_paths_ask_for_is_fetched(origin: Work, tmp_path: Path) -> None:
    clone = partial_clone(origin, tmp_path / "clone", "blob:none")
    listed, count = fetches(clone, tmp_path / "trace", "--window=0", "--include", "text")
    assert (listed, count) == (set(), 1)
    missing = clone.git("rev-list", "--objects", "--all", "--missing=print").count(b"\n?")
    assert missing >= 9  # a.bin in each version, and the older texts


def test_a_git_remote_that_is_gone_is_a_failure(origin: Work, tmp_path: Path) -> None:
    clone = partial_clone(origin, tmp_path / "clone", "blob:none")
    clone.git("config", "remote.origin.url", "file:///nowhere")
    done = clone.sync("--list", "--committed", code=1)
    assert done.stdout == "" and done.stderr.count("\n") == 1
