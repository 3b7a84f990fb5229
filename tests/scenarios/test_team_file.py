"""Where settings and stores are found: the tracked file in all places that git has it, a relative location, and the
remotes that a checkout asks."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.handmade import check, drop, put, sha_of
from tests.support.work import Work, init


def team(location: object, name: str = "origin") -> str:
    return f'[remote "{name}"]\n\tgit-lob-path = {location}\n'


@pytest.fixture
def origin(tmp_path: Path, store: Path) -> Work:
    """A bare repository whose tag v1 is older than .gitlobconfig, with binaries in front of it and behind it."""
    subprocess.run(["gitlob-setup", "-q", "--global"], check=True)
    work = init(tmp_path / "author", attributes="*.bin filter=lob -text\n", location=store)
    work.git("config", "--remove-section", "filter.lob")
    files = {".a/b.bin": b"before", "z.bin": b"behind"}
    for path, content in files.items():
        work.write(path, content + b" 1")
    work.commit()
    work.git("tag", "v1")
    work.write(".gitlobconfig", team(store))
    for path, content in files.items():
        work.write(path, content)
    work.commit()
    work.sync("--push")
    subprocess.run(["git", "clone", "-q", "--bare", work.path, tmp_path / "origin.git"], check=True)
    return Work(tmp_path / "origin.git")


def fetched(origin: Work, path: Path, *args: str) -> Work:
    """A repository without a commit, that has fetched: as a CI does."""
    subprocess.run(["git", "init", "-q", path], check=True)
    work = Work(path)
    work.git("remote", "add", "origin", str(origin.path))
    work.git("fetch", "-q", *args, "origin")
    return work


def bare_config(work: Work) -> str:
    """What a command makes of the remotes' stores."""
    return work.run("gitlob-setup", "--check", code=None).stderr


@pytest.mark.parametrize(
    "how",
    [
        ["checkout", "-q", "--force", "-B", "main", "refs/remotes/origin/main"],
        ["checkout", "-q", "--detach", "refs/remotes/origin/main"],
        ["reset", "-q", "--hard", "refs/remotes/origin/main"],
        ["merge", "-q", "origin/main"],
        ["switch", "-q", "main"],
    ],
    ids=lambda how: how[0],
)
def test_a_checkout_into_an_unborn_head_finds_it(origin: Work, tmp_path: Path, how: list[str]) -> None:
    work = fetched(origin, tmp_path / "work", "--depth", "1")
    work.git(*how)
    assert (work.read(".a/b.bin"), work.read("z.bin")) == (b"before", b"behind")
    assert work.git("status", "--porcelain") == b""


def test_it_is_found_by_commands_before_the_first_checkout(origin: Work, tmp_path: Path) -> None:
    work = fetched(origin, tmp_path / "work")
    work.sync("--pull", "--committed")
    assert sha_of(b"behind") in check(work.content)


def test_a_checkout_of_what_is_older_than_the_file_finds_it(origin: Work, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", origin.path, tmp_path / "work"], check=True)
    work = Work(tmp_path / "work")
    work.git("checkout", "-q", "v1")
    assert (work.read(".a/b.bin"), work.read("z.bin")) == (b"before 1", b"behind 1")
    subprocess.run(["git", "clone", "-q", "-b", "v1", origin.path, tmp_path / "tag"], check=True)
    assert Work(tmp_path / "tag").read("z.bin") == b"behind 1"
    assert "origin/HEAD" in Work(tmp_path / "tag").git("branch", "-r").decode()
    assert Work(tmp_path / "tag").sync("--push", "-n").returncode == 0


def test_a_mirror_finds_it(origin: Work, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", "--mirror", origin.path, tmp_path / "mirror.git"], check=True)
    work = Work(tmp_path / "mirror.git")
    work.sync("--pull", "--committed")
    assert check(Path(work.path, "git-lob/content")) >= {sha_of(b"before"), sha_of(b"before 1")}


@pytest.mark.parametrize("gone", ["from the working tree", "from the index too"])
def test_it_is_found_where_the_working_tree_has_none(origin: Work, tmp_path: Path, gone: str) -> None:
    subprocess.run(["git", "clone", "-q", origin.path, tmp_path / "work"], check=True)
    work = Work(tmp_path / "work")
    (work.path / ".gitlobconfig").unlink()
    if gone == "from the index too":
        work.git("rm", "-q", "--cached", ".gitlobconfig")
    assert work.sync("--push", "-n").returncode == 0


def test_the_working_tree_goes_before_the_index_and_that_before_head(origin: Work, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", origin.path, tmp_path / "work"], check=True)
    work = Work(tmp_path / "work")
    work.write(".gitlobconfig", team("/of/the/index"))
    work.git("add", ".gitlobconfig")
    work.write(".gitlobconfig", team("/of/the/tree"))
    assert "/of/the/tree" in bare_config(work)
    (work.path / ".gitlobconfig").unlink()
    assert "/of/the/index" in bare_config(work)
    work.git("reset", "-q")
    assert f"{tmp_path}/remote/store" in bare_config(work)


@pytest.mark.parametrize("where", ["index", "HEAD", "origin"])
def test_no_link_is_followed_wherever_it_is(origin: Work, tmp_path: Path, where: str) -> None:
    """Its content is a path that would pass for a section: it is not read, nor is what it leads to."""
    work = fetched(origin, tmp_path / "work")
    blob = work.git("hash-object", "-w", "--stdin", input=team("/of/a/link").encode()).decode().strip()
    work.git("update-index", "--add", "--cacheinfo", f"120000,{blob},.gitlobconfig")
    if where != "index":
        tree = work.git("write-tree").decode().strip()
        commit = work.git("commit-tree", "-m", "x", tree).decode().strip()
        work.git("update-ref", "HEAD" if where == "HEAD" else "refs/remotes/origin/main", commit)
        work.git("rm", "-q", "--cached", ".gitlobconfig")
    said = bare_config(work)
    assert "/of/a/link" not in said and "no remote has a store" in said


def test_only_allowed_keys_are_read_from_a_tip(origin: Work, tmp_path: Path) -> None:
    author = Work(tmp_path / "author")
    author.write(".gitlobconfig", team("/elsewhere") + '[include]\n\tpath = "x"\n[core]\n\tsshCommand = touch /tmp/x\n')
    author.commit()
    author.git("push", "-q", str(origin.path), "main")
    said = fetched(origin, tmp_path / "work").sync("--push", "-n", code=None).stderr
    assert "core.sshcommand in refs/remotes/origin/main:.gitlobconfig is ignored" in said


def test_the_cost_does_not_grow_with_remotes(origin: Work, tmp_path: Path) -> None:
    work = fetched(origin, tmp_path / "work")
    log = tmp_path / "started"
    script = f'#!/bin/sh\necho x >>"{log}"\nexec {shutil.which("git")} "$@"\n'
    (tmp_path / "shims").mkdir()
    (tmp_path / "shims/git").write_text(script)
    (tmp_path / "shims/git").chmod(0o755)
    env = {"PATH": f"{tmp_path}/shims{os.pathsep}{os.environ['PATH']}"}

    def processes() -> int:
        log.unlink(missing_ok=True)
        work.sync("--list", "--checkout", env=env)
        return log.read_text().count("x")

    before = processes()
    for number in range(20):
        work.git("remote", "add", f"r{number}", f"/nowhere/{number}")
        work.git("config", f"url./x{number}.insteadOf", f"y{number}:")
    assert processes() == before


# A relative location


@pytest.mark.parametrize("tracked", [False, True], ids=["configured", "in .gitlobconfig"])
def test_a_relative_location_is_one_place_for_all_worktrees(tmp_path: Path, tracked: bool) -> None:
    work = init(tmp_path / "in/a/work", attributes="*.bin filter=lob -text\n")
    if tracked:
        work.write(".gitlobconfig", team("../store"))
    else:
        work.git("config", "remote.origin.git-lob-path", "../store")
    work.commit(a__bin=b"one")
    work.sync("--push")
    work.git("worktree", "add", "-q", str(tmp_path / "far/away/linked"), "-b", "side")
    linked = Work(tmp_path / "far/away/linked")
    linked.commit(a__bin=b"two")
    linked.sync("--push")
    linked.commit(a__bin=b"three")
    (linked.path / "sub").mkdir()
    linked.sync("--push", cwd="sub")
    assert check(tmp_path / "in/a/store") == {sha_of(b"one"), sha_of(b"two"), sha_of(b"three")}
    assert not (tmp_path / "far/away/store").exists()


def test_a_relative_location_does_not_go_by_where_git_is_started(tmp_path: Path) -> None:
    work = init(tmp_path / "work", attributes="*.bin filter=lob -text\n")
    work.git("config", "remote.origin.git-lob-path", "../store")
    work.commit(a__bin=b"one")
    (tmp_path / "other/deep").mkdir(parents=True)
    env = {"GIT_DIR": str(work.path / ".git"), "GIT_WORK_TREE": str(tmp_path / "other/deep")}
    Work(tmp_path / "other").sync("--push", env=env)
    assert check(tmp_path / "store") == {sha_of(b"one")}


def test_a_relative_location_in_a_bare_repository_counts_from_it(tmp_path: Path) -> None:
    work = init(tmp_path / "work", attributes="*.bin filter=lob -text\n", location=tmp_path / "store")
    work.commit(a__bin=b"one")
    subprocess.run(["git", "clone", "-q", "--bare", work.path, tmp_path / "bare.git"], check=True)
    bare = Work(tmp_path / "bare.git")
    bare.git("config", "remote.origin.git-lob-path", "../store")
    work.sync("--push")
    bare.sync("--pull", "--committed")
    bare.git("worktree", "add", "-q", str(tmp_path / "far/away/linked"))
    linked = Work(tmp_path / "far/away/linked")
    assert linked.sync("--push").returncode == 0 and not (tmp_path / "far/away/store").exists()
    assert f"({tmp_path}/store)" in bare_config(linked)


def test_a_relative_location_in_a_submodule_counts_from_its_working_tree(tmp_path: Path) -> None:
    inner = init(tmp_path / "inner", attributes="*.bin filter=lob -text\n")
    inner.commit(a__bin=b"one")
    outer = init(tmp_path / "outer")
    outer.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner.path), "lib")
    sub = Work(outer.path / "lib")
    sub.git("config", "remote.origin.git-lob-path", "../store")
    assert f"({outer.path}/store)" in bare_config(sub)
    sub.git("worktree", "add", "-q", str(tmp_path / "far/away/linked"))
    assert f"({outer.path}/store)" in bare_config(Work(tmp_path / "far/away/linked"))


def test_a_relative_shared_store_is_one_place_too(tmp_path: Path) -> None:
    work = init(tmp_path / "in/work", attributes="*.bin filter=lob -text\n")
    work.git("config", "git-lob.sharedstore", "../shared")
    work.commit(a__bin=b"one")
    work.git("worktree", "add", "-q", str(tmp_path / "far/away/linked"), "-b", "side")
    Work(tmp_path / "far/away/linked").commit(a__bin=b"two")
    assert check(tmp_path / "in/shared") == {sha_of(b"one"), sha_of(b"two")}


# The remotes that a checkout asks


@pytest.fixture
def two(origin: Work, tmp_path: Path, store: Path) -> Work:
    """A clone with two remotes: what upstream's branch needs is in its own store alone."""
    subprocess.run(["git", "clone", "-q", "-c", f"remote.origin.git-lob-path={store}", origin.path, tmp_path / "two"],
                   check=True)  # fmt: skip
    work = Work(tmp_path / "two")
    author = Work(tmp_path / "author")
    author.git("checkout", "-q", "-b", "theirs")
    author.commit(u__bin=b"of upstream", v__bin=b"of upstream too")
    (tmp_path / "upstream").mkdir()
    put(tmp_path / "upstream", b"of upstream")
    put(tmp_path / "upstream", b"of upstream too")
    work.git("remote", "add", "upstream", str(author.path))
    work.git("config", "remote.upstream.git-lob-path", str(tmp_path / "upstream"))
    work.git("fetch", "-q", "upstream")
    return work


CHECKOUTS = [
    ["checkout", "-q", "--detach", "upstream/theirs"],
    ["checkout", "-q", "theirs"],
    ["checkout", "-q", "upstream/theirs", "--", "u.bin", "v.bin"],
    ["reset", "-q", "--hard", "upstream/theirs"],
]


@pytest.mark.parametrize("how", CHECKOUTS, ids=lambda how: " ".join(how[2:4]))
def test_what_comes_from_another_remote_is_asked_of_it(two: Work, how: list[str]) -> None:
    two.git(*how)
    assert (two.read("u.bin"), two.read("v.bin")) == (b"of upstream", b"of upstream too")


def test_what_it_lacks_the_default_remote_is_asked_for(two: Work, store: Path, tmp_path: Path) -> None:
    drop(tmp_path / "upstream", b"of upstream")
    put(store, b"of upstream")
    two.git("checkout", "-q", "--detach", "upstream/theirs")
    assert (two.read("u.bin"), two.read("v.bin")) == (b"of upstream", b"of upstream too")
    two.git("checkout", "-q", "main")
    drop(two.content, b"of upstream")
    two.git("config", "remote.upstream.git-lob-path", str(tmp_path / "not there"))
    two.git("checkout", "-q", "--detach", "upstream/theirs")
    assert two.read("u.bin") == b"of upstream"


@pytest.mark.parametrize("autofetch", ["true", "false"])
@pytest.mark.parametrize("how", CHECKOUTS[:2], ids=lambda how: how[-1])
def test_its_hint_names_a_command_that_works(two: Work, tmp_path: Path, how: list[str], autofetch: str) -> None:
    (tmp_path / "upstream").rename(tmp_path / "gone")
    two.git("config", "git-lob.autofetch", autofetch)
    done = subprocess.run(["git", *how], cwd=two.path, capture_output=True, text=True)
    hint = done.stderr.rpartition("(")[2].partition(" fetches it")[0]
    assert done.returncode == 0 and "2 files wait" in done.stderr and hint == "gitlob-sync --checkout upstream"
    (tmp_path / "gone").rename(tmp_path / "upstream")
    two.run(*hint.split())
    assert (two.read("u.bin"), two.read("v.bin")) == (b"of upstream", b"of upstream too")


def test_the_hint_of_a_merge_names_the_other_remotes(two: Work) -> None:
    """To a merge git gives a filter no commit."""
    done = subprocess.run(
        ["git", "merge", "-q", "--no-ff", "--no-edit", "--allow-unrelated-histories", "upstream/theirs"],
        cwd=two.path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and "gitlob-sync --checkout upstream, if it comes from there" in done.stderr
    two.sync("--checkout", "upstream")
    assert (two.read("u.bin"), two.read("v.bin")) == (b"of upstream", b"of upstream too")


def test_a_clone_whose_remote_has_another_name(origin: Work, tmp_path: Path, store: Path) -> None:
    config = ["-c", f"remote.other.git-lob-path={store}", "-c", "remote.wrong.git-lob-path=/nowhere"]
    subprocess.run(["git", "clone", "-q", "-o", "other", *config, origin.path, tmp_path / "work"], check=True)
    assert Work(tmp_path / "work").read("z.bin") == b"behind"
    subprocess.run(
        ["git", "clone", "-q", "-o", "other", *config, "-b", "v1", origin.path, tmp_path / "tag"], check=True
    )
    assert Work(tmp_path / "tag").read("z.bin") == b"behind 1"


def test_without_a_store_the_hint_says_what_to_configure(origin: Work, tmp_path: Path, store: Path) -> None:
    work = fetched(origin, tmp_path / "work")
    work.git("checkout", "-q", "v1", code=0)
    author = Work(tmp_path / "author")
    author.git("checkout", "-q", "--orphan", "bare")
    author.git("rm", "-q", "--cached", ".gitlobconfig")
    (author.path / ".gitlobconfig").unlink()
    author.commit(only__bin=b"only")
    subprocess.run(["git", "init", "-q", tmp_path / "none"], check=True)
    none = Work(tmp_path / "none")
    none.git("fetch", "-q", str(author.path), "bare")
    done = subprocess.run(["git", "checkout", "-q", "FETCH_HEAD"], cwd=none.path, capture_output=True, text=True)
    assert (
        "no remote has a store (gitlob-sync --checkout, after gitlob-setup REMOTE LOCATION, fetches it)" in done.stderr
    )
    put(store, b"only")
    none.run("gitlob-setup", "-q", "origin", str(store))
    none.run("gitlob-sync", "--checkout")
    assert none.read("only.bin") == b"only"
