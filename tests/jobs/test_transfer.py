"""What arrives, what stays, and what is said of it, through the real command line and every transport."""

import json
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.handmade import (
    CHUNK,
    check,
    chunk,
    drop,
    files_of,
    hostile_metas,
    meta,
    placeholder,
    put,
    sha_of,
    shas_in,
    tree,
)
from tests.support.places import Place, make_place
from tests.support.processes import program
from tests.support.repositories import commit, records, repository, sharing
from tests.support.servers import Sshd, free_port
from tests.support.work import Work, clone, init

MEBI = 1 << 20


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    """At a path, unless a test says what else; all ways are in tests/conformance."""
    return make_place(getattr(request, "param", "path"), request)


# There and back


@pytest.mark.smoke
def test_a_push_and_a_pull_as_people_do_them(tmp_path: Path, store: Path) -> None:
    work = init(tmp_path / "work", location=store)
    contents = {"a.bin": b"one", "folder/b c.bin": b"two" * 1000, "empty.bin": b""}
    for name, content in contents.items():
        work.write(name, content)
    work.commit()
    work.sync("--push")
    assert check(store) == {sha_of(content) for content in contents.values()}

    other = clone(work, tmp_path / "other", location=store)
    assert other.read("a.bin") == placeholder(b"one")
    other.sync("--pull")
    assert {name: other.read(name) for name in contents} == contents
    assert check(other.content) == check(store)
    assert other.git("status", "--porcelain") == b""
    assert not other.staging


def test_every_size_survives(tmp_path: Path, store: Path) -> None:
    """200 MiB goes through tests/scenarios/test_kill.py."""
    large = os.urandom(MEBI) * 65
    contents = {"0": b"", "1": b"x", "chunk": large[:CHUNK], "more": large[: CHUNK + 1], "large": large}
    work = repository(tmp_path / "work", store, contents)
    work.sync("--push")
    assert check(store) == {sha_of(content) for content in contents.values()}
    shutil.rmtree(work.content)
    said = work.json("--pull")
    assert said["transferred"] == 5
    assert said["bytes"] == sum(map(len, contents.values()))
    assert check(work.content) == check(store)


def test_a_handmade_store_is_read(tmp_path: Path, handmade: Path) -> None:
    contents = {"a.bin": b"abc", "empty.bin": b"", "two.bin": bytes(CHUNK) + b"tail"}
    for content in contents.values():
        put(handmade, content)
    work = repository(tmp_path / "work", handmade, contents, have=False)
    work.sync("--pull")
    assert tree(work.content) == tree(handmade)


def test_a_push_makes_the_store_that_git_lob_would(tmp_path: Path, handmade: Path, store: Path) -> None:
    contents = {"a.bin": b"abc", "empty.bin": b"", "two.bin": bytes(CHUNK) + b"tail"}
    work = repository(tmp_path / "work", store, contents)
    for content in contents.values():
        put(handmade, content)
    work.sync("--push")
    assert tree(store) == tree(handmade)


def test_a_meta_in_another_spelling_is_read_and_rewritten(tmp_path: Path, handmade: Path) -> None:
    sha = put(handmade, b"abc")
    meta(handmade, b"abc").write_text(f'{{ "NumChunks": 1,\n "More": [], "Size": 3, "SHA": "{sha}" }}\n')
    work = repository(tmp_path / "work", handmade, {"a.bin": b"abc"}, have=False)
    assert work.json("--pull")["transferred"] == 1
    assert meta(work.content, b"abc").read_bytes() == files_of(b"abc")[f"{sha[:3]}/{sha[3:6]}/{sha}_meta"]


def test_paths_that_are_no_text(tmp_path: Path) -> None:
    """A repository and a store in folders whose names are not UTF-8."""
    work = repository(tmp_path / "work", None, {"a.bin": b"abc"})
    moved, there = Work(tmp_path / os.fsdecode(b"w\xfe")), tmp_path / os.fsdecode(b"st\xff ore")
    work.path.rename(moved.path)
    moved.sync("--push", str(there))
    assert check(there) == {sha_of(b"abc")}


@pytest.mark.parametrize("kind", ["path", "ssh", "daemon"])
def test_a_location_with_characters_that_shells_and_globs_know(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    place = make_place(kind, request)
    odd = "/a [b]* $(touch x) 'q' ;&"
    work = repository(tmp_path / "work", f'"{place.location}{odd}"', {"a.bin": b"abc"})
    work.sync("--push")
    assert check(Path(f"{place.folder}{odd}")) == {sha_of(b"abc")}
    drop(work.content, b"abc")
    assert work.json("--pull")["transferred"] == 1


# A push: what is sent


def test_a_push_says_how_many_bytes_of_content_it_sent(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"abc", "b.bin": b"defgh"})
    said = work.json("--push")
    assert (said["selected"], said["transferred"], said["bytes"]) == (2, 2, 8)


def test_what_was_added_and_reset_does_not_travel(work: Work, store: Path) -> None:
    work.commit(kept__bin=b"kept")
    work.write("secret.bin", b"secret")
    work.git("add", "secret.bin")
    work.git("reset", "-q")
    assert sha_of(b"secret") in shas_in(work.content)
    work.sync("--push")
    assert check(store) == {sha_of(b"kept")}
    work.sync("--push", "--complete")
    assert check(store) == {sha_of(b"kept"), sha_of(b"secret")}


def test_complete_goes_both_ways(tmp_path: Path, place: Place) -> None:
    here, there = sha_of(b"here"), sha_of(b"there")
    put(place.folder, b"there")
    work = repository(tmp_path / "work", place.location, {})
    put(work.content, b"here")
    work.sync("--push", "--complete")
    assert (check(place.folder), check(work.content)) == ({here, there}, {here})
    drop(place.folder, b"here")
    work.sync("--pull", "--complete")
    assert (check(place.folder), check(work.content)) == ({there}, {here, there})
    drop(work.content, b"there")
    said = work.json("--complete")
    assert check(place.folder) == check(work.content) == {here, there}
    assert said["transferred"] == 2


def test_a_complete_push_makes_the_store(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", store, {})
    put(work.content, b"here")
    work.sync("--push", "--complete")
    assert check(store) == {sha_of(b"here")}


def test_without_a_direction_both_are_gone(tmp_path: Path, store: Path) -> None:
    put(store, b"theirs")
    work = repository(tmp_path / "work", store, {"mine.bin": b"mine"})
    commit(work, {"theirs.bin": b"theirs"})
    said = work.json()
    assert check(store) == check(work.content) == {sha_of(b"mine"), sha_of(b"theirs")}
    assert (said["push"]["transferred"], said["pull"]["transferred"]) == (1, 1)


def test_a_push_looks_at_new_commits_only(tmp_path: Path, store: Path, runs: Callable[[], list[str]]) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"a"})
    assert work.json("--push")["transferred"] == 1
    assert runs()
    assert work.json("--push")["selected"] == 0
    assert not runs(), "nothing is to be done, so nobody is asked"
    commit(work, {"b.bin": b"b"})
    put(work.content, b"b")
    drop(store, b"a")
    said = work.json("--push")
    assert (said["selected"], said["transferred"]) == (1, 1)
    assert work.json("--push", "--recheck")["transferred"] == 1
    assert check(store) == {sha_of(b"a"), sha_of(b"b")}


def test_the_record_belongs_to_one_location(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"a"})
    work.sync("--push")
    assert work.json("--push", str(tmp_path / "elsewhere"))["transferred"] == 1


def test_the_record_is_void_when_its_commit_is_gone(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"a"})
    work.sync("--push")
    drop(store, b"a")
    head = work.git("rev-parse", "HEAD").decode().strip()
    commit(work, {"a.bin": b"a", "b.bin": b"b"}, branch="new")
    put(work.content, b"b")
    work.git("symbolic-ref", "HEAD", "refs/heads/new")
    work.git("branch", "-qD", "main")
    work.git("-c", "gc.reflogExpire=now", "gc", "-q", "--prune=now")
    assert not work.git("cat-file", "--batch-check", input=f"{head}\n".encode()).endswith(b"commit")
    (work.path / ".git" / "objects" / head[:2] / head[2:]).unlink(missing_ok=True)
    assert work.json("--push")["transferred"] == 2
    assert check(store) == {sha_of(b"a"), sha_of(b"b")}


def test_a_torn_record_is_void(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"a"})
    work.sync("--push")
    (record,) = records(work)
    assert work.json("--push", "-n")["selected"] == 0
    for torn in (
        b"",
        b"[]",
        b'{"tips": ["0123"]}',
        b"\xff",
        record.read_bytes()[:-20],
        b'{"location": 1, "tips": "all"}',
    ):
        record.write_bytes(torn)
        assert work.json("--push", "-n")["selected"] == 1, torn


def test_an_unsuccessful_push_is_not_on_record(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"a", "b.bin": b"b"})
    drop(work.content, b"b")
    work.sync("--push", code=3)
    assert not records(work), "one was missing"
    put(work.content, b"b")
    chunk(work.content, b"b").write_bytes(b"B")
    work.sync("--push", code=3)
    assert not records(work), "one was damaged"
    put(work.content, b"b")
    work.sync("--push", f"rsync://127.0.0.1:{free_port()}/store/x", code=4)
    assert not records(work), "the remote could not be reached"
    work.sync("--push", "--include", "*.bin")
    assert not records(work), "not all paths were looked at"
    work.sync("--push", "-n")
    assert not records(work), "nothing was done"
    work.sync("--push")
    assert len(records(work)) == 1


def test_a_shallow_clone_has_no_record(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", store, {"old.bin": b"old"})
    commit(work, {"old.bin": b"new"})
    put(work.content, b"new")
    work.sync("--push")
    subprocess.run(
        ["git", "clone", "-q", "--no-checkout", "--depth=1", f"file://{work.path}", tmp_path / "shallow"], check=True
    )
    shallow = Work(tmp_path / "shallow")
    put(shallow.content, b"new")
    said = shallow.sync("--push", str(tmp_path / "third"))
    assert "shallow" in said.stderr
    assert check(tmp_path / "third") == {sha_of(b"new")}
    assert not records(shallow)


def test_a_push_never_replaces_a_file_of_the_right_size(tmp_path: Path, place: Place) -> None:
    put(place.folder, b"abc")
    theirs = chunk(place.folder, b"abc")
    theirs.write_bytes(b"ABC")
    before = theirs.stat()
    work = repository(tmp_path / "work", place.location, {"a.bin": b"abc"})
    assert work.json("--push")["transferred"] == 0
    after = theirs.stat()
    assert (theirs.read_bytes(), after.st_ino, after.st_mtime_ns) == (b"ABC", before.st_ino, before.st_mtime_ns)


def test_a_push_mends_a_file_of_a_wrong_size(tmp_path: Path, place: Place) -> None:
    contents = {"a.bin": b"abc", "b.bin": b"def", "c.bin": b"ghi", "good.bin": b"good"}
    for content in contents.values():
        put(place.folder, content)
    os.truncate(chunk(place.folder, b"abc"), 1)
    os.truncate(meta(place.folder, b"def"), 0)
    with chunk(place.folder, b"ghi").open("ab") as file:
        file.write(b"more")
    work = repository(tmp_path / "work", place.location, contents)
    assert work.json("--push")["transferred"] == 3
    assert check(place.folder) == {sha_of(content) for content in contents.values()}


def test_a_complete_push_mends_a_file_of_a_wrong_size(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"abc", "b.bin": b"def"})
    put(store, b"abc")
    put(store, b"def")
    os.truncate(chunk(store, b"abc"), 1)
    os.truncate(meta(store, b"def"), 5)
    assert work.json("--push", "--complete")["transferred"] == 2
    assert check(store) == {sha_of(b"abc"), sha_of(b"def")}


@pytest.mark.parametrize("selection", ["--committed", "--complete", "--window"])
def test_a_damaged_binary_is_not_sent(tmp_path: Path, store: Path, selection: str) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"abc", "dir/again.bin": b"abc", "good.bin": b"good"})
    chunk(work.content, b"abc").write_bytes(b"ABC")
    said = work.sync("--push", selection, code=3)
    assert check(store) == {sha_of(b"good")}
    assert not chunk(store, b"abc").exists()
    (line,) = [line for line in said.stderr.splitlines() if sha_of(b"abc") in line]
    assert line.startswith("gitlob-sync: damaged")
    assert "a.bin" in line and "dir/again.bin" in line
    damaged = work.json("--push", selection, "--recheck", code=3)["damaged"]
    assert damaged == [{"sha": sha_of(b"abc"), "paths": ["a.bin", "dir/again.bin"]}]


def test_a_binary_of_a_wrong_size_here_does_not_replace_a_good_one_there(tmp_path: Path, store: Path) -> None:
    put(store, b"abc")
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    os.truncate(chunk(work.content, b"abc"), 1)
    work.sync("--push")
    assert check(store) == {sha_of(b"abc")}


def test_what_an_unpushed_commit_needs_must_be_somewhere(tmp_path: Path, place: Place) -> None:
    """It is neither here nor there: named, after everything else was sent. What is there is not missed."""
    put(place.folder, b"there")
    work = repository(tmp_path / "work", place.location, {"here.bin": b"here"})
    commit(work, {"gone.bin": b"gone", "dir/gone.bin": b"gone", "there.bin": b"there"})
    said = work.json("--push", code=3)
    assert said["missing"] == [{"sha": sha_of(b"gone"), "paths": ["dir/gone.bin", "gone.bin"]}]
    assert said["transferred"] == 1
    assert check(place.folder) == {sha_of(b"here"), sha_of(b"there")}


def test_what_older_commits_need_and_is_nowhere_is_missing(tmp_path: Path, store: Path) -> None:
    """That git's remote has a commit says nothing of the store."""
    work = repository(tmp_path / "work", store, {"gone.bin": b"gone"})
    drop(work.content, b"gone")
    work.fetches("origin")
    work.git("update-ref", "refs/remotes/origin/main", "main")
    work.git("rm", "-q", "--cached", "gone.bin", code=128)  # the index is empty: nothing of it is needed there
    commit(work, {"gone.bin": b"new"})
    put(work.content, b"new")
    assert f"missing at origin ({store}): {sha_of(b'gone')} gone.bin" in work.sync("--push", code=3).stderr
    work.git("config", "git-lob.allow-incomplete-push", "true")
    assert "1 missing on both sides" in work.sync("--push").stderr
    assert check(store) == {sha_of(b"new")}
    assert not records(work), "a later push has to look at them again"


def test_a_push_sends_what_a_ref_needs(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"a"})
    commit(work, {"b.bin": b"b"}, branch="side")
    put(work.content, b"b")
    work.sync("--push", "--ref", "side")
    assert check(store) == {sha_of(b"b")}
    work.sync("--push")
    assert check(store) == {sha_of(b"a"), sha_of(b"b")}


def test_files_at_the_remote_have_the_modes_of_its_umask(tmp_path: Path, place: Place) -> None:
    """git-lob leaves files that nobody else can read; what others are to pull must not stay so."""
    work = repository(tmp_path / "work", place.location, {"a.bin": b"abc"})
    for path in work.content.rglob("*_*"):
        path.chmod(0o400)
    work.sync("--push")
    modes = {stat.S_IMODE(at.stat().st_mode) for at in place.folder.rglob("*_*")}
    assert modes == {0o644}
    assert stat.S_IMODE(chunk(place.folder, b"abc").parent.stat().st_mode) == 0o755


# A pull: what is let in


def test_what_the_remote_lacks_is_listed_and_the_rest_arrives(tmp_path: Path, place: Place) -> None:
    put(place.folder, b"good")
    files = {"good.bin": b"good", "gone.bin": b"gone", "dir/again.bin": b"gone", "no.bin": b"no"}
    work = repository(tmp_path / "work", place.location, files, have=False)
    said = work.sync("--pull", code=3)
    assert check(work.content) == {sha_of(b"good")}
    lines = said.stderr.splitlines()
    assert len(lines) == 3, "one line for each, and a summary"
    (line,) = [line for line in lines if sha_of(b"gone") in line]
    assert line.startswith("gitlob-sync: missing at origin")
    assert "gone.bin" in line and "dir/again.bin" in line
    missing = {found["sha"]: found["paths"] for found in work.json("--pull", code=3)["missing"]}
    assert missing == {sha_of(b"gone"): ["dir/again.bin", "gone.bin"], sha_of(b"no"): ["no.bin"]}


def put_with_hostile_metas(store: Path, contents: list[bytes]) -> None:
    for number, content in enumerate(contents):
        meta(store, content).parent.mkdir(parents=True, exist_ok=True)
        chunk(store, content).write_bytes(content)
        meta(store, content).write_bytes(hostile_metas(sha_of(content), len(content))[number])


def test_no_hostile_meta_is_believed(tmp_path: Path, handmade: Path) -> None:
    """Only the meta says whether a first chunk that is full is all."""
    contents = [b"%03d" % number + bytes(CHUNK - 3) for number in range(7)]
    put_with_hostile_metas(handmade, contents)
    put(handmade, b"good")
    files = {f"{number}.bin": content for number, content in enumerate([*contents, b"good"])}
    work = repository(tmp_path / "work", handmade, files, have=False)
    said = work.json("--pull", code=3)
    assert {found["sha"] for found in said["damaged"]} == set(map(sha_of, contents))
    assert said["missing"] == []
    assert check(work.content) == {sha_of(b"good")}
    assert not work.staging


def test_the_meta_of_a_lone_chunk_is_ours_whatever_the_remote_has(tmp_path: Path, handmade: Path) -> None:
    contents = [b"%03d" % number for number in range(len(hostile_metas("x" * 40, 3)))]
    put_with_hostile_metas(handmade, contents)
    files = {f"{number}.bin": content for number, content in enumerate(contents)}
    work = repository(tmp_path / "work", handmade, files, have=False)
    assert work.json("--pull")["transferred"] == len(contents)
    assert check(work.content) == set(map(sha_of, contents))


@pytest.mark.parametrize("place", ["path", "daemon root"], indirect=True)
def test_nothing_hostile_gets_in(tmp_path: Path, place: Place) -> None:
    """Each is damaged, or counts as missing; what is good arrives, and nothing of the others under a final name. The meta
    of a lone chunk is not needed: whatever stands in its place, the content arrives."""

    def spoil(kind: str, at: Path, content: bytes) -> None:
        wrong = {"flipped": content[:-1] + b"?", "short": content[:-1], "long": content + b"x", "empty": b""}
        if kind in wrong:
            at.write_bytes(wrong[kind])
            return
        at.rename(tmp_path / f"target {at.name}")
        targets = {"link": f"{tmp_path}/target {at.name}", "link to folder": str(tmp_path), "dangling": "nowhere"}
        if kind in targets:
            at.symlink_to(targets[kind])
        elif kind == "folder":
            at.mkdir()
        elif kind == "fifo":
            os.mkfifo(at)

    kinds = ["flipped", "short", "long", "empty", "none", "link", "link to folder", "dangling", "folder", "fifo"]
    contents = {kind: f"content: {kind}".encode() for kind in kinds}
    for kind, content in contents.items():
        put(place.folder, content)
        spoil(kind, chunk(place.folder, content), content)
    good = {"good": b"good"}
    put(place.folder, b"good")
    for kind in ("none", "link", "dangling", "fifo", "folder"):
        good[f"meta {kind}"] = content = f"meta: {kind}".encode()
        put(place.folder, content)
        spoil(kind, meta(place.folder, content), content)
    put(place.folder, b"stray")
    (place.folder / "README").write_text("a stranger's")
    work = repository(tmp_path / "work", place.location, {**contents, **good}, have=False)
    said = work.json("--pull", code=3)
    assert {found["sha"] for found in [*said["damaged"], *said["missing"]]} == set(map(sha_of, contents.values()))
    assert {found["sha"]: found["paths"] for found in said["damaged"]}[sha_of(contents["flipped"])] == ["flipped"]
    assert check(work.content) == set(map(sha_of, good.values()))
    assert not work.staging


def test_a_linked_folder_at_the_remote_gives_nothing_wrong(tmp_path: Path, store: Path) -> None:
    put(store, b"good")
    put(tmp_path / "elsewhere", b"abc")
    chunk(tmp_path / "elsewhere", b"abc").write_bytes(b"ABC")
    folder = sha_of(b"abc")[:3]
    (store / folder).symlink_to(tmp_path / "elsewhere" / folder)
    work = repository(tmp_path / "work", store, {"a.bin": b"abc", "good.bin": b"good"}, have=False)
    work.sync("--pull", code=3)
    assert check(work.content) == {sha_of(b"good")}


def test_a_lie_about_the_size_is_found_out_quickly(
    tmp_path: Path, handmade: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of a million chunks is there: they must not be asked for one by one."""
    sha = put(handmade, bytes(CHUNK))
    count = 1 << 20
    meta(handmade, bytes(CHUNK)).write_text(f'{{"SHA":"{sha}","Size":{count * CHUNK},"NumChunks":{count}}}')
    work = repository(tmp_path / "work", handmade, {"a.bin": bytes(CHUNK)}, have=False)
    asked, rsync = tmp_path / "asked", shutil.which("rsync")
    (tmp_path / "shim").mkdir()
    program(
        tmp_path / "shim" / "rsync",
        f'[ "$1" = --version ] && exec {rsync} "$@"\ntee -a {asked} | {rsync} "$@"',
    )
    monkeypatch.setenv("PATH", f"{tmp_path}/shim:{os.environ['PATH']}")
    work.sync("--pull", code=3)
    assert 0 < asked.read_bytes().count(b"\0") < count // 10


@pytest.mark.parametrize("size", [3, CHUNK + 1, 0])
def test_a_later_chunk_of_a_wrong_size_is_not_asked_for_again_and_again(
    tmp_path: Path, handmade: Path, size: int, runs: Callable[[], list[str]]
) -> None:
    content = bytes(CHUNK) + b"tail"
    put(handmade, content)
    put(handmade, b"good")
    os.truncate(chunk(handmade, content, 1), size)
    work = repository(tmp_path / "work", handmade, {"a.bin": content, "good.bin": b"good"}, have=False)
    done = work.sync("--pull", code=3)
    assert len(runs()) == 2, "metas and first chunks, then the other chunks"
    assert f"damaged at origin ({handmade}): {sha_of(content)} a.bin" in done.stderr
    assert check(work.content) == {sha_of(b"good")}


@pytest.mark.parametrize("place", ["path", "daemon root"], indirect=True)
def test_a_file_in_the_place_of_a_folder_there_is_no_reason_to_stop(tmp_path: Path, place: Place) -> None:
    """The default looks for what it cannot push, too."""
    put(place.folder, b"good")
    (place.folder / sha_of(b"abc")[:3]).write_bytes(b"x")
    work = repository(tmp_path / "work", place.location, {"a.bin": b"abc", "good.bin": b"good"}, have=False)
    done = work.sync(code=3)
    assert f"missing at origin ({place.location.rstrip('/')}): {sha_of(b'abc')} a.bin" in done.stderr
    assert check(work.content) == {sha_of(b"good")}


def test_what_is_damaged_here_stays_unless_it_is_fetched_again(tmp_path: Path, store: Path) -> None:
    put(store, b"abc")
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    chunk(work.content, b"abc").write_bytes(b"ABC")
    assert work.json("--pull")["transferred"] == 0
    assert chunk(work.content, b"abc").read_bytes() == b"ABC"
    assert work.json("--pull", "--refetch")["transferred"] == 1
    assert check(work.content) == {sha_of(b"abc")}
    assert work.json("--pull", "--refetch")["transferred"] == 0


def test_a_damaged_binary_here_outlives_a_remote_that_has_no_better(tmp_path: Path, store: Path) -> None:
    put(store, b"abc")
    chunk(store, b"abc").write_bytes(b"AbC")
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    chunk(work.content, b"abc").write_bytes(b"ABC")
    said = work.json("--pull", "--refetch", code=3)
    assert [found["sha"] for found in said["damaged"]] == [sha_of(b"abc")]
    assert chunk(work.content, b"abc").read_bytes() == b"ABC"


@pytest.mark.parametrize("torn", ["chunk", "meta", "no chunk", "no meta"])
def test_what_is_incomplete_here_is_fetched(tmp_path: Path, store: Path, torn: str) -> None:
    put(store, b"abc")
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    at = meta(work.content, b"abc") if "meta" in torn else chunk(work.content, b"abc")
    if torn.startswith("no"):
        at.unlink()
    else:
        os.truncate(at, 1)
    assert work.json("--pull")["transferred"] == 1
    assert check(work.content) == {sha_of(b"abc")}


# What a killed run left (tests/scenarios/test_kill.py kills real ones)


def left_at(left: Path, file: Path) -> Path:
    """Where a file of a store lies in a staging folder."""
    return left / file.name


def test_what_a_killed_pull_left_is_used(tmp_path: Path, store: Path) -> None:
    content = os.urandom(CHUNK) + os.urandom(1000) + bytes(CHUNK - 1000) + b"tail"
    put(store, content)
    put(store, b"small")
    work = repository(tmp_path / "work", store, {"a.bin": content, "b.bin": b"small"}, have=False)
    left = work.content.parent / "staging" / "killed"
    (left / "partial").mkdir(parents=True)
    sha = sha_of(content)
    shutil.copy(meta(store, content), left_at(left, meta(store, content)))
    shutil.copy(chunk(store, content), left_at(left, chunk(store, content)))
    (left / "partial" / f"{sha}_1").write_bytes(chunk(store, content, 1).read_bytes()[:MEBI])
    left_at(left, chunk(store, content)).with_name(f".{sha}_2.Ab12Cd").write_bytes(b"ta")
    said = work.json("--pull")
    assert said["transferred"] == 2
    assert said["bytes"] == CHUNK + 4 + 5, "the first chunk is not sent again"
    assert check(work.content) == {sha, sha_of(b"small")}
    assert not work.staging


def test_what_a_crash_spoilt_is_brought_anew(tmp_path: Path, store: Path) -> None:
    """After a crash of the machine a file of the right size may hold zeros."""
    put(store, b"abc")
    put(store, b"def")
    work = repository(tmp_path / "work", store, {"a.bin": b"abc", "d.bin": b"def"}, have=False)
    left = work.content.parent / "staging" / "killed"
    left.mkdir(parents=True)
    left_at(left, chunk(store, b"abc")).write_bytes(bytes(3))
    left_at(left, meta(store, b"def")).write_bytes(bytes(len(meta(store, b"def").read_bytes())))
    work.sync("--pull")
    assert check(work.content) == {sha_of(b"abc"), sha_of(b"def")}
    assert not work.staging


def test_a_run_that_wants_something_else_keeps_what_a_killed_pull_left(tmp_path: Path, store: Path) -> None:
    """A prefetch of hours is killed, then a checkout needs one small file."""
    put(store, b"large" * 1000)
    put(store, b"small")
    files = {"large.bin": b"large" * 1000, "small.bin": b"small"}
    work = repository(tmp_path / "work", store, files, have=False)
    left = work.content.parent / "staging" / "killed"
    left.mkdir(parents=True)
    shutil.copy(meta(store, files["large.bin"]), left_at(left, meta(store, files["large.bin"])))
    shutil.copy(chunk(store, files["large.bin"]), left_at(left, chunk(store, files["large.bin"])))
    assert work.json("--pull", "--include", "small.bin")["transferred"] == 1
    assert work.json("--pull")["bytes"] == 0, "it had arrived, and is sent again"
    assert check(work.content) == {sha_of(b"small"), sha_of(files["large.bin"])}
    assert not work.staging


def test_a_run_that_brings_nothing_sweeps_what_is_of_no_use(tmp_path: Path, store: Path) -> None:
    """A killed git add leaves a file that has no name yet; a dry run leaves all as it is."""
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    left = work.content.parent / "staging"
    (left / "killed").mkdir(parents=True)
    (left / "killed" / "new_0").write_bytes(b"a")
    (left / "pulled").mkdir()
    shutil.copy(chunk(work.content, b"abc"), left_at(left / "pulled", chunk(work.content, b"abc")))
    work.sync("--push", "--dry-run")
    assert len(work.staging) == 2
    work.sync("--push")
    assert work.staging == [left / "pulled"]


def test_links_in_what_was_left_are_not_followed(tmp_path: Path, store: Path) -> None:
    put(store, b"abc")
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"}, have=False)
    (tmp_path / "precious").write_bytes(b"xyz")
    left = work.content.parent / "staging" / "killed"
    left.mkdir(parents=True)
    left_at(left, chunk(store, b"abc")).symlink_to(tmp_path / "precious")
    (left.parent / "link").symlink_to(tmp_path)
    work.sync("--pull")
    assert check(work.content) == {sha_of(b"abc")}
    assert (tmp_path / "precious").read_bytes() == b"xyz"


def test_several_runs_at_once_get_along(tmp_path: Path, store: Path) -> None:
    contents = {f"{number}.bin": b"%d" % number * 1000 for number in range(100)}
    for content in contents.values():
        put(store, content)
    work = repository(tmp_path / "work", store, contents, have=False)
    started = [
        subprocess.Popen(["gitlob-sync", "--pull", "-q"], cwd=work.path, stderr=subprocess.PIPE) for _ in range(3)
    ]
    for process in started:
        assert process.communicate()[1] == b""
        assert process.returncode == 0
    assert check(work.content) == check(store)
    assert not work.staging


# How many runs of rsync


def test_any_number_of_binaries_takes_two_runs(tmp_path: Path, store: Path, runs: Callable[[], list[str]]) -> None:
    contents = {f"{number}.bin": b"%d" % number for number in range(50)} | {"large.bin": bytes(2 * CHUNK) + b"x"}
    work = repository(tmp_path / "work", store, contents)
    assert work.json("--push")["transferred"] == 51
    assert len(runs()) == 6, (
        "a look at the place, its identity and a look at that, the list of what is needed, chunks, metas"
    )
    other = repository(tmp_path / "other", store, contents, have=False)
    assert other.json("--pull")["transferred"] == 51
    assert len(runs()) == 2, "metas and first chunks, then the other chunks"
    assert other.json("--pull")["present"] == 51
    assert not runs()
    drop(other.content, b"7")
    assert other.json("--pull")["transferred"] == 1
    assert len(runs()) == 1
    assert work.json("--push", "--recheck")["transferred"] == 0
    assert len(runs()) <= 3


def test_two_runs_over_ssh_share_one_set_of_options(tmp_path: Path, sshd: Sshd, runs: Callable[[], list[str]]) -> None:
    work = repository(tmp_path / "work", sshd.location(tmp_path / "remote"), {"a.bin": b"abc"})
    work.sync("--push", env={"GIT_SSH_COMMAND": sshd.command})
    assert len(runs()) == 7, "and one that shows what was made"
    drop(work.content, b"abc")
    work.sync("--pull", env={"GIT_SSH_COMMAND": sshd.command})
    assert len(runs()) == 2
    commit(work, {"b.bin": b"b"})
    put(work.content, b"b")
    work.sync("--push", env={"GIT_SSH_COMMAND": sshd.command})
    assert len(runs()) == 4, "which store it is, the list of what is needed, chunks, metas"


# Other files in a store


@pytest.mark.parametrize("place", ["daemon root"], indirect=True)
def test_other_names_in_a_store_stay_where_they_are(tmp_path: Path, place: Place) -> None:
    sha = sha_of(b"abc")
    folder = f"{sha[:3]}/{sha[3:6]}"
    litter = (
        "README", "lost+found/x", ".rsync-filter", f"{folder}/.{sha}_0.Ab12Cd", f"{folder}/{sha}_0.tmp", f"{folder}/{sha}",
        f"{folder}/{sha}_meta~", f"{folder}/{sha}_x", f"{folder}/{sha}_", f"{folder}/.rsync-partial-00/{sha}_0",
        f"{folder}/deeper/{sha}_0", f"000/000/{sha}_0", f"{folder}/{sha.upper()}_0", f"{folder}/{sha}_00", f"{sha}_0",
    )  # fmt: skip
    work = repository(tmp_path / "work", place.location, {"a.bin": b"abc"})
    put(place.folder, b"theirs")
    for root, whose in ((place.folder, "theirs"), (work.content, "ours")):
        for name in litter:
            (root / f"{name}").parent.mkdir(parents=True, exist_ok=True)
            (root / f"{name}").write_text(whose)
    work.sync("--complete")
    work.sync("--push", "--recheck")
    work.sync("--pull", "--window", "all")
    whole = set(files_of(b"abc")) | set(files_of(b"theirs"))
    assert set(tree(place.folder)) == set(tree(work.content)) == whole | set(litter)
    assert {tree(place.folder)[name] for name in litter} == {b"theirs"}
    assert {tree(work.content)[name] for name in litter} == {b"ours"}


# The shared store of a machine


def test_a_shared_store_holds_one_copy(tmp_path: Path, store: Path) -> None:
    shared = tmp_path / "shared"
    put(store, b"abc")
    works = [
        repository(tmp_path / f"work{number}", store, {"a.bin": b"abc"}, have=False, config=sharing(shared))
        for number in range(3)
    ]
    for work in works:
        work.sync("--pull")
    assert check(shared) == {sha_of(b"abc")}
    for name in files_of(b"abc"):
        inodes = {(root / name).stat().st_ino for root in [shared, *(work.content for work in works)]}
        assert len(inodes) == 1
        assert (shared / name).stat().st_nlink == 4


def test_what_the_shared_store_has_is_not_fetched(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    put(shared, b"abc")
    nowhere = f"rsync://127.0.0.1:{free_port()}/store/x"
    work = repository(tmp_path / "work", nowhere, {"a.bin": b"abc"}, have=False, config=sharing(shared))
    said = work.json("--pull")
    assert (said["present"], said["transferred"]) == (1, 0)
    assert check(work.content) == {sha_of(b"abc")}
    assert chunk(shared, b"abc").stat().st_nlink == 2


def test_a_binary_that_only_the_shared_store_has_is_pushed(tmp_path: Path, store: Path) -> None:
    put(tmp_path / "shared", b"abc")
    config = sharing(tmp_path / "shared")
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"}, have=False, config=config)
    assert work.json("--push")["transferred"] == 1
    assert check(store) == {sha_of(b"abc")}


def beside_a_damaged_shared_binary(tmp_path: Path, store: Path) -> tuple[Work, Path]:
    """A clone that lacks b"abc", and its shared store, where that is damaged; the remote has it sound."""
    shared = tmp_path / "shared"
    put(store, b"abc")
    put(shared, b"abc")
    chunk(shared, b"abc").write_bytes(b"ABC")
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"}, have=False, config=sharing(shared))
    return work, shared


def test_what_is_damaged_in_the_shared_store_is_not_linked(tmp_path: Path, store: Path) -> None:
    work, _ = beside_a_damaged_shared_binary(tmp_path, store)
    assert work.json("--pull")["transferred"] == 1
    assert check(work.content) == {sha_of(b"abc")}


def test_what_is_brought_in_the_stead_of_a_damaged_shared_binary_is_shared(tmp_path: Path, store: Path) -> None:
    """Else it stays damaged for ever, and the link counts say nothing."""
    work, shared = beside_a_damaged_shared_binary(tmp_path, store)
    work.sync("--pull", "--refetch")
    assert check(shared) == check(work.content) == {sha_of(b"abc")}
    assert chunk(work.content, b"abc").stat().st_nlink == 2


def test_refetch_mends_what_is_damaged_here_though_the_shared_copy_is_sound(tmp_path: Path, store: Path) -> None:
    put(store, b"abc")
    put(tmp_path / "shared", b"abc")
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"}, config=sharing(tmp_path / "shared"))
    chunk(work.content, b"abc").write_bytes(b"ABC")
    work.sync("--pull", "--refetch")
    assert check(work.content) == check(tmp_path / "shared") == {sha_of(b"abc")}


# What is said


KEYS = {"selected", "present", "transferred", "bytes", "missing", "damaged", "expanded", "left_alone", "seconds"}


def test_json_is_one_object_with_the_keys_that_are_promised(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"abc", "gone.bin": b"gone"})
    drop(work.content, b"gone")
    pushed = work.sync("--push", "--json", code=3)
    said = json.loads(pushed.stdout)
    assert set(said) == KEYS
    assert (said["selected"], said["present"], said["transferred"]) == (2, 1, 1)
    assert said["missing"] == [{"sha": sha_of(b"gone"), "paths": ["gone.bin"]}]
    assert said["damaged"] == [] and said["seconds"] > 0
    other = repository(tmp_path / "other", store, {"a.bin": b"abc"}, have=False)
    pulled = other.json("--pull")
    assert set(pulled) == KEYS
    seconds = pulled.pop("seconds")
    assert isinstance(seconds, float)
    assert pulled == {"selected": 1, "present": 0, "transferred": 1, "bytes": 3, "missing": [], "damaged": [],
                      "expanded": 0, "left_alone": 0}  # fmt: skip
    assert set(other.json()) >= KEYS


def test_a_dry_run_moves_nothing(tmp_path: Path, store: Path) -> None:
    put(store, b"theirs")
    work = repository(tmp_path / "work", store, {"a.bin": b"abc", "b.bin": b"def"})
    commit(work, {"theirs.bin": b"theirs"})
    before = tree(tmp_path)
    pushed = work.json("--push", "-n")
    assert (pushed["selected"], pushed["transferred"], pushed["bytes"]) == (3, 2, 6)
    pulled = work.json("--pull", "-n")
    assert (pulled["selected"], pulled["present"], pulled["transferred"], pulled["bytes"]) == (3, 2, 1, None)
    complete = work.json("--pull", "--complete", "-n")
    assert (complete["selected"], complete["transferred"], complete["bytes"]) == (1, 1, 6)
    assert "would push at most 2 of 3 binaries" in work.sync("--push", "--dry-run").stderr
    assert tree(tmp_path) == before


def test_a_list_has_sha_size_and_path(tmp_path: Path, store: Path) -> None:
    put(store, b"theirs")
    work = repository(tmp_path / "work", store, {"a b.bin": b"abc", "gone.bin": b"gone"})
    drop(work.content, b"gone")
    work.git("fast-import", "--quiet", input=b"commit refs/heads/main\ncommitter C <c@d> 1 +0000\ndata 0\nfrom main^0\n"
             b'M 100644 inline "odd\\n\\"\\377.bin"\ndata 49\n%s\n' % placeholder(b"odd"))  # fmt: skip
    listed = work.sync("--pull", "--list").stdout.splitlines()
    assert listed == [
        f"{sha_of(b'abc')} 3 a b.bin",
        f"{sha_of(b'gone')} - gone.bin",
        f'{sha_of(b"odd")} - "odd\\n\\"\\377.bin"',
    ]
    raw = os.fsencode(work.sync("--pull", "--list", "-z").stdout).split(b"\0")
    assert raw[2:] == [b'%s - odd\n"\xff.bin' % sha_of(b"odd").encode(), b""]
    said = work.json("--pull", "--list")
    assert said["binaries"][0] == {"sha": sha_of(b"abc"), "size": 3, "paths": ["a b.bin"]}
    assert work.sync("--pull", "--complete", "--list").stdout == f"{sha_of(b'theirs')} - -\n"
    assert work.sync("--push", "--complete", "--list").stdout == f"{sha_of(b'abc')} 3 a b.bin\n"
    assert check(work.content) == {sha_of(b"abc")}, "nothing moved"


def test_quiet_says_nothing_when_all_is_well(tmp_path: Path, store: Path) -> None:
    work = init(tmp_path / "work", location=store)
    work.commit(a__bin=b"abc")
    for arguments in ([], ["--push", "--recheck"], ["--complete"], ["--checkout"]):
        said = work.sync("-q", *arguments)
        assert (said.stdout, said.stderr) == ("", ""), arguments
    drop(work.content, b"abc")
    drop(store, b"abc")
    said = work.sync("-q", "--pull", code=3)
    assert said.stdout == "" and sha_of(b"abc") in said.stderr


@pytest.mark.parametrize("kind", ["plain", "none", "auto"])
def test_every_kind_of_progress(tmp_path: Path, store: Path, kind: str) -> None:
    """From the first push on, which tells the remote more than binaries."""
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    said = work.sync("--push", "--progress", kind).stderr
    assert ("push 1 ..." in said) == (kind == "plain") and "pushed 1 of 1" in said
    drop(work.content, b"abc")
    assert "pulled 1 of 1" in work.sync("--pull", "--progress", kind).stderr


def test_limits_reach_rsync(tmp_path: Path, store: Path, runs: Callable[[], list[str]]) -> None:
    content = os.urandom(200_000)
    work = repository(
        tmp_path / "work", store, {"a.bin": content}, config="[git-lob]\n\ttimeout = 77\n\tbwlimit = 9m\n"
    )
    work.sync("--push")
    assert all("--timeout=77" in run and "--bwlimit=9m" in run for run in runs())
    drop(work.content, content)
    started = time.monotonic()
    work.sync("--pull", "--bwlimit", "200", "--timeout", "33")
    assert time.monotonic() - started > 0.9, "200 KB at 200 KiB a second"
    assert all("--timeout=33" in run and "--bwlimit=200" in run for run in runs())


# Where from, where to


@pytest.mark.parametrize("place", ["path", "ssh"], indirect=True)
def test_a_location_by_hand_is_the_remote_that_has_it(
    tmp_path: Path, place: Place, runs: Callable[[], list[str]]
) -> None:
    work = repository(tmp_path / "work", place.location, {"a.bin": b"abc"})
    work.sync("--push", "origin")
    assert runs()
    work.sync("--push", place.location)
    assert not runs(), "it is on record what was pushed there"
    if place.location.startswith("/"):
        work.sync("--push", f"../{place.folder.relative_to(tmp_path)}/./")
        assert not runs()
    commit(work, {"b.bin": b"b"}, branch="elsewhere")
    work.fetches("origin")
    work.git("update-ref", "refs/remotes/origin/topic", "elsewhere")
    work.git("branch", "-qD", "elsewhere")
    assert set(work.listed("--pull", place.location)) == {sha_of(b"abc"), sha_of(b"b")}, "origin's branches count"


def test_the_default_remote(tmp_path: Path) -> None:
    work = repository(tmp_path / "work", None, {"a.bin": b"abc"})

    names = ("origin", "tracked", "other")

    def chosen() -> str:
        before = {name: len(tree(tmp_path / name)) for name in names if (tmp_path / name).exists()}
        commit(work, {"new.bin": f"{before}".encode()})
        put(work.content, f"{before}".encode())
        work.sync("--push")
        (found,) = [n for n in names if (tmp_path / n).exists() and len(tree(tmp_path / n)) > before.get(n, 0)]
        return found

    work.git("config", "remote.other.git-lob-path", str(tmp_path / "other"))
    assert chosen() == "other", "the only one"
    work.git("config", "remote.tracked.git-lob-path", str(tmp_path / "tracked"))
    assert "name one of" in work.sync("--push", code=2).stderr
    work.git("config", "remote.origin.git-lob-path", str(tmp_path / "origin"))
    assert chosen() == "origin"
    work.git("config", "branch.main.remote", "tracked")
    assert chosen() == "tracked"
    work.git("config", "branch.main.remote", "without-store")
    assert chosen() == "origin"
    work.git("checkout", "-q", "--detach")
    assert chosen() == "origin"


def test_the_last_word_behind_ref_can_be_the_remote(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    work.sync("--push", "--ref", "main", "origin")
    assert check(store) == {sha_of(b"abc")}
    work.sync("--push", "--ref", "main", str(tmp_path / "second"))
    assert check(tmp_path / "second") == {sha_of(b"abc")}


def test_a_relative_location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a configuration it counts from the top of the working tree, by hand from the current folder."""
    work = repository(tmp_path / "work", "../remote/store", {"a.bin": b"abc"})
    (work.path / "sub" / "folder").mkdir(parents=True)
    work.sync("--push", cwd="sub/folder")
    assert check(tmp_path / "remote" / "store") == {sha_of(b"abc")}
    work.sync("--push", "../by-hand", cwd="sub/folder")
    assert check(work.path / "sub" / "by-hand") == {sha_of(b"abc")}


def test_linked_worktrees_share_the_store(tmp_path: Path, store: Path) -> None:
    work = init(tmp_path / "work", location=store)
    work.commit(a__bin=b"abc")
    work.git("worktree", "add", "-q", "--no-checkout", str(tmp_path / "linked"), "-b", "side")
    linked = Work(tmp_path / "linked")
    commit(linked, {"b.bin": b"b"}, branch="side")
    put(work.content, b"b")
    assert linked.content == work.content
    assert linked.json("--push")["transferred"] == 2
    assert work.json("--push")["selected"] == 0, "they share the record too"
    drop(work.content, b"b")
    assert linked.json("--pull")["transferred"] == 1
    assert check(work.content) == {sha_of(b"abc"), sha_of(b"b")}


def test_a_bare_repository(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    work.sync("--push")
    subprocess.run(["git", "clone", "-q", "--bare", work.path, tmp_path / "bare.git"], check=True)
    bare = Work(tmp_path / "bare.git")
    bare.git("config", "remote.origin.git-lob-path", "../remote/store")
    assert bare.json("--pull")["transferred"] == 1
    assert check(bare.path / "git-lob" / "content") == {sha_of(b"abc")}
    assert bare.json("--push", "--recheck", str(tmp_path / "second"))["transferred"] == 1
    assert "no working tree" in bare.sync("--checkout", code=2).stderr


def test_a_tracked_file_gives_a_team_its_store(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", None, {"a.bin": b"abc"})
    (tmp_path / "evil").write_text(f"#!/bin/sh\ntouch {tmp_path}/executed\n")
    (tmp_path / "evil").chmod(0o755)
    team = work.path / ".gitlobconfig"
    team.write_text(
        f'[remote "origin"]\n\tgit-lob-path = {store}\n[core]\n\tsshCommand = {tmp_path}/evil\n'
        f"[git-lob]\n\tsharedstore = {tmp_path}/shared\n\tfetch-include = *.bin\n[include]\n\tpath = {tmp_path}/more\n"
    )
    (tmp_path / "more").write_text("[git-lob]\n\tbwlimit = 1\n")
    said = work.sync("--push")
    assert check(store) == {sha_of(b"abc")}
    lines = [line for line in said.stderr.splitlines() if "ignored" in line]
    assert {line.split()[1] for line in lines} == {"core.sshcommand", "git-lob.sharedstore", "include.path"}
    assert all(line.startswith("gitlob-sync: ") and ".gitlobconfig" in line for line in lines)
    assert not (tmp_path / "executed").exists() and not (tmp_path / "shared").exists()
    work.git("config", "remote.origin.git-lob-path", str(tmp_path / "own"))
    work.sync("--push")
    assert check(tmp_path / "own") == {sha_of(b"abc")}, "the user's own configuration is stronger"


# Modes of the local store


@pytest.mark.parametrize(
    ("umask", "shared", "file", "folder"),
    [
        (0o022, None, 0o644, 0o755),
        (0o077, None, 0o600, 0o700),
        (0o002, None, 0o664, 0o775),
        (0o077, "group", 0o660, 0o2770),
        (0o022, "group", 0o664, 0o2775),
        (0o077, "all", 0o664, 0o2775),
        (0o022, "0640", 0o640, 0o2750),
    ],
)
def test_modes_follow_the_umask_and_shared_repository(
    tmp_path: Path, store: Path, umask: int, shared: str | None, file: int, folder: int
) -> None:
    put(store, b"abc")
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"}, have=False)
    if shared:
        work.git("config", "core.sharedRepository", shared)
    before = os.umask(umask)
    try:
        work.sync("--pull")
    finally:
        os.umask(before)

    def modes(*paths: Path) -> set[str]:
        return {oct(stat.S_IMODE(path.stat().st_mode)) for path in paths}

    at = chunk(work.content, b"abc")
    assert modes(at, meta(work.content, b"abc")) == {oct(file)}
    assert modes(at.parent, at.parent.parent) == {oct(folder)}
    wanted = 0o777 & folder
    for path in (work.content, work.content.parent):
        assert stat.S_IMODE(path.stat().st_mode) & wanted == wanted, f"others cannot get into {path}"
