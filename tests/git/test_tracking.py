"""What counts as a branch of a remote: what its fetch refspecs say, not what the ref is called."""

import subprocess
from pathlib import Path

import pytest

from gitlob_rsync.git import tracking
from gitlob_rsync.git.repo import Repo
from tests.support.handmade import sha_of
from tests.support.purging import told
from tests.support.words import WORDS, make
from tests.support.work import Work, init

BRANCHES = "+refs/heads/*:refs/remotes/{}/*"
PULLS = "+refs/pull/*/head:refs/remotes/origin/pr/*"

Case = tuple[dict[str, list[str]], list[str], dict[str, str], dict[str, str]]
"""The refspecs of each remote; refs; remote -> those that are its branches; remote -> those in a window."""

CASES: dict[str, Case] = {
    "as git configures it": (
        {"origin": [BRANCHES.format("origin")]},
        ["remotes/origin/main", "remotes/origin/a/b", "remotes/other/main", "heads/main", "remotes/originals/main"],
        {"origin": "remotes/origin/main remotes/origin/a/b", "*": "remotes/origin/main remotes/origin/a/b"},
        {"origin": "remotes/origin/main remotes/origin/a/b",
         "*": "remotes/origin/main remotes/origin/a/b remotes/other/main remotes/originals/main"},
    ),
    "a name that begins alike": (
        {"foo": [BRANCHES.format("foo")], "foo/bar": [BRANCHES.format("foo/bar")]},
        ["remotes/foo/main", "remotes/foo/bar/main"],
        {"foo": "remotes/foo/main", "foo/bar": "", "*": "remotes/foo/main remotes/foo/bar/main"},
        {"foo": "remotes/foo/main remotes/foo/bar/main", "foo/bar": "remotes/foo/bar/main"},
    ),
    "a name that begins alike, and says so": (
        {"foo": [BRANCHES.format("foo"), "^refs/heads/bar/*"], "foo/bar": [BRANCHES.format("foo/bar")]},
        ["remotes/foo/main", "remotes/foo/bar/main"],
        {"foo": "remotes/foo/main", "foo/bar": "remotes/foo/bar/main"},
        {"foo": "remotes/foo/main", "foo/bar": "remotes/foo/bar/main"},
    ),
    "pull requests below": (
        {"origin": [BRANCHES.format("origin"), PULLS]},
        ["remotes/origin/main", "remotes/origin/pr/1", "remotes/origin/pr/2/a"],
        {"origin": "remotes/origin/main", "*": "remotes/origin/main"},
        {"origin": "remotes/origin/main remotes/origin/pr/1 remotes/origin/pr/2/a"},
    ),
    "pull requests beside": (
        {"origin": [BRANCHES.format("origin"), "+refs/pull/*/head:refs/pulls/*"]},
        ["remotes/origin/main", "pulls/1"],
        {"origin": "remotes/origin/main"},
        {"origin": "remotes/origin/main"},
    ),
    "pull requests alone": (
        {"origin": [PULLS]}, ["remotes/origin/main", "remotes/origin/pr/1"], {"origin": "", "*": ""},
        {"origin": "remotes/origin/pr/1"},
    ),
    "single branches": (
        {"origin": ["+refs/heads/main:refs/remotes/origin/main", "refs/heads/x:refs/remotes/origin/y"]},
        ["remotes/origin/main", "remotes/origin/main2", "remotes/origin/x", "remotes/origin/y"],
        {"origin": "remotes/origin/main remotes/origin/y"},
        {"origin": "remotes/origin/main remotes/origin/y"},
    ),
    "another place, a star in the middle, some that are not fetched": (
        {"origin": ["refs/heads/rel*x:refs/from/origin-*-there", "refs/heads/v/*:remotes/v/*", "^refs/heads/rel-2x"]},
        ["from/origin--1-there", "from/origin--2-there", "from/origin-there", "from/origin", "remotes/v/1"],
        {"origin": "from/origin--1-there", "*": "from/origin--1-there"},
        {"origin": "from/origin--1-there"},
    ),
    "all that there is, elsewhere": (
        {"origin": ["+refs/*:refs/remotes/origin/*"]},
        ["remotes/origin/heads/main", "remotes/origin/tags/v1", "remotes/origin/pull/1/head"],
        {"origin": "remotes/origin/heads/main"},
        {"origin": "remotes/origin/heads/main remotes/origin/tags/v1 remotes/origin/pull/1/head"},
    ),
    "a mirror": (
        {"origin": ["+refs/*:refs/*"]}, ["heads/main", "tags/v1", "pull/1/head", "stash"], {"origin": "", "*": ""},
        {"origin": "heads/main"},
    ),
    "branches that are local ones": (
        {"origin": ["refs/heads/*:refs/heads/*", "refs/heads/a:b", "refs/heads/s:refs/stash"]},
        ["heads/main", "heads/b", "stash"], {"origin": ""}, {"origin": "heads/main heads/b stash"},
    ),
    "two remotes with one place": (
        {"a": [BRANCHES.format("x")], "b": [BRANCHES.format("x")]},
        ["remotes/x/main"],
        {"a": "", "b": "", "*": "remotes/x/main"},
        {"a": "remotes/x/main", "b": "remotes/x/main"},
    ),
    "nothing that says so": (
        {"origin": ["refs/heads/main", "refs/heads/*:refs/remotes/origin/one", "refs/heads/a:", "main:refs/remotes/origin/b"]},
        ["remotes/origin/main", "remotes/origin/one", "remotes/origin/b"],
        {"origin": "", "*": "", "other": ""},
        {"origin": "remotes/origin/b", "other": ""},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_what_is_a_branch_of_a_remote(tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    specs, refs, strict, wide = case
    work = make(tmp_path / "repo")
    for remote, values in specs.items():
        for value in values:
            work.git("config", "--add", f"remote.{remote}.fetch", value)
    at = {}
    for ref in refs:
        at[ref] = work.git("commit-tree", "-m", ref, work.git("mktree").decode().strip()).decode().strip()
        work.git("update-ref", f"refs/{ref}", at[ref])
    monkeypatch.chdir(work.path)
    repo = Repo.discover()
    for remote, names in strict.items():
        assert sorted(tracking.branches(repo, remote)) == sorted(at[name] for name in names.split()), remote
    for remote, names in wide.items():
        assert sorted(tracking.seen(repo, remote)) == sorted(at[name] for name in names.split()), remote
    assert tracking.branches(repo, None) == tracking.seen(repo, None) == []


@pytest.mark.smoke
def test_the_name_of_the_branch_that_is_the_remotes_head_is_no_branch(tmp_path: Path) -> None:
    work = make(tmp_path / "repo")
    work.commit(a__bin="x")
    work.fetches("origin")
    work.git("update-ref", "refs/heads/local", "HEAD")
    work.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/heads/local")
    assert tracked(work, "origin") == []


def tracked(work: Work, remote: str) -> list[str]:
    program = "import sys; from gitlob_rsync.git import tracking; from gitlob_rsync.git.repo import Repo; print(*tracking.branches(Repo.discover(), sys.argv[1]))"
    return work.run("python3", "-c", program, remote).stdout.split()


def bare(path: Path) -> Path:
    subprocess.run(["git", "init", "-q", "--bare", path], check=True)
    return path


@pytest.mark.parametrize("how", ["a name that begins alike", "a pull request"])
def test_the_hook_sends_what_only_others_are_known_to_have(tmp_path: Path, how: str) -> None:
    work = init(tmp_path / "work")
    work.git("remote", "add", "foo", str(bare(tmp_path / "foo.git")))
    work.run("gitlob-setup", "-q", "foo", str(tmp_path / "store"), "--hooks")
    commit = work.commit(a__bin="x")
    if how == "a pull request":
        work.git("config", "--add", "remote.foo.fetch", "+refs/pull/*/head:refs/remotes/foo/pr/*")
        work.git("push", "-q", "--no-verify", "foo", f"{commit}:refs/pull/1/head")
        work.git("fetch", "-q", "foo")
        assert work.git("rev-parse", "foo/pr/1").decode().strip() == commit
    else:
        work.git("config", "remote.foo/bar.url", str(bare(tmp_path / "bar.git")))
        work.fetches("foo/bar")
        work.git("push", "-q", "foo/bar", "main")
        assert work.git("rev-parse", "refs/remotes/foo/bar/main").decode().strip() == commit
    work.git("push", "-q", "foo", "main")
    assert list((tmp_path / "store").rglob(f"{sha_of(b'x')}_0"))


def test_a_purge_takes_no_pull_request_for_pushed(work: Work) -> None:
    for key in ("fetch-refs", "fetch-commits-head", "retention-period-refs", "retention-period-head"):
        work.git("config", f"git-lob.{key}", "0")
    WORDS.update({sha_of(word): word.decode() for word in (b"older", b"newer")})
    work.commit(a__bin="older")
    work.sync("--push")
    work.fetches("origin")
    work.git("update-ref", "refs/remotes/origin/pr/1", "HEAD")
    work.commit(a__bin="newer")
    assert told(work, "-n", "--grace", "0") == {"older": "old", "newer": "window"}
    work.git("config", "--add", "remote.origin.fetch", PULLS)
    assert told(work, "-n", "--grace", "0") == {"older": "unpushed", "newer": "window"}
