"""Where this machine may have a binary beside the repository's own store: the shared store, and repositories that lend theirs."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.handmade import CHUNK, check, files_of, placeholder, put, sha_of, shas_in
from tests.support.work import Work, clone, init


def inodes(content: Path) -> dict[str, int]:
    return {at.name: at.stat().st_ino for at in content.glob("???/???/*")}


def snapshot(content: Path) -> dict[str, tuple[int, int, bytes]]:
    """All that a look at a store can tell, but for the number of links and what changes with it."""
    return {
        str(at.relative_to(content)): (at.stat().st_ino, at.stat().st_mtime_ns, at.read_bytes())
        for at in content.rglob("*")
        if at.is_file()
    }


@pytest.mark.parametrize("size", [0, 3, 5_000_000, CHUNK + 1])
def test_content_added_twice_is_one_file(tmp_path: Path, size: int) -> None:
    shared = tmp_path / "shared"
    content = os.urandom(size)
    works = [init(tmp_path / name) for name in ("one", "two")]
    for work in works:
        work.git("config", "git-lob.sharedstore", str(shared))
        work.commit(a__bin=content)
    assert inodes(works[0].content) == inodes(works[1].content) == inodes(shared)
    assert {at.stat().st_nlink for at in shared.glob("???/???/*")} == {3}
    assert check(works[1].content) == {sha_of(content)}
    assert not works[1].staging


def test_a_copy_from_before_gives_way_to_the_shared_one(work: Work, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    work.commit(a__bin=b"content")
    put(shared, b"content")
    work.git("config", "git-lob.sharedstore", str(shared))
    work.write("b.bin", b"content")
    work.git("add", "b.bin")
    assert inodes(work.content) == inodes(shared)


@pytest.mark.smoke
def test_a_damaged_shared_copy_gives_way_to_the_sound_one(work: Work, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    put(shared, b"content")
    next(shared.glob("???/???/*_0")).write_bytes(b"CONTENT")
    work.git("config", "git-lob.sharedstore", str(shared))
    work.commit(a__bin=b"content")
    assert inodes(work.content) == inodes(shared)
    assert check(shared) == check(work.content) == {sha_of(b"content")}


@pytest.fixture
def source(tmp_path: Path) -> Work:
    """A repository with binaries in its content, and no remote."""
    work = init(tmp_path / "source")
    work.commit(a__bin=b"first", deep=b"text")
    work.commit(b__bin=os.urandom(CHUNK + 1), empty__bin=b"")
    return work


@pytest.mark.parametrize(
    "options", [["--shared"], ["--reference", "SOURCE"], ["--shared", "--bare"], ["--reference-if-able", "SOURCE"]]
)
def test_a_clone_with_alternates_uses_their_content(source: Work, tmp_path: Path, options: list[str]) -> None:
    """It is linked, and nothing of the source is touched."""
    subprocess.run(["gitlob-setup", "-q", "--global"], check=True)
    before = snapshot(source.content)
    argv = [str(source.path) if option == "SOURCE" else option for option in options]
    subprocess.run(["git", "clone", "-q", *argv, str(source.path), str(tmp_path / "other")], check=True)
    other = Work(tmp_path / "other")
    if "--bare" in options:
        done = other.sync("--list", "--committed")
        assert done.stdout.count("\n") == 3 and " - " not in done.stdout
        return
    assert other.read("a.bin") == b"first" and len(other.read("b.bin")) == CHUNK + 1 and other.read("empty.bin") == b""
    assert other.git("status", "--porcelain") == b""
    chunks = {name: inode for name, inode in inodes(source.content).items() if not name.endswith("_meta")}
    assert chunks.items() <= inodes(other.content).items()
    assert snapshot(source.content) == before
    assert check(other.content) == shas_in(source.content)


@pytest.mark.parametrize("form", ["SOURCE", "file://SOURCE", "SOURCE/.git", "LINKED"])
def test_a_clone_of_a_folder_uses_its_content_where_no_remote_has_a_store(
    source: Work, tmp_path: Path, form: str
) -> None:
    subprocess.run(["gitlob-setup", "-q", "--global"], check=True)
    source.git("worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    before = snapshot(source.content)
    url = form.replace("SOURCE", str(source.path)).replace("LINKED", str(tmp_path / "linked"))
    subprocess.run(["git", "clone", "-q", url, str(tmp_path / "other")], check=True)
    other = Work(tmp_path / "other")
    assert other.read("a.bin") == b"first"
    shutil.rmtree(other.content)
    other.write("a.bin", placeholder(b"first"))
    assert other.json("--checkout", "--offline")["expanded"] == 1
    assert other.git("status", "--porcelain") == b""
    assert snapshot(source.content) == before


def test_a_clone_of_a_folder_takes_all_from_the_store_of_its_remote(source: Work, tmp_path: Path) -> None:
    """What a push brought there, and what it did not, is not hidden by what happens to lie on this machine."""
    store = tmp_path / "remote"
    put(store, b"first")
    other = clone(source, tmp_path / "other", location=store)
    done = other.json("--checkout", code=3)
    assert (done["transferred"], len(done["missing"])) == (2, 1), "an empty one needs no remote"


def test_alternates_are_followed_however_they_are_written(source: Work, tmp_path: Path) -> None:
    """Relative ones, in quotes, behind a comment, and those of an alternate."""
    middle = init(tmp_path / 'mid"dle')
    last = init(tmp_path / "last")
    objects = Path(".git/objects")
    os.makedirs(middle.path / objects / "info", exist_ok=True)
    (middle.path / objects / "info/alternates").write_text("../../../source/.git/objects\n")
    os.makedirs(last.path / objects / "info", exist_ok=True)
    (last.path / objects / "info/alternates").write_text(
        f'# a comment\n/nowhere/objects\n"{tmp_path}/mid\\"dle/\\056git/objects"\n'
    )
    assert last.git("cat-file", "-t", source.git("rev-parse", "HEAD").decode().strip()) == b"commit\n"
    done = subprocess.run(["gitlob-filter", "smudge"], cwd=last.path, input=placeholder(b"first"), capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"first")


def test_alternates_that_go_round_in_a_circle_end(source: Work) -> None:
    (source.path / ".git/objects/info/alternates").write_text(f"{source.path}/.git/objects\n")
    shutil.rmtree(source.content)
    source.git("config", "git-lob.autofetch", "false")
    done = subprocess.run(["gitlob-filter", "smudge"], cwd=source.path, input=placeholder(b"x"), capture_output=True)
    assert done.stdout == placeholder(b"x")


@pytest.mark.parametrize("sync", [["--pull", "--committed"], ["--pull", "--committed", "--refetch"], ["--checkout"]])
def test_a_pull_asks_for_nothing_that_an_alternate_has(source: Work, tmp_path: Path, sync: list[str]) -> None:
    """And trusts nothing there: what is damaged comes from the remote."""
    store = tmp_path / "remote"
    shutil.copytree(source.content, store)
    other = clone(source, tmp_path / "other", "--shared", location=store)
    damaged = source.content / next(name for name in files_of(b"first") if name.endswith("_0"))
    damaged.write_bytes(b"FIRST")
    before = snapshot(source.content)
    assert other.json(*sync)["transferred"] == 1
    assert other.read("a.bin") == b"first" and other.git("status", "--porcelain") == b""
    assert check(other.content) == shas_in(store)
    assert snapshot(source.content) == before


def test_the_status_says_what_dry_runs_say_of_what_is_lent(source: Work, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "-q", "-n", "--shared", source.path, other], check=True)
    work = Work(other)
    work.run("gitlob-setup", "-q", "origin", str(tmp_path / "remote"))
    said = json.loads(work.run("gitlob-status", "--json").stdout)
    for direction in ("push", "pull"):
        dry = work.json(f"--{direction}", "-n")
        assert {key: said[direction][key] for key in ("transferred", "bytes")} == {
            key: dry[key] for key in ("transferred", "bytes")
        }


def test_a_purge_and_a_repair_leave_what_is_lent_alone(source: Work, tmp_path: Path) -> None:
    other = clone(source, tmp_path / "other", "--shared", location=tmp_path / "remote")
    other.sync()
    before = snapshot(source.content)
    assert shas_in(other.content) == shas_in(source.content)
    chunk = other.content / next(name for name in files_of(b"first") if name.endswith("_0"))
    chunk.unlink()
    chunk.write_bytes(b"FIRST")
    other.run("gitlob-fsck", "--repair")
    assert check(other.content) == shas_in(source.content)
    other.git("checkout", "-q", "--orphan", "new")
    other.git("rm", "-qf", "*.bin")
    other.commit(c__bin=b"new")
    other.git("branch", "-D", "main")
    other.git("remote", "remove", "origin")
    other.git("reflog", "expire", "--expire=now", "--all")
    other.run("gitlob-purge", "--grace", "0", "--window", "0")
    assert shas_in(other.content) == {sha_of(b"new")}
    assert snapshot(source.content) == before


@pytest.mark.parametrize("whose", ["of the clone", "of the source"])
def test_a_shared_store_counts_no_links_for_what_is_lent(source: Work, tmp_path: Path, whose: str) -> None:
    """The number of links to a file there says how many repositories need it."""
    shared = tmp_path / "shared"
    if whose == "of the source":
        source.git("config", "git-lob.sharedstore", str(shared))
        source.write("a2.bin", b"first")
        source.git("add", "a2.bin")
        assert {at.stat().st_nlink for at in shared.glob("???/???/*")} == {2}
    other = clone(source, tmp_path / "other", "--shared")
    if whose == "of the clone":
        other.git("config", "git-lob.sharedstore", str(shared))
    done = subprocess.run(["gitlob-filter", "smudge"], cwd=other.path, input=placeholder(b"first"), capture_output=True)
    assert done.stdout == b"first"
    assert {at.stat().st_nlink for at in source.content.glob("???/???/*") if at.name.startswith(sha_of(b"first"))} == {
        2 if whose == "of the source" else 1
    }
    assert check(other.content) == {sha_of(b"first")}


def test_an_alternate_that_cannot_be_read_stops_nothing(source: Work, tmp_path: Path) -> None:
    other = clone(source, tmp_path / "other", "--shared", location=tmp_path / "remote")
    shutil.rmtree(source.content)
    os.symlink("content", source.content)  # a loop
    other.commit(c__bin=b"new")
    assert other.read("a.bin") == placeholder(b"first")
    other.sync("--push", code=None)
    assert sha_of(b"new") in shas_in(tmp_path / "remote")
