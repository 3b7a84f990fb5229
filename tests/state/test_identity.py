"""Which store stands at a location, and that nobody's word but the record's is taken for what it has."""

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gitlob_rsync.store.layout import CHUNK
from tests.support.handmade import check, chunk, drop, put, sha_of
from tests.support.places import Place, make_place
from tests.support.repositories import commit, records, repository
from tests.support.servers import Daemon
from tests.support.work import Work, clone, init


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    """At a path, unless a test says what else; all ways are in tests/conformance."""
    return make_place(getattr(request, "param", "path"), request)


def identity_of(store: Path) -> str:
    first, identity = (store / "gitlob" / "identity").read_text().splitlines()
    assert first == "gitlob-rsync store 1"
    return identity


def empty(folder: Path) -> Path:
    """Have a store's folder be what a disk leaves that is not mounted; returns where its content is."""
    aside = folder.with_name("aside")
    aside.mkdir()
    for entry in folder.iterdir():
        entry.rename(aside / entry.name)
    return aside


def put_back(folder: Path, aside: Path) -> None:
    for entry in aside.iterdir():
        entry.rename(folder / entry.name)


# Which store it is


@pytest.mark.parametrize("place", ["path", "daemon root"], indirect=True)
def test_a_disk_that_is_not_mounted_is_no_new_store(tmp_path: Path, place: Place) -> None:
    work = repository(tmp_path / "work", place.location, {"a.bin": b"a"})
    work.sync("--push")
    identity = identity_of(place.folder)
    aside = empty(place.folder)
    commit(work, {"b.bin": b"b"})
    put(work.content, b"b")
    for args in (["--push"], ["--push", "--recheck"], ["--push", "--complete"], ["--pull", "--complete"]):
        said = work.sync(*args, code=2).stderr
        assert identity[:12] in said and "identity none" in said and "--adopt" in said and "--create" in said
        assert len(said.splitlines()) == 1
    assert "WRONG remote" in work.run("gitlob-setup", "--check", code=2).stderr
    drop(work.content, b"a")
    assert "was not found" in work.sync("--pull", "--committed", code=2).stderr, "nothing is missing, but the store"
    assert not list(place.folder.iterdir()), "nothing was written"
    put_back(place.folder, aside)
    put(work.content, b"a")
    work.sync("--push")
    assert check(place.folder) == {sha_of(b"a"), sha_of(b"b")}


@pytest.mark.parametrize("place", ["path", "ssh", "daemon"], indirect=True)
def test_a_folder_that_is_gone_is_no_new_store(tmp_path: Path, place: Place) -> None:
    work = repository(tmp_path / "work", place.location, {"a.bin": b"a"})
    work.sync("--push")
    place.folder.rename(tmp_path / "aside")
    commit(work, {"b.bin": b"b"})
    put(work.content, b"b")
    said = work.sync("--push", code=2).stderr
    assert "was not found" in said and len(said.splitlines()) == 1
    assert not place.folder.exists()


def test_another_disk_in_its_place_is_told_from_it(tmp_path: Path, place: Place) -> None:
    work = repository(tmp_path / "work", place.location, {"a.bin": b"a"})
    work.sync("--push")
    first = identity_of(place.folder)
    empty(place.folder)
    other = repository(tmp_path / "other", place.location, {"z.bin": b"z"})
    other.sync("--push")
    second = identity_of(place.folder)
    said = work.sync("--push", "--recheck", code=2).stderr
    assert first[:12] in said and second[:12] in said
    work.run("gitlob-setup", "origin", "--adopt")
    work.sync("--push")
    assert check(place.folder) == {sha_of(b"a"), sha_of(b"z")}, "what was on record for the other is sent here"


def test_a_used_place_of_older_versions_is_no_new_store(tmp_path: Path, store: Path) -> None:
    """They left a log of syncs here, and no identity there."""
    work = repository(tmp_path / "work", store, {"a.bin": b"a"})
    work.sync("--push")
    (store / "gitlob" / "identity").unlink()
    shutil.rmtree(work.content.parent / "state" / "stores")
    aside = empty(store)
    commit(work, {"b.bin": b"b"})
    put(work.content, b"b")
    assert "the store used before was not found" in work.sync("--push", code=2).stderr
    put_back(store, aside)
    said = work.sync("--push").stderr
    assert "had no identity, and has one now" in said and identity_of(store)[:12] in said
    assert check(store) == {sha_of(b"a"), sha_of(b"b")}


@pytest.mark.smoke
def test_a_store_of_git_lob_is_adopted(tmp_path: Path, handmade: Path) -> None:
    put(handmade, b"old")
    work = repository(tmp_path / "work", handmade, {"old.bin": b"old"}, have=False)
    work.sync("--pull", "--committed")
    assert not (handmade / "gitlob").exists(), "a pull writes nothing there"
    work.sync("--push")
    identity_of(handmade)


def test_an_identity_can_be_configured_and_tracked(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"a"})
    work.sync("--push")
    other = repository(tmp_path / "other", None, {"b.bin": b"b"})
    tracked = f'[remote "origin"]\n\tgit-lob-path = {store}\n\tgit-lob-identity = {"0" * 32}\n'
    other.write(".gitlobconfig", tracked)
    said = other.sync("--push", code=2).stderr
    assert "000000000000" in said and identity_of(store)[:12] in said
    other.run("gitlob-setup", "origin", "--adopt")
    other.sync("--push")
    assert other.git("config", "remote.origin.git-lob-identity").decode().strip() == identity_of(store)
    work.git("config", "remote.origin.git-lob-identity", "NONE")
    assert "remote.origin.git-lob-identity = 'NONE'" in work.sync("--push", code=2).stderr


def test_a_new_store_is_made_on_demand_and_an_old_one_is_not(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"a"})
    assert "there is no store" in work.run("gitlob-setup", "origin", str(store), "--adopt", code=2).stderr
    work.run("gitlob-setup", "-n", "origin", str(store), "--create")
    assert not store.exists()
    work.run("gitlob-setup", "origin", str(store), "--create")
    identity = identity_of(store)
    assert "there is a store already" in work.run("gitlob-setup", "origin", str(store), "--create", code=2).stderr
    work.sync("--push")
    assert identity_of(store) == identity
    empty(store)
    work.run("gitlob-setup", "origin", "--create")
    work.sync("--push")
    assert identity_of(store) != identity and check(store) == {sha_of(b"a")}


@pytest.mark.parametrize("torn", [b"", b"gitlob-rsync store 1\nabc\n", b"x" * 5000])
def test_a_damaged_identity_stops_everything(tmp_path: Path, store: Path, torn: bytes) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"a"})
    work.sync("--push")
    (store / "gitlob" / "identity").write_bytes(torn)
    work.sync("--push", "--recheck", code=2)
    work.sync("--pull", "--complete", code=2)


def test_a_place_that_is_refused_is_not_written_down(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"a"})
    work.sync("--push")
    work.run("gitlob-setup", "origin", str(tmp_path / "typo"), "--adopt", code=2)
    assert work.git("config", "remote.origin.git-lob-path").decode().strip() == str(store)
    (tmp_path / "full").mkdir()
    shutil.copytree(store, tmp_path / "full", dirs_exist_ok=True)
    work.run("gitlob-setup", "origin", str(tmp_path / "full"), "--create", code=2)
    assert work.git("config", "remote.origin.git-lob-path").decode().strip() == str(store)
    work.run("gitlob-setup", "origin", str(tmp_path / "full"), "--adopt")
    assert work.git("config", "remote.origin.git-lob-path").decode().strip() == str(tmp_path / "full")


def test_lists_that_were_deleted_come_back_by_what_the_message_says(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"a"})
    work.sync("--push")
    shutil.rmtree(store / "gitlob" / "lists")
    said = work.run("gitlob-purge", "--remote-store", code=1).stderr
    assert "gitlob-sync --push --recheck" in said
    work.sync("--push", "--recheck")
    work.run("gitlob-purge", "--remote-store")


def test_a_first_push_that_another_one_overtakes_goes_on(tmp_path: Path, store: Path) -> None:
    """The other one makes the store between the look at the place and what is known of it."""
    work = repository(tmp_path / "work", store, {"a.bin": b"a"})
    head = work.git("rev-parse", "HEAD").decode().strip()
    (tmp_path / "pushed").write_text(f"refs/heads/main {head} refs/heads/main {'0' * 40}\n")
    shim = tmp_path / "shim" / "rsync"
    shim.parent.mkdir()
    path = os.environ["PATH"]
    shim.write_text(
        f'#!/bin/sh\n{shutil.which("rsync")} "$@"; code=$?\ncase "$*" in *identity*)'
        f' mkdir "{shim}.done" 2>/dev/null && PATH="{path}" gitlob-sync --pre-push origin <"{tmp_path}/pushed" >&2;; esac\n'
        "exit $code\n"
    )
    shim.chmod(0o755)
    work.sync("--push", env={"PATH": f"{shim.parent}:{path}"})
    assert Path(f"{shim}.done").exists()
    assert check(store) == {sha_of(b"a")}


def test_two_first_pushes_at_once_agree_on_one_identity(tmp_path: Path, store: Path) -> None:
    works = [repository(tmp_path / f"work{n}", store, {"a.bin": b"%d" % n}) for n in range(4)]
    running = [subprocess.Popen(["gitlob-sync", "-q", "--push"], cwd=work.path) for work in works]
    for one in running:
        one.wait()
    for number, work in enumerate(works):
        if running[number].returncode:  # it met another's identity in the middle: said, and put right by the way out
            work.run("gitlob-setup", "origin", "--adopt")
        work.sync("--push")
    assert check(store) == {sha_of(b"%d" % n) for n in range(4)}


# git's tracking branches say what git's remote has, not what the store has


@pytest.fixture
def team(tmp_path: Path, store: Path) -> Work:
    """A repository with a bare git remote, a store, the hook, and one binary pushed."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", tmp_path / "origin.git"], check=True)
    work = init(tmp_path / "work", attributes="*.bin filter=lob -text -merge\n")
    work.git("remote", "add", "origin", str(tmp_path / "origin.git"))
    work.run("gitlob-setup", "-q", "origin", str(store), "--hooks")
    work.commit(a__bin=b"a")
    work.git("push", "-q", "origin", "main")
    return work


def pushed(work: Work, *args: str) -> tuple[int, str]:
    done = subprocess.run(["git", "push", *args], cwd=work.path, capture_output=True, text=True)
    return done.returncode, done.stderr


def test_what_came_from_one_remote_is_passed_on_to_another(team: Work, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "second.git"], check=True)
    team.git("remote", "add", "second", str(tmp_path / "second.git"))
    team.run("gitlob-setup", "-q", "second", str(tmp_path / "store2"))
    assert pushed(team, "second", "main")[0] == 0
    assert check(tmp_path / "store2") == {sha_of(b"a")}


def test_what_is_neither_here_nor_there_stops_the_push(team: Work, tmp_path: Path, store: Path) -> None:
    passing = clone(
        Work(tmp_path / "origin.git"), tmp_path / "passing", "-c", "git-lob.autofetch=false", location=store
    )
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "second.git"], check=True)
    passing.git("remote", "add", "second", str(tmp_path / "second.git"))
    passing.run("gitlob-setup", "-q", "second", str(tmp_path / "store2"), "--hooks")
    code, said = pushed(passing, "second", "main")
    assert code and f"{sha_of(b'a')} a.bin" in said and "gitlob-sync --pull --committed origin" in said
    assert not (tmp_path / "store2").exists() and not Work(tmp_path / "second.git").git("for-each-ref")
    passing.sync("--pull", "--committed", "origin")
    assert pushed(passing, "second", "main")[0] == 0
    assert check(tmp_path / "store2") == {sha_of(b"a")}


@pytest.mark.parametrize("way", ["a chunk", "the first of two", "the last of two", "none"])
def test_a_meta_alone_is_no_binary(team: Work, tmp_path: Path, store: Path, way: str) -> None:
    """A copy of a store that broke off: a clone that has not the binary takes nobody's word for it."""
    content = bytes(CHUNK) + (b"" if way == "a chunk" else b"end")
    team.commit(b__bin=content)
    team.git("push", "-q", "origin", "main")
    if way != "none":
        chunk(store, content, int(way == "the last of two")).unlink()
    passing = clone(
        Work(tmp_path / "origin.git"), tmp_path / "passing", "-c", "git-lob.autofetch=false", location=store
    )
    passing.run("gitlob-setup", "-q", "--hooks")
    passing.commit(c__bin=b"c")
    code, said = pushed(passing, "origin", "main")
    if way == "none":
        assert code == 0 and check(store) == {sha_of(b"a"), sha_of(content), sha_of(b"c")}
    else:
        assert code and f"{sha_of(content)} b.bin" in said


def test_the_store_that_only_the_pushed_branch_names_counts(team: Work, tmp_path: Path, store: Path) -> None:
    team.git("config", "--unset", "remote.origin.git-lob-path")
    team.git("config", "--unset", "remote.origin.git-lob-provider")
    team.write(".gitlobconfig", f'[remote "origin"]\n\tgit-lob-path = {store}\n')
    team.commit(b__bin=b"b")
    team.git("checkout", "-q", "--orphan", "pages")
    team.git("rm", "-rfq", ".")
    team.commit(page=b"page")
    assert pushed(team, "origin", "pages", "main")[0] == 0
    assert check(store) == {sha_of(b"a"), sha_of(b"b")}


def test_a_push_may_be_allowed_to_be_incomplete(team: Work, tmp_path: Path, store: Path) -> None:
    team.commit(b__bin=b"b")
    drop(team.content, b"b")
    assert pushed(team, "origin", "main")[0]
    team.git("config", "git-lob.allow-incomplete-push", "true")
    code, said = pushed(team, "origin", "main")
    assert code == 0 and "1 missing on both sides" in said
    team.git("config", "--unset", "git-lob.allow-incomplete-push")
    put(team.content, b"b")
    team.commit(c__bin=b"c")
    assert pushed(team, "origin", "main")[0] == 0
    assert check(store) == {sha_of(b"a"), sha_of(b"b"), sha_of(b"c")}, "what was left out is sent once it is here"


def test_a_new_place_gets_what_the_old_one_had(team: Work, tmp_path: Path) -> None:
    team.run("gitlob-setup", "-q", "origin", str(tmp_path / "elsewhere"))
    team.commit(b__bin=b"b")
    assert pushed(team, "origin", "main")[0] == 0
    assert check(tmp_path / "elsewhere") == {sha_of(b"a"), sha_of(b"b")}


def test_a_store_that_came_after_the_first_push_gets_all(tmp_path: Path, store: Path) -> None:
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "origin.git"], check=True)
    work = init(tmp_path / "work")
    work.git("remote", "add", "origin", str(tmp_path / "origin.git"))
    work.commit(a__bin=b"a")
    work.git("push", "-q", "origin", "main")
    work.run("gitlob-setup", "-q", "origin", str(store), "--hooks")
    work.commit(b__bin=b"b")
    assert pushed(work, "origin", "main")[0] == 0
    assert check(store) == {sha_of(b"a"), sha_of(b"b")}


def test_refs_that_a_fetch_maps_below_the_remote_prove_nothing(team: Work, tmp_path: Path, store: Path) -> None:
    """Somebody's pull request got to git's remote past the hook."""
    team.commit(b__bin=b"b")
    team.git("push", "-q", "--no-verify", "origin", "main:refs/pull/1/head")
    team.git("config", "--add", "remote.origin.fetch", "+refs/pull/*/head:refs/remotes/origin/pr/*")
    team.git("fetch", "-q")
    assert pushed(team, "origin", "main")[0] == 0
    assert check(store) == {sha_of(b"a"), sha_of(b"b")}


def test_a_clone_of_all_pushes_after_one_listing_and_then_by_its_record(
    team: Work,
    tmp_path: Path,
    store: Path,
    runs: Callable[[], list[str]],
) -> None:
    other = clone(Work(tmp_path / "origin.git"), tmp_path / "other", "-c", "git-lob.autofetch=false", location=store)
    other.run("gitlob-setup", "-q", "--hooks")
    runs()
    other.commit(b__bin=b"b")
    assert pushed(other, "origin", "main")[0] == 0
    first = runs()
    assert len([run for run in first if "--dry-run" in run]) == 1, "what this clone never had is looked for there"
    other.commit(c__bin=b"c")
    assert pushed(other, "origin", "main")[0] == 0
    second = runs()
    assert len(second) == 3 and not [run for run in second if "--dry-run" in run]
    assert check(store) == {sha_of(b"a"), sha_of(b"b"), sha_of(b"c")}


def test_the_record_of_the_hook_holds_no_more_than_the_tips(team: Work) -> None:
    for number in range(3):
        team.commit(a__bin=b"%d" % number)
        team.git("push", "-q", "origin", "main")
    (record,) = records(team)
    assert json.loads(record.read_text())["tips"] == [team.git("rev-parse", "main").decode().strip()]


@pytest.mark.parametrize("annotated", [False, True])
def test_a_tag_of_a_tree_goes_out_with_its_binaries(team: Work, store: Path, annotated: bool) -> None:
    team.write("t.bin", b"tagged")
    team.git("add", "t.bin")
    tree = team.git("write-tree").decode().strip()
    team.git("reset", "-q", "--hard")
    team.git("tag", *(["-a", "-m", "x"] if annotated else []), "tree", tree)
    assert pushed(team, "origin", "tree")[0] == 0
    assert check(store) == {sha_of(b"a"), sha_of(b"tagged")}
    for at in (*store.rglob("*"), *team.content.rglob("*")):
        os.utime(at, (1, 1))
    team.run("gitlob-purge", "--remote-store", "--grace", "0")
    team.run("gitlob-purge", "--grace", "0", "--window", "0")
    assert check(store) == {sha_of(b"a"), sha_of(b"tagged")} == check(team.content)
    drop(team.content, b"tagged")
    drop(store, b"tagged")
    team.git("tag", "another", "tree^{}")
    code, said = pushed(team, "origin", "another")
    assert code and sha_of(b"tagged") in said


def test_a_list_holds_what_others_sent(team: Work, tmp_path: Path, store: Path) -> None:
    """A pushed X; B made main of it; A deleted X, and purges."""
    b = clone(Work(tmp_path / "origin.git"), tmp_path / "b", location=store)
    b.run("gitlob-setup", "-q", "--hooks")
    team.git("checkout", "-q", "-b", "X")
    team.commit(x__bin=b"x")
    team.git("push", "-q", "origin", "X")
    b.git("fetch", "-q")
    b.git("merge", "-q", "--ff-only", "origin/X")
    b.git("push", "-q", "origin", "main")
    team.git("checkout", "-q", "main")
    team.git("push", "-q", "origin", ":X")
    team.git("branch", "-q", "-D", "X")
    for at in store.rglob("*"):
        os.utime(at, (1, 1))
    team.run("gitlob-purge", "--remote-store", "--grace", "0")
    assert chunk(store, b"x").exists()


# Several accounts


@pytest.mark.parametrize("place", ["path", "ssh"], indirect=True)
@pytest.mark.parametrize("mode", [0o2775, 0o2770])
def test_a_root_for_a_group_gives_content_for_it(tmp_path: Path, place: Place, mode: int) -> None:
    place.folder.mkdir(parents=True, exist_ok=True)
    place.folder.chmod(mode)
    work = repository(tmp_path / "work", place.location, {"a.bin": b"a", "b.bin": b"b"})
    old = os.umask(0o022)
    try:
        work.sync("--push")
    finally:
        os.umask(old)
    for at in place.folder.rglob("*"):
        found = stat.S_IMODE(at.stat().st_mode)
        assert found == (mode if at.is_dir() else mode & 0o666), at


def test_the_trash_of_a_root_for_a_group_is_for_it_too(tmp_path: Path, place: Place) -> None:
    place.folder.mkdir(parents=True, exist_ok=True)
    place.folder.chmod(0o2775)
    work = repository(tmp_path / "work", place.location, {"a.bin": b"a"})
    work.sync("--push")
    put(place.folder, b"old")
    top = place.folder / sha_of(b"old")[:3]
    for at in (top, *top.rglob("*")):
        at.chmod(0o2775 if at.is_dir() else 0o664)
        os.utime(at, (1, 1))
    old = os.umask(0o022)
    try:
        work.run("gitlob-purge", "--remote-store", "--grace", "1d")
    finally:
        os.umask(old)
    folders = [at for at in (place.folder / "gitlob").rglob("*") if at.is_dir()]
    assert len(folders) == 5, "lists, trash, one of today, and two of the binary"
    assert {stat.S_IMODE(at.stat().st_mode) for at in folders} == {0o2775}


def test_a_shared_store_is_made_for_its_group(tmp_path: Path, place: Place) -> None:
    work = repository(tmp_path / "work", None, {"a.bin": b"a"})
    work.run("gitlob-setup", "-q", "origin", place.location, "--shared=group")
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o2775
    work.sync("--push")
    assert stat.S_IMODE(chunk(place.folder, b"a").parent.stat().st_mode) == 0o2775


def test_the_check_writes_and_leaves_nothing(tmp_path: Path, place: Place) -> None:
    work = repository(tmp_path / "work", place.location, {"a.bin": b"a"})
    work.sync("--push")
    before = sorted(place.folder.rglob("*"))
    assert "can be reached and written to" in work.run("gitlob-setup", "--check", code=None).stderr
    assert sorted(place.folder.rglob("*")) == before


def test_the_check_says_who_may_not_write(tmp_path: Path, rsyncd: Daemon) -> None:
    put(rsyncd.folder, b"x")
    work = repository(tmp_path / "work", rsyncd.location(module="readonly"), {"x.bin": b"x"})
    said = work.run("gitlob-setup", "--check", code=None)
    assert said.returncode and "may not write to it" in said.stderr
