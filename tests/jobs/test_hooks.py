"""gitlob-setup's further work: patterns, hooks, scopes and checks; and what git push does with the hook."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.handmade import check, drop, sha_of
from tests.support.servers import Daemon, free_port
from tests.support.work import Work, clone, init


@pytest.fixture
def pushing(tmp_path: Path, store: Path) -> Work:
    """A repository with a bare git remote, a store and the hook, and one binary pushed."""
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "origin.git"], check=True)
    work = init(tmp_path / "work", location=store)
    work.git("remote", "add", "origin2", str(tmp_path / "origin.git"))
    work.git("config", "remote.origin.url", str(tmp_path / "origin.git"))
    work.git("config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*")
    work.run("gitlob-setup", "-q", "--hooks")
    work.commit(a__bin=b"first")
    work.git("push", "-q", "origin", "main")
    return work


def test_git_push_sends_the_binaries_first(pushing: Work, store: Path) -> None:
    assert check(store) == {sha_of(b"first")}
    pushing.write("never.bin", b"added and never committed")
    pushing.git("add", "never.bin")
    pushing.git("rm", "-qf", "never.bin")
    pushing.commit(a__bin=b"second")
    pushing.git("checkout", "-q", "-b", "other")
    pushing.commit(b__bin=b"of another branch")
    pushing.git("push", "-q", "origin", "main")
    assert check(store) == {sha_of(b"first"), sha_of(b"second")}
    pushing.git("push", "-q", "origin", "other")
    assert check(store) == {sha_of(b"first"), sha_of(b"second"), sha_of(b"of another branch")}


def test_a_binary_that_tracking_branches_imply_is_not_looked_for(pushing: Work, store: Path) -> None:
    drop(store, b"first")
    pushing.commit(b__bin=b"new")
    pushing.git("push", "-q", "origin", "main")
    assert check(store) == {sha_of(b"new")}


def test_a_push_without_placeholders_opens_no_connection(
    pushing: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "rsync").write_text("#!/bin/sh\nexit 99\n")
    (tmp_path / "broken" / "rsync").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'broken'}{os.pathsep}{os.environ['PATH']}")
    pushing.commit(text="no binary")
    pushing.git("push", "-q", "origin", "main")
    pushing.git("push", "-q", "origin", ":refs/heads/none", "main:refs/heads/copy")
    pushing.git("push", "-q", "origin", ":refs/heads/copy")


def test_a_failed_upload_stops_the_push(pushing: Work, tmp_path: Path) -> None:
    before = Work(tmp_path / "origin.git").git("rev-parse", "main")
    pushing.git("config", "remote.origin.git-lob-path", f"ssh://127.0.0.1:{free_port()}/nowhere")
    pushing.commit(a__bin=b"second")
    done = subprocess.run(["git", "push", "origin", "main"], cwd=pushing.path, capture_output=True, text=True)
    assert done.returncode != 0 and "gitlob-sync: " in done.stderr and "cannot be reached" in done.stderr
    assert Work(tmp_path / "origin.git").git("rev-parse", "main") == before


def test_a_binary_that_is_not_to_be_had_stops_the_push(pushing: Work) -> None:
    pushing.commit(a__bin=b"second")
    drop(pushing.content, b"second")
    done = subprocess.run(["git", "push", "origin", "main"], cwd=pushing.path, capture_output=True, text=True)
    assert done.returncode != 0 and "missing" in done.stderr and "a.bin" in done.stderr


def test_other_remotes_are_left_alone(pushing: Work, tmp_path: Path) -> None:
    pushing.git("config", "remote.origin.git-lob-path", f"ssh://127.0.0.1:{free_port()}/nowhere")
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "elsewhere.git"], check=True)
    pushing.git("remote", "add", "elsewhere", str(tmp_path / "elsewhere.git"))
    pushing.commit(a__bin=b"second")
    pushing.git("push", "-q", "elsewhere", "main")
    pushing.git("push", "-q", str(tmp_path / "elsewhere.git"), "main:refs/heads/by-url")


def test_another_name_of_one_remote_means_its_store(pushing: Work, store: Path) -> None:
    pushing.commit(a__bin=b"second")
    pushing.git("push", "-q", "origin2", "main")
    assert sha_of(b"second") in check(store)


BY_URL = {
    "as configured": (["remote.origin.url", "TOP/origin.git"], "TOP/origin.git"),
    "with a slash": (["remote.origin.url", "TOP/origin.git"], "TOP/origin.git/"),
    "file:": (["remote.origin.url", "TOP/origin.git"], "file://TOP/origin.git"),
    "through a link": (["remote.origin.url", "TOP/origin.git"], "TOP/link.git"),
    "relative": (["remote.origin.url", "TOP/origin.git"], "../origin.git"),
    "configured as relative": (["remote.origin.url", "../origin.git"], "TOP/origin.git"),
    "pushurl": (["remote.origin.url", "/nowhere", "remote.origin.pushurl", "TOP/origin.git"], "TOP/origin.git"),
    "insteadOf": (["remote.origin.url", "hub:origin.git", "url.TOP/.insteadof", "hub:"], "TOP/origin.git"),
    "insteadOf, given": (["remote.origin.url", "TOP/origin.git", "url.TOP/.insteadof", "hub:"], "hub:origin.git"),
    "pushInsteadOf": (
        ["remote.origin.url", "hub:origin.git", "url.TOP/.pushinsteadof", "hub:", "url./nowhere/.insteadof", "hub:"],
        "TOP/origin.git",
    ),
    "the longest": (
        ["remote.origin.url", "hub:x/origin.git", "url./nowhere/.insteadof", "hub:", "url.TOP/.insteadof", "hub:x/"],
        "hub:x/origin.git",
    ),
}


@pytest.mark.parametrize("case", BY_URL)
def test_a_push_to_the_url_of_a_remote_is_one_to_that_remote(
    pushing: Work, tmp_path: Path, store: Path, case: str
) -> None:
    settings, url = BY_URL[case]
    pushing.git("remote", "remove", "origin2")
    (tmp_path / "link.git").symlink_to(tmp_path / "origin.git")
    for key, value in zip(settings[::2], settings[1::2], strict=True):
        pushing.git("config", key.replace("TOP", str(tmp_path)), value.replace("TOP", str(tmp_path)))
    pushing.commit(a__bin=b"second")
    pushing.git("push", "-q", url.replace("TOP", str(tmp_path)), "main")
    assert sha_of(b"second") in check(store)


def test_a_branch_whose_remote_is_a_url_has_that_remote_as_its_default(pushing: Work, tmp_path: Path) -> None:
    pushing.git("config", "remote.origin.git-lob-path", str(tmp_path / "wrong"))
    pushing.git("config", "remote.origin2.url", str(tmp_path / "second.git"))
    pushing.git("config", "remote.origin2.git-lob-path", str(tmp_path / "right"))
    pushing.git("config", "branch.main.remote", str(tmp_path / "second.git"))
    pushing.sync("--push")
    assert check(tmp_path / "right") == {sha_of(b"first")} and not (tmp_path / "wrong").exists()


def test_tags_are_pushed_with_their_binaries(pushing: Work, store: Path) -> None:
    pushing.commit(a__bin=b"tagged")
    pushing.git("tag", "-m", "annotated", "v1")
    pushing.git("push", "-q", "origin", "v1")
    assert sha_of(b"tagged") in check(store)
    pushing.git("tag", "blob", "HEAD:a.bin")
    pushing.git("push", "-q", "origin", "blob")


@pytest.mark.parametrize("name", ["no\u00a0break", "line\u2028end", "next\x85line", "latin\udce9"], ids=ascii)
def test_refs_of_any_name_are_pushed_with_their_binaries(pushing: Work, store: Path, name: str) -> None:
    """Names of refs are bytes: what Unicode calls a space, or the end of a line, is none to git."""
    pushing.git("checkout", "-q", "-b", name)
    pushing.commit(a__bin=b"of an odd branch")
    pushing.git("push", "-q", "origin", name)
    assert sha_of(b"of an odd branch") in check(store)


def test_an_existing_hook_is_called_first_and_comes_back(
    pushing: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushing.run("gitlob-setup", "-q", "--uninstall")
    hook = pushing.path / ".git" / "hooks" / "pre-push"
    assert not hook.exists()
    own = '#!/bin/sh\necho "$1" >>"$OLDPWD_LOG"\ncat >>"$OLDPWD_LOG"\nexit ${HOOK_CODE:-0}\n'
    hook.write_text(own)
    hook.chmod(0o755)
    for _ in range(2):
        pushing.run("gitlob-setup", "-q", "--hooks")
    monkeypatch.setenv("OLDPWD_LOG", str(tmp_path / "log"))
    pushing.commit(a__bin=b"second")
    pushing.git("push", "-q", "origin", "main")
    told = (tmp_path / "log").read_text()
    assert told.startswith("origin\nrefs/heads/main ")
    pushing.commit(a__bin=b"third")
    monkeypatch.setenv("HOOK_CODE", "1")
    pushing.git("push", "-q", "origin", "main", code=1)
    pushing.run("gitlob-setup", "-q", "--uninstall")
    assert hook.read_text() == own
    assert pushing.git("config", "--get-regexp", "^filter", code=1) == b""


def test_core_hooks_path_is_respected(pushing: Work, tmp_path: Path) -> None:
    pushing.run("gitlob-setup", "-q", "--uninstall")
    pushing.git("config", "core.hooksPath", "my hooks")
    done = pushing.run("gitlob-setup", "--hooks")
    assert (pushing.path / "my hooks" / "pre-push").exists() and "my hooks/pre-push" in done.stderr
    assert not (pushing.path / ".git" / "hooks" / "pre-push").exists()
    pushing.commit(a__bin=b"second")
    pushing.git("push", "-q", "origin", "main")
    assert sha_of(b"second") in check(tmp_path / "remote" / "store")


def test_a_linked_worktree_pushes_too(pushing: Work, tmp_path: Path, store: Path) -> None:
    pushing.git("worktree", "add", "-q", str(tmp_path / "linked"), "-b", "linked")
    linked = Work(tmp_path / "linked")
    linked.commit(c__bin=b"linked")
    linked.git("push", "-q", "origin", "linked")
    assert sha_of(b"linked") in check(store)


def test_tracking_adds_each_line_once(tmp_path: Path) -> None:
    work = init(tmp_path / "work", attributes="")
    work.write(".gitattributes", "*.txt text")
    for _ in range(2):
        work.run("gitlob-setup", "-q", "--track", "*.png", "*.psd", "two words.bin", '"q".bin', "#hash.bin")
    assert work.read(".gitattributes").decode().splitlines() == [
        "*.txt text",
        "*.png filter=lob -text -merge",
        "*.psd filter=lob -text -merge",
        '"two words.bin" filter=lob -text -merge',
        '"\\"q\\".bin" filter=lob -text -merge',
        '"#hash.bin" filter=lob -text -merge',
    ]
    for path in ("a.png", "two words.bin", '"q".bin', "#hash.bin"):
        said = work.git("check-attr", "-z", "filter", "text", "--", path).split(b"\0")
        assert (said[2], said[5]) == (b"lob", b"unset"), path
    work.write("a.png", b"picture")
    work.commit()
    assert work.git("show", "HEAD:a.png").startswith(b"git-lob: ")


def test_a_pattern_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    work = init(tmp_path / "work")
    before = work.read(".gitattributes")
    for pattern in ("!*.png", "[attr]x", "x" * 3000, " ", "a\nb"):
        assert work.run("gitlob-setup", "--track", pattern, code=2).stderr.count("\n") == 1
    assert work.read(".gitattributes") == before


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """A repository may hold .gitattributes as a link to a file of the user's; git itself does not follow it."""
    work = init(tmp_path / "work", attributes="")
    (tmp_path / "precious").write_text("export X\n")
    (work.path / ".gitattributes").symlink_to(tmp_path / "precious")
    done = work.run("gitlob-setup", "--track", "*.png", code=2)
    assert done.stderr.count("\n") == 1 and "symbolic link" in done.stderr
    assert (tmp_path / "precious").read_text() == "export X\n"


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path / "work"], check=True)
    work = Work(tmp_path / "work")
    before = work.read(".git/config")
    done = work.run("gitlob-setup", "-n", "origin", "nas:/x", "--track", "*.png", "--hooks")
    assert done.stderr.count("would: ") == 6
    assert work.read(".git/config") == before
    assert not (work.path / ".gitattributes").exists() and not (work.path / ".git" / "hooks" / "pre-push").exists()


def test_global_is_for_all_repositories(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path / "work"], check=True)
    work = Work(tmp_path / "work")
    work.run("gitlob-setup", "-q", "--global")
    work.write(".gitattributes", "*.bin filter=lob -text\n")
    work.commit(a__bin=b"content")
    assert work.git("show", "HEAD:a.bin").startswith(b"git-lob: ")
    assert b"lob" not in work.read(".git/config")
    work.run("gitlob-setup", "-q", "--global", "--uninstall")
    assert work.git("config", "--get-regexp", "^filter", code=1) == b""


def test_uninstall_leaves_a_foreign_filter(tmp_path: Path) -> None:
    work = init(tmp_path / "work")
    work.git("config", "filter.lob.process", "other process")
    work.run("gitlob-setup", "--uninstall", code=2)
    assert work.git("config", "filter.lob.process") == b"other process\n"


def test_check_says_what_is_wrong_and_how_to_mend_it(tmp_path: Path, store: Path, rsyncd: Daemon) -> None:
    work = init(tmp_path / "work", location=store)
    said = work.run("gitlob-setup", "--check").stderr
    assert "no store yet" in said and "WRONG" not in said
    work.commit(a__bin=b"x")
    work.sync("--push")
    assert "can be reached" in work.run("gitlob-setup", "--check").stderr
    assert work.run("gitlob-setup", "-q", "--check").stderr == ""
    work.git("config", "remote.origin.git-lob-path", rsyncd.location())
    assert "can be reached" in work.run("gitlob-setup", "--check", "origin").stderr
    work.git("config", "remote.origin.git-lob-path", f"ssh://127.0.0.1:{free_port()}/x")
    done = work.run("gitlob-setup", "-q", "--check", code=4)
    assert done.stderr.count("\n") == 1 and "WRONG remote" in done.stderr
    work.git("config", "--remove-section", "filter.lob")
    assert "WRONG filter" in work.run("gitlob-setup", "--check", code=4).stderr


def test_hooks_and_pushes_of_a_clone(pushing: Work, tmp_path: Path, store: Path) -> None:
    other = clone(Work(tmp_path / "origin.git"), tmp_path / "clone", location=store)
    other.run("gitlob-setup", "-q", "--hooks")
    other.commit(b__bin=b"from the clone")  # a.bin is a placeholder here, and stays one
    other.git("push", "-q", "origin", "HEAD:main")
    assert check(store) == {sha_of(b"first"), sha_of(b"from the clone")}
