"""The selections through the command line, case by case: what --list prints."""

import os
import re
import shutil
from pathlib import Path

import pytest

from gitlob_rsync.errors import ToolError
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.selection import references
from gitlob_rsync.selection.scopes import Committed
from tests.support.handmade import placeholder, put, sha_of
from tests.support.words import ago, committed, lob, make, said
from tests.support.work import Work


@pytest.fixture
def repo(tmp_path: Path) -> Work:
    return make(tmp_path / "repo")


def window(repo: Work, age: str, *args: str, cwd: str = ".") -> set[str]:
    return said(repo.listed(f"--window={age}", *args, cwd=cwd))


def checkout(repo: Work, *args: str, cwd: str = ".") -> set[str]:
    return said(repo.listed("--checkout", *args, cwd=cwd))


def refused(repo: Work, *args: str, code: int, cwd: str = ".") -> str:
    """The one line that is all there is."""
    done = repo.sync("--list", *args, code=code, cwd=cwd)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


# Refs and tags


def test_the_age_of_an_annotated_tag_is_its_commit_s(repo: Work) -> None:
    """A tag made today of an old commit is old; one that says it is old, of a young commit, is young."""
    repo.commit(date=ago(100), a__bin=lob("old"))
    repo.git("tag", "-a", "-m", "x", "young-tag", date=ago(0))
    repo.commit(date=ago(40), a__bin=lob("between"))
    repo.commit(date=ago(10), a__bin=lob("young"))
    repo.git("tag", "-a", "-m", "x", "old-tag", date=ago(100))
    repo.commit(date=ago(40), a__bin=lob("head"))
    assert window(repo, "30d", "--include=*.bin") == {"head", "young", "between", "old"}  # HEAD's own 30 days
    for key, age in (("refs", "30"), ("commits-head", "0"), ("commits-other", "0")):
        repo.git("config", f"git-lob.fetch-{key}", age)
    assert said(repo.listed("--window")) == {"head", "young"}


def test_tags_of_old_commits_are_committed_but_outside_the_window(repo: Work) -> None:
    repo.commit(date=ago(100), a__bin=lob("older"))
    repo.git("tag", "light")
    repo.git("tag", "-a", "-m", "x", "heavy", date=ago(0))
    repo.git("rm", "-q", "a.bin")
    repo.commit(date=ago(90))
    repo.commit(date=ago(1), b__bin=lob("new"))
    assert window(repo, "30d") == {"new"}
    assert committed(repo) == {"older", "new"}


def test_a_tag_of_a_tag_counts_for_its_commit(repo: Work) -> None:
    repo.commit(date=ago(50))
    repo.git("checkout", "-q", "--detach")
    repo.commit(date=ago(5), a__bin=lob("tagged"))
    repo.git("tag", "-a", "-m", "x", "inner")
    repo.git("tag", "-a", "-m", "x", "outer", "inner")
    repo.git("tag", "-d", "inner")
    repo.git("checkout", "-q", "main")
    assert window(repo, "30d") == committed(repo) == {"tagged"}
    assert window(repo, "4d") == set()


def test_a_tag_of_a_blob_or_a_tree_is_no_commit_and_does_no_harm(repo: Work) -> None:
    repo.commit(a__bin=lob("a"))
    blob = repo.git("hash-object", "-w", "--stdin", input=lob("tagged alone")).decode().strip()
    repo.git("tag", "blob", blob)
    repo.git("tag", "-a", "-m", "x", "blob-annotated", blob)
    repo.git("tag", "tree", "HEAD^{tree}")
    repo.git("tag", "-a", "-m", "x", "tree-annotated", "HEAD^{tree}")
    assert committed(repo) == window(repo, "30d") == window(repo, "all") == {"a"}


@pytest.mark.parametrize("ref", ["refs/notes/commits", "refs/changes/01/1", "refs/prefetch/remotes/origin/main"])
def test_any_ref_is_committed_but_only_branches_and_tags_make_the_window(repo: Work, ref: str) -> None:
    repo.commit()
    repo.commit(a__bin=lob("kept by a ref"))
    repo.git("update-ref", ref, "HEAD")
    repo.git("reset", "-q", "--hard", "HEAD~1")
    assert committed(repo) == {"kept by a ref"}
    assert window(repo, "all") == set()


def test_the_window_has_the_tracking_branches_of_the_remote_alone(repo: Work) -> None:
    """`--window nas` takes nas as REMOTE, not as an AGE."""
    repo.commit(date=ago(1))
    for remote in ("origin", "nas"):
        repo.git("config", f"remote.{remote}.git-lob-path", f"/nowhere/{remote}")
        repo.fetches(remote)
        repo.commit(date=ago(1), a__bin=lob(f"at {remote}"))
        repo.git("update-ref", f"refs/remotes/{remote}/topic", "HEAD")
        repo.git("reset", "-q", "--hard", "HEAD~1")
    assert said(repo.listed("--window", "origin")) == said(repo.listed("--window")) == {"at origin"}
    assert said(repo.listed("--window", "nas")) == window(repo, "30d", "nas") == {"at nas"}
    assert said(repo.listed("--window", "30d", "nas")) == {"at nas"}
    assert committed(repo) == committed(repo, "nas") == {"at origin", "at nas"}


def test_old_branches_are_outside_the_window_and_head_never_is(repo: Work) -> None:
    repo.commit(date=ago(400), a__bin=lob("main"))
    repo.git("checkout", "-q", "--orphan", "topic")
    repo.commit(date=ago(400), a__bin=lob("topic"))
    assert window(repo, "30d") == {"topic"}
    assert window(repo, "500d") == window(repo, "all") == {"main", "topic"}


def test_a_file_untouched_for_years_belongs_to_the_window_while_it_is_in_the_tree(repo: Work) -> None:
    repo.commit(date=ago(1100), a__bin=lob("untouched"), b__bin=lob("replaced"))
    repo.commit(date=ago(1000), b__bin=lob("by this"))
    repo.commit(date=ago(0), readme="x")
    assert window(repo, "30d") == window(repo, "0") == {"untouched", "by this"}


def test_a_detached_head_counts(repo: Work) -> None:
    repo.commit(date=ago(300))
    repo.git("checkout", "-q", "--detach")
    repo.commit(date=ago(200), a__bin=lob("before"))
    repo.commit(date=ago(100), a__bin=lob("detached"))
    assert window(repo, "0") == {"detached"}
    assert window(repo, "1d") == committed(repo) == {"before", "detached"}
    repo.git("checkout", "-q", "main")
    assert committed(repo) == window(repo, "all") == set()


def test_the_heads_of_all_worktrees_count_whichever_one_looks(repo: Work, tmp_path: Path) -> None:
    repo.commit(date=ago(200), a__bin=lob("base"))
    repo.git("worktree", "add", "-q", "--detach", str(tmp_path / "side tree"))
    side = Work(tmp_path / "side tree")
    side.commit(date=ago(100), a__bin=lob("in the linked one"))
    repo.git("checkout", "-q", "--detach")
    repo.commit(date=ago(100), a__bin=lob("in the main one"))
    for where in (repo, side):
        assert window(where, "0") == {"in the linked one", "in the main one"}
        assert committed(where) == {"base", "in the linked one", "in the main one"}
    assert checkout(repo) == {"in the main one"}
    assert checkout(side) == {"in the linked one"}


@pytest.mark.parametrize("name", ["kept", "latin\udce9", "line\u2028end", "-x"], ids=ascii)
def test_a_ref_that_one_worktree_has_for_itself_is_committed_in_the_others_too(
    repo: Work, tmp_path: Path, name: str
) -> None:
    repo.commit()
    repo.git("worktree", "add", "-q", "--detach", str(tmp_path / "side"))
    side = Work(tmp_path / "side")
    side.commit(a__bin=lob("kept there"))
    side.git("update-ref", f"refs/worktree/{name}", "HEAD")
    side.git("checkout", "-q", "HEAD~1")
    assert committed(side) == {"kept there"}
    assert committed(repo) == {"kept there"}


# Merges, clocks, renames


def test_what_only_a_merge_commit_has(repo: Work) -> None:
    """An evil merge: no parent has it, no diff of a parent shows it alone."""
    repo.commit(date=ago(9), a__bin=lob("base"))
    repo.git("checkout", "-q", "-b", "side")
    repo.commit(date=ago(8), s__bin=lob("side"))
    repo.git("checkout", "-q", "main")
    repo.commit(date=ago(7), m__bin=lob("main"))
    repo.git("merge", "-q", "--no-commit", "side")
    repo.commit(date=ago(6), e__bin=lob("evil"), a__bin=lob("changed on the way"))
    repo.git("rm", "-q", "e.bin", "a.bin")
    repo.commit(date=ago(5))
    assert committed(repo) == window(repo, "30d") == {"base", "side", "main", "evil", "changed on the way"}
    assert window(repo, "0") == {"side", "main"}


def test_a_conflict_resolved_by_hand_is_content_of_the_merge_alone(repo: Work) -> None:
    repo.commit(date=ago(9), a__bin=lob("base"))
    repo.git("checkout", "-q", "-b", "side")
    repo.commit(date=ago(8), a__bin=lob("theirs"))
    repo.git("checkout", "-q", "main")
    repo.commit(date=ago(8), a__bin=lob("ours"))
    repo.git("merge", "-q", "side", code=1)
    assert checkout(repo) == {"base", "ours", "theirs"}  # the stages of the conflict
    repo.commit(date=ago(7), a__bin=lob("resolved"))
    repo.commit(date=ago(1), a__bin=lob("later"))
    assert committed(repo) == {"base", "ours", "theirs", "resolved", "later"}
    assert window(repo, "5d") == {"later", "resolved"}
    assert window(repo, "6d", "--ref", "main") == {"later", "resolved", "ours", "theirs"}


def test_all_parents_of_an_octopus_count(repo: Work) -> None:
    repo.commit(date=ago(100), base__bin=lob("base"))
    for name in ("b", "c", "d"):
        repo.git("checkout", "-q", "-b", name, "main")
        repo.commit(date=ago(60), **{f"{name}__bin": lob(f"{name} before")})  # type: ignore[arg-type]
        repo.commit(date=ago(50), **{f"{name}__bin": lob(name)})  # type: ignore[arg-type]
    repo.git("checkout", "-q", "main")
    repo.git("merge", "-q", "-m", "octopus", "b", "c", "d", date=ago(1))
    repo.git("branch", "-q", "-D", "b", "c", "d")
    assert repo.git("rev-list", "--parents", "-n1", "HEAD").count(b" ") == 3
    repo.git("rm", "-q", "-r", ".")
    repo.commit(date=ago(0))
    assert window(repo, "0") == set()
    assert window(repo, "12h") == {"base", "b", "c", "d"}
    everything = {"base", "b", "c", "d", "b before", "c before", "d before"}
    assert window(repo, "2d") == {"base", "b", "c", "d"}
    assert window(repo, "50d") == committed(repo) == everything


def test_the_state_of_a_second_parent_was_current_until_the_merge(repo: Work) -> None:
    repo.commit(date=ago(100), a__bin=lob("base"))
    repo.git("checkout", "-q", "-b", "side")
    repo.commit(date=ago(90), s__bin=lob("before the side's last"))
    repo.commit(date=ago(80), s__bin=lob("side's last"))
    repo.git("checkout", "-q", "main")
    repo.git("merge", "-q", "--no-ff", "-s", "ours", "-m", "forget the side", "side", date=ago(1))
    repo.git("branch", "-q", "-D", "side")
    assert window(repo, "0") == {"base"}
    assert window(repo, "1d") == {"base", "side's last"}
    assert window(repo, "100d") == committed(repo) == {"base", "side's last", "before the side's last"}


def test_an_old_date_in_the_middle_does_not_end_the_walk(repo: Work) -> None:
    repo.commit(date=ago(300), a__bin=lob("too old"))
    repo.commit(date=ago(200), a__bin=lob("parent"))
    repo.commit(date=ago(3), a__bin=lob("behind"))
    for number in range(8):
        repo.commit(date=ago(1000), a__bin=lob(f"skewed {number}"))
    repo.commit(date=ago(0), a__bin=lob("tip"))
    assert window(repo, "7d") == {"tip", "skewed 7", "behind", "parent"}


def test_a_commit_counts_if_it_does_for_any_ref_in_whatever_order_dates_put_them(repo: Work) -> None:
    for days in (40, 36, 30, 20):
        repo.commit(date=ago(days), a__bin=lob(f"{days} days old"))
    repo.git("branch", "old")
    repo.commit(date=ago(15), a__bin=lob("15 days old"))
    repo.commit(date=ago(0), a__bin=lob("new"))
    repo.git("checkout", "-q", "old")
    repo.commit(date=ago(25), a__bin=lob("tip of old, and older than its parent"))
    repo.git("checkout", "-q", "--detach", "main")
    assert window(repo, "10d") == {"new", "15 days old"}
    for key, age in (("refs", "30"), ("commits-head", "10"), ("commits-other", "10")):
        repo.git("config", f"git-lob.fetch-{key}", age)
    older = {"tip of old, and older than its parent", "20 days old", "30 days old", "36 days old"}
    assert said(repo.listed("--window")) == {"new", "15 days old", *older}


@pytest.mark.parametrize(("head", "other"), [("20", "1"), ("1", "20")])
def test_head_and_its_branch_count_as_far_as_either_does(repo: Work, head: str, other: str) -> None:
    for days in (30, 15, 10, 0):
        repo.commit(date=ago(days), a__bin=lob(f"{days} days old"))
    repo.git("config", "git-lob.fetch-commits-head", head)
    repo.git("config", "git-lob.fetch-commits-other", other)
    assert said(repo.listed("--window")) == {"0 days old", "10 days old", "15 days old", "30 days old"}


def test_a_date_in_the_future_counts(repo: Work) -> None:
    repo.commit(date=ago(20), a__bin=lob("before"))
    repo.commit(date=ago(-5000), a__bin=lob("future"))
    repo.commit(date=ago(10), a__bin=lob("now"))
    assert window(repo, "0") == {"now"}
    assert window(repo, "1d") == {"now", "future", "before"}


def test_committer_dates_decide(repo: Work) -> None:
    env = {"GIT_AUTHOR_DATE": f"{ago(0)} +0000", "GIT_COMMITTER_DATE": f"{ago(50)} +0000"}
    repo.commit(date=ago(100), a__bin=lob("base"))
    repo.write("a.bin", lob("written today, committed long ago"))
    repo.run("git", "commit", "-aqm", "x", env=env)
    repo.run("git", "branch", "topic")
    repo.git("checkout", "-q", "-b", "other", "HEAD~1")
    assert window(repo, "30d") == {"base"}
    assert window(repo, "51d") == {"base", "written today, committed long ago"}


def test_the_bound_of_the_history_is_inclusive(repo: Work) -> None:
    repo.commit(date=ago(20), a__bin=lob("never"))
    repo.commit(date=ago(19), a__bin=lob("parent of the last"))
    repo.commit(date=ago(9), a__bin=lob("exactly seven days before"))
    repo.commit(date=ago(2), a__bin=lob("tip"))
    assert window(repo, "7d") == {"tip", "exactly seven days before", "parent of the last"}
    repo.git("commit", "-q", "--amend", "--no-edit", date=ago(2) + 1)
    assert window(repo, "7d") == {"tip", "exactly seven days before"}


def test_renames_and_readditions(repo: Work) -> None:
    repo.commit(date=ago(20), a__bin=lob("moved"), b__bin=lob("gone and back"))
    repo.git("mv", "a.bin", "z.bin")
    repo.git("rm", "-q", "b.bin")
    repo.commit(date=ago(10))
    repo.commit(date=ago(1), c__bin=lob("gone and back"))
    assert repo.listed("--window=0") == {sha_of(b"moved"): b"z.bin", sha_of(b"gone and back"): b"c.bin"}
    assert committed(repo) == {"moved", "gone and back"}
    assert committed(repo, "--include=a.bin") == {"moved"}
    assert committed(repo, "--include=c.bin", "--include=b.bin") == {"gone and back"}
    assert window(repo, "1d", "--include=b.bin") == window(repo, "8d", "--include=a.bin") == set()
    assert window(repo, "9d", "--include=[ab].bin") == {"moved", "gone and back"}


@pytest.mark.smoke
def test_a_binary_at_many_paths_and_times_is_listed_once(repo: Work) -> None:
    repo.commit(a__bin=lob("a"), b__bin=lob("a"))
    repo.git("rm", "-q", "a.bin")
    repo.commit(c__bin=lob("a"))
    assert repo.sync("--list", "--committed").stdout.count(sha_of(b"a")) == 1


# Stashes, the index, sparse checkouts


def test_stashes_past_a_gap_in_their_log_are_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git rev-parse stash@{1} fails there, while git stash list goes on."""
    monkeypatch.setenv("GIT_DEFAULT_REF_FORMAT", "files")
    repo = make(tmp_path / "repo")
    repo.commit(a__bin=lob("base"))
    names = ("one", "two", "three", "four")
    for name in names:
        repo.write("a.bin", lob(name))
        repo.git("stash", "-q")
    log = repo.path / ".git/logs/refs/stash"
    log.write_text("".join("0" * 40 + line[40:] for line in log.read_text().splitlines(keepends=True)))
    assert b"stash@{3}" in repo.git("stash", "list")
    assert committed(repo) == {"base", *names}


def test_all_stashes_are_committed_and_none_is_in_the_window(repo: Work) -> None:
    repo.commit(a__bin=lob("base"))
    repo.write("a.bin", lob("older stash"))
    repo.git("stash", "-q")
    repo.write("a.bin", lob("staged"))
    repo.git("add", "-A")
    repo.write("a.bin", lob("unstaged"))
    repo.write("new.bin", lob("untracked"))
    repo.git("stash", "-q", "-u")
    assert committed(repo) == {"base", "older stash", "staged", "unstaged", "untracked"}
    assert window(repo, "all") == window(repo, "0") == {"base"}
    repo.git("stash", "drop", "-q", "stash@{1}")
    assert committed(repo) == {"base", "staged", "unstaged", "untracked"}


def test_what_was_only_staged_is_in_the_checkout_alone(repo: Work) -> None:
    repo.commit(a__bin=lob("committed"))
    repo.write("b.bin", lob("staged"))
    repo.git("add", "b.bin")
    repo.write("c.bin", lob("not even staged"))
    assert checkout(repo) == {"committed", "staged"}
    assert committed(repo) == window(repo, "all") == {"committed"}
    repo.git("reset", "-q")
    assert checkout(repo) == {"committed"}


def test_a_file_that_is_only_intended_to_be_added_has_no_content_yet(repo: Work) -> None:
    repo.commit(a__bin=lob("a"))
    repo.write("b.bin", lob("b"))
    repo.git("add", "-N", "b.bin")
    assert checkout(repo) == {"a"}


@pytest.mark.parametrize("how", [("--no-cone", "/in/"), ("--cone", "in"), ("--cone", "--sparse-index", "in")])
def test_what_a_sparse_checkout_leaves_out_is_not_in_the_checkout(repo: Work, how: tuple[str, ...]) -> None:
    repo.write("in/a.bin", lob("inside"))
    repo.write("out/deep/b.bin", lob("outside"))
    repo.commit()
    repo.git("sparse-checkout", "set", *how)
    assert checkout(repo) == checkout(repo, cwd="in") == {"inside"}
    assert window(repo, "0") == committed(repo) == {"inside", "outside"}
    repo.git("sparse-checkout", "disable")
    assert checkout(repo) == {"inside", "outside"}


# Kinds of repositories


def test_a_bare_repository(repo: Work, tmp_path: Path) -> None:
    repo.commit(date=ago(40), a__bin=lob("old"))
    repo.commit(date=ago(20), a__bin=lob("new"))
    repo.git("clone", "-q", "--bare", ".", str(tmp_path / "bare.git"))
    bare = Work(tmp_path / "bare.git")
    assert committed(bare) == {"old", "new"}
    assert window(bare, "0") == window(bare, "0", cwd="refs") == {"new"}
    assert "--checkout" in refused(bare, "--checkout", code=2)


def test_inside_the_git_folder(repo: Work) -> None:
    repo.commit(a__bin=lob("a"))
    assert committed(repo, cwd=".git") == window(repo, "0", cwd=".git/objects") == {"a"}


def test_a_submodule_is_a_repository_of_its_own(repo: Work, tmp_path: Path) -> None:
    make(tmp_path / "inner").commit(i__bin=lob("inner"))
    repo.commit(o__bin=lob("outer"))
    repo.git("submodule", "--quiet", "add", str(tmp_path / "inner"), "sub")
    repo.commit()
    sub = Work(repo.path / "sub")
    assert committed(sub) == window(sub, "0") == checkout(sub) == {"inner"}
    assert committed(repo) == window(repo, "all") == checkout(repo) == {"outer"}
    sub.git("checkout", "-q", "--detach")
    sub.commit(i__bin=lob("detached inner"))
    assert window(sub, "1d") == {"inner", "detached inner"}


def test_a_shallow_clone_works_at_its_edge_and_says_so(repo: Work, tmp_path: Path) -> None:
    repo.commit(date=ago(4), a__bin=lob("beyond the edge"))
    repo.git("rm", "-q", "a.bin")
    repo.commit(date=ago(3), b__bin=lob("in the tree of the edge"))
    repo.commit(date=ago(2), c__bin=lob("at the edge"))
    repo.commit(date=ago(1), d__bin=lob("tip"))
    repo.git("clone", "-q", "--depth=2", f"file://{repo.path}", str(tmp_path / "shallow"))
    shallow = Work(tmp_path / "shallow")
    expected = {"in the tree of the edge", "at the edge", "tip"}
    for selection in ("--committed", "--window=all", "--window=0"):
        done = shallow.sync("--list", selection)
        assert said(line.split()[0] for line in done.stdout.splitlines()) == expected
        assert "shallow" in done.stderr
    shallow.git("fetch", "-q", "--unshallow")
    assert committed(shallow) == {"beyond the edge", *expected}
    assert shallow.sync("--list", "--committed").stderr == ""


def test_a_sha256_repository(tmp_path: Path) -> None:
    repo = make(tmp_path / "sha256", "--object-format=sha256")
    repo.commit(date=ago(40), a__bin=lob("old"))
    repo.git("checkout", "-q", "-b", "side")
    repo.commit(date=ago(30), s__bin=lob("side"))
    repo.git("checkout", "-q", "main")
    repo.commit(date=ago(20), a__bin=lob("new"))
    repo.git("merge", "-q", "-m", "m", "side", date=ago(10))
    repo.write("i.bin", lob("staged"))
    repo.git("add", "-A")
    assert committed(repo) == window(repo, "all") == {"old", "side", "new"}
    assert window(repo, "0", "--ref", "HEAD") == {"side", "new"}
    assert checkout(repo) == {"side", "new", "staged"}


def test_a_repository_without_a_commit_has_nothing(repo: Work) -> None:
    for selection in ("--committed", "--window", "--window=all", "--checkout"):
        done = repo.sync("--list", selection)
        assert (done.stdout, done.stderr) == ("", "")
    repo.write("a.bin", lob("staged"))
    repo.git("add", "-A")
    assert checkout(repo) == {"staged"}
    assert committed(repo) == window(repo, "all") == set()


def test_an_unborn_branch_beside_others(repo: Work) -> None:
    repo.commit(date=ago(100), a__bin=lob("old"))
    repo.git("branch", "old")
    repo.commit(date=ago(1), a__bin=lob("main"))
    repo.git("checkout", "-q", "--orphan", "unborn")
    assert committed(repo) == {"old", "main"}
    for key, age in (("refs", "30"), ("commits-head", "30"), ("commits-other", "0")):
        repo.git("config", f"git-lob.fetch-{key}", age)
    assert said(repo.listed("--window")) == {"main"}
    assert "HEAD" in refused(repo, "--committed", "--ref", "HEAD", code=2)


def test_outside_a_repository(tmp_path: Path) -> None:
    assert "not in a git repository" in refused(Work(tmp_path), "--committed", code=2)


def test_a_replaced_commit_goes_with_its_replacement(repo: Work) -> None:
    """Other clones do not know the replacement: all that was committed is both. The window shows what git shows here."""
    repo.commit(date=ago(3), a__bin=lob("hidden"))
    hidden = repo.git("rev-parse", "HEAD").decode().strip()
    repo.commit(date=ago(2), a__bin=lob("tip"))
    repo.git("checkout", "-q", "--orphan", "new")
    replacement = repo.commit(date=ago(3), a__bin=lob("shown"))
    repo.git("checkout", "-q", "main")
    repo.git("branch", "-q", "-D", "new")
    repo.git("replace", hidden, replacement)
    assert committed(repo) == {"hidden", "shown", "tip"}
    assert window(repo, "all") == {"shown", "tip"}


def test_a_replaced_blob_is_still_what_was_committed(repo: Work) -> None:
    repo.commit(a__bin=lob("hidden"))
    other = repo.git("hash-object", "-w", "--stdin", input=lob("shown")).decode().strip()
    repo.git("replace", "HEAD:a.bin", other)
    assert window(repo, "0") == {"shown"}
    assert committed(repo) >= {"hidden"}


def test_git_s_own_environment_is_honoured(repo: Work, tmp_path: Path) -> None:
    """From elsewhere, with another index."""
    repo.commit(a__bin=lob("a"))
    other = tmp_path / "other index"
    repo.write("b.bin", lob("in the other index"))
    repo.run("git", "add", "b.bin", env={"GIT_INDEX_FILE": str(other)})
    elsewhere = make(tmp_path / "elsewhere")
    elsewhere.commit(e__bin=lob("elsewhere"))
    at = {"GIT_DIR": str(repo.path / ".git"), "GIT_WORK_TREE": str(repo.path)}

    def found(env: dict[str, str], *args: str, where: Work = elsewhere) -> set[str]:
        return said(line.split()[0] for line in where.sync("--list", *args, env=env).stdout.splitlines())

    assert found({"GIT_DIR": at["GIT_DIR"]}, "--committed") == found(at, "--window=0") == {"a"}
    assert found({"GIT_DIR": "../repo/.git"}, "--committed") == {"a"}
    assert found({"GIT_INDEX_FILE": str(other)}, "--checkout", where=repo) == {"in the other index"}
    assert found({"GIT_INDEX_FILE": "../other index"}, "--checkout", where=repo) == {"in the other index"}


def test_a_relative_index_file_counts_from_the_top_as_it_does_for_git(repo: Work) -> None:
    repo.write("sub/a.bin", lob("a"))
    repo.commit()
    other = {"GIT_INDEX_FILE": "other-index"}
    repo.write("b.bin", lob("in the other index"))
    repo.run("git", "add", "b.bin", env=other)
    assert repo.run("git", "ls-files", "--full-name", ":/", env=other, cwd="sub").stdout == "b.bin\n"
    assert sha_of(b"in the other index") in repo.sync("--list", "--checkout", env=other, cwd="sub").stdout


# Contents and paths


def test_what_only_looks_like_a_placeholder(repo: Work) -> None:
    good = lob("real")
    assert len(good) == 49
    repo.write("real.bin", good)
    repo.write("upper.bin", lob("upper").upper().replace(b"GIT-LOB", b"git-lob"))
    repo.write("text.txt", b"x" * 49)
    repo.write("newline.txt", lob("newline") + b"\n")
    repo.write("short.txt", lob("short")[:-1])
    repo.write("no-hex.txt", lob("no hex")[:-1] + b"g")
    repo.write("capital.txt", lob("capital").replace(b"git-lob", b"Git-lob"))
    repo.write("leading.txt", b" " + lob("leading")[:-1])
    (repo.path / "link").symlink_to(os.fsdecode(lob("target of a link")))
    repo.commit()
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},gitlink")
    repo.git("commit", "-q", "-m", "a submodule that is not here")
    assert committed(repo) == window(repo, "0") == checkout(repo) == {"real", "upper"}


def test_executables_and_the_modes_of_old_gits_are_regular_files(repo: Work) -> None:
    rows = ""
    for mode in ("100644", "100755", "100664"):
        blob = repo.git("hash-object", "-w", "--stdin", input=lob(mode)).decode().strip()
        rows += f"{mode} blob {blob}\t{mode}.bin\n"
    tree = repo.git("mktree", input=rows.encode()).decode().strip()
    commit = repo.git("commit-tree", "-m", "x", tree).decode().strip()
    repo.git("update-ref", "HEAD", commit)
    assert committed(repo) == window(repo, "0") == {"100644", "100755", "100664"}


ODD_PATHS = [
    b"two words.bin", b" leading.bin", b"trailing ", b"-x", b"--all", b"new\nline.bin", b'"quoted".bin', b"back\\slash",
    b"tab\there", b"\x1b[31mred", b"\xff\xfe invalid", "ü.bin".encode(), "ü\n.bin".encode(), b":(top)magic", b"*.bin",
    b"bell\a", b"deep/-er/\xe9/a b", b"del\x7f", "no\u00a0break".encode(), "\u202eright to left".encode(), b"#", b"a'b",
]  # fmt: skip


def test_any_path_comes_out_as_it_is_or_quoted_as_git_quotes_it(repo: Work) -> None:
    for path in ODD_PATHS:
        repo.write(path, placeholder(path))
    repo.commit()
    quoted: dict[bytes, list[bytes]] = {}
    for path in ODD_PATHS:
        for full in ("true", "false"):
            argv = ("-c", f"core.quotePath={full}", "--literal-pathspecs", "ls-files", "--", os.fsdecode(path))
            quoted.setdefault(path, []).append(repo.git(*argv)[:-1])
    for selection in ("--committed", "--window=0", "--checkout"):
        assert repo.listed(selection) == {sha_of(path): path for path in ODD_PATHS}
        lines = os.fsencode(repo.sync("--list", selection).stdout).split(b"\n")[:-1]
        shown = {line[:40].decode(): line[43:] for line in lines}
        assert shown.keys() == {sha_of(path) for path in ODD_PATHS}
        for path in ODD_PATHS:
            assert shown[sha_of(path)] in quoted[path]


def test_attributes_of_any_time_are_not_consulted(repo: Work) -> None:
    repo.write(".gitattributes", "*.bin binary\n*.dat -diff -text\nsub/** diff=nonsense\n* export-ignore\n")
    repo.commit(date=ago(9), a__bin=lob("binary"), d__dat=lob("no diff"), x__txt=lob("no attribute"))
    repo.write("sub/s.bin", lob("driver"))
    repo.commit(date=ago(8))
    repo.git("rm", "-q", "-r", "sub", "a.bin", "d.dat", "x.txt")
    repo.commit(date=ago(7))
    assert committed(repo) == window(repo, "3d") == {"binary", "no diff", "no attribute", "driver"}
    assert window(repo, "0") == set()


HOSTILE_CONFIG = {
    "color.ui": "always", "color.diff": "always", "core.pager": "false", "pager.rev-list": "false", "log.date": "human",
    "pager.diff-tree": "true", "log.showRoot": "false", "log.showSignature": "true", "log.diffMerges": "off",
    "log.follow": "true", "log.decorate": "full", "log.mailmap": "true", "log.excludeDecoration": "refs/heads/*",
    "diff.noprefix": "true", "diff.relative": "true", "diff.renames": "copies", "diff.renameLimit": "1",
    "diff.ignoreSubmodules": "all", "diff.submodule": "log", "diff.wordRegex": ".", "diff.algorithm": "patience",
    "diff.context": "0", "diff.dirstat": "files", "core.quotePath": "false", "core.abbrev": "4", "pack.threads": "1",
    "core.logAllRefUpdates": "false", "core.ignoreCase": "true", "core.useReplaceRefs": "false",
    "core.commitGraph": "false", "core.bigFileThreshold": "1", "core.precomposeUnicode": "true",
    "format.pretty": "oneline", "format.notes": "*", "notes.displayRef": "*", "feature.experimental": "true",
    "status.showUntrackedFiles": "no", "i18n.logOutputEncoding": "UTF-16", "grep.patternType": "perl",
    "transfer.hideRefs": "refs/heads", "alias.rev-list": "!false", "alias.diff-tree": "!false", "trace2.eventTarget": "2",
}  # fmt: skip
TRAPPED = ("diff.external", "diff.trap.textconv", "diff.trap.command", "gpg.program", "core.editor", "core.askPass")


def test_nobody_s_git_configuration_changes_what_is_selected(repo: Work, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    ran = tmp_path / "a program of the configuration ran"
    trap.write_text(f'#!/bin/sh\necho "$0" "$@" >>\'{ran}\'\nexit 1\n')
    trap.chmod(0o755)
    make(tmp_path / "inner").commit(i__bin=lob("inner"))
    repo.write(".gitattributes", "*.bin diff=trap\n")
    repo.commit(date=ago(20), a__bin=lob("root"), sub=lob("a file before it is a submodule"))
    repo.git("rm", "-q", "sub")
    repo.git("submodule", "--quiet", "add", str(tmp_path / "inner"), "sub")
    repo.write("d/b.bin", lob("root"))
    repo.commit(date=ago(15), a__bin=lob("second"))
    repo.git("checkout", "-q", "-b", "side")
    repo.git("mv", "a.bin", "z.bin")
    repo.commit(date=ago(10), u__bin=lob("side"))
    repo.git("checkout", "-q", "main")
    repo.commit(date=ago(9), m__bin=lob("main"))
    repo.git("merge", "-q", "--no-commit", "side")
    repo.commit(date=ago(5), e__bin=lob("evil"))
    repo.write("a.bin", lob("stashed"))
    repo.write("m.bin", lob("stashed"))
    repo.git("stash", "-q")
    repo.write("s.bin", lob("staged"))
    repo.git("add", "s.bin")
    asked = ["--committed", "--window=all", "--window=0", "--window=6d", "--checkout"]
    before = [repo.listed(*each.split(), cwd="d") for each in asked]
    assert [len(each) for each in before] == [7, 6, 5, 5, 6]
    order = tmp_path / "order"
    order.write_text("z*\n")
    for key, value in HOSTILE_CONFIG.items():
        repo.git("config", "--global", key, value)
    for key in TRAPPED:
        repo.git("config", "--global", key, str(trap))
    repo.git("config", "--global", "diff.orderFile", str(order))
    hostile = {
        "GIT_EXTERNAL_DIFF": str(trap), "GIT_PAGER": str(trap), "PAGER": str(trap), "GIT_DIFF_OPTS": "-u0", "LESS": "x",
        "GIT_LITERAL_PATHSPECS": "1", "GIT_ICASE_PATHSPECS": "1", "GIT_PREFIX": "nowhere/", "GIT_FLUSH": "1",
        "LC_ALL": "de_DE.UTF-8",
    }  # fmt: skip
    for each, expected in zip(asked, before, strict=True):
        out = os.fsencode(repo.sync("--list", "-z", *each.split(), cwd="d", env=hostile).stdout)
        assert {row[:40].decode(): row[43:] for row in out.split(b"\0")[:-1]} == expected
    assert not ran.exists()


# Options


UNKNOWN = ["nowhere", "refs/heads/none", "main:a.bin", "", "--all", "@{9}", "blob", "1" * 40]
UNKNOWN += ["main..main", "^main", "main^!", "main^@", "main...side"]  # revisions, but not the name of one commit


@pytest.mark.parametrize("selection", ["--committed", "--window"])
@pytest.mark.parametrize("ref", UNKNOWN)
def test_an_unknown_ref_is_named(repo: Work, selection: str, ref: str) -> None:
    repo.commit(a__bin=lob("a"))
    repo.git("tag", "blob", "main:a.bin")
    repo.commit(date=ago(9), a__bin=lob("tip"))
    repo.git("branch", "side", "HEAD~1")
    line = refused(repo, selection, f"--ref={ref}", "--ref=main", code=2)
    assert repr(ref) in line


def test_ref_limits(repo: Work) -> None:
    """--ref takes only those refs, however old."""
    repo.commit(date=ago(900), a__bin=lob("base"))
    repo.git("checkout", "-q", "-b", "old")
    repo.commit(date=ago(800), a__bin=lob("old"))
    repo.git("tag", "-a", "-m", "x", "annotated")
    repo.git("checkout", "-q", "-b", "new", "main")
    repo.commit(date=ago(10), a__bin=lob("new"))
    repo.write("a.bin", lob("stashed"))
    repo.git("stash", "-q")
    assert window(repo, "1d", "--ref", "old") == window(repo, "1d", "--ref", "annotated") == {"old", "base"}
    assert window(repo, "0", "--ref", "old", "HEAD~1") == {"old", "base"}
    assert window(repo, "0", "--ref=old", "--ref=main") == {"old", "base"}
    assert committed(repo, "--ref", "old") == {"old", "base"}
    assert committed(repo, "--ref", "main") == {"base"}
    assert committed(repo, "--ref", "new", "old") == {"new", "old", "base"}
    assert window(repo, "0", "--ref", "HEAD") == window(repo, "0", "--ref", "@") == {"new"}


def test_a_remote_behind_the_refs_is_no_ref(repo: Work) -> None:
    repo.git("config", "remote.origin.git-lob-path", "/nowhere")
    repo.commit(a__bin=lob("a"))
    assert window(repo, "0", "--ref", "main", "origin") == {"a"}
    assert "nas" in refused(repo, "--committed", "--ref", "main", "nas", code=2)


def test_a_window_without_age_is_the_configured_one(repo: Work) -> None:
    for days in (12, 6, 4, 0):
        repo.commit(date=ago(days), m__bin=lob(f"main {days}"))
    repo.git("checkout", "-q", "--orphan", "side")
    repo.git("rm", "-q", "-rf", ".")
    for back in (20.0, 11.0, 9.5, 8.0):
        repo.commit(date=ago(back), s__bin=lob(f"side {back:g}"))
    for branch, back in (("young", 29.9), ("old", 30.1)):
        repo.git("checkout", "-q", "--orphan", branch)
        repo.git("rm", "-q", "-rf", ".")
        repo.commit(date=ago(back), o__bin=lob(branch))
    repo.git("checkout", "-q", "main")
    defaults = {"main 0", "main 4", "main 6", "main 12", "side 8", "young"}
    assert said(repo.listed("--window")) == said(repo.listed("--pull")) == defaults
    for key, age in (("refs", "10d"), ("commits-head", "5"), ("commits-other", "48h")):
        repo.git("config", f"git-lob.fetch-{key}", age)
    expected = {"main 0", "main 4", "main 6", "side 8", "side 9.5", "side 11"}
    assert said(repo.listed("--window")) == expected
    assert said(repo.listed("--window", "--ref", "side")) == {"side 8", "side 9.5", "side 11"}
    assert said(repo.listed("--window", "--ref", "HEAD", "old")) == {"main 0", "main 4", "main 6", "old"}
    assert window(repo, "3d") == {"main 0", "main 4"}
    repo.git("config", "git-lob.fetch-commits-other", "5x")
    assert "git-lob.fetch-commits-other" in refused(repo, "--window", code=2)


@pytest.mark.parametrize(
    "argv", [("--window=30x",), ("--window", "30x"), ("--window=",), ("--window=-1",), ("--window=origin",)]
)
def test_an_age_of_the_wrong_form_is_wrong_usage(repo: Work, argv: tuple[str, ...]) -> None:
    repo.commit(a__bin=lob("a"))
    assert argv[-1].removeprefix("--window=") in refused(repo, *argv, code=2)


def test_include_and_exclude_count_from_the_folder_one_is_in(repo: Work) -> None:
    repo.write("d/a.bin", lob("a"))
    repo.write("d/e/b.bin", lob("b"))
    repo.write("c.bin", lob("c"))
    repo.commit()
    repo.commit(readme="x")
    for selection in ("--committed", "--checkout"):

        def found(*args: str, cwd: str = "d", selection: str = selection) -> set[str]:
            return said(repo.listed(selection, *args, cwd=cwd))

        assert found() == {"a", "b", "c"}
        assert found("--include=a.bin") == found("--include=d/a.bin", cwd=".") == {"a"}
        assert found("--include=*.bin") == found("--include=.") == {"a", "b"}
        assert found("--include=../c.bin") == found("--include=:/c.bin") == found("--include=:(top)c.bin") == {"c"}
        for spec in ("a.bin", ":/d/a.bin", ":(icase)A.BIN"):
            assert found(f"--exclude={spec}") == {"b", "c"}
        assert found("--include=:/", "--exclude=e", "--exclude=../c.bin") == {"a"}
        assert found("--include=:(glob)*.bin") == {"a"}
        assert found("--include=nothing") == set()
        assert repo.listed(selection, "--include=e", cwd="d") == {sha_of(b"b"): b"d/e/b.bin"}


def test_a_tree_that_stands_at_two_paths_is_excluded_at_one(repo: Work) -> None:
    """What rev-list --objects gets wrong: it visits the tree once."""
    for folder in ("one", "two/deep"):
        repo.write(f"{folder}/a.bin", lob("a"))
    repo.commit(date=ago(9))
    repo.git("rm", "-q", "-r", "two")
    repo.commit(date=ago(8))
    repo.git("mv", "one", "three")
    repo.commit(date=ago(7))
    for selection in ("--committed", "--window=all"):
        for path in (b"one/a.bin", b"two/deep/a.bin", b"three/a.bin"):
            excluded = {"one", "two", "three"} - {os.fsdecode(path).partition("/")[0]}
            assert repo.listed(selection, *(f"--exclude={each}" for each in excluded)) == {sha_of(b"a"): path}
            assert repo.listed(selection, f"--include={os.fsdecode(path)}") == {sha_of(b"a"): path}
        assert repo.listed(selection, *(f"--exclude={each}" for each in ("one", "two", "three"))) == {}


def test_the_configured_filters_are_for_the_window_and_count_from_the_top(repo: Work) -> None:
    for path in ("d/a.bin", "d/e/b.bin", "c.bin", "x/d/f.bin"):
        repo.write(path, lob(path))
    repo.commit()
    repo.git("config", "git-lob.fetch-include", "d, c.bin")
    for cwd in (".", "d", "x/d"):
        assert window(repo, "0", cwd=cwd) == {"d/a.bin", "d/e/b.bin", "c.bin"}
    repo.git("config", "git-lob.fetch-exclude", "d/e,*/f.bin")
    assert said(repo.listed("--window", cwd="d/e")) == {"d/a.bin", "c.bin"}
    assert window(repo, "0", "--include=x") == {"x/d/f.bin"}  # the command line's stand in their place
    everything = {"d/a.bin", "d/e/b.bin", "c.bin", "x/d/f.bin"}
    assert committed(repo) == checkout(repo) == everything
    repo.git("config", "--unset", "git-lob.fetch-include")
    assert window(repo, "0", cwd="x") == {"d/a.bin", "c.bin"}


@pytest.mark.parametrize("spec", ["", "../outside", ":(nonsense)x", ":(top"])
@pytest.mark.parametrize("selection", ["--window=0", "--checkout"])
def test_a_pathspec_that_is_none_is_wrong_usage(repo: Work, selection: str, spec: str) -> None:
    repo.commit(a__bin=lob("a"))
    refused(repo, selection, f"--include={spec}", code=2)


def test_sizes_are_those_of_whole_binaries_here(repo: Work) -> None:
    repo.commit(a__bin=lob("a"), b__bin=lob("not here"))
    put(repo.content, b"a")
    assert repo.sync("--list", "--committed").stdout == f"{sha_of(b'a')} 1 a.bin\n{sha_of(b'not here')} - b.bin\n"


# Damaged repositories: never a part of the answer as if it were the whole


def lose(repo: Work, revision: str, content: bytes | None = None) -> None:
    """Take an object away, or put something else into its file."""
    name = repo.git("rev-parse", revision).decode().strip()
    at = repo.path / ".git/objects" / name[:2] / name[2:]
    at.unlink()
    if content is not None:
        at.write_bytes(content)


@pytest.fixture
def rich(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """Four commits and a side branch, the third a merge; the last has not what they brought."""
    pattern = tmp_path_factory.getbasetemp() / "rich"
    if not pattern.exists():
        repo = make(pattern)
        repo.write("deep/er/d.bin", lob("deep"))
        repo.commit(date=ago(9), a__bin=lob("a"), readme="text")
        repo.git("checkout", "-q", "-b", "side")
        repo.commit(date=ago(8), s__bin=lob("side"), readme="other text")
        repo.git("checkout", "-q", "main")
        repo.commit(date=ago(8), b__bin=lob("b"))
        repo.git("merge", "-q", "--no-commit", "-s", "ours", "side")
        repo.commit(date=ago(7), m__bin=lob("merge"))
        repo.git("rm", "-q", "m.bin", "b.bin")
        repo.commit(date=ago(6), c__bin=lob("c"))
        repo.git("tag", "-a", "-m", "x", "annotated", "side")
        repo.git("branch", "-q", "-D", "side")
    shutil.copytree(pattern, tmp_path / "repo", symlinks=True)
    return Work(tmp_path / "repo")


def test_before_anything_is_lost(rich: Work) -> None:
    assert committed(rich) == window(rich, "all") == {"deep", "a", "side", "b", "merge", "c"}


LOST = [
    "HEAD", "HEAD~1", "HEAD~2", "HEAD~3", "annotated^{}", "annotated",
    "HEAD^{tree}", "HEAD~1^{tree}", "HEAD~3^{tree}", "annotated^{tree}", "HEAD~1:deep",
    "HEAD~1:m.bin", "HEAD~3:a.bin", "annotated:readme",
]  # fmt: skip


@pytest.mark.parametrize("lost", LOST)
def test_a_lost_object_is_a_failure(rich: Work, lost: str) -> None:
    lose(rich, lost)
    refused(rich, "--committed", code=1)
    refused(rich, "--window=all", code=1)


@pytest.mark.parametrize("lost", ["HEAD", "HEAD^{tree}", "HEAD:deep", "HEAD:c.bin"])
def test_a_lost_object_of_the_only_state_that_counts_is_a_failure(rich: Work, lost: str) -> None:
    lose(rich, lost)
    refused(rich, "--window=0", code=1)


@pytest.mark.parametrize("spoilt", ["HEAD~1", "HEAD~1^{tree}", "HEAD~1:m.bin"])
@pytest.mark.parametrize("content", [b"", b"\0" * 60])
def test_a_spoilt_object_is_a_failure(rich: Work, spoilt: str, content: bytes) -> None:
    lose(rich, spoilt, content)
    refused(rich, "--committed", code=1)
    refused(rich, "--window=all", code=1)


@pytest.mark.parametrize("lost", ["HEAD~1", "HEAD~2", "HEAD~3", "HEAD~1^2"])
def test_a_commit_that_only_the_commit_graph_still_knows(rich: Work, lost: str) -> None:
    """Whatever the answer, it is all or a failure: a commit-graph lets git walk over commits that are gone."""
    rich.git("tag", "-d", "annotated")
    rich.git("commit-graph", "write", "--reachable")
    lose(rich, lost)
    for selection in ("--committed", "--window=all"):
        done = rich.sync("--list", selection, code=None)
        words = said(line.split()[0] for line in done.stdout.splitlines())
        assert (done.returncode, words) in ((1, set()), (0, {"deep", "a", "side", "b", "merge", "c"})), selection


@pytest.mark.parametrize("lost", [":a.bin", ":deep/er/d.bin", ":readme"])
def test_a_lost_blob_of_the_index_is_a_failure(rich: Work, lost: str) -> None:
    lose(rich, lost)
    refused(rich, "--checkout", code=1)


@pytest.mark.parametrize("selection", ["--committed", "--window=0"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_branch_that_leads_nowhere_is_a_failure(rich: Work, selection: str, packed: bool) -> None:
    rich.git("branch", "nowhere")
    if packed:
        rich.git("pack-refs", "--all")
        at = rich.path / ".git/packed-refs"
        at.write_text(re.sub(r"\w+ refs/heads/nowhere", f"{'1' * 40} refs/heads/nowhere", at.read_text()))
    else:
        (rich.path / ".git/refs/heads/nowhere").write_text(f"{'1' * 40}\n")
    refused(rich, selection, code=1)


@pytest.mark.parametrize("selection", ["--committed", "--window=0"])
def test_a_worktree_whose_head_is_lost_is_a_failure(rich: Work, tmp_path: Path, selection: str) -> None:
    rich.git("worktree", "add", "-q", "--detach", str(tmp_path / "side"))
    Work(tmp_path / "side").commit(w__bin=lob("in the linked one"))
    lose(rich, Work(tmp_path / "side").git("rev-parse", "HEAD").decode().strip())
    refused(rich, selection, code=1)


def test_a_lost_stash_is_a_failure(rich: Work) -> None:
    for word in ("older stash", "newer stash"):
        rich.write("a.bin", lob(word))
        rich.git("stash", "-q")
    lose(rich, "stash@{1}")
    refused(rich, "--committed", code=1)


def test_a_known_commit_that_is_lost_is_a_failure(rich: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """record.py does not let it come to this."""
    monkeypatch.chdir(rich.path)
    with pytest.raises(ToolError, match="rev-list"):
        references.needed_by(Repo.discover(), Committed(known=("1" * 40,)))
