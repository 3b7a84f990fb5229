"""gitlob-purge on the local store: what goes, what is kept and why, and that nothing goes where something is in doubt."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.gitclient import GitClient, content, lines
from tests.support.handmade import check, drop, files_of, placeholder, put, sha_of
from tests.support.purging import age, pushed, told
from tests.support.repositories import repository
from tests.support.servers import Sshd, free_port
from tests.support.words import WORDS, ago, lob
from tests.support.work import Work, clone, init


def hold(root: Path, *words: str, days: float = 3) -> None:
    """Have a store hold binaries that were stored some days ago."""
    for word in words:
        WORDS[put(root, word.encode())] = word
        age(root, days, word)


def words_in(root: Path) -> set[str]:
    return {WORDS.get(sha, sha) for sha in check(root)}


def unharmed(repo: Work, *args: str, code: int, env: dict[str, str] | None = None) -> str:
    """A purge that must fail; returns the one line that it says. Not a file of the store has changed."""

    def files() -> dict[str, tuple[int, int]]:
        found = ((at, at.lstat()) for at in repo.content.rglob("*"))
        return {str(at): (stat.st_size, stat.st_mtime_ns) for at, stat in found}

    before = files()
    done = repo.run("gitlob-purge", *args, code=code, env=env)
    assert files() == before
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("gitlob-purge: ")
    return line


@pytest.fixture
def repo(tmp_path: Path, store: Path) -> Work:
    """Three states of a.bin, of which only the oldest is outside the window; all pushed, here, and at the remote.

    There is no filter: what is kept needs none."""
    subprocess.run(["git", "init", "-q", "-b", "main", tmp_path / "work"], check=True)
    work = Work(tmp_path / "work")
    work.git("config", "remote.origin.git-lob-path", str(store))
    for word, days in (("old", 100), ("before", 80), ("now", 1)):
        work.commit(date=ago(days), a__bin=lob(word))
    pushed(work)
    for place in (work.content, store):
        hold(place, "old", "before", "now")
    return work


def shim(folder: Path, program: str, script: str) -> dict[str, str]:
    """An environment in which a script stands before a program; `$REAL` is the program itself."""
    folder.mkdir(exist_ok=True)
    at = folder / program
    at.write_text(f"#!/bin/sh\nREAL={shutil.which(program)}\n{script}\n")
    at.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


# The window


def test_what_only_older_states_need_goes(repo: Work, store: Path) -> None:
    assert told(repo) == {"old": "old", "before": "window", "now": "window"}
    assert words_in(store) == {"old", "before", "now"}
    assert repo.git("status", "--porcelain") == b""
    assert told(repo) == {"before": "window", "now": "window"}


def test_a_dry_run_deletes_nothing(repo: Work) -> None:
    assert told(repo, "-n") == told(repo, "--dry-run") == {"old": "old", "before": "window", "now": "window"}
    assert not (repo.content.parent / "lock").exists()


@pytest.mark.parametrize(
    ("args", "config", "goes"),
    [
        (["--window", "30d"], {}, True),
        (["--window", "90"], {}, False),
        (["--window=1y"], {}, False),
        (["--window", "all"], {}, False),
        (["--window"], {"retention-period-head": "90"}, False),
        ([], {"retention-period-head": "90"}, False),
        (["--window", "1d"], {"retention-period-head": "90"}, True),  # what is asked for goes before what is configured
        ([], {"fetch-commits-head": "90"}, False),  # but never below what the next prefetch brings
        (["--window", "1d"], {"fetch-commits-head": "90"}, False),
        ([], {"retention-period-other": "90", "retention-period-refs": "2"}, False),  # main is 1 day old
        ([], {"retention-period-other": "90", "retention-period-refs": "0", "fetch-refs": "0"}, True),
    ],
)
def test_the_window_has_its_own_ages(repo: Work, args: list[str], config: dict[str, str], goes: bool) -> None:
    for key, value in config.items():
        repo.git("config", f"git-lob.{key}", value)
    assert told(repo, *args) == {"old": "old" if goes else "window", "before": "window", "now": "window"}


def test_filters_never_widen_a_purge(repo: Work) -> None:
    repo.git("config", "git-lob.fetch-include", "nothing/*")
    repo.git("config", "git-lob.fetch-exclude", "*.bin")
    assert told(repo) == {"old": "old", "before": "window", "now": "window"}


@pytest.mark.parametrize(
    "ref", ["refs/heads/side", "refs/tags/v1", "refs/remotes/other/side", "refs/remotes/origin/side"]
)
def test_young_refs_keep_their_tips_trees(repo: Work, store: Path, ref: str) -> None:
    """Of any remote, too: a purge looks at more than a prefetch."""
    repo.git("checkout", "-q", "-b", "scratch", "HEAD~2")
    repo.commit(date=ago(50), b__bin=lob("side"))
    repo.commit(date=ago(9), a__bin=lob("tip"))
    repo.git("update-ref", ref, "HEAD")
    repo.git("update-ref", "refs/remotes/origin/all", "HEAD~1")
    repo.git("checkout", "-q", "main")
    repo.git("branch", "-q", "-D", "scratch")
    hold(repo.content, "side", "tip")
    hold(store, "side", "tip")
    assert told(repo) == {"old": "old", "before": "window", "now": "window", "side": "window", "tip": "window"}


def test_an_annotated_tag_inside_the_window_while_older_refs_exist(repo: Work, store: Path) -> None:
    repo.git("checkout", "-q", "--detach", "HEAD~2")
    for word, days in (("ancient", 400), ("tagged", 20)):
        repo.commit(date=ago(days), a__bin=lob(word))
        repo.git("update-ref", f"refs/remotes/origin/{word}", "HEAD")
        repo.git("tag", "-a", "-m", "x", f"v-{word}", date=ago(0))
        repo.git("checkout", "-q", "--detach", "main~2")
    repo.git("checkout", "-q", "main")
    for place in (repo.content, store):
        hold(place, "ancient", "tagged")
    assert told(repo) == {"old": "old", "ancient": "old", "tagged": "window", "before": "window", "now": "window"}


def test_a_commit_with_a_wrong_date_hides_none(repo: Work, store: Path) -> None:
    """One that says it is of 1970 lies between HEAD and commits of the last days."""
    for word, days in (("first", 3.5), ("second", 3), ("third", 2)):
        repo.commit(date=ago(days), a__bin=lob(word))
    repo.commit(date=150_000_000, a__bin=lob("wrong"))
    repo.commit(date=ago(0), a__bin=lob("tip"))
    pushed(repo)
    words = ("first", "second", "third", "wrong", "tip")
    for place in (repo.content, store):
        hold(place, *words)
    kept = told(repo)
    assert {word for word, reason in kept.items() if reason == "window"} >= set(words)
    assert kept["old"] == "old"


def test_a_text_of_49_bytes_before_placeholders_in_a_tree(repo: Work, store: Path) -> None:
    text = "git-lob: no sha, but as long as a placeholder is!"
    assert len(text) == 49
    repo.commit(date=ago(0), **{"0": text, "a__bin": lob("after"), "zz": "x" * 49, "zzz__bin": lob("last")})  # type: ignore[arg-type]
    pushed(repo)
    for place in (repo.content, store):
        hold(place, "after", "last")
    assert told(repo) == {"old": "old", "before": "window", "now": "window", "after": "window", "last": "window"}


def test_a_binary_that_moved_from_a_raw_blob(repo: Work, store: Path) -> None:
    """First it was committed as it is, then as a placeholder, then moved; and one went the other way."""
    repo.commit(date=ago(5), raw__bin="content", lob__bin=lob("moved"))
    repo.git("mv", "raw.bin", "next.bin")
    repo.commit(date=ago(4), next__bin=lob("content"), lob__bin="moved")
    repo.git("mv", "next.bin", "last.bin")
    repo.commit(date=ago(3))
    pushed(repo)
    for place in (repo.content, store):
        hold(place, "content", "moved")
    assert told(repo) == {"old": "old", "before": "window", "now": "window", "content": "window", "moved": "window"}


def test_textconv_and_external_diff_are_not_asked(repo: Work, tmp_path: Path) -> None:
    repo.write(".gitattributes", "*.bin diff=x -text binary\n")
    repo.git("add", "-A")
    for key in ("diff.x.textconv", "diff.x.command", "diff.external"):
        repo.git("config", key, f"touch {tmp_path}/asked; echo")
    repo.git("config", "diff.x.binary", "true")
    env = {"GIT_EXTERNAL_DIFF": f"touch {tmp_path}/asked"}
    assert told(repo, env=env) == {"old": "old", "before": "window", "now": "window"}
    assert not (tmp_path / "asked").exists()


# Every index


def test_what_is_staged_is_kept(work: Work, store: Path) -> None:
    """With the filter at work, as a person does it; however long ago, and without any grace time."""
    work.commit(a__bin="committed")
    work.sync("--push")
    pushed(work)
    work.write("b.bin", "staged")
    work.git("add", "b.bin")
    work.write("c.bin", "reset")
    work.git("add", "c.bin")
    work.git("reset", "-q", "c.bin")
    WORDS.update({sha_of(word.encode()): word for word in ("committed", "staged", "reset")})
    age(work.content, 300)
    assert told(work, "--grace", "0") == {"committed": "window", "staged": "index", "reset": "unreferenced"}
    work.git("commit", "-q", "-m", "x")
    (work.path / "b.bin").unlink()
    work.git("checkout", "b.bin")
    assert work.read("b.bin") == b"staged"


def stage(repo: Work, word: str, path: str = "staged.bin", *args: str, cwd: str = ".", **env: str) -> None:
    blob = repo.git("hash-object", "-w", "--stdin", input=lob(word)).decode().strip()
    argv = ["git", "-C", cwd, "update-index", "--add", *args, "--cacheinfo", f"100644,{blob},{path}"]
    subprocess.run(argv, cwd=repo.path, env={**os.environ, **env}, check=True)
    hold(repo.content, word)


def test_all_sides_of_a_conflict_are_kept(repo: Work) -> None:
    blobs = [repo.git("hash-object", "-w", "--stdin", input=lob(f"side {n}")).decode().strip() for n in (1, 2, 3)]
    entries = "".join(f"100644 {blob} {n}\tc.bin\n" for n, blob in enumerate(blobs, 1))
    repo.git("update-index", "--index-info", input=entries.encode())
    hold(repo.content, "side 1", "side 2", "side 3")
    assert {told(repo)[f"side {n}"] for n in (1, 2, 3)} == {"index"}


def test_what_a_merge_in_progress_brings_is_kept(repo: Work) -> None:
    """A conflict that git itself makes: both sides and what they come from."""
    repo.git("checkout", "-q", "-b", "side", "HEAD~1")
    repo.commit(date=ago(2), a__bin=lob("theirs"))
    repo.git("checkout", "-q", "main")
    repo.git("merge", "-q", "side", code=1)
    repo.git("branch", "-q", "-D", "side")
    hold(repo.content, "theirs")
    repo.git("reflog", "expire", "--expire=all", "--all")
    assert told(repo) == {"old": "old", "before": "window", "now": "window", "theirs": "index"}
    repo.git("rm", "-q", "--cached", "a.bin")
    assert told(repo)["theirs"] == "unpushed"  # MERGE_HEAD


def test_entries_outside_a_sparse_checkout_are_kept(repo: Work) -> None:
    stage(repo, "inside", "in/a.bin")
    stage(repo, "outside", "out/a.bin")
    repo.git("checkout", "-q", "--", "in", "out")
    repo.git("sparse-checkout", "set", "in")
    assert not (repo.path / "out").exists()
    assert {told(repo)[word] for word in ("inside", "outside")} == {"index"}


def test_a_sparse_index_is_kept(repo: Work) -> None:
    """Folders of it stand for what they hold."""
    repo.commit(date=ago(0), **{"in/a__bin": lob("inside"), "out/a__bin": lob("outside")})  # type: ignore[arg-type]
    hold(repo.content, "inside", "outside")
    pushed(repo)
    repo.git("sparse-checkout", "set", "--cone", "--sparse-index", "in")
    repo.git("reset", "-q", "--soft", "HEAD~1")
    repo.git("reflog", "expire", "--expire=all", "--all")
    repo.git("update-ref", "-d", "refs/remotes/origin/main")
    (repo.path / ".git" / "ORIG_HEAD").unlink()
    assert {told(repo)[word] for word in ("inside", "outside")} == {"index"}


def test_a_split_index_is_kept(repo: Work) -> None:
    stage(repo, "in the shared part", "s.bin")
    repo.git("update-index", "--split-index")
    stage(repo, "in the own part", "o.bin")
    assert list((repo.path / ".git").glob("sharedindex.*"))
    assert {told(repo)[word] for word in ("in the shared part", "in the own part")} == {"index"}


def test_an_index_that_the_environment_names_is_kept(repo: Work, tmp_path: Path) -> None:
    """Beside the usual one; a relative name counts from the top."""
    other = tmp_path / "other index"
    stage(repo, "usual", "u.bin")
    stage(repo, "other", "o.bin", GIT_INDEX_FILE=str(other))
    stage(repo, "third", "t.bin", GIT_INDEX_FILE=".git/third")
    found = told(repo, "-n", env={"GIT_INDEX_FILE": str(other)})
    assert {found["usual"], found["other"]} == {"index"}
    found = told(repo, "-n", env={"GIT_INDEX_FILE": ".git/third"})
    assert {found["usual"], found["third"]} == {"index"}
    assert found["other"] == "unreferenced"


def test_a_linked_worktree_with_staged_content(repo: Work, tmp_path: Path) -> None:
    """It is kept seen from either side, and also when its folder is gone for now (a disk that is not mounted)."""
    repo.git("worktree", "add", "-q", "-b", "side", "../linked")
    linked = Work(tmp_path / "linked")
    stage(linked, "staged there")
    stage(repo, "staged here", "h.bin")
    for one in (repo, linked):
        found = told(one, "--grace", "0")
        assert {found["staged there"], found["staged here"]} == {"index"}
    shutil.rmtree(linked.path)
    assert told(repo, "--grace", "0")["staged there"] == "index"
    repo.git("worktree", "prune")
    assert told(repo, "--grace", "0")["staged there"] == "unreferenced"


def test_a_detached_worktree(repo: Work, store: Path, tmp_path: Path) -> None:
    """Its HEAD counts however old, with its history; pushed or not."""
    repo.git("worktree", "add", "-q", "--detach", "../linked", "main~2")
    linked = Work(tmp_path / "linked")
    assert told(repo) == {"old": "window", "before": "window", "now": "window"}
    linked.commit(date=ago(95), a__bin=lob("detached"))
    linked.git("rm", "-q", "a.bin")
    linked.commit(date=ago(94), b__bin=lob("tip"))
    hold(repo.content, "detached", "tip")
    assert told(repo) == dict.fromkeys(("old", "before", "now", "detached", "tip"), "window")
    linked.git("checkout", "-q", "--detach", "main")
    assert told(repo) == {
        "old": "old", "before": "window", "now": "window", "detached": "unpushed", "tip": "unpushed"
    }  # fmt: skip


# Stashes


def test_two_stashes_one_with_untracked_files(work: Work, store: Path) -> None:
    work.commit(a__bin="base")
    work.sync("--push")
    pushed(work)
    work.write("a.bin", "first stash")
    work.git("stash")
    work.write("a.bin", "in the index")
    work.git("add", "a.bin")
    work.write("a.bin", "second stash")
    work.write("u.bin", "untracked")
    work.git("stash", "-u")
    contents = ("base", "first stash", "in the index", "second stash", "untracked")
    WORDS.update({sha_of(word.encode()): word for word in contents})
    age(work.content, 300)
    found = told(work, "--grace", "0", "--window", "0")
    assert found == {"base": "window"} | dict.fromkeys(contents[1:], "stash")
    work.git("stash", "pop", "--index")
    assert (work.read("a.bin"), work.read("u.bin")) == (b"second stash", b"untracked")
    work.git("reset", "-q", "--hard")
    work.git("stash", "pop")
    assert work.read("a.bin") == b"first stash"


def test_what_a_rebase_put_away(work: Work, store: Path) -> None:
    """git rebase --autostash, stopped at a conflict: the stash hangs on no ref. What it rebases is kept, too."""
    work.commit(a__bin="base", b__bin="b")
    work.git("checkout", "-q", "-b", "side")
    work.commit(a__bin="theirs")
    work.git("checkout", "-q", "main")
    work.commit(a__bin="ours")
    work.write("b.bin", "put away")
    work.git("rebase", "-q", "--autostash", "side", code=1)
    assert (work.path / ".git" / "rebase-merge" / "autostash").exists()
    work.git("reflog", "expire", "--expire=all", "--all")
    for word in ("base", "b", "theirs", "ours", "put away"):
        WORDS[sha_of(word.encode())] = word
    age(work.content, 300)
    found = told(work, "--grace", "0")
    assert "unreferenced" not in found.values() and found["put away"] == "stash"
    work.git("checkout", "-q", "--ours", "a.bin")
    work.git("add", "a.bin")
    work.git("-c", "core.editor=true", "rebase", "--skip")
    assert work.read("b.bin") == b"put away"


# Unpushed


def test_unpushed_commits_keep_their_whole_trees(repo: Work, store: Path) -> None:
    """Old as they are; also what they took over from pushed ones."""
    repo.git("checkout", "-q", "-b", "side", "HEAD~2")
    repo.commit(date=ago(90), b__bin=lob("unpushed"))
    repo.git("checkout", "-q", "main")
    hold(repo.content, "unpushed")
    assert told(repo) == {"old": "unpushed", "before": "window", "now": "window", "unpushed": "unpushed"}
    repo.fetches("other")
    repo.git("update-ref", "refs/remotes/other/side", "side")
    assert told(repo)["unpushed"] == "unpushed"  # that is at another remote
    repo.git("update-ref", "refs/remotes/origin/side", "side")
    hold(store, "unpushed")
    assert told(repo) == {"old": "old", "before": "window", "now": "window", "unpushed": "old"}


def test_content_that_only_a_merge_commit_has(repo: Work, store: Path) -> None:
    repo.git("checkout", "-q", "-b", "side", "HEAD~2")
    repo.commit(date=ago(95), b__bin=lob("b"))
    repo.git("checkout", "-q", "-b", "merged", "main~2")
    repo.git("merge", "-q", "--no-ff", "--no-commit", "side")
    repo.commit("merge", ago(90), a__bin=lob("by the merge alone"))
    repo.git("checkout", "-q", "main")
    hold(repo.content, "b", "by the merge alone")
    found = told(repo)
    assert {found["b"], found["by the merge alone"]} == {"unpushed"}
    repo.git("update-ref", "refs/remotes/origin/merged", "merged")
    hold(store, "b")
    found = told(repo, code=3)
    assert (found["b"], found["by the merge alone"]) == ("old", "lacking")


def test_amended_commits_are_kept_while_the_reflog_names_them(repo: Work) -> None:
    repo.commit(date=ago(0), a__bin=lob("first try"))
    repo.write("a.bin", lob("second try"))
    repo.git("commit", "-q", "-a", "--amend", "-m", "x", date=ago(0))
    repo.git("checkout", "-q", "-b", "side")
    repo.commit(date=ago(0), b__bin=lob("deleted branch"))
    repo.git("checkout", "-q", "main")
    repo.git("branch", "-q", "-D", "side")
    hold(repo.content, "first try", "second try", "deleted branch")
    found = told(repo, "--unreferenced")
    assert (found["first try"], found["second try"], found["deleted branch"]) == ("unpushed", "window", "unpushed")
    repo.git("reflog", "expire", "--expire=all", "--all")
    (repo.path / ".git" / "ORIG_HEAD").unlink(missing_ok=True)
    found = told(repo)
    assert (found["first try"], found["deleted branch"]) == ("unreferenced", "unreferenced")


# The remote's word


def test_what_the_remote_lacks_is_kept_and_named(repo: Work, store: Path) -> None:
    drop(store, b"old")
    done = repo.run("gitlob-purge", code=3)
    assert f"kept, missing at origin ({store}): {sha_of(b'old')} a.bin" in done.stderr
    assert told(repo, code=3) == told(repo, "-n", code=3) == {"old": "lacking", "before": "window", "now": "window"}
    assert sha_of(b"old") in repo.run("gitlob-purge", "-q", code=3).stderr


def test_a_remote_that_lost_one_object(repo: Work, store: Path) -> None:
    """Only that is kept."""
    repo.git("checkout", "-q", "--detach", "HEAD~2")
    for word in ("w1", "w2", "w3"):
        repo.commit(date=ago(90), a__bin=lob(word))
    pushed(repo, branch="x")
    repo.git("checkout", "-q", "main")
    for place in (repo.content, store):
        hold(place, "w1", "w2", "w3")
    drop(store, b"w2")
    found = told(repo, code=3)
    assert found == {
        "old": "old", "before": "window", "now": "window", "w1": "old", "w2": "lacking", "w3": "old"
    }  # fmt: skip


@pytest.mark.parametrize("part", ["0", "meta"])
@pytest.mark.parametrize("how", ["gone", "cut off", "a folder"])
def test_what_the_remote_has_in_part_is_kept(repo: Work, store: Path, part: str, how: str) -> None:
    sha = sha_of(b"old")
    at = store / sha[:3] / sha[3:6] / f"{sha}_{part}"
    at.unlink()
    if how == "cut off":
        at.write_bytes(b"x")
    elif how == "a folder":
        at.mkdir()
    assert told(repo, code=3)["old"] == "lacking"


def test_only_sizes_are_believed_and_can_be(repo: Work, store: Path) -> None:
    """A remote that holds other bytes of the same size, or lies, is believed: a listing has no hashes. The manual says so."""
    sha = sha_of(b"old")
    (store / sha[:3] / sha[3:6] / f"{sha}_0").write_bytes(b"bad")
    assert told(repo)["old"] == "old"


def test_a_remote_that_lies_about_sizes(repo: Work, tmp_path: Path, store: Path) -> None:
    """A listing that names a file several times, and files nobody asked for, or another size: only what fits counts."""
    sha = sha_of(b"old")
    name = f"{sha[:3]}/{sha[3:6]}/{sha}"
    lies = "\\n".join(
        f">f+++++++++|{size}|2026/01/01-00:00:00|{file}"
        for size, file in ((99999999999999999999, f"{name}_0"), (1, "../../etc/passwd"), (81, f"{name}_meta"))
    )
    env = shim(tmp_path / "shim", "rsync", f'[ "$1" = --version ] && exec $REAL "$@"\nprintf "{lies}\\n"')
    assert told(repo, code=3, env=env)["old"] == "lacking"


def test_one_listing_however_many_binaries(repo: Work, store: Path, runs: Callable[[], list[str]]) -> None:
    repo.git("checkout", "-q", "--detach", "HEAD~2")
    for number in range(5):
        repo.commit(date=ago(90), **{f"{n}__bin": lob(f"{number} {n}") for n in range(40)})  # type: ignore[arg-type]
    pushed(repo, branch="x")
    repo.git("checkout", "-q", "main")
    words = [f"{number} {n}" for number in range(5) for n in range(40)]
    for place in (repo.content, store):
        hold(place, *words)
    runs()
    found = told(repo)
    assert {found[word] for word in words} == {"old"}
    assert len(runs()) == 1
    told(repo)
    assert runs() == []  # and none where nothing is to be asked


@pytest.mark.parametrize("kind", ["ssh", "daemon"])
def test_the_proof_comes_over_ssh_and_from_a_daemon(
    repo: Work, kind: str, request: pytest.FixtureRequest, tmp_path: Path, store: Path
) -> None:
    if kind == "ssh":
        sshd: Sshd = request.getfixturevalue("sshd")
        location, env = sshd.location(store), {"GIT_SSH_COMMAND": sshd.command}
    else:
        daemon = request.getfixturevalue("rsyncd")
        shutil.copytree(store, daemon.folder / "deep")
        location, env = daemon.location("deep", "readonly"), {}
    repo.git("config", "remote.origin.git-lob-path", location)
    assert told(repo, env=env) == {"old": "old", "before": "window", "now": "window"}


def test_without_verification_the_record_of_pushes_is_trusted(repo: Work, store: Path) -> None:
    assert told(repo, "--no-verify-remote") == {"old": "unrecorded", "before": "window", "now": "window"}
    repo.sync("--push")
    shutil.rmtree(store)
    assert told(repo, "-n", "--no-verify-remote")["old"] == "old"
    repo.git("config", "git-lob.prune-safe", "false")
    assert told(repo)["old"] == "old"


def test_a_push_record_that_names_commits_no_longer_there(repo: Work, store: Path) -> None:
    """What they brought is not taken for pushed; what the others did is."""
    repo.git("checkout", "-q", "-b", "side")
    repo.commit(date=ago(0), b__bin=lob("side"))
    hold(repo.content, "side")
    repo.sync("--push")
    repo.git("checkout", "-q", "main")
    repo.git("branch", "-q", "-D", "side")
    assert told(repo, "-n", "--no-verify-remote")["old"] == "old"
    repo.git("reflog", "expire", "--expire=all", "--all")
    repo.git("gc", "-q", "--prune=now")
    shutil.rmtree(store)
    assert told(repo, "--no-verify-remote") == {
        "old": "old", "before": "window", "now": "window", "side": "unreferenced"
    }  # fmt: skip


def test_git_lobs_own_record_is_not_trusted(repo: Work) -> None:
    state = repo.content.parent / "state" / "origin"
    state.parent.mkdir()
    state.write_text(repo.git("rev-parse", "HEAD").decode())
    assert told(repo, "--no-verify-remote")["old"] == "unrecorded"


# The grace time


def test_what_is_young_is_kept(repo: Work) -> None:
    hold(repo.content, "added and reset", days=0.9)
    hold(repo.content, "longer ago", days=1.1)
    age(repo.content, 0.5, "old")
    found = told(repo, "-n")
    assert (found["added and reset"], found["longer ago"], found["old"]) == ("young", "unreferenced", "young")
    assert told(repo, "-n", "--grace", "12h")["added and reset"] == "unreferenced"
    repo.git("config", "git-lob.prune-grace", "2d")
    assert told(repo, "-n")["longer ago"] == "young"
    assert told(repo, "-n", "--grace", "1d")["longer ago"] == "unreferenced"
    assert told(repo, "--grace", "all")["longer ago"] == "young"
    assert set(told(repo, "--grace", "0").values()) == {"unreferenced", "old", "window"}


def test_what_is_asked_for_again_counts_as_new(work: Work) -> None:
    """The filter finds content that is here, and the index does not name it yet."""
    work.write("a.bin", "again")
    work.git("add", "a.bin")
    work.git("reset", "-q")
    age(work.content, 10)
    work.git("update-index", "--add", "a.bin")
    work.git("rm", "-q", "--cached", "-f", "a.bin")
    WORDS[sha_of(b"again")] = "again"
    assert told(work) == {"again": "young"}


def test_one_young_file_makes_a_binary_young(repo: Work) -> None:
    hold(repo.content, "x")
    sha = sha_of(b"x")
    os.utime(repo.content / sha[:3] / sha[3:6] / f"{sha}_0")
    assert told(repo)["x"] == "young"


@pytest.mark.parametrize("grace", ["0", "1d", "all"])
def test_a_clock_that_was_set_back_makes_nothing_old(repo: Work, grace: str) -> None:
    """What was written in the future is young."""
    hold(repo.content, "x", days=-400)
    assert told(repo, "--grace", grace)["x"] == "young"


# --unreferenced


def test_unreferenced_leaves_what_any_commit_needs(repo: Work, runs: Callable[[], list[str]]) -> None:
    hold(repo.content, "nobody's")
    shutil.rmtree(repo.path.parent / "remote")
    assert told(repo, "--unreferenced") == {
        "old": "referenced", "before": "window", "now": "window", "nobody's": "unreferenced"
    }  # fmt: skip
    assert runs() == []  # nothing that is referenced goes, so nobody has to be asked


# What ends it before anything is deleted


@pytest.mark.parametrize("word", ["rev-list", "ls-files", "rev-parse", "cat-file", "diff-tree"])
@pytest.mark.parametrize("late", [False, True])
def test_a_git_process_that_fails(repo: Work, tmp_path: Path, word: str, late: bool) -> None:
    """Whichever it is, and also in the second look, when the remote has said yes."""
    hold(repo.content, "nobody's")
    count, log = tmp_path / "count", f"{tmp_path}/log"
    script = (
        f'for arg; do [ "$arg" = {word} ] && echo >>{log} && [ $(wc -l <{log}) -ge $(cat {count}) ] && exit 9; done'
    )
    env = shim(tmp_path / "shim", "git", f'{script}\nexec $REAL "$@"')
    count.write_text("100000")
    repo.run("gitlob-purge", "-n", env=env)
    once = len(Path(log).read_text())
    Path(log).unlink()
    count.write_text(str(once + 1 if late else max(1, once)))
    assert "git" in unharmed(repo, "--grace", "0", code=1, env=env)
    assert told(repo)["old"] == "old"


@pytest.mark.parametrize("word", ["rev-list", "diff-tree", "ls-files", "cat-file"])
def test_a_git_process_that_fails_at_its_end(repo: Work, tmp_path: Path, word: str) -> None:
    """It has said nothing by then, or something that looks whole."""
    hold(repo.content, "nobody's")
    script = f'case " $* " in *" {word} "*) $REAL "$@" | head -c 10; exit 1;; esac; exec $REAL "$@"'
    unharmed(repo, code=1, env=shim(tmp_path / "shim", "git", script))


def test_an_unreachable_remote(repo: Work) -> None:
    repo.git("config", "remote.origin.git-lob-path", "rsync://127.0.0.1:1/store")
    assert "127.0.0.1" in unharmed(repo, code=4)
    assert told(repo, "--no-verify-remote")["old"] == "unrecorded"


def test_a_remote_store_that_is_not_there(repo: Work, store: Path) -> None:
    shutil.rmtree(store)
    assert "does not exist" in unharmed(repo, code=2)


def test_a_listing_that_breaks_off(repo: Work, tmp_path: Path) -> None:
    script = '[ "$1" = --version ] && exec $REAL "$@"\n$REAL "$@"; exit 12'
    repo.git("config", "git-lob.retries", "0")
    unharmed(repo, code=4, env=shim(tmp_path / "shim", "rsync", script))


def test_a_shallow_clone(repo: Work, tmp_path: Path, store: Path) -> None:
    shallow = clone(repo, tmp_path / "shallow", "--depth=1", "--no-local", "--no-checkout", location=store)
    hold(shallow.content, "old", "nobody's")
    assert "shallow clone" in unharmed(shallow, code=1)
    assert "shallow clone" in unharmed(shallow, "--unreferenced", "-n", code=1)


@pytest.mark.parametrize("linked", [False, True])
def test_a_damaged_index(repo: Work, linked: bool) -> None:
    hold(repo.content, "nobody's")
    repo.git("worktree", "add", "-q", "--detach", "../linked")
    folder = repo.path / ".git" / ("worktrees/linked" if linked else ".")
    index = folder / "index"
    sound = index.read_bytes()
    for damaged in (sound[:-9], sound[:30], b"", sound.replace(b"a.bin", b"b.bin"), sound[:11] + b"\0" + sound[12:]):
        index.write_bytes(damaged)
        assert str(index) in unharmed(repo, "-n", code=1)
    assert "index" in unharmed(repo, "--grace", "0", code=1)
    index.write_bytes(sound)
    assert told(repo)["nobody's"] == "unreferenced"


def test_a_damaged_part_of_a_split_index(repo: Work) -> None:
    stage(repo, "in the shared part", "s.bin")
    repo.git("update-index", "--split-index")
    (part,) = (repo.path / ".git").glob("sharedindex.*")
    part.write_bytes(part.read_bytes()[:-1])
    assert "index" in unharmed(repo, code=1)


def test_an_index_without_a_checksum(repo: Work) -> None:
    """index.skipHash: it ends with zeros (git 2.40)."""
    index = repo.path / ".git" / "index"
    index.write_bytes(index.read_bytes()[:-20] + bytes(20))
    assert told(repo)["old"] == "old"


@pytest.mark.parametrize("what", ["HEAD", "HEAD~1", "HEAD^{tree}", "HEAD:a.bin", "stash@{1}", "stash@{1}^2"])
def test_a_lost_object(repo: Work, what: str) -> None:
    for word in ("s1", "s2"):
        repo.write("a.bin", lob(word))
        repo.git("stash", "-q")
    hold(repo.content, "nobody's", "s1", "s2")
    name = repo.git("rev-parse", what).decode().strip()
    (repo.path / ".git" / "objects" / name[:2] / name[2:]).unlink()
    unharmed(repo, code=1)


def test_a_lost_ref(repo: Work) -> None:
    (repo.path / ".git" / "refs" / "heads" / "main").write_text("1" * 40 + "\n")
    unharmed(repo, code=1)


def test_others_at_work_for_too_long(repo: Work) -> None:
    client = GitClient(init(repo.path, attributes="").path, "clean")
    line = unharmed(repo, "--lock-wait", "0.2", code=5)
    assert "gitlob-filter process" in line
    repo.git("config", "git-lob.lock-wait", "0")
    unharmed(repo, code=5)
    assert told(repo, "-n")["old"] == "old"  # looking needs no lock
    client.end()
    assert told(repo)["old"] == "old"


# Where it is run


def test_from_a_subfolder_and_a_linked_worktree(repo: Work, tmp_path: Path) -> None:
    repo.git("worktree", "add", "-q", "-b", "side", "../linked")
    (repo.path / "sub").mkdir()
    assert told(repo, "-n", cwd="sub")["old"] == "old"
    assert told(Work(tmp_path / "linked"))["old"] == "old"


def test_a_bare_repository(repo: Work, tmp_path: Path, store: Path) -> None:
    subprocess.run(["git", "clone", "-q", "--bare", str(repo.path), str(tmp_path / "bare.git")], check=True)
    bare = Work(tmp_path / "bare.git")
    bare.git("config", "remote.origin.git-lob-path", str(store))
    hold(bare.content, "old", "before", "now", "nobody's")
    assert told(bare) == {"old": "unpushed", "before": "window", "now": "window", "nobody's": "unreferenced"}
    pushed(bare)
    assert told(bare)["old"] == "old"


def test_a_repository_without_a_commit_or_a_store(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path / "new"], check=True)
    new = Work(tmp_path / "new")
    assert told(new) == {}
    hold(new.content, "nobody's")
    assert told(new) == {"nobody's": "unreferenced"}


def test_no_remote_at_all(repo: Work) -> None:
    """Everything that a commit needs is unpushed then."""
    repo.git("config", "--remove-section", "remote.origin")
    hold(repo.content, "nobody's")
    assert told(repo) == {"old": "unpushed", "before": "window", "now": "window", "nobody's": "unreferenced"}


def test_outside_a_repository(tmp_path: Path) -> None:
    assert "not in a git repository" in Work(tmp_path).run("gitlob-purge", code=2).stderr


# Which remote


def test_a_location_in_the_place_of_a_remote(repo: Work, store: Path, tmp_path: Path) -> None:
    """That of a remote stands for it; nothing is known to be pushed to any other."""
    hold(tmp_path / "other", "old")
    assert told(repo, str(tmp_path / "other")) == {"old": "unpushed", "before": "window", "now": "window"}
    assert told(repo, str(store))["old"] == "old"


def test_the_remote_that_is_named_or_configured(repo: Work, tmp_path: Path) -> None:
    repo.git("config", "remote.nas.git-lob-path", str(tmp_path / "nas"))
    hold(tmp_path / "nas", "now")
    assert told(repo, "nas")["old"] == "unpushed"
    pushed(repo, "HEAD", "nas")
    assert told(repo, "nas", code=3)["old"] == "lacking"
    repo.git("config", "git-lob.prune-check-remote", "nas")
    assert told(repo, code=3)["old"] == "lacking"
    assert told(repo, "-n", "origin")["old"] == "old"
    repo.git("config", "--remove-section", "remote.origin")
    hold(tmp_path / "nas", "old")
    assert told(repo)["old"] == "old"


def test_several_remotes_and_none_of_them_the_default(repo: Work) -> None:
    repo.git("config", "--rename-section", "remote.origin", "remote.one")
    repo.git("config", "remote.two.git-lob-path", "/nowhere")
    assert "one, two" in unharmed(repo, code=2)


def test_any_remote_will_do_where_a_star_is_configured(repo: Work, store: Path, tmp_path: Path) -> None:
    """As in git-lob: what one of them has may go; one that cannot be asked proves nothing."""
    repo.git("config", "git-lob.prune-check-remote", "*")
    repo.git("config", "remote.nas.git-lob-path", str(tmp_path / "nas"))
    repo.git("config", "remote.gone.git-lob-path", str(tmp_path / "gone"))
    hold(tmp_path / "nas", "old", "now")
    pushed(repo, "HEAD", "nas")
    drop(store, b"old")
    assert told(repo, "origin", code=3)["old"] == "lacking"
    assert told(repo, "-n")["old"] == "old"
    drop(tmp_path / "nas", b"old")
    assert told(repo, code=3)["old"] == "lacking"
    hold(store, "old")
    assert told(repo)["old"] == "old"


def test_nothing_goes_where_no_remote_of_several_can_be_asked(repo: Work, tmp_path: Path) -> None:
    repo.git("config", "git-lob.prune-check-remote", "*")
    repo.git("config", "remote.origin.git-lob-path", f"rsync://127.0.0.1:{free_port()}/x")
    repo.git("config", "remote.nas.git-lob-path", f"rsync://127.0.0.1:{free_port()}/x")
    repo.git("config", "git-lob.retries", "0")
    unharmed(repo, code=4)


# Wrong configuration, wrong usage


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("retention-period-refs", "-1"),
        ("retention-period-head", "soon"),
        ("retention-period-other", "1.5"),
        ("prune-grace", "1 day"),
        ("prune-grace", ""),
        ("prune-safe", "perhaps"),
        ("prune-check-remote", "nobody"),
        ("prune-check-remote", "-e"),
    ],
)
def test_a_value_out_of_range_names_key_value_and_file(repo: Work, key: str, value: str) -> None:
    repo.git("config", f"git-lob.{key}", value)
    line = unharmed(repo, code=2)
    assert f"git-lob.{key} = {value!r}" in line and ".git/config" in line
    if key == "prune-check-remote":
        assert told(repo, "origin")["old"] == "old"  # what is asked for goes before it


def test_a_tracked_file_has_no_say(repo: Work) -> None:
    repo.write(".gitlobconfig", "[git-lob]\n\tprune-safe = false\n\tprune-grace = 0\n\tretention-period-head = 0\n")
    done = repo.run("gitlob-purge", "-n")
    assert done.stderr.count("is ignored") == 3


@pytest.mark.parametrize(
    "args",
    [
        ["--grace", "soon"], ["--window=soon"], ["--lock-wait", "-1"], ["--timeout", "0"], ["--frobnicate"],
        ["--remote-store", "--unreferenced"], ["--remote-store", "--window"], ["--remote-store", "--no-verify-remote"],
        ["one", "two"], ["nobody"],
    ],
)  # fmt: skip
def test_wrong_usage(repo: Work, args: list[str]) -> None:
    unharmed(repo, *args, code=2)


# What is said


def test_json(repo: Work) -> None:
    hold(repo.content, "nobody's")
    said = json.loads(repo.run("gitlob-purge", "--json", "-n").stdout)
    sizes = {word: sum(map(len, files_of(word.encode()).values())) for word in ("old", "before", "now", "nobody's")}
    assert said["purged"] == {"count": 2, "bytes": sizes["old"] + sizes["nobody's"]}
    assert said["kept"] == {"count": 2, "bytes": sizes["before"] + sizes["now"]}
    assert said["reasons"].keys() == {
        "window", "index", "stash", "tagged", "unpushed", "listed", "referenced", "torn", "young", "unrecorded", "lacking", "old",
        "unreferenced",
    }  # fmt: skip
    assert said["reasons"]["window"] == said["kept"] and said["reasons"]["index"] == {"count": 0, "bytes": 0}
    one = {"sha": sha_of(b"old"), "size": sizes["old"], "path": "a.bin", "goes": True, "reason": "old"}
    other = {
        "sha": sha_of(b"nobody's"), "size": sizes["nobody's"], "path": None, "goes": True, "reason": "unreferenced"
    }  # fmt: skip
    assert [entry for entry in said["binaries"] if entry["goes"]] == sorted([one, other], key=lambda e: str(e["sha"]))


@pytest.mark.parametrize("option", ["-n", "-v"])
def test_each_binary_is_told_with_its_reason(repo: Work, option: str) -> None:
    size = sum(map(len, files_of(b"old").values()))
    done = repo.run("gitlob-purge", option)
    word = "would purge" if option == "-n" else "purged"
    reason = "needed by older states only, and stored at the remote"
    assert f"{word} {sha_of(b'old')} {size} a.bin: {reason}" in done.stdout.splitlines()
    assert len(done.stdout.splitlines()) == 3
    first, *rest = done.stderr.splitlines()
    assert first.startswith(f"{word} 1 ({size} B) of 3 (") and "; kept 2 (" in first
    assert f"  {word} 1 ({size} B): {reason}" in rest and len(rest) == 2


def test_a_summary_alone_and_with_q_nothing(repo: Work) -> None:
    done = repo.run("gitlob-purge")
    assert done.stdout == "" and len(done.stderr.splitlines()) == 3
    done = repo.run("gitlob-purge", "-q")
    assert (done.stdout, done.stderr) == ("", "")
    hold(repo.content, "nobody's")
    done = repo.run("gitlob-purge", "-q", "-n")
    assert (done.stdout, done.stderr) == ("", "")


def test_paths_that_are_no_text(repo: Work, store: Path) -> None:
    repo.git("checkout", "-q", "--detach", "HEAD~2")
    repo.git("rm", "-q", "a.bin")
    repo.write(b"\x1b[31m\n\xff.bin", lob("odd"))
    repo.commit(date=ago(99))
    repo.git("rm", "-q", "-r", ".")
    repo.commit(date=ago(70), b__bin=lob("b"))
    pushed(repo, branch="x")
    repo.git("checkout", "-q", "main")
    for place in (repo.content, store):
        hold(place, "odd")
    done = repo.run("gitlob-purge", "-n")
    assert '"\\033[31m\\n\\377.bin"' in done.stdout and "\x1b" not in done.stdout
    assert told(repo)["odd"] == "old"


# How it deletes


def test_folders_go_with_what_was_in_them_and_strangers_stay(repo: Work) -> None:
    sha = sha_of(b"old")
    stranger = repo.content / sha[:3] / sha[3:6] / "stranger"
    stranger.write_text("not ours")
    told(repo)
    assert stranger.exists()
    hold(repo.content, "old")
    stranger.unlink()
    told(repo)
    assert not (repo.content / sha[:3]).exists()


def test_what_is_no_binary_stays(repo: Work) -> None:
    odd = [repo.content / name for name in ("notes", "abc/def/x_meta", f"abc/def/{'f' * 40}_0", "zzz/zzz/a")]
    for at in odd:
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text("x")
    told(repo, "--grace", "0")
    assert all(at.exists() for at in odd)


KILL = """
import os, signal, sys
unlink, left = os.unlink, int(sys.argv.pop(1))
def dying(path, *args, **kwargs):
    global left
    if "/content/" in str(path) or "/shared/" in str(path):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    unlink(path, *args, **kwargs)
os.unlink = dying
from gitlob_rsync.commands.purge import main
sys.exit(main())
"""
"""A purge that is killed before its n-th file goes."""


@pytest.mark.parametrize("after", range(5))
@pytest.mark.parametrize("shared", [False, True])
def test_a_killed_purge(repo: Work, store: Path, tmp_path: Path, after: int, shared: bool) -> None:
    """The meta goes first, so that a rest is not taken for whole. The next purge takes the rest, and a pull brings all
    back."""
    hold(repo.content, "nobody's")
    if shared:
        share(repo, tmp_path / "shared", "old", "before", "now", "nobody's")
    done = subprocess.run([sys.executable, "-c", KILL, str(after), "-q"], cwd=repo.path)
    assert done.returncode == (0 if after == 4 and not shared else -signal.SIGKILL)
    for root in (repo.content, tmp_path / "shared") if shared else (repo.content,):
        check(root, whole=False)
    assert told(repo, "-n").keys() >= {"before", "now"}
    told(repo)
    for root in (repo.content, tmp_path / "shared") if shared else (repo.content,):
        assert {WORDS[at.name[:40]] for at in root.glob("???/???/*")} == {"before", "now"}
    repo.sync("--pull", "--committed")
    assert check(repo.content) == {sha_of(word) for word in (b"old", b"before", b"now")}


def test_the_rest_of_a_killed_purge_needs_the_remote_to_have_it(repo: Work, store: Path) -> None:
    sha = sha_of(b"old")
    (repo.content / sha[:3] / sha[3:6] / f"{sha}_meta").unlink()
    there = store / sha[:3] / sha[3:6] / f"{sha}_0"
    there.write_bytes(b"another size")
    found = json.loads(repo.run("gitlob-purge", "--json").stdout)
    assert found["reasons"]["torn"]["count"] == 1
    assert (repo.content / sha[:3] / sha[3:6] / f"{sha}_0").read_bytes() == b"old"
    there.write_bytes(b"old")
    repo.run("gitlob-purge")
    assert not (repo.content / sha[:3]).exists()


# A shared store


def share(repo: Work, folder: Path, *words: str) -> None:
    repo.git("config", "git-lob.sharedstore", str(folder))
    for word in words:
        for name in files_of(word.encode()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(repo.content / name, folder / name)


def test_the_shared_copy_goes_when_nobody_else_has_it(repo: Work, tmp_path: Path) -> None:
    hold(repo.content, "nobody's")
    shared, other = tmp_path / "shared", tmp_path / "other"
    share(repo, shared, "old", "before", "now", "nobody's")
    for name in files_of(b"old"):
        (other / name).parent.mkdir(parents=True)
        break
    for name in files_of(b"old"):
        os.link(shared / name, other / name)
    hold(shared, "of others")
    assert {word for word, reason in told(repo).items() if reason != "window"} == {"old", "nobody's"}
    assert words_in(shared) == {"old", "before", "now", "of others"}
    assert words_in(other) == {"old"}


def test_a_shared_copy_that_is_half_used_stays_whole(repo: Work, tmp_path: Path) -> None:
    """Another repository is linking it right now: its chunk already, its meta not yet."""
    shared = tmp_path / "shared"
    share(repo, shared, "old")
    (chunk, _) = files_of(b"old")
    os.link(shared / chunk, tmp_path / "chunk")
    told(repo)
    assert words_in(shared) == {"old"} and words_in(repo.content) == {"before", "now"}


# At the same time as others


def test_a_purge_waits_for_a_pull(repo: Work, tmp_path: Path, store: Path) -> None:
    """The pull brings what only older states need, and nothing of it goes while it is at work."""
    drop(repo.content, b"old")
    script = f'[ "$1" = --version ] || {{ touch {tmp_path}/at-work; sleep 1.5; }}\nexec $REAL "$@"'
    env = {**os.environ, **shim(tmp_path / "shim", "rsync", script)}
    pull = subprocess.Popen(["gitlob-sync", "-q", "--pull", "--committed"], cwd=repo.path, env=env)
    while not (tmp_path / "at-work").exists():
        assert pull.poll() is None
        time.sleep(0.02)
    hold(repo.content, "nobody's")
    line = unharmed(repo, "--grace", "0", "--lock-wait", "0.1", code=5)
    assert "gitlob-sync -q --pull --committed" in line
    repo.run("gitlob-purge", "-q")  # it waits
    assert pull.wait() == 0
    assert words_in(repo.content) == {"old", "before", "now"}
    assert told(repo)["old"] == "young"


@pytest.mark.parametrize("grace", ["1d", "0"])
def test_a_purge_against_git_add(work: Work, grace: str) -> None:
    """What git adds while purges run one after another is all there in the end."""
    work.commit(a__bin="base")
    purges = subprocess.Popen(
        ["sh", "-c", f"until [ -e stop ]; do gitlob-purge -q --grace {grace} || exit 1; done"], cwd=work.path
    )
    for turn in range(4):
        for number in range(12):
            work.write(f"{turn}/{number}.bin", f"{turn} {number}" * 1000)
        work.git("add", ".")
        if turn % 2:
            work.git("stash", "-q")
    work.write("stop", "")
    assert purges.wait() == 0
    entries = work.git("ls-files", "*.bin").decode().split()
    assert len(entries) == 1
    for _ in range(2):
        work.git("stash", "pop", "-q", "--index")
        work.git("commit", "-q", "-m", "x")
    held = check(work.content)
    assert held >= {sha_of(f"{turn} {number}".encode() * 1000) for turn in range(4) for number in range(12)}


def test_a_purge_against_a_fix_up(tmp_path: Path, work: Work, store: Path) -> None:
    """All files are filled in, though purges take what nothing needs meanwhile."""
    contents = {f"{n}.bin": b"%d" % n * 1000 for n in range(60)}
    for name, data in contents.items():
        work.write(name, data)
    work.commit()
    work.sync("--push")
    other = clone(work, tmp_path / "other", location=store)
    loop = "until [ -e stop ]; do gitlob-purge -q --grace 0 --window 0 || exit 1; done"
    purges = subprocess.Popen(["sh", "-c", loop], cwd=other.path)
    other.sync("--pull", "--no-expand")
    other.sync("--checkout", "--offline")
    other.write("stop", "")
    assert purges.wait() == 0
    assert all(other.read(name) == data for name, data in contents.items())


def test_what_is_being_stored_by_the_filter_stays(work: Work) -> None:
    """git has not written its index yet: the purge waits for it, also without any grace time."""
    work.commit(a__bin="base")
    client = GitClient(work.path, "clean")
    client.send(lines("command=clean", "pathname=b.bin") + content(b"being added"))
    assert client.answer().status == "success"
    age(work.content, 10)
    assert "gitlob-filter process" in unharmed(work, "--grace", "0", "--lock-wait", "0.1", code=5)
    blob = work.git("hash-object", "-w", "--stdin", input=placeholder(b"being added")).decode().strip()
    purge = subprocess.Popen(["gitlob-purge", "-q", "--grace", "0"], cwd=work.path)
    time.sleep(0.5)
    work.git("update-index", "--add", "--cacheinfo", f"100644,{blob},b.bin")
    client.end()
    assert purge.wait() == 0
    assert check(work.content) == {sha_of(b"base"), sha_of(b"being added")}


def test_two_purges_at_once(repo: Work) -> None:
    hold(repo.content, *(f"nobody's {n}" for n in range(200)))
    both = [subprocess.Popen(["gitlob-purge", "-q"], cwd=repo.path) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    assert words_in(repo.content) == {"before", "now"}


def test_a_file_system_without_locks(repo: Work, tmp_path: Path) -> None:
    """Nothing but the grace time keeps a purge and an add apart there, so it must not be short."""
    script = "import fcntl, sys\ndef flock(*_): raise OSError(37, 'No locks available')\nfcntl.flock = flock\n"
    script += "from gitlob_rsync.commands.purge import main\nsys.exit(main())"

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-c", script, *args]
        return subprocess.run(argv, cwd=repo.path, capture_output=True, text=True)

    done = run("--grace", "0")
    assert done.returncode == 1 and "does not support locks" in done.stderr and "--grace" in done.stderr
    assert words_in(repo.content) == {"old", "before", "now"}
    assert run("--grace", "1h").returncode == 0
    assert words_in(repo.content) == {"before", "now"}


# A store that others push to


def other_clone(folder: Path, store: Path, word: str) -> Work:
    """Another clone, which says in a store that it needs a binary of it."""
    other = repository(folder, store, {"x.bin": word.encode()})
    other.sync("--push")
    WORDS[sha_of(word.encode())] = word
    age(store, 3, word)
    return other


@pytest.mark.parametrize(
    ("args", "linked"),
    [([], False), ([], True), (["--unreferenced"], False), (["--no-verify-remote"], False), (["--grace", "0"], True)],
)
def test_what_a_list_in_the_store_names_is_kept(repo: Work, tmp_path: Path, args: list[str], linked: bool) -> None:
    """Be it that others push to this repository's store, or that it is a link to that of others."""
    hold(repo.content, "nobody's")
    if linked:
        repo.content.rename(tmp_path / "team")
        repo.content.symlink_to(tmp_path / "team")
    other_clone(tmp_path / "other", repo.content, "another's")
    other_clone(tmp_path / "third", repo.content, "old")
    would = told(repo, "-n", *args)
    assert would == told(repo, *args)
    assert would == {
        "old": "listed", "another's": "listed", "nobody's": "unreferenced", "before": "window", "now": "window",
    }  # fmt: skip
    assert words_in(repo.content) == {"old", "another's", "before", "now"}
    in_trash = [check(at) for at in (repo.content / "gitlob" / "trash").iterdir()]
    assert in_trash == ([] if args[-1:] == ["0"] else [{sha_of(b"nobody's")}])


def test_what_is_said_of_a_store_of_others(repo: Work, tmp_path: Path) -> None:
    other_clone(tmp_path / "other", repo.content, "another's")
    done = repo.run("gitlob-purge", "-v")
    assert "kept {} ".format(sha_of(b"another's")) in done.stdout
    assert "needed by a clone that uses this store, according to its list" in done.stdout
    assert "stay in its trash for the grace time" in done.stderr


def test_the_trash_of_a_store_of_others_is_emptied(repo: Work, tmp_path: Path) -> None:
    other_clone(tmp_path / "other", repo.content, "another's")
    told(repo)
    (at,) = (repo.content / "gitlob" / "trash").iterdir()
    assert check(at) == {sha_of(b"old")}
    told(repo)
    assert at.exists()
    at.rename(at.with_name("20200102T030405Z"))
    told(repo)
    assert not list((repo.content / "gitlob" / "trash").iterdir())


def test_a_list_that_comes_while_a_purge_is_at_work(repo: Work, tmp_path: Path) -> None:
    """Whoever pushes knows none of our locks, and found there what was just moved."""
    other = other_clone(tmp_path / "other", repo.content, "another's")
    (at,) = (repo.content / "gitlob" / "lists").glob("?" * 24)
    new = at.read_text().replace("end 1", f"{sha_of(b'old')}\nend 2")
    (tmp_path / "new").write_text(new)
    script = f'"$REAL" "$@"; code=$?; case "$*" in *--backup-dir=*) cp "{tmp_path}/new" "{at}";; esac; exit $code'
    done = repo.run("gitlob-purge", "--json", env=shim(tmp_path / "shim", "rsync", script))
    reasons = {one["sha"]: one["reason"] for one in json.loads(done.stdout)["binaries"]}
    assert reasons[sha_of(b"old")] == "listed"
    assert words_in(repo.content) == {"old", "before", "now", "another's"}
    assert other


@pytest.mark.parametrize("how", ["cut off", "no list", "no folder", "unreadable"])
@pytest.mark.parametrize("args", [[], ["-n"]], ids=["", "-n"])
def test_nothing_goes_where_the_lists_are_in_doubt(repo: Work, tmp_path: Path, how: str, args: list[str]) -> None:
    other_clone(tmp_path / "other", repo.content, "another's")
    (at,) = (repo.content / "gitlob" / "lists").glob("?" * 24)
    if how == "cut off":
        at.write_bytes(at.read_bytes()[:-3])
    else:
        at.unlink()
    if how == "no folder":
        shutil.rmtree(at.parent)
    if how == "unreadable":
        at.mkdir()
    assert re.search("is damaged|holds no list|Is a directory", unharmed(repo, *args, code=1))


def test_the_store_of_another_repository_is_left_to_it(repo: Work, tmp_path: Path) -> None:
    """What that one needs it says nowhere."""
    bare = init(tmp_path / "check.git", "--bare", attributes="")
    bare.content.parent.mkdir(exist_ok=True)
    bare.content.symlink_to(repo.content)
    assert f"leads to the store of the repository {repo.path}/.git (run gitlob-purge there)" in unharmed(bare, code=1)
    bare.content.unlink()
    bare.content.parent.rmdir()
    bare.content.parent.symlink_to(repo.content.parent)
    assert "leads to the store of the repository" in unharmed(bare, code=1)
    other_clone(tmp_path / "other", repo.content, "another's")
    assert "leads to the store of the repository" in unharmed(bare, "-n", code=1)


def test_a_link_to_a_store_of_which_nothing_is_needed_here(repo: Work, store: Path, tmp_path: Path) -> None:
    """Clones of older versions, and of git-lob, publish no list."""
    bare = init(tmp_path / "check.git", "--bare", attributes="")
    bare.content.parent.mkdir(exist_ok=True)
    bare.content.symlink_to(store)
    line = unharmed(bare, code=1)
    assert f"is a link to {store}" in line and "gitlob-sync --push" in line
    repo.content.rename(tmp_path / "disk")
    repo.content.symlink_to(tmp_path / "disk")
    assert told(repo) == {"old": "old", "before": "window", "now": "window"}, "its own store on another disk"


def test_the_store_of_a_remote_of_ours_in_the_place_of_our_own(repo: Work, store: Path) -> None:
    shutil.rmtree(repo.content)
    repo.content.symlink_to(store)
    assert "is also the store of a remote, and holds no list of what clones need" in unharmed(repo, code=1)
    repo.sync("--push")
    assert told(repo) == {"old": "listed", "before": "window", "now": "window"}


def test_a_shared_store_that_others_push_to_loses_nothing(repo: Work, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    share(repo, shared, "old", "before", "now")
    other_clone(tmp_path / "other", shared, "another's")
    assert told(repo)["old"] == "old"
    assert words_in(shared) == {"old", "before", "now", "another's"}
