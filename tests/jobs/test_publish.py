"""The lists of what clones need: one for each clone, under a name of its own, whatever its host is called."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gitlob_rsync.git.repo import Repo
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.state import clone, needs_list
from tests.support.handmade import check, put, sha_of
from tests.support.places import Place, make_place
from tests.support.repositories import commit, repository
from tests.support.work import Work

PATCH = "import os, socket\nsocket.gethostname = lambda: os.environ.get('HOST_NAME', 'first')\n"


@pytest.fixture(autouse=True)
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the host's name be what HOST_NAME says."""
    folder = tmp_path / "hosts"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(PATCH)
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{os.environ['PYTHONPATH']}")
    monkeypatch.setenv("HOST_NAME", "first")


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    """At a path; all ways are in tests/conformance."""
    return make_place("path", request)


def add(work: Work, name: str, content: bytes) -> None:
    commit(work, {name: content})
    put(work.content, content)


def lists(place: Place) -> dict[str, set[Sha]]:
    """What each list names."""
    folder = place.folder / "gitlob" / "lists"
    return {at.name: needs_list.decode(at.read_bytes(), at.name) for at in folder.glob("?" * 24)}


@pytest.fixture
def one(tmp_path: Path, place: Place) -> Work:
    """A clone that has pushed."""
    work = repository(tmp_path / "one", place.location, {"a.bin": b"one"})
    work.sync("--push")
    assert list(lists(place).values()) == [{sha_of(b"one")}]
    return work


def test_another_name_of_the_host_is_no_other_clone(
    one: Work, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lists(place).keys()
    for name in ("second", "third"):
        monkeypatch.setenv("HOST_NAME", name)
        one.sync("--push")
        add(one, f"{name}.bin", name.encode())
        one.sync("--push")
        assert lists(place).keys() == before
    one.path.rename(tmp_path / "moved")
    one = Work(tmp_path / "moved")
    one.sync("--push")
    one.run("gitlob-purge", "--remote-store")
    assert lists(place) == {name: {sha_of(b"one"), sha_of(b"second"), sha_of(b"third")} for name in before}


@pytest.mark.parametrize("by_hook", [False, True])
@pytest.mark.parametrize("how", ["forgotten", "deleted", "older"])
def test_a_list_that_is_not_there_any_more_is_no_record(
    one: Work, place: Place, tmp_path: Path, how: str, by_hook: bool
) -> None:
    """Another clone had it forgotten, somebody deleted it, or the store is an older copy of itself: a push sends all again."""
    shutil.copytree(place.folder, tmp_path / "older", symlinks=True)
    add(one, "b.bin", b"two")
    one.sync("--push")
    (name,) = lists(place)
    if how == "forgotten":
        other = repository(tmp_path / "other", place.location, {"o.bin": b"o"})
        other.sync("--push")
        other.run("gitlob-purge", "--remote-store", "--forget-list", name, "--grace", "0")
    elif how == "deleted":
        shutil.rmtree(place.folder / "gitlob" / "lists")
        shutil.rmtree(place.folder / sha_of(b"one")[:3])
    else:
        for at in place.folder.iterdir():
            shutil.rmtree(at)
        shutil.copytree(tmp_path / "older", place.folder, dirs_exist_ok=True)
    assert not {sha_of(b"one"), sha_of(b"two")} <= check(place.folder)
    add(one, "c.bin", b"three")
    if by_hook:
        one.git("init", "-q", "--bare", str(tmp_path / "hub.git"))
        one.git("remote", "set-url", "origin", str(tmp_path / "hub.git"))
        one.run("gitlob-setup", "--hooks")
        one.git("push", "-q", "origin", "HEAD")
    else:
        one.sync("--push")
    everything = {sha_of(content) for content in (b"one", b"two", b"three")}
    assert everything <= check(place.folder)
    assert lists(place)[name] == everything


def test_a_list_whose_writing_was_cut_off_is_written_anew(one: Work, place: Place) -> None:
    """A purge that was killed may have left one that names less."""
    (name,) = lists(place)
    at = place.folder / "gitlob" / "lists" / name
    (noted,) = (one.path / ".git/git-lob/state/lists").iterdir()
    said = json.loads(noted.read_text())
    edition = "ab" * 8
    at.write_bytes(needs_list.encode([], name, said["place"], edition))
    at.with_name(f"{name}.edition").write_text(edition)
    noted.write_text(json.dumps({**said, "editions": [*said["editions"], edition]}))
    (one.path / ".git/git-lob/state/pushed").joinpath(noted.name).unlink()
    one.sync("--push")
    assert lists(place)[name] == {sha_of(b"one")}


@pytest.mark.parametrize("how", ["cp -r", "cp -a", "cp -al"])
@pytest.mark.parametrize("host", ["first", "second"])
def test_a_copy_is_a_clone_of_its_own(
    one: Work, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, host: str
) -> None:
    if subprocess.run(["cp", "--version"], capture_output=True).returncode and how != "cp -r":
        pytest.skip("this cp makes no such copies")
    subprocess.run([*how.split(), one.path, tmp_path / "copy"], check=True)
    copy = Work(tmp_path / "copy")
    add(one, "b.bin", b"only one's")
    one.sync("--push")
    monkeypatch.setenv("HOST_NAME", host)
    add(copy, "c.bin", b"only the copy's")
    copy.sync("--push")
    add(one, "d.bin", b"again one's")
    monkeypatch.setenv("HOST_NAME", "first")
    one.sync("--push")
    said = list(lists(place).values())
    assert {sha_of(b"one"), sha_of(b"only one's"), sha_of(b"again one's")} in said
    assert {sha_of(b"one"), sha_of(b"only the copy's")} in said


def test_a_machine_of_the_same_image_is_found_out(
    one: Work, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disk is the same to the last inode; at its first push it is no longer called as it was."""
    image = {at: at.read_bytes() for at in (one.content.parent / "state").rglob("*.json")}
    add(one, "b.bin", b"only one's")
    one.sync("--push")
    (name,) = lists(place)
    for at, content in image.items():
        at.write_bytes(content)
    one.git("reset", "-q", "--hard", "HEAD~")
    monkeypatch.setenv("HOST_NAME", "twin")
    add(one, "c.bin", b"only the twin's")
    one.sync("--push")
    assert len(lists(place)) == 2
    assert lists(place)[name] == {sha_of(b"one"), sha_of(b"only one's")}, "it is not the twin's to write"


def test_the_list_that_an_older_version_wrote_is_taken_away(place: Place, tmp_path: Path) -> None:
    """Its name was made of the host's, the path, and a number."""
    work = repository(tmp_path / "one", place.location, {"a.bin": b"one"})
    work.sync("--push")
    state = work.content.parent / "state"
    (new,) = lists(place)
    git_dir = work.path / ".git"
    (state / "clone").write_text("0123")
    old = hashlib.sha1(f"first\0{git_dir}\x000123".encode()).hexdigest()[:24]
    whose = f"clone {old} first:{git_dir}"
    content = (place.folder / "gitlob" / "lists" / new).read_bytes().split(b"\n")
    (place.folder / "gitlob" / "lists" / new).unlink()
    older = place.folder / "gitlob" / "lists" / old
    older.write_bytes(b"\n".join([content[0], whose.encode(), *content[2:]]))
    (noted,) = (state / "lists").iterdir()
    noted.write_text(json.dumps({"whose": whose, "shas": [sha_of(b"one")]}))
    for name in ("clone-marker", "clone.json"):
        (state / name).unlink()
    copy = tmp_path / "copy"
    shutil.copytree(work.path, copy)
    Work(copy).sync("--push")
    assert older.exists(), "it is not the copy's to take away"
    would = work.run("gitlob-purge", "--remote-store", "-n", "-v").stdout
    work.sync("--push")
    assert not older.exists()
    assert len(lists(place)) == 2
    assert would == work.run("gitlob-purge", "--remote-store", "-n", "-v").stdout


def test_a_name_without_its_marker_is_nobodys(one: Work) -> None:
    os.chdir(one.path)
    repo = Repo.discover()
    name = clone.own_name(repo)
    assert name and clone.own_name(repo) == name
    (one.content.parent / "state" / "clone-marker").unlink()
    assert clone.own_name(repo) is None
