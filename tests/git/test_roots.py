"""What a repository holds on to beside refs/ is asked of git: whatever the ref format, from whichever worktree, with a
number of processes that does not grow."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gitlob_rsync.git import roots
from gitlob_rsync.git.repo import Repo
from tests.support.handmade import sha_of
from tests.support.purging import age, told
from tests.support.words import WORDS, committed, lob, make
from tests.support.work import Work, init

FORMATS = ["files"]
if b"ref-format" in subprocess.run(["git", "init", "-h"], capture_output=True, check=False).stdout:
    FORMATS.append("reftable")

NOTHING = "0" * 40


@pytest.fixture(params=FORMATS)
def ref_format(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GIT_DEFAULT_REF_FORMAT", request.param)
    return request.param


@pytest.fixture
def held(ref_format: str, tmp_path: Path, store: Path) -> Work:
    """A repository with a store, and one commit."""
    assert ref_format
    work = init(tmp_path / "work", location=store)
    work.commit(a__bin="base", b__bin="b")
    WORDS.update({sha_of(word.encode()): word for word in ("base", "b", "ours", "theirs", "put away")})
    return work


def linked(work: Work) -> Work:
    path = work.path.parent / "linked"
    work.git("worktree", "add", "-q", "--detach", str(path))
    return Work(path)


def purged(work: Work) -> dict[str, str]:
    """What a purge of whatever no ref, reflog, index or stash needs says of each binary: all are old enough."""
    age(work.content, 300)
    return told(work, "--unreferenced", "--grace", "0")


@pytest.mark.parametrize("where", ["here", "there"])
def test_what_a_merge_put_away_is_kept(held: Work, where: str) -> None:
    """git merge --autostash, stopped at a conflict, and given up after a purge from the main worktree."""
    held.commit(a__bin="theirs")
    held.git("branch", "side")
    held.git("reset", "-q", "--hard", "HEAD~1")
    at = held if where == "here" else linked(held)
    at.commit(a__bin="ours")
    at.write("b.bin", "put away")
    at.git("merge", "-q", "--autostash", "side", code=1)
    assert at.read("b.bin") == b"b"
    assert purged(held)["put away"] == "stash"
    prefix = "main-worktree" if where == "here" else "worktrees/linked"
    chunk = next(held.content.rglob(f"{sha_of(b'put away')}_0"))
    chunk.chmod(0o644)
    chunk.write_bytes(b"spoiled!")
    assert f"{prefix}/MERGE_AUTOSTASH" in held.run("gitlob-fsck", "-n", "--json", code=3).stdout
    chunk.write_bytes(b"put away")
    at.git("merge", "--abort")
    assert at.read("b.bin") == b"put away"


@pytest.mark.parametrize("where", ["here", "there"])
@pytest.mark.parametrize("name", ["MERGE_AUTOSTASH", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "ORIG_HEAD",
                                  "refs/worktree/kept", "refs/bisect/bad", "refs/rewritten/onto"])  # fmt: skip
def test_a_commit_that_a_ref_of_a_worktree_alone_names_is_kept(held: Work, name: str, where: str) -> None:
    at = held if where == "here" else linked(held)
    at.write("a.bin", "put away")
    at.git("add", "a.bin")
    commit = at.git("commit-tree", "-p", "HEAD", "-m", "x", at.git("write-tree").decode().strip()).decode().strip()
    at.git("reset", "-q", "--hard")
    at.git("update-ref", name, commit)
    assert purged(held)["put away"] not in ("unreferenced", "old")
    at.git("update-ref", "-d", name)
    at.git("reflog", "expire", "--expire=all", "--all")
    assert purged(held)["put away"] == "unreferenced"


@pytest.mark.parametrize("name", ["MERGE_HEAD", "BISECT_START", "sequencer/head", "rebase-merge/orig-head"])
def test_a_commit_that_a_file_of_an_operation_alone_names_is_kept(held: Work, name: str) -> None:
    at = linked(held)
    at.write("a.bin", "put away")
    at.git("add", "a.bin")
    commit = at.git("commit-tree", "-p", "HEAD", "-m", "x", at.git("write-tree").decode().strip()).decode().strip()
    at.git("reset", "-q", "--hard")
    file = held.path / ".git/worktrees/linked" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"{held.git('rev-parse', 'HEAD').decode()}{commit}\n")
    assert purged(held)["put away"] not in ("unreferenced", "old")
    file.unlink()
    assert purged(held)["put away"] == "unreferenced"


def test_what_the_reflog_of_another_worktree_alone_names_is_kept(held: Work) -> None:
    at = linked(held)
    at.commit(a__bin="put away")
    at.git("reset", "-q", "--hard", "HEAD~1")
    at.git("update-ref", "-d", "ORIG_HEAD")
    assert purged(held)["put away"] == "unpushed"


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_bisect_stops_nothing(held: Work, where: str, store: Path) -> None:
    """git 2.30 to 2.38 know its refs by no name from another worktree."""
    for number in range(6):
        held.commit(a__bin=f"{number}")
    at = held if where == "here" else linked(held)
    other = linked(held) if where == "here" else held
    at.git("bisect", "start", "HEAD", "HEAD~5")
    for one in (at, other):
        assert len(one.listed("--committed")) == 8
        one.sync("--push")
        one.run("gitlob-purge", "-n")
        one.run("gitlob-status")
        one.run("gitlob-fsck")
    at.commit(a__bin="found")
    tip = at.git("rev-parse", "HEAD").decode().strip()
    hook = f"refs/heads/x {tip} refs/heads/x {NOTHING}\n"
    argv = ["gitlob-sync", "-q", "--pre-push", "--", "origin"]
    subprocess.run(argv, cwd=at.path, input=hook.encode(), check=True)
    assert list(store.rglob(f"{sha_of(b'found')}_0"))


def test_older_stashes_are_committed(ref_format: str, tmp_path: Path) -> None:
    assert ref_format
    repo = make(tmp_path / "repo")
    words = [f"stash {number}" for number in range(3)]
    repo.commit(a__bin=lob("base"))
    for word in words:
        repo.write("a.bin", lob(word))
        repo.git("stash", "-q")
    assert committed(repo) == {"base", *words}
    repo.git("stash", "drop", "-q", "stash@{1}")
    assert committed(repo) == {"base", words[0], words[2]}
    repo.git("stash", "clear")
    assert committed(repo) == {"base"}


@pytest.mark.parametrize("pruned", [False, True])
def test_a_stash_that_was_dropped_is_not_committed(ref_format: str, tmp_path: Path, pruned: bool) -> None:
    """Without --rewrite, and in a reftable with it, the log still names it as what the next one took the place of."""
    assert ref_format
    repo = make(tmp_path / "repo")
    repo.commit(a__bin=lob("base"))
    for word in ("dropped", "kept"):
        repo.write("a.bin", lob(word))
        repo.git("stash", "-q")
    commit = repo.git("rev-parse", "stash@{1}").decode().strip()
    repo.git("reflog", "delete", "refs/stash@{1}")
    if pruned:
        (repo.path / ".git/objects" / commit[:2] / commit[2:]).unlink()
    assert committed(repo) == {"base", "kept"}


@pytest.mark.parametrize("name", ["MERGE_AUTOSTASH", "refs/worktree/kept"])
def test_a_lost_commit_of_another_worktree_ends_a_purge(held: Work, name: str) -> None:
    at = linked(held)
    commit = at.git("commit-tree", "-p", "HEAD", "-m", "x", "HEAD^{tree}").decode().strip()
    at.git("update-ref", name, commit)
    (held.path / ".git/objects" / commit[:2] / commit[2:]).unlink()
    refused(held)


@pytest.mark.parametrize("name", ["MERGE_AUTOSTASH", "ORIG_HEAD", "refs/worktree/kept"])
def test_a_ref_that_cannot_be_read_ends_a_purge(
    tmp_path: Path, store: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DEFAULT_REF_FORMAT", "files")
    work = init(tmp_path / "work", location=store)
    work.commit(a__bin="base")
    at = linked(work)
    at.git("update-ref", name, "HEAD")
    (work.path / ".git/worktrees/linked" / name).write_bytes(bytes(41))
    assert name in refused(work)


def refused(work: Work) -> str:
    """A purge that deletes nothing, though a binary is there that nothing needs."""
    WORDS[sha_of(b"unneeded")] = "unneeded"
    work.git("hash-object", "-w", "--path=a.bin", "--stdin", input=b"unneeded")
    age(work.content, 300)
    said = work.run("gitlob-purge", "--grace", "0", code=1).stderr
    assert list(work.content.rglob(f"{sha_of(b'unneeded')}_0"))
    return said


# What is a worktree


def litter(work: Work) -> None:
    """What tools, people, and a `git worktree add` that was killed leave below .git/worktrees."""
    folder = work.path / ".git/worktrees"
    folder.mkdir(exist_ok=True)
    (folder / ".DS_Store").touch()
    (folder / "empty").mkdir()
    (folder / "notes").mkdir()
    (folder / "notes/a.txt").touch()
    (folder / "locked").mkdir()
    (folder / "locked/locked").write_text("initializing")
    (folder / "begun").mkdir()
    (folder / "begun/gitdir").write_text("/nowhere/.git\n")
    (folder / "link").symlink_to("nowhere")


def test_what_is_no_worktree_stops_nothing(held: Work) -> None:
    at = linked(held)
    litter(held)
    for work in (held, at):
        work.sync("--push")
        work.run("gitlob-purge")
        work.run("gitlob-fsck")
        work.run("gitlob-status", "-q")
        assert {sha_of(b"base"), sha_of(b"b")} <= work.listed("--committed").keys()


@pytest.mark.parametrize("lost", ["HEAD", "commondir", "gitdir"])
def test_a_damaged_worktree_is_one(held: Work, lost: str) -> None:
    """No purge passes over what it has staged: it is kept, or the purge ends."""
    at = linked(held)
    for word in ("ours", "theirs"):
        at.commit(b__bin=word)
    at.git("reflog", "expire", "--expire=all", "--all")
    at.write("a.bin", "put away")
    at.git("add", "a.bin")
    (held.path / ".git/worktrees/linked" / lost).unlink()
    age(held.content, 300)
    done = held.run("gitlob-purge", "--unreferenced", "--grace", "0", code=None)
    assert done.returncode == (0 if lost == "gitdir" else 1)
    for content in (b"put away", b"ours", b"theirs"):
        assert list(held.content.rglob(f"{sha_of(content)}_0"))


# The number of processes


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git that notes each start of itself in a file, a line each."""
    real, count = shutil.which("git"), tmp_path / "count"
    shim = tmp_path / "shim" / "git"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\necho "$*" >>{count}\nexec {real} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    return count


def started(count: Path) -> int:
    number = len(count.read_text().splitlines())
    count.unlink()
    return number


def put_away(work: Work, number: int) -> str:
    """A stash, as git makes one, but for what is in it."""
    made = work.git("commit-tree", "-p", "HEAD", "-p", "HEAD", "-m", f"{number}", "HEAD^{tree}").decode().strip()
    work.git("update-ref", "--create-reflog", "-m", f"{number}", "refs/stash", made)
    return made


def test_no_command_starts_more_git_processes_for_more_refs_and_stashes(held: Work, counted: Path) -> None:
    tip = held.git("rev-parse", "HEAD").decode().strip()
    found: dict[str, list[int]] = {}
    held.sync("--push")  # both times there is a record of it
    for number in (1, 60):
        names = [f"{n}" for n in range(number)]
        refs = [f"refs/{kind}{name}" for name in names for kind in ("tags/t", "bisect/b", "remotes/origin/")]
        held.git("update-ref", "--stdin", input="".join(f"update {ref} {tip}\n" for ref in refs).encode())
        for n in range(number):
            put_away(held, n)
        hook = "".join(f"refs/tags/t{name} {tip} refs/tags/t{name} {NOTHING}\n" for name in names).encode()
        runs = {
            "push": ["gitlob-sync", "--push", "--recheck", "-n"],
            "refs": ["gitlob-sync", "--list", "--committed", *(f"--ref=t{name}" for name in names)],
            "window": ["gitlob-sync", "--list", "--window", "30d", *(f"--ref=t{name}" for name in names)],
            "pull": ["gitlob-sync", "--pull", "-n"],
            "purge": ["gitlob-purge", "-n"],
            "status": ["gitlob-status"],
            "fsck": ["gitlob-fsck"],
            "hook": ["gitlob-sync", "-q", "--pre-push", "--", "origin"],
        }
        for name, argv in runs.items():
            counted.write_text("")
            subprocess.run(argv, cwd=held.path, input=hook, check=True, capture_output=True)
            found.setdefault(name, []).append(started(counted))
    assert all(few >= many for few, many in found.values()), found


def test_more_stashes_than_one_call_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = make(tmp_path / "repo")
    repo.commit(a__bin=lob("base"))
    made = [put_away(repo, n) for n in range(7)]
    monkeypatch.chdir(repo.path)
    for at_once in (1, 2, 3, 7, 8):
        monkeypatch.setattr(roots, "_AT_ONCE", at_once)
        assert roots.stashes(Repo.discover()) == made[::-1]
