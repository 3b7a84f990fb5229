"""The fix-up: placeholder files become content, and nothing that the user changed is touched."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from gitlob_rsync.git.repo import Repo
from gitlob_rsync.worktree.index_stat import note
from tests.support.handmade import CHUNK, drop, files_of, placeholder, put
from tests.support.work import Work, clone, init


@pytest.fixture
def waiting(work: Work, store: Path, tmp_path: Path) -> Work:
    """A clone with placeholders a.bin, b.bin and deep/er/c.bin, whose binaries wait at the remote."""
    work.write("deep/er/c.bin", b"third")
    work.commit(a__bin=b"first", b__bin=b"second", text="text\n")
    work.sync("--push")
    return clone(work, tmp_path / "clone", location=store)


def clean(work: Work) -> bool:
    """Whether git sees no change at all, and nothing staged; git looks at every file anew."""
    return work.git("status", "--porcelain") == b"" and work.git("diff", "--cached", "--name-only") == b""


@pytest.mark.smoke
def test_a_checkout_is_filled_in_and_git_sees_no_change(waiting: Work) -> None:
    assert waiting.read("a.bin") == placeholder(b"first")
    result = waiting.json("--checkout")
    assert (result["expanded"], result["left_alone"], result["missing"]) == (3, 0, [])
    assert [waiting.read(p) for p in ("a.bin", "b.bin", "deep/er/c.bin")] == [b"first", b"second", b"third"]
    assert clean(waiting)
    assert waiting.json("--checkout")["expanded"] == 0


def test_filled_files_are_not_hashed_again_by_git(waiting: Work, tmp_path: Path) -> None:
    """What the index notes of a filled file is right, so that git does not start the filter to look into it."""
    waiting.sync("--checkout")
    calls = tmp_path / "calls"
    for path in ("a.bin", "b.bin", "deep/er/c.bin"):  # out of the second in which git distrusts its notes
        os.utime(waiting.path / path, (1_600_000_000, 1_600_000_000))
    entries = {p: (waiting.git("rev-parse", f":{p}").decode().strip(), os.lstat(waiting.path / p)) for p in ("a.bin",)}
    assert entries
    waiting.git("config", "--unset", "filter.lob.process")
    waiting.git("config", "filter.lob.clean", f"echo x >>{calls}; gitlob-filter clean -- %f")
    waiting.git("update-index", "-q", "--refresh")
    first = len(calls.read_text().split())
    assert first == 3  # their times changed: git looks once
    waiting.git("update-index", "-q", "--refresh")
    assert len(calls.read_text().split()) == first


def test_pull_fills_in_unless_told_not_to(waiting: Work) -> None:
    assert waiting.json("--pull", "--no-expand")["expanded"] == 0
    assert waiting.read("a.bin") == placeholder(b"first")
    assert waiting.json("--pull")["expanded"] == 3
    assert waiting.read("a.bin") == b"first"


def test_what_the_user_changed_is_left_alone(waiting: Work) -> None:
    waiting.write("a.bin", b"mine")
    (waiting.path / "b.bin").unlink()
    (waiting.path / "b.bin").mkdir()
    result = waiting.json("--checkout")
    assert (result["expanded"], result["left_alone"]) == (1, 2)
    assert waiting.read("a.bin") == b"mine"
    assert (waiting.path / "b.bin").is_dir()
    assert b" M a.bin" in waiting.git("status", "--porcelain")


def test_a_placeholder_of_another_binary_is_a_change_too(waiting: Work) -> None:
    waiting.write("a.bin", placeholder(b"second"))
    assert waiting.json("--checkout")["left_alone"] == 1
    assert waiting.read("a.bin") == placeholder(b"second")


def test_a_touched_placeholder_is_still_one(waiting: Work) -> None:
    waiting.write("a.bin", placeholder(b"first"))
    os.utime(waiting.path / "a.bin", (1, 1))
    assert waiting.json("--checkout")["expanded"] == 3
    assert clean(waiting)


def test_a_deleted_file_stays_deleted_unless_it_is_wanted(waiting: Work) -> None:
    (waiting.path / "a.bin").unlink()
    shutil.rmtree(waiting.path / "deep")
    result = waiting.json("--checkout")
    assert (result["expanded"], result["left_alone"]) == (1, 0)
    assert not (waiting.path / "a.bin").exists() and not (waiting.path / "deep").exists()
    assert waiting.json("--checkout", "--restore-missing")["expanded"] == 2
    assert waiting.read("deep/er/c.bin") == b"third"
    assert clean(waiting)


def test_conflicts_are_left_alone(work: Work, tmp_path: Path) -> None:
    work.commit(a__bin=b"base")
    work.git("checkout", "-q", "-b", "side")
    work.commit(a__bin=b"side")
    work.git("checkout", "-q", "main")
    work.commit(a__bin=b"main")
    work.git("merge", "side", code=1)
    before = work.read("a.bin")
    assert work.json("--checkout", "--offline")["left_alone"] == 1
    assert work.read("a.bin") == before


def test_links_in_the_place_of_files_and_folders_are_not_followed(waiting: Work, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "er").mkdir()
    (outside / "er" / "c.bin").write_bytes(placeholder(b"third"))
    shutil.rmtree(waiting.path / "deep")
    (waiting.path / "deep").symlink_to(outside)
    target = tmp_path / "target"
    target.write_bytes(placeholder(b"first"))
    (waiting.path / "a.bin").unlink()
    (waiting.path / "a.bin").symlink_to(target)
    result = waiting.json("--checkout", "--restore-missing")
    assert (result["expanded"], result["left_alone"]) == (1, 2)
    assert (outside / "er" / "c.bin").read_bytes() == placeholder(b"third")
    assert target.read_bytes() == placeholder(b"first")
    assert (waiting.path / "a.bin").is_symlink()


def test_another_hard_link_to_the_placeholder_stays_one(waiting: Work, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    os.link(waiting.path / "a.bin", twin)
    waiting.sync("--checkout")
    assert twin.read_bytes() == placeholder(b"first")
    assert waiting.read("a.bin") == b"first"


def test_the_mode_comes_from_the_index(work: Work, store: Path, tmp_path: Path) -> None:
    work.write("run.bin", b"program")
    work.write("plain.bin", b"plain")
    os.chmod(work.path / "run.bin", 0o755)
    work.commit()
    work.sync("--push")
    other = clone(work, tmp_path / "clone", location=store)
    mask = os.umask(0o027)
    try:
        other.sync("--checkout")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((other.path / "run.bin").stat().st_mode) == 0o750
    assert stat.S_IMODE((other.path / "plain.bin").stat().st_mode) == 0o640
    assert clean(other)


def test_paths_that_are_hard_to_hold(work: Work, store: Path, tmp_path: Path) -> None:
    paths = [
        b"-n.bin",
        b" lead.bin",
        b"new\nline.bin",
        b'quo"te.bin',
        b"not\xffutf8.bin",
        b"sp ace/t\tab.bin",
        b":(top)x.bin",
    ]
    for number, path in enumerate(paths):
        work.write(path, b"content %d" % number)
    work.commit()
    work.sync("--push")
    other = clone(work, tmp_path / "clone", location=store)
    assert other.json("--checkout")["expanded"] == len(paths)
    assert [other.read(path) for path in paths] == [b"content %d" % number for number in range(len(paths))]
    assert clean(other)


@pytest.mark.parametrize(
    "setting",
    [("index.version", "4"), ("core.splitIndex", "true"), ("core.untrackedCache", "true"), ("index.skipHash", "true"),
     ("core.trustctime", "false"), ("core.checkStat", "minimal"), ("index.threads", "2"), ("feature.manyFiles", "true")],
)  # fmt: skip
def test_every_kind_of_index(waiting: Work, setting: tuple[str, str]) -> None:
    waiting.git("config", *setting)
    if setting[0] in ("index.version", "feature.manyFiles"):
        waiting.git("update-index", "--index-version", "4")
    waiting.git("update-index", "--force-write-index")
    if setting[0] == "core.splitIndex":
        waiting.git("update-index", "--split-index")
        waiting.write("new.txt", "x")
        waiting.git("add", "new.txt")
        waiting.git("commit", "-qm", "new")
    assert waiting.json("--checkout")["expanded"] == 3
    assert clean(waiting)
    waiting.git("fsck", "--strict")
    waiting.write("a.bin", b"changed")
    assert waiting.git("status", "--porcelain") == b" M a.bin\n"
    waiting.git("add", "a.bin")
    assert waiting.git("show", ":a.bin") == placeholder(b"changed")


@pytest.mark.parametrize("split", [False, True])
def test_a_fill_in_keeps_what_the_user_marked_in_the_index(waiting: Work, split: bool) -> None:
    """git-update-index(1): assume-unchanged, skip-worktree, and what is to be added."""
    waiting.write("new.bin", b"new")
    waiting.git("add", "-N", "new.bin")
    waiting.git("update-index", "--split-index" if split else "--no-split-index")
    waiting.git("update-index", "--assume-unchanged", "a.bin", "text")
    waiting.git("update-index", "--skip-worktree", "deep/er/c.bin")
    marks = waiting.git("ls-files", "-v", "--stage")
    assert b"h 100644" in marks and b"S 100644" in marks and b"H 100644" in marks
    waiting.sync("--checkout")
    assert (waiting.read("a.bin"), waiting.read("b.bin")) == (b"first", b"second")
    assert waiting.git("ls-files", "-v", "--stage") == marks
    assert waiting.git("status", "--porcelain") == b" A new.bin\n"
    waiting.git("update-index", "--no-assume-unchanged", "a.bin", "text")
    assert waiting.git("status", "--porcelain") == b" A new.bin\n"


def test_an_index_with_a_wrong_hash_is_left_to_git(waiting: Work) -> None:
    """A new hash would hide that something in it was damaged."""
    index = waiting.path / ".git" / "index"
    content = bytearray(index.read_bytes())
    content[-1] ^= 1
    index.write_bytes(content)
    repo = _repo(waiting)
    entry = waiting.git("rev-parse", ":a.bin").decode().strip()
    assert not note(repo, {b"a.bin": (entry, None)})
    assert index.read_bytes() == content and not index.with_name("index.lock").exists()
    assert waiting.json("--checkout")["expanded"] == 3
    assert clean(waiting)


def _repo(work: Work) -> Repo:
    os.chdir(work.path)
    return Repo.discover()


def test_an_index_with_extended_flags(waiting: Work) -> None:
    """Intent to add makes it version 3."""
    waiting.write("later.txt", "x")
    waiting.git("add", "-N", "later.txt")
    assert waiting.json("--checkout")["expanded"] == 3
    assert waiting.git("status", "--porcelain") == b" A later.txt\n"


def test_a_sha256_repository(store: Path, tmp_path: Path) -> None:
    work = init(tmp_path / "sha256", "--object-format=sha256", location=store)
    work.commit(a__bin=b"first", b__bin=b"second")
    work.sync("--push")
    other = clone(work, tmp_path / "clone", location=store)
    assert other.json("--checkout")["expanded"] == 2
    assert clean(other)


def test_a_sparse_checkout_gets_only_its_own(waiting: Work, store: Path) -> None:
    waiting.git("sparse-checkout", "set", "--no-cone", "/a.bin", "/.gitattributes")
    result = waiting.json("--checkout")
    assert (result["selected"], result["expanded"]) == (1, 1)
    assert not (waiting.path / "b.bin").exists()
    assert clean(waiting)


def test_a_linked_worktree_is_filled_in_by_itself(waiting: Work, tmp_path: Path) -> None:
    waiting.sync("--pull", "--no-expand")
    waiting.git("config", "--unset", "filter.lob.process")
    waiting.git("config", "filter.lob.smudge", "cat")
    waiting.git("worktree", "add", "-q", str(tmp_path / "linked"), "-b", "other")
    waiting.run("gitlob-setup", "-q", "--force")
    linked = Work(tmp_path / "linked")
    assert linked.read("a.bin") == placeholder(b"first")
    assert linked.json("--checkout", "--offline")["expanded"] == 3
    assert clean(linked)
    assert waiting.read("a.bin") == placeholder(b"first")


def test_a_submodule(waiting: Work, tmp_path: Path) -> None:
    above = init(tmp_path / "above", attributes="")
    above.git("submodule", "--quiet", "add", str(waiting.path), "sub")
    sub = Work(above.path / "sub")
    sub.run("gitlob-setup", "-q", "origin", str(tmp_path / "remote" / "store"))
    assert sub.json("--checkout")["expanded"] == 3
    assert clean(sub)


def test_from_a_subfolder_everything_is_filled_in(waiting: Work) -> None:
    waiting.sync("--checkout", cwd="deep")
    assert waiting.read("a.bin") == b"first"


def test_pathspecs_limit_what_is_brought_and_filled_in(waiting: Work) -> None:
    result = waiting.json("--checkout", "--include", "deep")
    assert (result["selected"], result["expanded"]) == (1, 1)
    assert waiting.read("a.bin") == placeholder(b"first")
    waiting.sync("--checkout", "--exclude", "b.bin")
    assert waiting.read("a.bin") == b"first" and waiting.read("b.bin") == placeholder(b"second")


def test_paths_without_the_filter_stay(work: Work, store: Path, tmp_path: Path) -> None:
    """A placeholder where no filter is configured for its path: git would call content a change."""
    work.commit(a__bin=b"first")
    work.write("b.dat", placeholder(b"first"))
    work.commit()
    work.sync("--push")
    other = clone(work, tmp_path / "clone", location=store)
    result = other.json("--checkout")
    assert (result["expanded"], result["left_alone"]) == (1, 1)
    assert other.read("b.dat") == placeholder(b"first")
    assert clean(other)


def test_without_a_configured_filter_nothing_is_filled_in(waiting: Work) -> None:
    waiting.git("config", "--remove-section", "filter.lob")
    done = waiting.sync("--checkout", code=2)
    assert done.stderr.count("\n") == 1 and "gitlob-setup" in done.stderr
    assert waiting.read("a.bin") == placeholder(b"first")
    waiting.run("gitlob-setup", "-q")
    assert waiting.json("--checkout", "--offline")["expanded"] == 3


def test_a_locked_index_leaves_every_file_as_it_is(waiting: Work) -> None:
    lock = waiting.path / ".git" / "index.lock"
    lock.touch()
    done = waiting.sync("--checkout", code=1)
    assert str(lock) in done.stderr
    assert waiting.read("a.bin") == placeholder(b"first")
    lock.unlink()
    assert waiting.json("--checkout", "--offline")["expanded"] == 3


def test_a_binary_that_is_damaged_here_never_reaches_the_working_tree(waiting: Work, store: Path) -> None:
    waiting.sync("--pull", "--no-expand")
    chunk = next(name for name in files_of(b"first") if name.endswith("_0"))
    (waiting.content / chunk).write_bytes(b"FIRST")
    result = waiting.json("--checkout", "--offline", code=3)
    assert [found["paths"] for found in result["damaged"]] == [["a.bin"]]
    assert result["expanded"] == 2
    assert waiting.read("a.bin") == placeholder(b"first")
    assert not list(waiting.path.glob(".gitlob*")) and not waiting.staging
    assert waiting.json("--pull", "--refetch")["expanded"] == 1
    assert clean(waiting)


def test_what_is_not_to_be_had_is_listed_and_the_rest_arrives(waiting: Work, store: Path) -> None:
    drop(store, b"second")
    result = waiting.json("--checkout", code=3)
    assert [found["paths"] for found in result["missing"]] == [["b.bin"]]
    assert result["expanded"] == 2
    assert waiting.read("b.bin") == placeholder(b"second")


def test_offline_fills_in_what_is_here_and_lists_the_rest(waiting: Work, store: Path) -> None:
    put(waiting.content, b"first")
    result = waiting.json("--checkout", "--offline", code=3)
    assert result["expanded"] == 1
    assert sorted(found["paths"] for found in result["missing"]) == [["b.bin"], ["deep/er/c.bin"]]


def test_a_dry_run_changes_nothing(waiting: Work) -> None:
    waiting.sync("--pull", "--no-expand")
    index = (waiting.path / ".git" / "index").read_bytes()
    assert waiting.json("--checkout", "-n")["expanded"] == 3
    assert waiting.read("a.bin") == placeholder(b"first")
    assert (waiting.path / ".git" / "index").read_bytes() == index


def test_staged_changes_stay_staged_and_nothing_else_is(waiting: Work) -> None:
    waiting.write("a.bin", b"staged")
    waiting.git("add", "a.bin")
    assert waiting.json("--checkout")["expanded"] == 2
    assert waiting.git("status", "--porcelain") == b"M  a.bin\n"
    assert waiting.read("a.bin") == b"staged"


def test_a_kill_between_files_leaves_a_tree_that_git_calls_clean(waiting: Work, tmp_path: Path) -> None:
    """The index forgets its notes before the first file changes."""
    waiting.sync("--pull", "--no-expand")
    script = (
        "import os, signal, gitlob_rsync.worktree.expand as w\n"
        "real = w._fill\n"
        "def fill(*args):\n    real(*args)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "w._fill = fill\n"
        "from gitlob_rsync.commands.sync import run\nrun(['--checkout', '--offline'])\n"
    )
    import sys

    killed = subprocess.run([sys.executable, "-c", script], cwd=waiting.path, check=False)
    assert killed.returncode == -9
    assert waiting.read("a.bin") == b"first" and waiting.read("b.bin") == placeholder(b"second")
    assert clean(waiting)
    assert waiting.json("--checkout", "--offline")["expanded"] == 2
    assert clean(waiting) and not waiting.staging


def test_an_empty_binary(work: Work, store: Path, tmp_path: Path) -> None:
    work.commit(a__bin=b"", b__bin=b"x")
    work.sync("--push")
    other = clone(work, tmp_path / "clone", location=store)
    assert other.json("--checkout")["expanded"] == 2
    assert other.read("a.bin") == b""
    assert other.json("--checkout")["left_alone"] == 0
    assert clean(other)


def test_a_binary_of_several_chunks(work: Work, store: Path, tmp_path: Path) -> None:
    content = os.urandom(CHUNK) + b"more"
    work.commit(a__bin=content)
    work.sync("--push")
    other = clone(work, tmp_path / "clone", location=store)
    other.sync("--checkout")
    assert other.read("a.bin") == content


def test_upper_case_digits_in_history_are_filled_in_too(work: Work, tmp_path: Path) -> None:
    put(work.content, b"first")
    upper = b"git-lob: " + placeholder(b"first")[9:].upper()
    blob = work.git("hash-object", "-w", "--stdin", input=upper).decode().strip()
    work.git("update-index", "--add", "--cacheinfo", f"100644,{blob},a.bin")
    work.git("config", "--unset", "filter.lob.process")
    work.git("config", "filter.lob.smudge", "cat")
    work.git("checkout-index", "-a")
    assert work.read("a.bin") == upper
    assert work.json("--checkout", "--offline")["expanded"] == 1
    assert work.read("a.bin") == b"first"


def test_a_bare_repository_has_no_checkout(work: Work, store: Path, tmp_path: Path) -> None:
    work.commit(a__bin=b"first")
    work.sync("--push")
    bare = clone(work, tmp_path / "bare.git", "--bare", location=store)
    assert "working tree" in bare.sync("--checkout", code=2).stderr
    assert bare.json("--pull")["transferred"] == 1
