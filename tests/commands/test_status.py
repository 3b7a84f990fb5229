"""gitlob-status: each figure against what was put there by hand, and what a person sees of it."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.handmade import drop, placeholder, put, sha_of
from tests.support.work import Work, init

DAY = 86400


def status(work: Work, *args: str, cwd: str = ".", code: int = 0, env: dict[str, str] | None = None) -> dict:
    return json.loads(work.run("gitlob-status", "--json", *args, cwd=cwd, code=code, env=env).stdout)


def shown(work: Work, *args: str, env: dict[str, str] | None = None) -> str:
    """The page as a pipe gets it."""
    done = work.run("gitlob-status", *args, env=env)
    assert done.stderr == ""
    return done.stdout


def on_terminal(work: Work, *args: str, columns: int = 80, **env: str) -> str:
    """The page as a terminal of so many columns gets it."""
    leader, follower = pty.openpty()
    own = {"TERM": "xterm", "COLUMNS": str(columns), "LINES": "24", **env}
    process = subprocess.Popen(
        ["gitlob-status", *args], cwd=work.path, env={**os.environ, **own}, stdin=subprocess.DEVNULL, stdout=follower
    )
    os.close(follower)
    said = b""
    while True:
        try:
            block = os.read(leader, 65536)
        except OSError:  # Linux's end of a terminal
            break
        if not block:
            break
        said += block
    os.close(leader)
    assert process.wait() == 0
    return said.decode().replace("\r\n", "\n")


def lines_of(page: str, start: str) -> list[list[str]]:
    """The words of the lines that begin so."""
    return [line.split() for line in page.splitlines() if line.strip().startswith(start)]


def lacking(work: Work, **files: bytes) -> None:
    """Commit binaries that the store has not any more, and make placeholders of their files."""
    work.commit(**files)  # type: ignore[arg-type]
    for content in set(files.values()):
        drop(work.content, content)
    for name, content in files.items():
        collapse(work, name, content)


def collapse(work: Work, name: str, content: bytes) -> None:
    work.write(name.replace("__", "."), placeholder(content))


# The working tree


def test_files_that_wait_are_counted_by_why(work: Work, store: Path) -> None:
    work.commit(
        here__bin=b"here", gone__bin=b"gone", filled__bin=b"filled", edited__bin=b"old", deleted__bin=b"deleted"
    )
    lacking(work, lost__bin=b"lost", twin__bin=b"lost")
    put(store, b"gone")
    drop(work.content, b"gone")
    work.sync("--pull", "--committed", "--no-expand", code=3)  # so that origin is known to have no "lost"
    drop(work.content, b"gone")
    collapse(work, "here__bin", b"here")
    collapse(work, "gone__bin", b"gone")
    work.write("edited.bin", placeholder(b"old") + b"\n")
    (work.path / "deleted.bin").unlink()
    work.git("add", "filled.bin")
    files = status(work)["working_tree"]
    assert files["to_fill_in"] == 1
    assert files["not_here"] == [{"sha": sha_of(b"gone"), "paths": ["gone.bin"]}]
    assert files["nowhere"] == [{"sha": sha_of(b"lost"), "paths": ["lost.bin", "twin.bin"]}]
    assert files["left_alone"] == [{"path": "edited.bin", "why": "changed"}]
    page = shown(work)
    for what, count in (("to fill in", "1"), ("not here", "1"), ("nowhere", "2"), ("left alone", "1")):
        assert lines_of(page, what)[0][len(what.split())] == count
    assert "edited.bin" not in page and sha_of(b"gone") not in page
    long = shown(work, "-v")
    assert "left alone: edited.bin (changed)" in long
    assert f"not here: {sha_of(b'gone')} gone.bin" in long and f"nowhere: {sha_of(b'lost')} twin.bin" in long


def test_an_empty_binary_is_named_where_it_makes_a_merge_fail(work: Work) -> None:
    """Since git 2.38; the manual says what to do."""
    work.commit(a__bin="", b__bin="b")
    assert work.run("gitlob-status", "-q").stderr == ""
    work.git("checkout", "-q", "-b", "topic")
    work.commit(t="")
    work.git("checkout", "-q", "main")
    work.commit(m="")
    found, page = status(work)["working_tree"]["empty"], shown(work, "-v")
    argv = ["git", "merge", "-q", "-m", "merged", "topic"]
    merge = subprocess.run(argv, cwd=work.path, capture_output=True, check=False)
    failed = b"stash failed" in merge.stderr
    assert bool(merge.returncode) == failed == ("stash failed" in page) == ("  empty: a.bin" in page.splitlines())
    assert found == (["a.bin"] if failed else [])
    work.git("reset", "-q", "--hard", "main")
    if failed:
        (work.path / "a.bin").unlink()
        work.git(*argv[1:])
        work.git("checkout", "--", "a.bin")
        assert (work.read("a.bin"), work.git("status", "--porcelain")) == (b"", b"")
        work.git("reset", "-q", "--hard", "HEAD~1")
    work.git("update-index", "--assume-unchanged", "a.bin")
    assert status(work)["working_tree"]["empty"] == []
    work.git(*argv[1:])


def test_what_is_nowhere_has_to_be_lacking_at_every_remote(work: Work, store: Path, tmp_path: Path) -> None:
    lacking(work, a__bin=b"a")
    store.mkdir(parents=True)
    assert status(work)["working_tree"]["nowhere"] == []
    work.sync("--pull", code=3)
    assert len(status(work)["working_tree"]["nowhere"]) == 1
    work.run("gitlob-setup", "-q", "second", str(tmp_path / "second"))
    assert status(work)["working_tree"]["nowhere"] == []
    (tmp_path / "second").mkdir()
    work.sync("--pull", "second", code=3)
    assert len(status(work)["working_tree"]["nowhere"]) == 1
    put(store, b"a")
    work.sync("--pull", "--no-expand", "origin")
    drop(work.content, b"a")
    assert status(work)["working_tree"]["nowhere"] == []


def test_a_narrower_pull_forgets_nothing(work: Work, store: Path) -> None:
    lacking(work, a__bin=b"a", b__bin=b"b")
    store.mkdir(parents=True)
    work.sync("--pull", code=3)
    put(store, b"b")
    work.sync("--pull", "--no-expand", "--include", "b.bin")
    assert [one["sha"] for one in status(work)["working_tree"]["nowhere"]] == [sha_of(b"a")]


def test_pathspecs_limit_the_working_tree_and_count_from_the_current_folder(work: Work) -> None:
    work.commit(**{"art/a__bin": b"1", "art/deep/b__bin": b"2", "c__bin": b"3"})  # type: ignore[arg-type]
    for name, content in (("art/a.bin", b"1"), ("art/deep/b.bin", b"2"), ("c.bin", b"3")):
        collapse(work, name, content)
    assert status(work)["working_tree"]["to_fill_in"] == 3
    assert status(work, cwd="art/deep")["working_tree"]["to_fill_in"] == 3
    assert status(work, "art")["working_tree"]["to_fill_in"] == 2
    assert status(work, "deep", "../c.bin", cwd="art")["working_tree"]["to_fill_in"] == 2
    assert status(work, ":(exclude)art")["working_tree"]["to_fill_in"] == 1
    assert status(work, "--", "-none")["working_tree"]["to_fill_in"] == 0
    assert status(work, "art")["store"]["binaries"] == 3
    done = work.run("gitlob-status", ":(nonsense)a", code=2)
    assert "pathspec" in done.stderr and done.stderr.count("\n") == 1 and done.stdout == ""
    assert work.run("gitlob-status", "/", code=2).stderr.count("\n") == 1


# What would move


def agree(work: Work, found: dict) -> None:
    """The same as gitlob-sync's own dry runs."""
    keys = ("selected", "present", "transferred", "bytes")
    for direction in ("push", "pull"):
        said = work.json(f"--{direction}", "-n")
        assert found[direction] == {key: said[key] for key in keys}, direction


def history(work: Work) -> None:
    for number in range(6):
        work.commit(date=int(time.time()) - (40 - number * 7) * DAY, a__bin=b"%d" % number, text=f"{number}")
    work.git("branch", "old", "HEAD~5")
    drop(work.content, b"4")  # the last one is in the working tree, so that git may store it again
    drop(work.content, b"2")


def test_what_would_move_is_what_dry_runs_say(work: Work, store: Path) -> None:
    history(work)
    found = status(work)
    assert found["remote"] == "origin"
    assert found["push"] == {"selected": 6, "present": 4, "transferred": 4, "bytes": 4}
    assert found["pull"]["transferred"] == 1 and found["pull"]["bytes"] is None
    agree(work, found)
    page = shown(work)
    assert "--pull --window  1 of" in page and " ?" in page
    assert "--push           at most 4 of 6 binaries" in page
    put(work.content, b"4")
    put(work.content, b"2")
    found = status(work)
    assert found["pull"]["transferred"] == 0 and found["pull"]["bytes"] == 0
    agree(work, found)
    work.sync("--push")
    agree(work, found := status(work))
    assert found["push"]["selected"] == 0
    work.commit(b__bin=b"new one")
    agree(work, found := status(work))
    assert found["push"] == {"selected": 1, "present": 1, "transferred": 1, "bytes": 7}


def test_the_configured_window_counts(work: Work) -> None:
    history(work)
    work.git("config", "git-lob.fetch-commits-head", "100")
    work.git("config", "git-lob.fetch-refs", "100")
    found = status(work)
    assert found["pull"]["selected"] == 6 and found["pull"]["transferred"] == 2
    work.git("config", "git-lob.fetch-exclude", "*.bin")
    agree(work, found := status(work))
    assert found["pull"]["selected"] == 0


def test_what_history_needs_is_remembered_and_stays_right(work: Work) -> None:
    history(work)
    kept = work.content.parent / "state" / "placeholders.json"
    agree(work, status(work))
    before = kept.read_bytes()
    agree(work, status(work))
    assert kept.read_bytes() == before
    work.commit(b__bin=b"another")
    work.git("stash", "-q", code=0)
    agree(work, status(work))
    assert kept.read_bytes() != before
    work.git("reset", "-q", "--hard", "HEAD~3")  # what was counted can no longer be reached
    found = status(work)
    assert found["push"]["selected"] == 4
    agree(work, found)
    work.git("branch", "-D", "old")
    work.git("checkout", "-q", "--orphan", "new")
    work.commit(c__bin=b"orphan")
    agree(work, status(work))
    work.git("replace", "HEAD", "main")
    agree(work, status(work))


HOSTILE_MEMORIES = (
    b"",
    b"[]",
    b"{",
    b"[" * 100_000,
    b'{"tips": ["--all"], "placeholders": ""}',
    b"\xff",
    b'{"tips": 3, "placeholders": []}',
    b'{"tips": ["HEAD"], "placeholders": "x"}',
)


def test_a_hostile_memory_is_ignored(work: Work) -> None:
    history(work)
    found = status(work)
    state = work.content.parent / "state"
    for content in HOSTILE_MEMORIES:
        (state / "placeholders.json").write_bytes(content)
        for name in ("synced", "pushed"):
            (state / name).mkdir(exist_ok=True)
            (state / name / "x.json").write_bytes(content)
        assert status(work) == found, content[:50]


def test_a_memory_that_is_no_file_holds_nothing_up(work: Work) -> None:
    history(work)
    found = status(work)
    at = work.content.parent / "state" / "placeholders.json"
    at.unlink()
    os.mkfifo(at)
    assert status(work) == found
    at.unlink()
    at.mkdir()
    assert status(work) == found


def test_nobody_is_called(work: Work, tmp_path: Path) -> None:
    called = tmp_path / "called"
    shim = tmp_path / "shim"
    shim.mkdir()
    for name in ("ssh", "rsync"):
        (shim / name).write_text(f"#!/bin/sh\necho {name} >>{called}\nexit 255\n")
        (shim / name).chmod(0o755)
    history(work)
    env = {"PATH": f"{shim}:{os.environ['PATH']}", "GIT_SSH_COMMAND": str(shim / "ssh")}
    for location in ("nas.invalid:/srv", "rsync://127.0.0.1:1/x/y", str(tmp_path / "nowhere")):
        work.git("config", "remote.origin.git-lob-path", location)
        assert status(work, env=env)["push"]["transferred"] == 4
        shown(work, env=env)
    assert not called.exists()


def test_a_partial_clone_fetches_nothing(work: Work, tmp_path: Path) -> None:
    work.commit(a__bin=b"a", text="text\n" * 100)
    work.git("config", "uploadpack.allowFilter", "true")
    work.git("clone", "-q", "--no-checkout", "--filter=blob:none", f"file://{work.path}", str(tmp_path / "partial"))
    partial = Work(tmp_path / "partial")
    shim = tmp_path / "pack"
    shim.write_text(f'#!/bin/sh\necho called >>{tmp_path}/called\nexec git upload-pack "$@"\n')
    shim.chmod(0o755)
    partial.git("config", "remote.origin.uploadpack", str(shim))
    partial.git("config", "remote.origin.git-lob-path", "nas.invalid:/srv")
    found = status(partial)
    assert found["errors"] == {} and found["push"]["selected"] == 0
    assert not (tmp_path / "called").exists()


# The stores


def test_a_store_is_counted_by_age(work: Work) -> None:
    ages = {b"now": 0, b"3 days ": 3, b"two weeks": 14, b"half a year": 180, b"long ago!": 800}
    now = time.time()
    for content, days in ages.items():
        sha = put(work.content, content)
        at = work.content / sha[:3] / sha[3:6] / f"{sha}_meta"
        os.utime(at, (now - days * DAY,) * 2)
    put(work.content, b"")
    store = status(work)["store"]
    assert store["path"] == str(work.content)
    assert (store["binaries"], store["bytes"], store["torn"]) == (6, sum(map(len, ages)), 0)
    assert [(age["days"], age["binaries"]) for age in store["ages"]] == [(1, 2), (7, 1), (30, 1), (365, 1), (None, 1)]
    assert [age["bytes"] for age in store["ages"]] == list(map(len, ages))
    page = shown(work)
    assert lines_of(page, "last 7 days")[0][3:] == ["1", "7", "B"] and lines_of(page, "older")[0][1:] == ["1", "9", "B"]
    assert "store: 6 binaries, 39 B, in " in page


def test_only_whole_binaries_count(work: Work) -> None:
    for content in (b"whole", b"no meta", b"no chunk", b"short chunk", b"torn meta", b"spaced", b"lie", b"extra"):
        put(work.content, content)

    def at(content: bytes, part: str) -> Path:
        sha = sha_of(content)
        return work.content / sha[:3] / sha[3:6] / f"{sha}_{part}"

    at(b"no meta", "meta").unlink()
    at(b"no chunk", "0").unlink()
    at(b"short chunk", "0").write_bytes(b"sho")
    at(b"torn meta", "meta").write_bytes(at(b"torn meta", "meta").read_bytes()[:30])
    at(b"spaced", "meta").write_text(f'{{ "SHA": "{sha_of(b"spaced")}", "NumChunks": 1, "Size": 6 }}')
    at(b"lie", "0").unlink()
    at(b"lie", "0").symlink_to("/etc/passwd")
    at(b"extra", "7").write_bytes(b"litter")
    (work.content / "notes").write_text("x")
    (work.content / "abc").mkdir(exist_ok=True)
    (work.content / "abc" / "file").write_text("x")
    store = status(work)["store"]
    assert (store["binaries"], store["torn"], store["bytes"]) == (3, 5, len(b"wholespacedextra"))
    assert "; 5 incomplete" in shown(work)


def test_large_binaries_are_the_sum_of_their_chunks(work: Work) -> None:
    sha = sha_of(b"x")
    folder = work.content / sha[:3] / sha[3:6]
    folder.mkdir(parents=True)
    size = 33_554_432 + 5
    for number, length in enumerate((33_554_432, 5)):
        with (folder / f"{sha}_{number}").open("wb") as file:
            file.truncate(length)
    (folder / f"{sha}_meta").write_text(f'{{"SHA":"{sha}","Size":{size},"NumChunks":2}}')
    assert status(work)["store"]["bytes"] == size
    assert "32.0 MiB" in shown(work)


def test_branches_and_what_none_needs(work: Work) -> None:
    work.commit(date=1_000_000_000, a__bin=b"shared", b__bin=b"old")
    work.git("branch", "old branch"[:3])
    work.commit(date=1_100_000_000, b__bin=b"newer", c__bin=b"shared")
    work.git("checkout", "-q", "-b", "topic/ü")
    (work.path / "a.bin").unlink()
    (work.path / "c.bin").unlink()
    work.commit(date=1_200_000_000, d__bin=b"topic's", text="x")
    work.git("branch", "same")
    put(work.content, b"no branch has it")
    settle(work)
    drop(work.content, b"newer")
    found = status(work)
    shared, old, topic = len(b"shared"), len(b"old"), len(b"topic's")
    branches = {one["name"]: (one["needed"], one["here"], one["bytes"]) for one in found["branches"]}
    assert branches == {
        "topic/ü": (2, 1, topic), "same": (2, 1, topic), "main": (2, 1, shared), "old": (2, 2, shared + old)
    }  # fmt: skip
    assert {*list(branches)[:2]} == {"topic/ü", "same"} and list(branches)[2:] == ["main", "old"]
    assert found["others"] == {"binaries": 1, "bytes": len(b"no branch has it")}
    page = shown(work)
    assert lines_of(page, "main")[0] == ["main", "1", "of", "2", str(shared), "B"]
    assert lines_of(page, "(no branch)")[0][2:] == ["1", "16", "B"]


def test_ten_branches_are_shown_and_all_are_told(work: Work) -> None:
    work.commit(a__bin=b"a")
    for number in range(14):
        work.git("branch", f"b{number}")
    assert len(status(work)["branches"]) == 15
    page = shown(work)
    assert len(re.findall(r"^  \S+ +1 of 1 +1 B$", page, re.MULTILINE)) == 10 and "and 5 more branches" in page


def test_what_changes_its_kind_is_no_binary_of_the_branch(work: Work) -> None:
    work.commit(date=1_000_000_000, a__bin=b"a", b__bin=b"b")
    work.git("branch", "before")
    (work.path / "a.bin").unlink()
    (work.path / "a.bin").symlink_to("b.bin")
    (work.path / "b.bin").unlink()
    work.commit(date=1_000_000_001, **{"b.bin/text": b"x"})  # type: ignore[arg-type]
    branches = {one["name"]: one["needed"] for one in status(work)["branches"]}
    assert branches == {"main": 0, "before": 2}


def test_a_shared_store(work: Work, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    assert status(work)["shared_store"] is None
    work.git("config", "git-lob.sharedstore", str(shared))
    assert status(work)["shared_store"]["binaries"] == 0
    work.commit(a__bin=b"own")
    put(shared, b"another's")
    lacking(work, b__bin=b"theirs")
    put(shared, b"theirs")
    found = status(work)
    assert (found["store"]["binaries"], found["shared_store"]["path"]) == (1, str(shared))
    assert found["shared_store"]["bytes"] == len(b"ownanother'stheirs")
    assert found["push"]["present"] == 2  # what is there counts as here
    assert found["working_tree"]["to_fill_in"] == 1
    assert found["branches"][0]["here"] == 2
    agree(work, found)
    assert f"shared store: 3 binaries, 18 B, in {shared}" in shown(work)


# Where there is little to see


def test_a_repository_without_a_commit(work: Work) -> None:
    found = status(work)
    assert found["push"] == {"selected": 0, "present": 0, "transferred": 0, "bytes": 0} == found["pull"]
    assert found["branches"] == [] and found["store"]["binaries"] == 0 and found["syncs"] == []
    page = shown(work)
    assert "no placeholders" in page and "last syncs\n  none" in page


def test_no_remote(tmp_path: Path) -> None:
    work = init(tmp_path / "alone")
    work.commit(a__bin=b"a")
    found = status(work)
    assert (found["remote"], found["push"], found["pull"], found["remotes"]) == (None, None, None, [])
    assert found["branches"][0]["here"] == 1
    assert "no remote has a store" in shown(work)


def test_a_bare_repository(work: Work, tmp_path: Path, store: Path) -> None:
    work.commit(a__bin=b"a")
    work.git("clone", "-q", "--bare", str(work.path), str(tmp_path / "bare"))
    bare = Work(tmp_path / "bare")
    bare.git("config", "remote.origin.git-lob-path", str(store))
    found = status(bare)
    assert found["working_tree"] is None and found["pull"]["transferred"] == 1
    assert "working tree" not in shown(bare)


def test_a_linked_worktree_has_its_own_files_and_the_common_store(work: Work, tmp_path: Path) -> None:
    work.commit(a__bin=b"a")
    work.git("-c", "filter.lob.smudge=", "-c", "filter.lob.process=", "-c", "filter.lob.required=false",
             "worktree", "add", "-q", str(tmp_path / "linked"))  # fmt: skip
    linked = Work(tmp_path / "linked")
    found = status(linked)
    assert found["working_tree"]["to_fill_in"] == 1 and found["store"]["path"] == str(work.content)
    assert found["hooks"] == dict.fromkeys(HOOKS, False)
    assert status(work)["working_tree"]["to_fill_in"] == 0


def test_outside_a_repository(tmp_path: Path) -> None:
    done = Work(tmp_path).run("gitlob-status", code=2)
    assert done.stdout == "" and done.stderr.count("\n") == 1


def test_a_part_that_cannot_be_told_leaves_the_rest(work: Work) -> None:
    work.commit(a__bin=b"a")
    blob = work.git("rev-parse", "HEAD:a.bin").decode().strip()
    (work.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    found = json.loads((done := work.run("gitlob-status", "--json", code=1)).stdout)
    assert set(found["errors"]) == {"history", "working_tree"} and blob in found["errors"]["history"]
    assert (found["push"], found["branches"], found["working_tree"]) == (None, None, None)
    assert found["store"]["binaries"] == 1 and found["filter"]["error"] is None
    assert done.stderr.count("cannot be determined") == 2
    page = work.run("gitlob-status", code=1).stdout
    assert "cannot be determined\n" in page and "store: 1 binary" in page


# Setup


def test_filter_and_hook(work: Work) -> None:
    found = status(work)
    assert found["filter"] == {"process": "gitlob-filter process", "error": None}
    assert found["hooks"] == dict.fromkeys(HOOKS, False)
    assert "(gitlob-setup --hooks)" in shown(work)
    work.run("gitlob-setup", "-q", "--hooks")
    assert status(work)["hooks"] == dict.fromkeys(HOOKS, True) and "pre-push sends binaries" in shown(work)
    (work.path / ".git/hooks/pre-push").chmod(0o644)  # git passes over it
    assert status(work)["hooks"] == dict.fromkeys(HOOKS, True) | {"pre-push": False}
    work.run("gitlob-setup", "-q", "--uninstall")
    found = status(work)
    assert found["filter"]["process"] is None and "is not configured in git" in found["filter"]["error"]
    assert "WRONG the filter is not configured in git (gitlob-setup configures it)" in shown(work)
    work.git("config", "filter.lob.process", "git-lob-process")
    assert "git-lob-process" in status(work)["filter"]["error"]


def test_remotes(work: Work, store: Path) -> None:
    work.run("gitlob-setup", "-q", "second", "nas:/srv/two")
    work.git("config", "remote.third.git-lob-path", "foo://x")
    found = {one["name"]: one for one in status(work)["remotes"]}
    assert found["origin"] == {"name": "origin", "location": str(store), "default": True, "error": None}
    assert (found["second"]["location"], found["second"]["default"]) == ("nas:/srv/two", False)
    assert found["third"]["location"] is None and "foo://x" in found["third"]["error"]
    page = shown(work)
    assert f"remote origin  {store} (default)" in page and "remote third   WRONG" in page
    work.git("config", "branch.main.remote", "second")
    assert status(work)["remote"] == "second"


# Who is at work, and what came of the last syncs

HOOKS = ("pre-push", "post-checkout", "post-merge")
HOLD = """
import sys, time
from gitlob_rsync.store import locks
from gitlob_rsync.store.store import Store
with locks.using(Store(sys.argv[1]), 'a job'):
    print(flush=True)
    time.sleep(60)
"""


@pytest.fixture
def job(work: Work) -> Iterator["subprocess.Popen[str]"]:
    argv = [sys.executable, "-c", HOLD, str(work.content)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline()
    yield process
    process.kill()
    process.wait()


def test_a_job_is_named_as_long_as_it_lives(work: Work, job: "subprocess.Popen[str]") -> None:
    running = status(work)["running"]
    assert [(one["what"], one["pid"]) for one in running] == [("a job", job.pid)] and running[0]["host"]
    assert abs(running[0]["since"] - time.time()) < 60
    assert f"running now\n  a job (pid {job.pid} on " in shown(work)
    job.kill()
    job.wait()
    assert status(work)["running"] == [] and "running now" not in shown(work)


def test_the_last_syncs(work: Work, store: Path) -> None:
    work.commit(a__bin=b"12345", b__bin=b"1")
    work.sync()
    (sync,) = status(work)["syncs"]
    assert (sync["location"], sync["remote"], sync["lacking"]) == (str(store), "origin", [])
    assert (sync["push"]["exit_code"], sync["push"]["transferred"], sync["push"]["bytes"]) == (0, 2, 6)
    assert (sync["pull"]["exit_code"], sync["pull"]["transferred"], sync["pull"]["error"]) == (0, 0, "")
    assert abs(sync["push"]["when"] - time.time()) < 60 and 0 <= sync["push"]["seconds"] < 60
    assert re.search(r"\n  origin  push  \d+ seconds? ago +2 binaries, 6 B in \d+\.\d s\n", shown(work))
    before = sync
    for quiet in (["-n"], ["--list"], ["--checkout", "--offline"], ["-n", "--push"]):
        work.sync(*quiet)
    assert status(work)["syncs"] == [before]
    drop(work.content, b"1")
    drop(store, b"1")
    work.sync("--pull", code=3)
    (sync,) = status(work)["syncs"]
    assert sync["push"] == before["push"]
    assert (sync["pull"]["exit_code"], sync["pull"]["missing"], sync["lacking"]) == (3, 1, [sha_of(b"1")])
    assert "; 1 missing or damaged" in shown(work)


def test_a_sync_that_fails_is_told(work: Work, store: Path) -> None:
    work.commit(a__bin=b"a")
    work.sync()
    work.git("config", "core.sshCommand", "false")
    work.git("config", "remote.origin.git-lob-path", "nas.invalid:/srv")
    work.sync("--push", code=4)
    far, near = status(work)["syncs"]
    assert (far["location"], far["remote"], far["pull"]) == ("nas.invalid:/srv", "origin", None)
    assert far["push"]["exit_code"] == 4 and "nas.invalid" in far["push"]["error"]
    assert (near["location"], near["remote"], near["push"]["exit_code"]) == (str(store), None, 0)
    assert "FAILED (4): " in shown(work)
    assert "the last push with nas.invalid:/srv failed" in work.run("gitlob-status", "-q").stderr
    work.sync(code=4)  # the push fails, and no pull was made of it
    assert status(work)["syncs"][0]["pull"]["exit_code"] == 4


def test_a_sync_that_is_interrupted_is_told(work: Work, tmp_path: Path) -> None:
    work.commit(a__bin=b"a")
    work.git("config", "remote.origin.git-lob-path", "nas.invalid:/srv")
    shim = tmp_path / "ssh"
    shim.write_text(f"#!/bin/sh\ntouch {tmp_path}/begun\nexec sleep 60\n")
    shim.chmod(0o755)
    env = {**os.environ, "GIT_SSH_COMMAND": str(shim)}
    process = subprocess.Popen(["gitlob-sync", "--push"], cwd=work.path, env=env, stderr=subprocess.DEVNULL)
    while not (tmp_path / "begun").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    assert status(work)["syncs"][0]["push"]["exit_code"] == 143
    assert "nas.invalid" not in work.run("gitlob-status", "-q").stderr, "nothing is wrong"
    assert re.search(r"push +\S.* ago +interrupted$", shown(work), re.MULTILINE)


def test_a_sync_that_has_to_wait_too_long_is_told(work: Work) -> None:
    hold = HOLD.replace("locks.using", "locks.alone")
    process = subprocess.Popen([sys.executable, "-c", hold, str(work.content)], stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline()
    work.sync("--lock-wait", "0", code=5)
    process.kill()
    process.wait()
    assert status(work)["syncs"][0]["push"]["exit_code"] == 5


def test_the_hook_of_git_push_keeps_the_journal_too(work: Work, tmp_path: Path) -> None:
    work.git("init", "-q", "--bare", str(tmp_path / "git"))
    work.git("config", "remote.origin.url", str(tmp_path / "git"))
    work.run("gitlob-setup", "-q", "--hooks")
    work.commit(a__bin=b"abc")
    work.git("push", "-q", "origin", "main")
    (sync,) = status(work)["syncs"]
    assert (sync["push"]["transferred"], sync["push"]["bytes"], sync["pull"]) == (1, 3, None)


@pytest.mark.parametrize("what", ["unreadable", "file", "hostile"])
def test_no_sync_fails_for_its_journal(work: Work, what: str) -> None:
    work.commit(a__bin=b"a")
    state = work.content.parent / "state"
    state.mkdir()
    if what == "file":
        (state / "synced").write_text("in the way")
    else:
        work.sync("--pull")
        (at,) = (state / "synced").iterdir()
        hostile = '{"location": "\\ud800", "runs": {"push": {"when": 1e999}}, "lacking": [[]]}'
        at.write_text(hostile if what == "hostile" else "[" * 100_000)
    assert work.json("--push")["transferred"] == 1
    assert status(work)["syncs"] == [] or what != "file"


HOSTILE_RUNS = (
    {"when": "now"}, {"when": float("nan")}, {"seconds": -1}, {"bytes": 10**400}, {"exit_code": True}, {"error": 3}, {"more": 1},
    None,
)  # fmt: skip


def test_a_hostile_run_is_ignored(work: Work) -> None:
    work.commit(a__bin=b"a")
    work.sync()
    (at,) = (work.content.parent / "state" / "synced").iterdir()
    as_written = at.read_text()
    for change in HOSTILE_RUNS:
        said = json.loads(as_written)
        said["runs"]["push"] = said["runs"]["push"] | change if change else [1]
        at.write_text(json.dumps(said))
        (sync,) = status(work)["syncs"]
        assert sync["push"] is None and sync["pull"]["exit_code"] == 0, change
        shown(work)
    at.rename(at.with_name("0" * 40 + ".json"))  # it tells of another place than its name says
    assert status(work)["syncs"] == []


# How it looks


def settle(work: Work) -> None:
    """Have files be older than the index: git looks again into others, and that brings their content into the store."""
    for at in work.path.glob("*.bin"):
        os.utime(at, (time.time() - 60,) * 2)
    work.git("update-index", "--refresh")


def filled(work: Work) -> None:
    work.commit(a__bin=b"a" * 4000, b__bin=b"b" * 1000)
    work.git("branch", "x" * 150)
    settle(work)
    sha = sha_of(b"b" * 1000)
    os.utime(work.content / sha[:3] / sha[3:6] / f"{sha}_meta", (time.time() - 3 * DAY,) * 2)


def test_bars_on_a_terminal_and_none_in_a_pipe(work: Work) -> None:
    filled(work)
    page = on_terminal(work)
    bars = {words[1]: words[-1].count("█") for words in lines_of(page, "last ") if "█" in words[-1]}
    assert bars["day"] == 4 * bars["7"] > 4
    assert "\x1b" not in page
    piped = shown(work)
    assert "█" not in piped and "x" * 150 in piped
    starts = {line.index(" B") for line in piped.splitlines() if line.startswith("  last ") and " B" in line}
    assert len(starts) == 1 and len(lines_of(piped, "last ")) >= 4  # aligned


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_bars_where_they_are_not_wanted(work: Work, env: dict[str, str]) -> None:
    filled(work)
    assert on_terminal(work, **env) == shown(work)  # type: ignore[arg-type]


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_lines_with_bars_stay_within_the_terminal(work: Work, columns: int) -> None:
    filled(work)
    work.git("branch", "\u6f22" * 60)
    page = on_terminal(work, columns=columns)
    rows = [line for line in page.splitlines() if re.match(r"  (last |older|main|x|\u6f22)", line)]
    assert len(rows) >= 7
    if columns >= 40:
        wide = [len(line) + line.count("\u6f22") for line in rows]
        assert max(wide) <= columns and ("…" in page) == (columns < 180) and "█" in page


def test_names_that_are_no_text(work: Work) -> None:
    branch, name = b"br\xffnch", b"sp\xe9cial\n.bin"
    work.commit(a__bin=b"a")
    work.git("update-ref", os.fsdecode(b"refs/heads/" + branch), "HEAD")
    work.write(name, b"content")
    work.commit()
    drop(work.content, b"content")
    work.write(name, placeholder(b"content"))
    found = status(work)
    assert branch in {os.fsencode(one["name"]) for one in found["branches"]}
    assert os.fsencode(found["working_tree"]["not_here"][0]["paths"][0]) == name
    page = shown(work, "-v")
    assert '"br\\377nch"' in page and '"sp\\351cial\\n.bin"' in page
    assert "br\\377nch" in on_terminal(work)


def test_a_locale_that_knows_no_blocks(work: Work) -> None:
    filled(work)
    work.git("branch", "ü")
    page = shown(work, env={"PYTHONIOENCODING": "ascii"})
    assert lines_of(page, "?")
    assert "█" not in on_terminal(work, PYTHONIOENCODING="ascii")


def test_quiet_says_only_what_is_wrong(work: Work, store: Path) -> None:
    work.commit(a__bin=b"a")
    work.sync()
    lacking(work, b__bin=b"b")
    done = work.run("gitlob-status", "-q")
    assert (done.stdout, done.stderr) == ("", "")
    work.sync("--pull", code=3)
    work.git("config", "remote.other.git-lob-path", "foo://x")
    work.git("config", "--unset", "filter.lob.process")
    drop(work.content, b"a")
    put(work.content, b"c")
    (work.content / sha_of(b"c")[:3] / sha_of(b"c")[3:6] / f"{sha_of(b'c')}_0").unlink()
    done = work.run("gitlob-status", "-q")
    assert done.stdout == ""
    for word in ("filter: ", "other: ", "the last pull with ", "nowhere: ", "incomplete"):
        assert word in done.stderr
    assert work.run("gitlob-status", "-q", "--json").stderr == done.stderr


def test_keys(work: Work) -> None:
    assert list(status(work)) == [
        "working_tree", "remote", "pull", "push", "store", "shared_store", "branches", "others", "remotes", "filter",
        "hooks", "running", "syncs", "errors",
    ]  # fmt: skip


def test_a_read_only_repository(work: Work) -> None:
    if os.getuid() == 0 and not shutil.which("setpriv"):
        pytest.fail("this test needs setpriv (util-linux), or not to be root")
    work.commit(a__bin=b"a")
    for folder, names, files in os.walk(work.path.parent):
        for name in [*names, *files]:
            if not os.path.islink(os.path.join(folder, name)):
                os.chmod(os.path.join(folder, name), 0o555)
    argv = ["gitlob-status", "--json"]
    if os.getuid() == 0:
        for at in (work.path.parent, *work.path.parent.parents):
            if at.stat().st_uid == 0 and str(at).startswith("/tmp/") and at != Path("/tmp"):
                at.chmod(0o755)
        argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *argv]
    env = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    found = json.loads(work.run(*argv, env=env).stdout)
    assert found["push"]["transferred"] == 1 and found["errors"] == {}
