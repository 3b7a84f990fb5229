"""gitlob-fsck: what it finds, what it moves, and what it brings again."""

import errno
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitlob_rsync import config
from gitlob_rsync.errors import UsageError
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.jobs import connection, fsck, repair
from gitlob_rsync.jobs.context import Context
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.progress import Silent
from gitlob_rsync.store import hasher, local, locks, quarantine, shortfall
from gitlob_rsync.store.layout import Meta
from gitlob_rsync.store.store import Store
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
    tree,
)
from tests.support.places import make_place
from tests.support.processes import UNPRIVILEGED, locked, wait_until
from tests.support.repositories import commit, repository, sharing
from tests.support.servers import Daemon, free_port
from tests.support.work import Work, init

LARGE = b""
"""65 MiB: two full chunks, and one of a MiB."""
KEYS = {"checked", "bytes", "damaged", "incomplete", "missing", "misplaced", "foreign", "unchecked", "quarantine",
        "mended", "remaining", "remote", "failures", "seconds"}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def large() -> Iterator[None]:
    """Held no longer than tests of this module run: what a process holds makes each of its forks slower."""
    global LARGE
    LARGE = random.Random(4).randbytes(1 << 20) * 65
    yield
    LARGE = b""


MAIN = ["refs/heads/main"]


def run(
    work: Work, *args: str, code: int | None = 0, cwd: str = ".", env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return work.run("gitlob-fsck", *args, code=code, cwd=cwd, env=env)


def said(work: Work, *args: str, code: int | None = 0, cwd: str = ".", env: dict[str, str] | None = None) -> dict:
    answer = json.loads(run(work, "--json", *args, code=code, cwd=cwd, env=env).stdout)
    assert set(answer) == KEYS
    return answer


def one_line(told: "subprocess.CompletedProcess[str]") -> str:
    """The only line that was printed."""
    assert told.stderr.count("\n") == 1 and told.stdout == "", told.stderr
    return told.stderr


def shas(findings: list[dict]) -> list[str]:
    return [found["sha"] for found in findings]


def aside(work: Work, content: bytes, below: str = "content") -> list[dict[str, bytes]]:
    """What the quarantine has of a binary: for each run, part -> bytes."""
    sha = sha_of(content)
    found = []
    for folder in sorted((work.content.parent / "quarantine").glob(f"*/{below}/{sha[:3]}/{sha[3:6]}")):
        parts = {at.name[41:]: at.read_bytes() for at in folder.iterdir() if at.name.startswith(sha) and at.is_file()}
        found += [parts] if parts else []
    return found


def flip(at: Path, where: int = 0) -> None:
    """Change one bit of a file in place."""
    with at.open("r+b") as file:
        file.seek(where)
        byte = file.read(1)
        file.seek(where)
        file.write(bytes([byte[0] ^ 1]))


def links_and_files(root: Path) -> dict[str, object]:
    """All that is below a folder: what it is, and what it holds; nothing is followed, and no FIFO opened."""
    found: dict[str, object] = {}
    for at in root.rglob("*"):
        name = str(at.relative_to(root))
        found[name] = os.readlink(at) if at.is_symlink() else at.read_bytes() if at.is_file() else at.lstat().st_mode
    return found


@pytest.fixture
def three(tmp_path: Path, store: Path) -> Work:
    """A repository with three binaries, which the store of its remote has too."""
    contents = {"a.bin": b"abc", "dir/b.bin": b"def", "empty.bin": b""}
    for content in contents.values():
        put(store, content)
    return repository(tmp_path / "work", store, contents)


# All is well


def test_a_sound_store(three: Work, tmp_path: Path) -> None:
    put(three.content, LARGE)
    before = tree(tmp_path)
    answer = said(three)
    assert answer.pop("seconds") > 0
    assert answer == {"checked": 4, "bytes": 6 + len(LARGE), "damaged": [], "incomplete": [], "missing": [],
                      "misplaced": [], "foreign": [], "unchecked": [], "quarantine": None, "mended": 0, "remaining": 0,
                      "remote": None, "failures": []}  # fmt: skip
    told = run(three)
    assert (told.stdout, told.stderr) == ("", "checked 4 binaries (65.0 MiB): nothing is wrong\n")
    for options in ([], ["--fast"], ["--repair"], ["--remote"], ["-n", "--repair", "--remote"]):
        quiet = run(three, "-q", *options)
        assert (quiet.stdout, quiet.stderr) == ("", ""), options
    assert tree(tmp_path) == before


def test_an_empty_repository(tmp_path: Path) -> None:
    """No commit, no store, no remote."""
    work = init(tmp_path / "work", attributes="")
    for options in ([], ["--fast"], ["--repair"], ["-n"]):
        assert said(work, *options)["checked"] == 0
    assert not work.content.parent.exists()
    put(work.content, b"abc")
    flip(chunk(work.content, b"abc"))
    assert shas(said(work, code=3)["damaged"]) == [sha_of(b"abc")]


def test_a_remote_that_was_never_pushed_to(tmp_path: Path, store: Path) -> None:
    """Where commits need nothing, nothing is lacking; else its location may be wrong."""
    work = init(tmp_path / "work", location=store, attributes="")
    assert said(work, "--remote")["remote"] == {"location": str(store), "needed": 0, "lacking": [], "wrong_sized": []}
    commit(work, {"a.bin": b"abc"})
    put(work.content, b"abc")
    line = run(work, "--remote", "-q", code=2).stderr
    assert str(store) in line and "does not exist" in line


# Damage


@pytest.mark.parametrize("where", ["first byte", "last byte of a chunk", "last chunk", "swapped"])
def test_one_wrong_bit_is_found(tmp_path: Path, store: Path, where: str) -> None:
    work = repository(tmp_path / "work", store, {"large.bin": LARGE, "good.bin": b"good"})
    if where == "swapped":
        one, two = chunk(work.content, LARGE, 0), chunk(work.content, LARGE, 1)
        flip(one, 7)  # all of its MiB are alike
        one.rename(tmp_path / "one")
        two.rename(one)
        (tmp_path / "one").rename(two)
    else:
        number, at = {"first byte": (0, 0), "last byte of a chunk": (1, CHUNK - 1), "last chunk": (2, 5)}[where]
        flip(chunk(work.content, LARGE, number), at)
    wrong = {part: chunk(work.content, LARGE, part).read_bytes() for part in ("meta", "0", "1", "2")}  # type: ignore[arg-type]
    answer = said(work, code=3)
    (found,) = answer["damaged"]
    assert found == {"sha": sha_of(LARGE), "why": "its content does not match its name", "paths": ["large.bin"],
                     "refs": MAIN, "needed": True, "set_aside": True, "shared": None, "mended": None}  # fmt: skip
    assert (answer["checked"], answer["remaining"]) == (2, 1)
    assert check(work.content) == {sha_of(b"good")}
    assert not list(work.content.rglob(f"{sha_of(LARGE)}*"))
    assert aside(work, LARGE) == [wrong], "not a byte of it is lost"
    assert Path(answer["quarantine"]).parent == work.content.parent / "quarantine"


def test_an_empty_binary_under_another_name(three: Work) -> None:
    """Its meta says that there is nothing: no chunk is wrong, and the name is."""
    sha = sha_of(b"abc")
    chunk(three.content, b"abc").unlink()
    meta(three.content, b"abc").write_text(f'{{"SHA":"{sha}","Size":0,"NumChunks":0}}')
    assert shas(said(three, code=3)["damaged"]) == [sha]
    assert check(three.content) == {sha_of(b"def"), sha_of(b"")}


def test_many_at_once(tmp_path: Path) -> None:
    """More than there are threads, of all sizes: each is told, and no other."""
    contents = {f"{number}.bin": bytes([number]) * (number * 1000) for number in range(1, 120)}
    work = repository(tmp_path / "work", None, contents)
    wrong = [content for number, content in enumerate(contents.values()) if number % 7 == 0]
    for content in wrong:
        flip(chunk(work.content, content), len(content) // 2)
    answer = said(work, code=3)
    assert shas(answer["damaged"]) == sorted(map(sha_of, wrong))
    assert check(work.content) == set(map(sha_of, contents.values())) - set(map(sha_of, wrong))


def test_it_says_so_in_a_line_each_and_a_summary(three: Work) -> None:
    flip(chunk(three.content, b"abc"))
    chunk(three.content, b"def").unlink()
    lines = run(three, code=3).stderr.splitlines()
    assert len(lines) == 3
    damaged, incomplete = sha_of(b"abc"), sha_of(b"def")
    told = dict(line.removeprefix("gitlob-fsck: ").split(": ", 1) for line in lines[:2])
    assert told["damaged"].startswith(f"{damaged}: ")
    assert "a.bin (refs/heads/main); set aside" in told["damaged"]
    assert told["incomplete"] == f"{incomplete}: chunk 0 of 1 is missing; needed by dir/b.bin (refs/heads/main)"
    assert "checked 3 binaries" in lines[2] and "1 damaged, 1 incomplete" in lines[2] and "--repair" in lines[2]
    assert len(run(three, "-q", code=3).stderr.splitlines()) == 2


def test_a_dry_run_changes_nothing(three: Work, tmp_path: Path) -> None:
    flip(chunk(three.content, b"abc"))
    chunk(three.content, b"def").unlink()
    chunk(three.content, b"def").mkdir()
    before = links_and_files(tmp_path)
    for options in ([], ["--repair"], ["--repair", "--remote"], ["--fast", "--repair"]):
        answer = said(three, "-n", *options, code=3)
        assert shas(answer["incomplete"]) == [sha_of(b"def")]
        assert answer["quarantine"] is None and answer["mended"] == 0
        assert not any(found["set_aside"] for found in answer["damaged"])
    assert "would repair 2" in run(three, "-n", "--repair", code=3).stderr
    assert links_and_files(tmp_path) == before


def test_what_was_set_aside_before_is_kept(three: Work) -> None:
    for byte in (b"x", b"y", b"z"):
        put(three.content, b"abc")
        chunk(three.content, b"abc").write_bytes(byte * 3)
        run(three, code=3)
    assert sorted(parts["0"] for parts in aside(three, b"abc")) == [b"xxx", b"yyy", b"zzz"]


def test_a_quarantine_that_cannot_be_made(three: Work) -> None:
    """It is told, the rest of the report too, and the store stays as it is."""
    (three.content.parent / "quarantine").write_text("in the way")
    flip(chunk(three.content, b"abc"))
    answer = said(three, code=3)
    assert shas(answer["damaged"]) == [sha_of(b"abc")] and not answer["damaged"][0]["set_aside"]
    assert "quarantine" in answer["failures"][0] and sha_of(b"abc") in answer["failures"][0]
    assert meta(three.content, b"abc").exists()
    assert said(three, "--repair", code=1)["damaged"][0]["mended"] == "remote", (
        "what is fetched takes its place all the same"
    )
    assert check(three.content) == {sha_of(b"abc"), sha_of(b"def"), sha_of(b"")}


def test_a_store_behind_a_link(three: Work, tmp_path: Path) -> None:
    """The quarantine is on the file system on which the files are."""
    three.content.rename(tmp_path / "disk")
    three.content.symlink_to(tmp_path / "disk")
    flip(chunk(three.content, b"abc"))
    answer = said(three, code=3)
    assert shas(answer["damaged"]) == [sha_of(b"abc")] and answer["foreign"] == []
    assert Path(answer["quarantine"]).parent == tmp_path / "quarantine"


def test_a_remote_store_is_hashed_on_its_machine(three: Work, store: Path, tmp_path: Path) -> None:
    """In a repository whose content it is; the next push sends again what was put aside there."""
    bare = init(tmp_path / "check.git", "--bare", attributes="")
    bare.content.parent.mkdir()
    bare.content.symlink_to(store)
    three.sync("--push")
    flip(chunk(store, b"abc"))
    assert shas(said(bare, code=3)["damaged"]) == [sha_of(b"abc")]
    assert shas(said(three, "--remote", code=3)["remote"]["lacking"]) == [sha_of(b"abc")]
    three.sync("--push", "--recheck")
    run(three, "--remote")
    run(bare)
    assert check(store) == {sha_of(b"abc"), sha_of(b"def"), sha_of(b"")}


def test_the_working_tree_may_have_the_file(tmp_path: Path) -> None:
    work = init(tmp_path / "work")
    work.commit(a__bin=b"abc")
    flip(chunk(work.content, b"abc"))
    run(work, code=3)
    stored = subprocess.run(["gitlob-filter", "clean"], cwd=work.path, input=work.read("a.bin"), capture_output=True)
    assert stored.stdout == placeholder(b"abc")
    assert check(work.content) == {sha_of(b"abc")}
    run(work)


def test_what_the_disk_cannot_read_is_damaged(three: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    at = os.stat(chunk(three.content, b"abc")).st_ino
    read = os.readv

    def worn(fd: int, buffers: list[bytearray]) -> int:
        if os.fstat(fd).st_ino == at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(fd, buffers)

    monkeypatch.setattr(os, "readv", worn)
    job = make(three, monkeypatch)
    job.diagnose(job.scan())
    (found,) = job.report.findings
    assert (found.sha, found.state, found.set_aside) == (sha_of(b"abc"), fsck.State.DAMAGED, True)
    assert "Input/output error" in found.why


@pytest.mark.parametrize("what", ["chunk", "meta", "folder"])
def test_what_may_not_be_read_is_told_and_is_no_damage(three: Work, what: str) -> None:
    at = {"chunk": chunk(three.content, b"abc"), "meta": meta(three.content, b"abc")}.get(what)
    at = at or chunk(three.content, b"abc").parent
    flip(chunk(three.content, b"def"))
    told = locked(at, 0, lambda: three.run(*UNPRIVILEGED, "gitlob-fsck", "--json", "-n", code=3))
    answer = json.loads(told.stdout)
    assert shas(answer["damaged"]) == [sha_of(b"def")], "the rest is checked all the same"
    assert [found["why"] for found in answer["unchecked"]] == ["Permission denied"]
    put(three.content, b"def")
    told = locked(at, 0, lambda: three.run(*UNPRIVILEGED, "gitlob-fsck", "-q", code=1))
    assert "not checked: " in one_line(told) and "Permission denied" in told.stderr


def make(work: Work, monkeypatch: pytest.MonkeyPatch) -> fsck.Fsck:
    """A run within this process, where the clock or the system is to be another."""
    monkeypatch.chdir(work.path)
    repo = Repo.discover()
    return fsck.Fsck(repo, local.Stores.load(repo), Silent("test"), fast=False, dry_run=False)


# What is not whole


def no_meta(root: Path, content: bytes) -> None:
    meta(root, content).unlink()
    chunk(root, content, 1).unlink()


INCOMPLETE: dict[str, tuple[Callable[[Path, bytes], object], str]] = {
    "cut off": (lambda root, content: os.truncate(chunk(root, content, 1), 5), f"chunk 1 has 5 bytes instead of {CHUNK}"),
    "one byte more": (lambda root, content: chunk(root, content, 2).open("ab").write(b"x"), "chunk 2 has 1048577 bytes"),
    "no first chunk": (lambda root, content: chunk(root, content, 0).unlink(), "chunk 0 of 3 is missing"),
    "no last chunk": (lambda root, content: chunk(root, content, 2).unlink(), "chunk 2 of 3 is missing"),
    "a chunk more": (lambda root, content: chunk(root, content, 3).write_bytes(b"x"), "it has a chunk 3"),
    "no meta": (no_meta, "its meta is missing"),
    "torn meta": (lambda root, content: os.truncate(meta(root, content), 10), "its meta is invalid"),
}  # fmt: skip


@pytest.mark.parametrize("how", INCOMPLETE)
def test_what_is_incomplete_is_told_and_left(tmp_path: Path, how: str) -> None:
    work = repository(tmp_path / "work", None, {"large.bin": LARGE, "good.bin": b"good"})
    spoil, why = INCOMPLETE[how]
    spoil(work.content, LARGE)
    before = tree(work.content)
    for options in ([], ["--fast"]):
        answer = said(work, *options, code=3)
        (found,) = answer["incomplete"]
        assert found["sha"] == sha_of(LARGE) and found["why"].startswith(why)
        assert (found["paths"], found["refs"]) == (["large.bin"], MAIN)
        assert answer["damaged"] == [] and answer["checked"] == 2
    assert tree(work.content) == before
    assert not (work.content.parent / "quarantine").exists()


def test_no_hostile_meta_is_believed(tmp_path: Path) -> None:
    work = repository(tmp_path / "work", None, {})
    contents = [b"%03d" % number for number in range(len(hostile_metas("x" * 40, 3)))]
    for number, content in enumerate(contents):
        put(work.content, content)
        meta(work.content, content).write_bytes(hostile_metas(sha_of(content), 3)[number])
    answer = said(work, code=3)
    assert shas(answer["incomplete"]) == sorted(map(sha_of, contents))
    assert answer["damaged"] == []


def test_a_damaged_binary_with_a_chunk_too_many_goes_with_all_of_it(three: Work) -> None:
    flip(chunk(three.content, b"abc"))
    chunk(three.content, b"abc", 1).write_bytes(b"more")
    assert shas(said(three, code=3)["damaged"]) == [sha_of(b"abc")]
    assert aside(three, b"abc")[0].keys() == {"meta", "0", "1"}
    assert check(three.content) == {sha_of(b"def"), sha_of(b"")}


@pytest.mark.parametrize("part", ["0", "meta"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "link to a FIFO", "folder", "FIFO"])
def test_what_is_no_file_in_the_place_of_one(three: Work, tmp_path: Path, kind: str, part: str) -> None:
    """It is not followed, and not waited for; a repair moves it out of the way."""
    at = chunk(three.content, b"abc", part)  # type: ignore[arg-type]
    precious = tmp_path / "precious"
    at.rename(precious)
    os.mkfifo(tmp_path / "pipe")
    if kind == "folder":
        at.mkdir()
        (at / "inside").write_text("a stranger's")
    elif kind == "FIFO":
        os.mkfifo(at)
    else:
        targets = {"link": precious, "dangling link": tmp_path / "nowhere", "link to a FIFO": tmp_path / "pipe"}
        at.symlink_to(targets[kind])
    before = links_and_files(three.content)
    words = f"a {'link' if 'link' in kind else 'folder' if kind == 'folder' else 'special file'} is in the place of "
    for options in ([], ["--fast"]):
        (found,) = said(three, *options, code=3)["incomplete"]
        assert found["why"] == words + ("its meta" if part == "meta" else "chunk 0")
    assert links_and_files(three.content) == before
    answer = said(three, "--repair")
    assert answer["incomplete"][0]["mended"] == ("own chunks" if part == "meta" else "remote")
    assert check(three.content) == {sha_of(b"abc"), sha_of(b"def"), sha_of(b"")}
    assert precious.exists()
    (moved,) = [found for found in Path(answer["quarantine"]).rglob("*") if found.name == at.name]
    assert moved.is_dir() == (kind == "folder") and moved.is_symlink() == ("link" in kind)
    assert kind != "folder" or (moved / "inside").read_text() == "a stranger's"
    run(three)


# What is out of place


def test_misplaced_and_foreign_files_are_told_and_left(three: Work, tmp_path: Path) -> None:
    sha = sha_of(b"abc")
    folder = f"{sha[:3]}/{sha[3:6]}"
    misplaced = [
        f"{sha}_0",
        f"000/{sha}_meta",
        f"000/000/{sha}_0",
        f"{folder}/deeper/{sha}_0",
        "lost+found/" + f"{sha}_7",
    ]
    foreign = {
        "README": "file", f"{folder}/{sha}": "file", f"{folder}/{sha}_x": "file", f"{folder}/{sha}_00": "file",
        f"{folder}/{sha}_meta~": "file", f"{folder}/{sha.upper()}_0": "file", f"{folder}/.{sha}_0.Ab12Cd": "file",
        "lost+found/x/y": "file", f"{folder}/new\nline": "file", f"{folder}/\udcff\x1b[1m": "file", "hollow/": "folder",
        f"{folder}/hollow/": "folder", "link": "link", "fff": "link", f"{folder}/{sha}_link": "link", "pipe": "special file",
        f"000/000/{sha}_1": "link",
    }  # fmt: skip
    for name in [*misplaced, *foreign]:
        at = three.content / name
        at.parent.mkdir(parents=True, exist_ok=True)
        kind = foreign.get(name, "file")
        if kind == "file":
            at.write_text("a stranger's")
        elif kind == "folder":
            at.mkdir()
        elif kind == "link":
            at.symlink_to(tmp_path)
        else:
            os.mkfifo(at)
    before = links_and_files(three.content)
    for options in ([], ["--fast"], ["--repair"], ["--remote"]):
        answer = said(three, *options)
        assert answer["misplaced"] == sorted(misplaced)
        assert {found["path"]: found["kind"] for found in answer["foreign"]} == foreign
        assert (answer["checked"], answer["remaining"], answer["incomplete"]) == (3, 0, [])
    assert links_and_files(three.content) == before
    told = run(three, "-v").stderr
    assert told.count("\ngitlob-fsck: foreign ") == len(foreign)
    assert '/new\\nline"' in told and '/\\377\\033[1m"' in told
    assert "5 misplaced" in told and "4 foreign links" in told and "1 foreign special file" in told
    assert "7 more" in run(three).stderr
    assert run(three, "-q").stderr == ""


def test_what_is_behind_a_linked_folder_is_not_looked_at(three: Work, tmp_path: Path) -> None:
    first = sha_of(b"abc")[:3]
    (three.content / first).rename(tmp_path / "elsewhere")
    (three.content / first).symlink_to(tmp_path / "elsewhere")
    flip(tmp_path / "elsewhere" / sha_of(b"abc")[3:6] / f"{sha_of(b'abc')}_0")
    answer = said(three)
    assert answer["foreign"] == [{"path": first, "kind": "link"}]
    assert answer["checked"] == 2


# Who needs it


def needs_of(work: Work, content: bytes) -> tuple[list[str], list[str]]:
    (found,) = [found for found in said(work, "-n", code=3)["damaged"] if found["sha"] == sha_of(content)]
    return sorted(found["paths"]), sorted(found["refs"])


def damaged(work: Work, *contents: bytes) -> None:
    for content in contents:
        put(work.content, content)
        flip(chunk(work.content, content))


def test_all_paths_and_all_refs_that_reach_it_are_named(tmp_path: Path) -> None:
    """The old name of a file, too, and every branch and tag behind which a commit has it, however long ago."""
    work = repository(tmp_path / "work", None, {"old name.bin": b"abc"})
    commit(work, {"dir/again.bin": b"abc", "b.bin": b"def"})
    work.git("branch", "early", "main^")
    work.git("tag", "-a", "v1", "-m", "v1", "main")
    work.git("tag", "-a", "v1-again", "-m", "of a tag", "v1")
    work.git("tag", "of-a-tree", "main^{tree}")
    work.git("update-ref", "refs/remotes/origin/topic", "main")
    lines = b"commit refs/heads/main\ncommitter C <c@d> 9 +0000\ndata 0\nfrom refs/heads/main^0\ndeleteall\n"
    work.git("fast-import", "--quiet", input=lines)
    commit(work, {"other.bin": b"x"}, branch="unrelated")
    damaged(work, b"abc", b"def")
    later = ["refs/heads/main", "refs/remotes/origin/topic", "refs/tags/v1", "refs/tags/v1-again"]
    assert needs_of(work, b"abc") == (["dir/again.bin", "old name.bin"], ["refs/heads/early", *later])
    assert needs_of(work, b"def") == (["b.bin"], later)


def test_content_of_a_merge_alone(tmp_path: Path) -> None:
    work = init(tmp_path / "work")
    work.commit(a__bin=b"one")
    work.git("checkout", "-qb", "side")
    work.commit(b__bin=b"two")
    work.git("checkout", "-q", "main")
    work.commit(c__bin=b"three")
    work.git("merge", "-q", "--no-commit", "side")
    work.write("evil.bin", b"merge")
    work.git("add", "-A")
    work.git("commit", "-qm", "merge")
    work.git("branch", "before", "main^2")
    damaged(work, b"merge", b"two")
    assert needs_of(work, b"merge") == (["evil.bin"], MAIN)
    assert needs_of(work, b"two") == (["b.bin"], ["refs/heads/before", "refs/heads/main", "refs/heads/side"])


def test_stashes_heads_and_indexes(tmp_path: Path) -> None:
    work = init(tmp_path / "work")
    work.commit(a__bin=b"one")
    for content in (b"older stash", b"newer stash"):
        work.write("a.bin", content)
        work.git("stash", "-q")
    work.write("untracked.bin", b"untracked")
    work.git("stash", "-q", "-u")
    work.git("worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    linked = Work(tmp_path / "linked")
    linked.commit(a__bin=b"head there")
    linked.write("d.bin", b"index there")
    linked.git("add", "d.bin")
    work.git("checkout", "-q", "--detach")
    work.commit(a__bin=b"head here")
    work.write("c.bin", b"index here")
    work.git("add", "c.bin")
    contents = {b"older stash": ("a.bin", ["stash@{2}"]), b"newer stash": ("a.bin", ["stash@{1}"]),
                b"untracked": ("untracked.bin", ["refs/stash"]), b"head there": ("a.bin", ["worktrees/linked/HEAD"]),
                b"head here": ("a.bin", ["HEAD"]), b"index here": ("c.bin", []), b"index there": ("d.bin", [])}  # fmt: skip
    damaged(work, *contents, b"nobody's")
    for content, (path, refs) in contents.items():
        assert needs_of(work, content) == ([path], refs), content
    here = {**contents, b"head here": ("a.bin", ["main-worktree/HEAD"]), b"head there": ("a.bin", ["HEAD"])}
    for content, (path, refs) in here.items():
        assert needs_of(linked, content) == ([path], refs), content
    assert needs_of(work, b"nobody's") == ([], [])
    told = run(work, "-n", code=3).stderr
    assert f"{sha_of(b'index here')}: its content does not match its name; needed by c.bin (index)" in told
    assert (
        f"{sha_of(bytes('nobody' + chr(39) + 's', 'ascii'))}: its content does not match its name; nothing needs it"
        in told
    )


def test_placeholders_in_upper_case_and_paths_that_are_no_text(tmp_path: Path) -> None:
    work = repository(tmp_path / "work", None, {})
    upper = placeholder(b"abc")[:9] + placeholder(b"abc")[9:].upper()
    work.git("fast-import", "--quiet", input=b"commit refs/heads/main\ncommitter C <c@d> 1 +0000\ndata 0\nfrom main^0\n"
             b'M 100644 inline "odd\\n\\"\\377.bin"\ndata 49\n%s\nM 120000 inline link\ndata 49\n%s\n' % (upper, upper))  # fmt: skip
    damaged(work, b"abc")
    assert needs_of(work, b"abc") == (['odd\n"\udcff.bin'], MAIN)
    assert 'needed by "odd\\n\\"\\377.bin" (refs/heads/main)' in run(work, "-n", code=3).stderr


def test_a_shallow_clone_says_that_it_is_one(tmp_path: Path, store: Path) -> None:
    work = repository(tmp_path / "work", store, {"old.bin": b"old"})
    commit(work, {"old.bin": b"new"})
    put(work.content, b"new")
    argv = ["git", "clone", "-q", "--no-checkout", "--depth=1", f"file://{work.path}", str(tmp_path / "shallow")]
    subprocess.run(argv, check=True)
    shallow = Work(tmp_path / "shallow")
    damaged(shallow, b"new", b"old")
    assert needs_of(shallow, b"new")[0] == ["old.bin"] and needs_of(shallow, b"old")[0] == []
    assert "shallow" in run(shallow, "-n", code=3).stderr


def test_a_damaged_repository_does_not_hide_a_damaged_binary(three: Work) -> None:
    tip = three.git("rev-parse", "main^{tree}").decode().strip()
    for pack in (three.path / ".git" / "objects").rglob("*.pack"):
        pack.rename(three.path / "pack")
        three.git("unpack-objects", "-q", input=(three.path / "pack").read_bytes())
    (three.path / ".git" / "objects" / tip[:2] / tip[2:]).unlink()
    flip(chunk(three.content, b"abc"))
    answer = said(three, "--repair", code=3)
    assert shas(answer["damaged"]) == [sha_of(b"abc")]
    assert answer["damaged"][0]["needed"] is None and answer["remaining"] == 1
    assert len(answer["failures"]) == 1 and "git" in answer["failures"][0]
    assert len(aside(three, b"abc")) == 1


# Mending from the remote


@pytest.mark.parametrize("kind", ["path", "daemon"])
def test_a_repair_brings_what_is_needed_again(tmp_path: Path, request: pytest.FixtureRequest, kind: str) -> None:
    place = make_place(kind, request)
    contents = {"a.bin": b"abc", "b.bin": b"def", "torn.bin": b"ghi", "large.bin": LARGE, "good.bin": b"good"}
    work = repository(tmp_path / "work", place.location, contents)
    work.sync("--push")
    flip(chunk(work.content, b"abc"))
    chunk(work.content, b"def").unlink()
    os.truncate(meta(work.content, b"ghi"), 3)
    os.truncate(chunk(work.content, b"ghi"), 2)
    flip(chunk(work.content, LARGE, 1))
    damaged(work, b"nobody's")
    answer = said(work, "--repair")
    assert check(work.content) == set(map(sha_of, contents.values()))
    mended = {found["sha"]: found["mended"] for found in answer["damaged"] + answer["incomplete"]}
    brought = [b"abc", b"def", b"ghi", LARGE]
    assert mended == dict.fromkeys(map(sha_of, brought), "remote") | {sha_of(b"nobody's"): None}
    assert (answer["mended"], answer["remaining"]) == (4, 0)
    assert aside(work, b"abc")[0]["0"] == b"`bc"
    assert not work.staging
    answer = said(work)
    assert answer["damaged"] == answer["incomplete"] == answer["missing"] == []


def test_a_repair_is_one_transfer(three: Work, runs: Callable[[], list[str]]) -> None:
    flip(chunk(three.content, b"abc"))
    chunk(three.content, b"def").unlink()
    told = run(three, "--repair").stderr
    assert len(runs()) == 1
    assert "repaired 2" in told.splitlines()[-1] and told.count("; repaired from origin (") == 2
    run(three, "--repair")
    assert not runs(), "nobody is asked where nothing is wrong"


def test_a_remote_may_be_named(three: Work, tmp_path: Path, store: Path) -> None:
    store.rename(tmp_path / "second")
    flip(chunk(three.content, b"abc"))
    assert said(three, "--repair", str(tmp_path / "second"))["mended"] == 1
    assert "REMOTE requires" in run(three, str(tmp_path / "second"), code=2).stderr
    assert "neither a remote" in run(three, "--repair", "nowhere", code=2).stderr


def test_a_remote_whose_copy_is_damaged_too(three: Work, store: Path) -> None:
    """What was here stays in the quarantine, is not forgotten at the next run, and comes when it can be had."""
    flip(chunk(three.content, b"abc"))
    chunk(three.content, b"def").unlink()
    chunk(store, b"abc").write_bytes(b"ABC")
    answer = said(three, "--repair", code=3)
    assert (answer["mended"], answer["remaining"]) == (1, 1)
    assert answer["damaged"][0]["mended"] is None and answer["damaged"][0]["set_aside"]
    assert "1 could not be repaired" in run(three, "--repair", code=3).stderr
    assert [parts["0"] for parts in aside(three, b"abc")] == [b"`bc"]
    assert check(three.content) == {sha_of(b"def"), sha_of(b"")}
    answer = said(three, code=3)
    assert answer["missing"] == [{"sha": sha_of(b"abc"), "why": "an earlier run set it aside", "paths": ["a.bin"],
                                  "refs": MAIN, "needed": True, "set_aside": False, "shared": None, "mended": None}]  # fmt: skip
    put(store, b"abc")
    assert said(three, "--repair")["missing"][0]["mended"] == "remote"
    assert check(three.content) == {sha_of(b"abc"), sha_of(b"def"), sha_of(b"")}
    assert said(three)["missing"] == []


def test_what_came_back_or_is_needed_no_more_is_not_missed(three: Work) -> None:
    damaged(three, b"abc", b"nobody's")
    assert said(three, code=3)["remaining"] == 2
    assert shas(said(three, code=3)["missing"]) == [sha_of(b"abc")]
    three.sync("--pull", "--committed")
    assert said(three)["missing"] == []
    drop(three.content, b"abc")
    assert shas(said(three, code=3)["missing"]) == [sha_of(b"abc")]
    shutil.rmtree(three.content.parent / "quarantine")
    assert said(three)["missing"] == [], "a store holds a part of what commits need: that is no error"


def test_a_remote_that_cannot_be_reached(three: Work) -> None:
    """The report is told all the same, and what was mended from elsewhere."""
    nowhere = f"rsync://127.0.0.1:{free_port()}/store/x"
    assert run(three, "-q", "--repair", nowhere).stderr == "", "nobody has to be asked"
    flip(chunk(three.content, b"abc"))
    os.truncate(meta(three.content, b"def"), 3)
    answer = said(three, "--repair", "--remote", nowhere, code=4)
    assert shas(answer["damaged"]) == [sha_of(b"abc")] and len(aside(three, b"abc")) == 1
    assert answer["incomplete"][0]["mended"] == "own chunks"
    assert len(answer["failures"]) == 1 and answer["remote"] is None
    assert said(three, "--repair", "origin")["mended"] == 1
    assert "cannot be reached" in one_line(run(three, "-q", "--remote", nowhere, code=4))


def test_without_a_remote(tmp_path: Path) -> None:
    work = repository(tmp_path / "work", None, {"a.bin": b"abc"})
    run(work, "--repair")
    assert "no remote has a store" in one_line(run(work, "--remote", code=2))
    flip(chunk(work.content, b"abc"))
    told = run(work, "-q", "--repair", code=3).stderr.splitlines()
    assert len(told) == 2 and "no remote has a store" in told[1]
    assert shas(said(work, "--repair", code=3)["missing"]) == [sha_of(b"abc")]


def test_a_repair_in_a_bare_repository_a_subfolder_and_a_linked_worktree(three: Work, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", "--bare", three.path, tmp_path / "bare.git"], check=True)
    bare = Work(tmp_path / "bare.git")
    bare.git("config", "remote.origin.git-lob-path", "../remote/store")
    three.git("worktree", "add", "-q", "--no-checkout", "--detach", str(tmp_path / "linked"))
    (three.path / "sub" / "folder").mkdir(parents=True)
    for work, cwd in ((bare, "."), (three, "sub/folder"), (Work(tmp_path / "linked"), ".")):
        damaged(work, b"abc")
        answer = said(work, "--repair", "--remote", cwd=cwd)
        assert answer["damaged"][0]["paths"] == ["a.bin"] and answer["mended"] == 1
        assert answer["remote"]["needed"] == 3 and answer["remote"]["lacking"] == []
        assert len(aside(work, b"abc")) >= 1
        assert sha_of(b"abc") in check(work.content)


# Mending with what is here


def test_a_meta_is_written_anew_where_all_chunks_are_there(tmp_path: Path) -> None:
    """After a crash of the machine a meta may be empty. No remote is needed, and no commit."""
    contents = {"large.bin": LARGE, "two.bin": LARGE[: 2 * CHUNK], "empty.bin": b"", "uncommitted": b"new"}
    work = repository(tmp_path / "work", None, {name: contents[name] for name in list(contents)[:3]})
    put(work.content, b"new")
    meta(work.content, LARGE).unlink()
    os.truncate(meta(work.content, LARGE[: 2 * CHUNK]), 0)
    meta(work.content, b"").write_text("null")
    meta(work.content, b"new").write_bytes(meta(work.content, b"new").read_bytes()[:-1])
    assert len(said(work, code=3)["incomplete"]) == 4
    answer = said(work, "--repair")
    assert {found["mended"] for found in answer["incomplete"]} == {"own chunks"}
    assert check(work.content) == set(map(sha_of, contents.values()))
    for content in contents.values():
        assert all((work.content / name).read_bytes() == data for name, data in files_of(content).items())
    assert not work.staging


@pytest.mark.parametrize("spoil", ["flipped", "cut off", "a gap", "a chunk more"])
def test_no_meta_is_written_for_chunks_that_are_wrong(tmp_path: Path, spoil: str) -> None:
    work = repository(tmp_path / "work", None, {"large.bin": LARGE})
    meta(work.content, LARGE).unlink()
    if spoil == "flipped":
        flip(chunk(work.content, LARGE, 1))
    elif spoil == "cut off":
        os.truncate(chunk(work.content, LARGE, 2), 1000)
    elif spoil == "a gap":
        chunk(work.content, LARGE, 1).unlink()
    else:
        chunk(work.content, LARGE, 4).write_bytes(b"")
    assert said(work, "--repair", code=3)["mended"] == 0
    assert not meta(work.content, LARGE).exists()


def test_a_chunk_too_many_is_moved_away(three: Work) -> None:
    chunk(three.content, b"abc", 1).write_bytes(b"more")
    assert said(three, code=3)["incomplete"][0]["why"] == "it has a chunk 1, and its meta says 1"
    assert said(three, "--repair")["incomplete"][0]["mended"] == "own chunks"
    assert aside(three, b"abc") == [{"1": b"more"}]
    assert check(three.content) == {sha_of(b"abc"), sha_of(b"def"), sha_of(b"")}
    chunk(three.content, b"def", 7).write_bytes(b"more")
    chunk(three.content, b"def").unlink()
    assert said(three, "--repair")["incomplete"][0]["mended"] == "remote"
    assert aside(three, b"def")[0]["7"] == b"more"
    run(three)


def test_what_is_incomplete_and_needed_by_nobody_goes_when_it_is_old(
    three: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A git add or a pull that is just moving it in must not lose it; what a killed one left is litter."""
    put(three.content, b"nobody's")
    chunk(three.content, b"nobody's").write_bytes(b"begun")
    meta(three.content, b"nobody's").unlink()
    drop(three.content, b"def")
    chunk(three.content, b"def").write_bytes(b"begun")
    assert said(three, "--repair", code=3)["remaining"] == 1
    assert chunk(three.content, b"nobody's").read_bytes() == b"begun"
    for age, left in ((3500, 1), (3700, 0)):
        job = make(three, monkeypatch)
        job.diagnose(job.scan())
        repair.Repair(job, UsageError("none"), now=time.time() + age).run()
        assert len(job.report.remaining) == left
    assert not chunk(three.content, b"nobody's").exists()
    assert aside(three, b"nobody's") == [{"0": b"begun"}]
    assert said(three)["missing"] == []


def test_what_another_clone_sent_a_part_of_stays_however_old(
    three: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a store that others push to, what their lists name may still be on its way: a push sends the meta last."""
    other = repository(tmp_path / "other", three.content, {"x.bin": b"another's"})
    other.sync("--push")
    chunk(three.content, b"another's").write_bytes(b"begun")
    meta(three.content, b"another's").unlink()
    job = make(three, monkeypatch)
    job.diagnose(job.scan())
    repair.Repair(job, UsageError("none"), now=time.time() + 3700).run()
    assert len(job.report.remaining) == 1 and not job.report.failures
    assert chunk(three.content, b"another's").read_bytes() == b"begun"
    (at,) = (three.content / "gitlob" / "lists").glob("?" * 24)
    at.write_bytes(b"torn")
    job = make(three, monkeypatch)
    job.diagnose(job.scan())
    repair.Repair(job, UsageError("none"), now=time.time() + 3700).run()
    assert chunk(three.content, b"another's").read_bytes() == b"begun"


# The shared store


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return tmp_path / "shared"


@pytest.fixture
def sharers(tmp_path: Path, store: Path, shared: Path) -> list[Work]:
    """Two repositories whose binary is one file, in the shared store too."""
    put(store, b"abc")
    works = [
        repository(tmp_path / name, store, {"a.bin": b"abc"}, have=False, config=sharing(shared))
        for name in ("one", "two")
    ]
    for work in works:
        work.sync("--pull")
    assert chunk(shared, b"abc").stat().st_nlink == 3
    return works


def test_what_is_linked_is_damaged_in_the_shared_store_too(sharers: list[Work], shared: Path) -> None:
    one, two = sharers
    flip(chunk(shared, b"abc"))
    assert said(one, "-n", code=3)["damaged"][0]["shared"] is None
    assert chunk(shared, b"abc").exists()
    assert said(one, code=3)["damaged"][0]["shared"] == "set aside too"
    assert not list(shared.rglob("*_*")) and not list(one.content.rglob("*_*"))
    assert aside(one, b"abc")[0] == aside(one, b"abc", "shared")[0]
    assert said(one, "--repair")["mended"] == 1
    assert check(shared) == check(one.content) == {sha_of(b"abc")}
    answer = said(two, "--repair")
    assert answer["damaged"][0]["shared"] is None, "its file is not the same any more"
    assert answer["damaged"][0]["mended"] == "shared store"
    assert check(two.content) == check(shared)
    assert chunk(shared, b"abc").stat().st_nlink == 3


def test_a_copy_of_its_own_in_the_shared_store_mends(tmp_path: Path, shared: Path) -> None:
    """No remote is called for it."""
    nowhere = f"rsync://127.0.0.1:{free_port()}/store/x"
    contents = {"a.bin": b"abc", "b.bin": b"def", "large.bin": LARGE}
    work = repository(tmp_path / "work", nowhere, contents, config=sharing(shared))
    for content in contents.values():
        put(shared, content)
    flip(chunk(work.content, b"abc"))
    chunk(work.content, b"def").unlink()
    chunk(work.content, b"def").mkdir()
    chunk(work.content, LARGE, 3).write_bytes(b"more")
    chunk(work.content, LARGE, 1).unlink()
    assert said(work, code=3)["damaged"][0]["shared"] is None
    answer = said(work, "--repair")
    assert {found["mended"] for found in answer["missing"] + answer["incomplete"]} == {"shared store"}
    assert answer["mended"] == 3
    assert check(work.content) == check(shared) == set(map(sha_of, contents.values()))
    assert chunk(work.content, LARGE, 1).samefile(chunk(shared, LARGE, 1))


def test_a_damaged_copy_in_the_shared_store_mends_nothing(tmp_path: Path, store: Path, shared: Path) -> None:
    put(store, b"abc")
    put(shared, b"abc")
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"}, config=sharing(shared))
    chunk(shared, b"abc").write_bytes(b"AbC")
    flip(chunk(work.content, b"abc"))
    assert said(work, "--repair")["damaged"][0]["mended"] == "remote"
    assert check(work.content) == check(shared) == {sha_of(b"abc")}


def test_a_shared_store_that_may_not_be_written(sharers: list[Work], shared: Path) -> None:
    """What is damaged there stays, and is told; it is not linked again."""
    one, _ = sharers
    flip(chunk(shared, b"abc"))
    folder = chunk(shared, b"abc").parent
    told = locked(folder, 0o555, lambda: one.run(*UNPRIVILEGED, "gitlob-fsck", "--repair"))
    assert "the same file in the shared store cannot be set aside: Permission denied" in told.stderr
    assert "repaired from origin" in told.stderr
    assert chunk(shared, b"abc").exists() and check(one.content) == {sha_of(b"abc")}


# The remote


def test_what_the_remote_lacks_and_has_in_wrong_sizes(tmp_path: Path, store: Path) -> None:
    """Of binaries that are here, and of others: those must be some binary, and their meta as long as its."""
    half = LARGE[: CHUNK + 9]

    def no_meta(root: Path, content: bytes) -> None:
        meta(root, content).unlink()

    def long_meta(root: Path, content: bytes) -> None:
        with meta(root, content).open("ab") as file:
            file.write(b"\n")

    def no_chunks(root: Path, content: bytes) -> None:
        for number in range(-(-len(content) // CHUNK)):
            chunk(root, content, number).unlink()

    lacking: dict[str, tuple[bytes, Callable[[Path, bytes], object]]] = {
        "gone": (b"gone", drop),
        "no meta": (b"no meta", no_meta),
        "no chunk": (b"no chunk", no_chunks),
        "no chunks": (half + b"no", no_chunks),
        "a gap": (half + b"gap", lambda root, content: chunk(root, content, 0).unlink()),
    }
    wrong: dict[str, tuple[bytes, Callable[[Path, bytes], object]]] = {
        "long meta": (b"long meta", long_meta),
        "no content": (b"no content", lambda root, content: os.truncate(chunk(root, content), 0)),
        "cut off": (half + b"cut", lambda root, content: os.truncate(chunk(root, content, 0), CHUNK - 1)),
        "too long": (half + b"long", lambda root, content: os.truncate(chunk(root, content, 1), CHUNK + 1)),
    }
    whole = {"good": b"good", "large": half, "even": LARGE[:CHUNK], "empty": b""}
    contents = {name: content for name, (content, _) in (lacking | wrong).items()} | whole
    work = repository(tmp_path / "work", store, contents)
    commit(work, {"dir/gone again": b"gone"}, branch="side")
    for content in contents.values():
        put(store, content)
    put(store, b"nobody's")
    for content, spoil in (lacking | wrong).values():
        spoil(store, content)
    for have in ("all", "nothing"):
        answer = said(work, "--fast", "--remote", code=3)
        assert answer["remote"]["needed"] == len(contents)
        assert shas(answer["remote"]["lacking"]) == sorted(sha_of(lacking[name][0]) for name in lacking), have
        assert shas(answer["remote"]["wrong_sized"]) == sorted(sha_of(wrong[name][0]) for name in wrong), have
        shutil.rmtree(work.content, ignore_errors=True)
    (gone,) = [found for found in answer["remote"]["lacking"] if found["sha"] == sha_of(b"gone")]
    assert sorted(gone["paths"]) == ["dir/gone again", "gone"]
    assert gone["refs"] == ["refs/heads/main", "refs/heads/side"]
    lines = run(work, "--remote", code=3).stderr.splitlines()
    assert len(lines) == len(lacking) + len(wrong) + 1
    assert len([line for line in lines if line.startswith("gitlob-fsck: missing at origin (")]) == len(lacking)
    assert "lacks 5 and has 4 in a wrong size of 13 binaries" in lines[-1] and "--push --recheck" in lines[-1]


def test_what_is_wrong_here_says_nothing_of_what_is_right_there(tmp_path: Path, store: Path) -> None:
    """A meta here that fits its chunks, but is not that of the binary."""
    work = repository(tmp_path / "work", store, {"a.bin": b"abc"})
    put(store, b"abc")
    sha = sha_of(b"abc")
    chunk(work.content, b"abc").write_bytes(b"abcd")
    meta(work.content, b"abc").write_text(f'{{"SHA":"{sha}","Size":4,"NumChunks":1}}')
    answer = said(work, "-n", "--remote", code=3)
    assert shas(answer["damaged"]) == [sha]
    assert answer["remote"]["lacking"] == answer["remote"]["wrong_sized"] == []


@pytest.mark.parametrize("kind", ["path", "daemon"])
def test_the_remote_is_listed_and_nothing_downloaded(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, runs: Callable[[], list[str]]
) -> None:
    place = make_place(kind, request)
    contents = {f"{number}.bin": b"%d" % number * 1000 for number in range(300)}
    for content in contents.values():
        put(place.folder, content)
    drop(place.folder, contents["7.bin"])
    os.truncate(chunk(place.folder, contents["8.bin"]), 1)
    work = repository(tmp_path / "work", place.location, contents, have=False)
    answer = said(work, "--remote", code=3)["remote"]
    assert answer["location"] == place.location and answer["needed"] == 300
    assert answer["lacking"] == [{"sha": sha_of(contents["7.bin"]), "paths": ["7.bin"], "refs": MAIN}]
    assert shas(answer["wrong_sized"]) == [sha_of(contents["8.bin"])]
    taken = [argv for argv in runs() if "--daemon" not in argv]
    assert len(taken) == (1 if kind == "path" else 2), "which store it is, and the listing"
    assert "--dry-run" in taken[-1]
    assert not work.content.exists()


def test_a_repair_and_a_look_at_the_remote_share_a_connection(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_place("ssh", request)
    work = repository(tmp_path / "work", place.location, {"a.bin": b"abc"})
    put(place.folder, b"abc")
    flip(chunk(work.content, b"abc"))
    answer = said(work, "--repair", "--remote")
    assert answer["mended"] == 1 and answer["remote"]["lacking"] == []
    assert not list(Path(os.environ["TMPDIR"]).glob("gitlob-*")), "nothing is left in TMPDIR"


# --fast


def test_fast_finds_sizes_and_no_content(three: Work) -> None:
    flip(chunk(three.content, b"abc"))
    answer = said(three, "--fast")
    assert (answer["checked"], answer["damaged"], answer["incomplete"]) == (3, [], [])
    assert "sizes only" in run(three, "--fast").stderr
    os.truncate(chunk(three.content, b"abc"), 2)
    assert shas(said(three, "--fast", code=3)["incomplete"]) == [sha_of(b"abc")]
    assert said(three, "--fast", "--repair")["mended"] == 1
    assert check(three.content) == {sha_of(b"abc"), sha_of(b"def"), sha_of(b"")}


def test_fast_reads_no_content(three: Work) -> None:
    put(three.content, LARGE)
    for number in range(3):
        os.truncate(chunk(three.content, LARGE, number), 0)
        os.truncate(chunk(three.content, LARGE, number), min(CHUNK, len(LARGE) - number * CHUNK))
    before = [chunk(three.content, LARGE, number).stat().st_atime_ns for number in range(3)]
    assert said(three, "--fast")["checked"] == 4
    assert [chunk(three.content, LARGE, number).stat().st_atime_ns for number in range(3)] == before


# Others at work meanwhile


def seen_of(root: Path, content: bytes) -> dict[str, os.stat_result]:
    return shortfall.parts(Store(str(root)), Sha(sha_of(content)))


def test_what_was_mended_meanwhile_is_not_moved(three: Work) -> None:
    """A pull --refetch comes between the look and the move: its files are others."""
    own, sha = Store(str(three.content)), Sha(sha_of(b"abc"))
    flip(chunk(three.content, b"abc"))
    seen = seen_of(three.content, b"abc")
    three.sync("--pull", "--committed", "--refetch")
    folder = quarantine.Quarantine(own)
    assert not folder.take(own, sha, seen, "content")
    assert check(three.content) == {sha_of(b"abc"), sha_of(b"def"), sha_of(b"")}
    assert not aside(three, b"abc")


def test_a_chunk_that_is_just_coming_in_is_not_moved(three: Work) -> None:
    """It has its place already, the meta not yet."""
    own, sha = Store(str(three.content)), Sha(sha_of(b"abc"))
    flip(chunk(three.content, b"abc"))
    seen = seen_of(three.content, b"abc")
    (three.path / "new").write_bytes(b"abc")
    (three.path / "new").rename(chunk(three.content, b"abc"))
    assert quarantine.Quarantine(own).take(own, sha, seen, "content")
    assert chunk(three.content, b"abc").read_bytes() == b"abc"
    assert not own.complete(sha)
    assert aside(three, b"abc")[0].keys() == {"meta"}


def test_what_is_mended_while_others_are_hashed_is_no_finding(
    three: Work, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at again before it is moved: here each look is followed by a repair of somebody else's."""
    flip(chunk(three.content, b"abc"))
    job = make(three, monkeypatch)
    wrong = job.hasher.wrong

    def and_then_it_is_mended(metas: list[Meta]) -> list[Sha]:
        found = wrong(metas)
        three.sync("--pull", "--committed", "--refetch")
        return found

    monkeypatch.setattr(job.hasher, "wrong", and_then_it_is_mended)
    job.diagnose(job.scan())
    assert job.report.findings == []
    assert not aside(three, b"abc")
    assert check(three.content) == {sha_of(b"abc"), sha_of(b"def"), sha_of(b"")}


def test_what_is_purged_meanwhile_is_no_finding(three: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    flip(chunk(three.content, b"abc"))
    job = make(three, monkeypatch)
    look = job.hasher.sound

    def and_then_it_goes(meta: Meta) -> bool:
        found = look(meta)
        drop(three.content, b"abc")
        return found

    monkeypatch.setattr(job.hasher, "sound", and_then_it_goes)
    job.diagnose(job.scan())
    assert job.report.findings == []


def test_at_no_time_does_the_store_show_a_wrong_binary_as_whole(three: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """The meta goes first: a kill behind any of the moves leaves what cannot be taken for a binary, and loses nothing."""
    put(three.content, LARGE)
    flip(chunk(three.content, LARGE, 1))
    own, sha = Store(str(three.content)), Sha(sha_of(LARGE))
    rename = os.rename

    def kill(*paths: str) -> None:
        rename(*paths)
        if sha in paths[0]:
            assert not own.complete(sha)
            raise KeyboardInterrupt

    job = make(three, monkeypatch)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "rename", kill)
        job.diagnose(job.scan())
    held = sum(len(at.read_bytes()) for at in three.content.parent.rglob(f"{sha}_?"))
    assert held == len(LARGE)
    assert said(three, code=3)["incomplete"][0]["why"] == "its meta is missing"


@pytest.mark.parametrize("source", ["shared", "remote"])
def test_at_no_time_does_a_repair_show_a_wrong_binary_as_whole(
    tmp_path: Path, store: Path, shared: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """One chunk is cut off, another damaged in its size: with the first one mended and the old meta, it would be whole."""
    work = repository(tmp_path / "work", store, {"large.bin": LARGE}, config=sharing(shared))
    put(shared if source == "shared" else store, LARGE)
    os.truncate(chunk(work.content, LARGE, 0), 5)
    flip(chunk(work.content, LARGE, 1))
    job = make(work, monkeypatch)
    settings = config.Settings.load(job.repo)
    moves = []

    def watch(function: Callable[..., None]) -> Callable[..., None]:
        def watched(*paths: str, **options: object) -> None:
            function(*paths, **options)
            moves.append(paths)
            found = job.own.complete(Sha(sha_of(LARGE)))
            assert not found or job.own.sound(found), moves

        return watched

    both = local.Stores(job.own, job.shared)
    with connection.Connection(Context(job.repo, both, settings, Silent("test")), settings.remote(None)) as joined:
        job.diagnose(job.scan())
        with monkeypatch.context() as patch:
            for name in ("rename", "link", "unlink"):
                patch.setattr(os, name, watch(getattr(os, name)))
            repair.Repair(job, joined).run()
    assert check(work.content) == {sha_of(LARGE)} and moves
    assert job.report.findings[0].repaired == {"shared": "shared store", "remote": "remote"}[source]


def test_killed_again_and_again(tmp_path: Path, store: Path) -> None:
    """At any moment, with and without a repair: not a file is lost, and the last run finishes."""
    contents = {f"{number}.bin": random.Random(number).randbytes(3 << 20) for number in range(12)}
    for content in contents.values():
        put(store, content)
    work = repository(tmp_path / "work", store, contents, config="[git-lob]\n\tfsync = false\n")
    wrong = list(contents.values())[::2]
    for content in wrong:
        flip(chunk(work.content, content))
    originals = {chunk(work.content, content).stat().st_ino for content in wrong}
    rng = random.Random(5)
    for turn in range(14):
        argv = ["gitlob-fsck", "-q", *(["--repair"] if turn % 2 else [])]
        process = subprocess.Popen(argv, cwd=work.path, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.05, 0.5))
        process.kill()
        process.wait()
        kept = {at.stat().st_ino for at in work.content.parent.rglob("*_0")}
        assert originals <= kept
    wait_until(lambda: not running(tmp_path), "everything that was started ends")
    said(work, "--repair", code=None)
    assert check(work.content) == set(map(sha_of, contents.values()))
    assert said(work)["missing"] == []


def running(of: Path) -> bool:
    """Whether an rsync that names a test's folder is at work."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(of) in words and b"rsync" in words:
                return True
    return False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_at_once(tmp_path: Path, number: int, code: int) -> None:
    """In the middle of a binary of 96 GiB, which takes longer than anyone waits for here."""
    work = repository(tmp_path / "work", None, {})
    sha = "0" * 40
    (work.content / "000" / "000").mkdir(parents=True)
    for part in range(3072):
        with (work.content / "000" / "000" / f"{sha}_{part}").open("wb") as file:
            file.truncate(CHUNK)
    about = f'{{"SHA":"{sha}","Size":{3072 * CHUNK},"NumChunks":3072}}'
    (work.content / "000" / "000" / f"{sha}_meta").write_text(about)
    put(work.content, LARGE)
    process = subprocess.Popen(["gitlob-fsck"], cwd=work.path, stderr=subprocess.PIPE, encoding="utf-8")
    wait_until(lambda: reads(process.pid, sha), "it reads")
    process.send_signal(number)
    told = process.communicate(timeout=60)[1]
    assert (process.returncode, told.count("\n")) == (code, 1)
    assert "interrupted" in told


def reads(pid: int, sha: str) -> bool:
    """Whether a process has a file of a binary open."""
    try:
        return any(sha in os.readlink(at) for at in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return False


def test_memory_does_not_hold_contents(tmp_path: Path) -> None:
    work = repository(tmp_path / "work", None, {"large.bin": LARGE})
    put(work.content, LARGE[:-1])
    flip(chunk(work.content, LARGE, 1))
    # started by a small process, whose own memory counts until it has become another
    measure = (
        "import resource, subprocess\n"
        "assert subprocess.run(['gitlob-fsck', '-q', '-n'], stderr=subprocess.DEVNULL).returncode == 3\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    assert int(work.run(sys.executable, "-c", measure).stdout) < 50 * 1024, "KiB"


def test_several_threads_hash_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two large binaries are read at the same time where there are two processors."""
    work = repository(tmp_path / "work", None, {})
    metas = [Meta(Sha(put(work.content, content)), len(content)) for content in (LARGE, LARGE[:-1])]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    hashing = hasher.Hasher(Store(str(work.content)), Silent("test"))
    read, open_now, most = os.readv, set(), 0

    def watch(fd: int, buffers: list[bytearray]) -> int:
        nonlocal most
        open_now.add(fd)
        most = max(
            most, len({os.readlink(f"/proc/self/fd/{n}").rpartition("/")[2][:40] for n in list(open_now) if exists(n)})
        )
        return read(fd, buffers)

    def exists(fd: int) -> bool:
        try:
            fcntl.fcntl(fd, fcntl.F_GETFD)
        except OSError:
            return False
        return True

    monkeypatch.setattr(os, "readv", watch)
    assert hashing.wrong(metas) == []
    assert most == 2


def test_only_what_is_moved_has_to_wait_for_a_purge(three: Work) -> None:
    with locks.alone(Store(str(three.content)), "a purge"):
        run(three, "--lock-wait", "0.1")
        flip(chunk(three.content, b"abc"))
        run(three, "-n", "--lock-wait", "0.1", code=3)
        assert "a purge" in one_line(run(three, "--lock-wait", "0.1", code=5))
        three.git("config", "git-lob.lock-wait", "0")
        assert "a purge" in one_line(run(three, "--repair", code=5))
    assert said(three, "--repair")["mended"] == 1


# Options


def test_what_goes_together(three: Work) -> None:
    assert "--help lists" in run(three, "--jobs", "2", code=2).stderr
    assert "REMOTE requires" in run(three, "origin", code=2).stderr
    assert "argument --lock-wait: '-1' is not a number" in run(three, "--lock-wait", "-1", code=2).stderr


def test_progress_is_shown_where_it_is_asked_for(three: Work) -> None:
    assert "check 3 ..." in run(three, "--progress", "plain").stderr
    assert "check" not in run(three, "-q").stderr


def test_outside_a_repository(tmp_path: Path) -> None:
    assert "not in a git repository" in one_line(Work(tmp_path).run("gitlob-fsck", code=2))


def test_a_daemon_that_has_no_such_folder(three: Work, rsyncd: Daemon) -> None:
    line = one_line(run(three, "-q", "--remote", rsyncd.location("none"), code=2))
    assert "does not exist" in line
