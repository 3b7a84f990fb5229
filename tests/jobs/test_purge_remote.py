"""gitlob-purge --remote-store: what no clone says it needs goes from a remote store, by way of the trash there."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitlob_rsync.config import Settings
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.jobs import push
from gitlob_rsync.jobs.connection import Connection
from gitlob_rsync.jobs.context import Context
from gitlob_rsync.jobs.transfer_report import TransferReport
from gitlob_rsync.progress import Silent
from gitlob_rsync.selection.scopes import Committed
from gitlob_rsync.store.local import Stores
from tests.support.handmade import check, chunk, files_of, put, sha_of
from tests.support.places import Place, make_place
from tests.support.purging_remote import LONG_AGO, OLD, ONE, TWO, YOUNG, age, pushed, strew
from tests.support.repositories import commit, repository
from tests.support.servers import Daemon
from tests.support.work import DAY, Work


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    """At a path; all ways are in tests/conformance."""
    return make_place("path", request)


def lists(root: Path) -> list[Path]:
    return sorted((root / "gitlob" / "lists").glob("?" * 24))


def trash(root: Path) -> dict[str, set[str]]:
    """The stamps in the trash, each with the binaries that are there, all of them whole."""
    return {at.name: check(at) for at in (root / "gitlob" / "trash").glob("*")}


def everything(root: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a store, with what is ours beside the content."""
    return {
        str(at.relative_to(root)): (at.read_bytes(), at.stat().st_mtime_ns) for at in root.rglob("*") if at.is_file()
    }


def purge(work: Work, *args: str, code: int = 0) -> dict:
    """A purge of the remote store with a grace time of two days; returns what --json says: a group -> its binaries."""
    done = work.run("gitlob-purge", "--remote-store", "--grace", "2d", "--json", *args, code=code)
    said = json.loads(done.stdout)
    assert said.keys() == {"lists", "clones", "moved", "restored", "emptied", "named", "young"}
    return said


def count(*contents: bytes) -> tuple[int, int]:
    """How many binaries, and the bytes of their files."""
    return len(contents), sum(len(data) for content in contents for data in files_of(content).values())


def refused(work: Work, root: Path, *args: str) -> str:
    """A purge that must fail; returns its one line. Not a file at the remote has changed."""
    before = everything(root)
    done = work.run("gitlob-purge", "--remote-store", "--grace", "2d", *args, code=1)
    assert everything(root) == before
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("gitlob-purge: ")
    return line


@pytest.fixture
def two(tmp_path: Path, place: Place) -> tuple[Work, Work]:
    """Two clones that pushed a binary each, long ago, and strays at the remote: an old one and a young one."""
    return pushed(tmp_path, place)


@pytest.fixture
def on_a_path(tmp_path: Path) -> tuple[Work, Path]:
    """The same for what does not depend on the way there: one of the clones, and the store."""
    folder = tmp_path / "remote"
    return pushed(tmp_path, Place(str(folder), folder))[0], folder


def stamped(root: Path, stamp: str) -> None:
    """Have what lies in the trash be there since another time."""
    (at,) = (root / "gitlob" / "trash").iterdir()
    at.rename(at.with_name(stamp))


def days_ago(days: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - days * DAY))


@pytest.mark.smoke
def test_what_no_list_names_and_what_is_old_goes_into_the_trash(place: Place, two: tuple[Work, Work]) -> None:
    assert len(lists(place.folder)) == 2
    before = everything(place.folder)
    said = purge(two[0])
    assert check(place.folder) == {sha_of(ONE), sha_of(TWO), sha_of(YOUNG)}
    ((stamp, gone),) = trash(place.folder).items()
    assert gone == {sha_of(OLD)}
    assert days_ago(1) < stamp < days_ago(-1)
    after = everything(place.folder)
    for name in files_of(OLD):
        assert after[f"gitlob/trash/{stamp}/{name}"] == before[name], "moved, and not written anew"
    assert said["lists"] == 2
    groups = {"moved": (OLD,), "named": (ONE, TWO), "young": (YOUNG,), "restored": (), "emptied": ()}
    assert {name: (said[name]["count"], said[name]["bytes"]) for name in groups} == {
        name: count(*contents) for name, contents in groups.items()
    }


def test_without_a_list_nothing_is_done(tmp_path: Path, place: Place) -> None:
    work = repository(tmp_path / "one", place.location, {"a.bin": ONE})
    strew(place.folder, OLD, 9)
    assert "no clone has published there what it needs" in refused(work, place.folder)


def test_a_dry_run_changes_nothing_at_the_remote(place: Place, two: tuple[Work, Work]) -> None:
    strew(place.folder / "gitlob" / "trash" / LONG_AGO, b"emptied", 9)
    strew(place.folder / "gitlob" / "trash" / LONG_AGO, ONE, 9)
    for name in files_of(ONE):
        (place.folder / name).unlink()
    before = everything(place.folder)
    would = purge(two[1], "-n")
    assert everything(place.folder) == before
    done = purge(two[1])
    for said in (would, done):
        assert all(clone.pop("age") < 600 for clone in said["clones"])
    assert would == done, "and it says what then comes to be"
    assert [would[name]["count"] for name in ("moved", "restored", "emptied")] == [1, 1, 1]


def test_a_later_run_empties_what_was_in_the_trash_for_the_grace_time(place: Place, two: tuple[Work, Work]) -> None:
    purge(two[0])
    young = days_ago(1)
    stamped(place.folder, young)
    assert purge(two[0])["emptied"]["count"] == 0
    assert trash(place.folder) == {young: {sha_of(OLD)}}

    stamped(place.folder, days_ago(3))
    strew(place.folder / "gitlob" / "trash" / young, b"younger trash", 9)
    said = purge(two[1])
    assert (said["emptied"]["count"], said["emptied"]["bytes"]) == count(OLD)
    assert trash(place.folder) == {young: {sha_of(b"younger trash")}}
    assert check(place.folder) == {sha_of(ONE), sha_of(TWO), sha_of(YOUNG)}


def test_what_was_never_named_goes_after_a_day(place: Place, two: tuple[Work, Work]) -> None:
    """The files of an rsync that was killed there: under names that it gives to what it still writes."""
    content = chunk(place.folder, ONE)
    (its_list, _) = lists(place.folder)
    for beside in (content, its_list):
        for ending, days in (("aB3dE_", 3.0), ("123456", 0.5)):
            at = beside.with_name(f".{beside.name}.{ending}")
            at.write_bytes(b"cut o")
            os.utime(at, (time.time() - days * DAY,) * 2)
    before = everything(place.folder)
    purge(two[0], "-n")
    assert everything(place.folder) == before
    purge(two[0])
    left = {str(at.relative_to(place.folder)) for at in place.folder.rglob(".*") if "trash" not in at.parts}
    assert left == {str((at.parent / f".{at.name}.123456").relative_to(place.folder)) for at in (content, its_list)}
    stamped(place.folder, LONG_AGO)
    purge(two[0])
    assert not list(place.folder.rglob("*.aB3dE_")), "it goes with the trash"
    assert check(place.folder) == {sha_of(ONE), sha_of(TWO), sha_of(YOUNG)}


def test_what_a_list_names_by_now_is_brought_back(place: Place, two: tuple[Work, Work]) -> None:
    """Even from what is so old that it is emptied in the same run."""
    one, other = two
    purge(one)
    strew(place.folder / "gitlob" / "trash" / next(iter(trash(place.folder))), b"another", 9)
    stamped(place.folder, LONG_AGO)
    commit(other, {"c.bin": OLD})
    said = purge(other)
    assert (said["restored"]["count"], said["restored"]["bytes"]) == count(OLD)
    assert (said["emptied"]["count"], said["emptied"]["bytes"]) == count(b"another")
    assert check(place.folder) == {sha_of(ONE), sha_of(TWO), sha_of(YOUNG), sha_of(OLD)}
    assert not any(trash(place.folder).values())


@pytest.mark.parametrize("folder", ["", "deep/er"])
def test_it_comes_back_in_a_module_with_chroot_too(tmp_path: Path, rsyncd: Daemon, folder: str) -> None:
    """The folders that a daemon is told then count from the module, and its root is none that rsync moves into."""
    with (tmp_path / "rsyncd.conf").open("a") as config:  # it is read again with each connection
        config.write(f"[jail]\npath = {rsyncd.folder}\nread only = no\n")
        config.write(f"use chroot = {'yes' if os.getuid() == 0 else 'no'}\n")
    place = Place(rsyncd.location(folder, "jail"), rsyncd.folder / folder)
    one, other = pushed(tmp_path, place)
    purge(one)
    assert check(place.folder) == {sha_of(ONE), sha_of(TWO), sha_of(YOUNG)}
    commit(other, {"c.bin": OLD})
    assert purge(other)["restored"]["count"] == 1
    assert check(place.folder) == {sha_of(ONE), sha_of(TWO), sha_of(YOUNG), sha_of(OLD)}
    assert not any(trash(place.folder).values())


@pytest.mark.parametrize("keep", [0, 1, 40, -1, -20], ids=["empty", "a byte", "first line", "last byte", "last line"])
def test_a_list_that_is_cut_off_refuses(on_a_path: tuple[Work, Path], keep: int) -> None:
    work, store = on_a_path
    for at in lists(store):
        if str(work.path).encode() not in at.read_bytes():
            at.write_bytes(at.read_bytes()[:keep])
            assert f"lists/{at.name} at the remote is damaged" in refused(work, store)
            break
    else:
        raise AssertionError("there is no list of the other clone")


def test_a_damaged_list_refuses_whoever_asks(place: Place, two: tuple[Work, Work]) -> None:
    at = lists(place.folder)[0]
    at.write_bytes(at.read_bytes()[:-10])
    for work in two:
        assert "damaged" in refused(work, place.folder)


@pytest.mark.parametrize("name", ["gitlob", "gitlob/lists", "gitlob/trash"])
def test_a_folder_of_ours_that_is_a_link_refuses(on_a_path: tuple[Work, Path], tmp_path: Path, name: str) -> None:
    work, store = on_a_path
    (store / "gitlob" / "trash").mkdir()
    (store / name).rename(tmp_path / "elsewhere")
    (store / name).symlink_to(tmp_path / "elsewhere")
    before = everything(tmp_path / "elsewhere")
    work.run("gitlob-purge", "--remote-store", "--grace", "2d", code=2 if name == "gitlob" else 1)
    assert everything(tmp_path / "elsewhere") == before
    assert check(store) == {sha_of(ONE), sha_of(TWO), sha_of(OLD), sha_of(YOUNG)}


@pytest.mark.parametrize("level", [0, 1])
def test_what_is_behind_a_link_is_left_alone(on_a_path: tuple[Work, Path], tmp_path: Path, level: int) -> None:
    work, store = on_a_path
    folder = chunk(store, OLD).parents[1 - level]
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    before = everything(tmp_path / "elsewhere")
    assert purge(work)["moved"]["count"] == 0
    assert everything(tmp_path / "elsewhere") == before


def test_a_dry_run_goes_by_what_this_clone_needs_now(place: Place, two: tuple[Work, Work]) -> None:
    """Its list there may be older: what only that names goes, and what is committed since and was not pushed stays."""
    one, _ = two
    commit(one, {"new.bin": OLD})
    one.git("update-ref", "-d", "refs/heads/main")
    commit(one, {"old.bin": OLD})
    would = purge(one, "-n")
    assert would["moved"]["binaries"] == [sha_of(ONE)]
    assert would["named"]["binaries"] == sorted([sha_of(TWO), sha_of(OLD)])
    done = purge(one)
    assert {key: would[key] for key in ("lists", "moved", "named", "young", "restored", "emptied")} == {
        key: done[key] for key in ("lists", "moved", "named", "young", "restored", "emptied")
    }


def test_without_grace_it_is_gone_in_the_same_run(place: Place, two: tuple[Work, Work]) -> None:
    would = purge(two[0], "--grace", "0", "-n")
    said = purge(two[0], "--grace", "0")
    assert said["emptied"] == would["emptied"]
    assert said["emptied"]["binaries"] == sorted([sha_of(OLD), sha_of(YOUNG)])
    assert said["moved"]["count"] == would["moved"]["count"] == 0
    assert check(place.folder) == {sha_of(ONE), sha_of(TWO)}
    assert not list((place.folder / "gitlob" / "trash").iterdir())


def meanwhile(work: Work, tmp_path: Path, when: str, script: str, *, code: int = 0) -> dict:
    """A purge without grace, in which `script` is run once, after rsync was called with an option like `when`."""
    shim = tmp_path / "shim" / "rsync"
    shim.parent.mkdir()
    shim.write_text(
        f'#!/bin/sh\n{shutil.which("rsync")} "$@"; code=$?\n'
        f'case "$*" in *{when}*) mkdir "{shim}.done" 2>/dev/null && {{ {script}; }};; esac\nexit $code\n'
    )
    shim.chmod(0o755)
    done = work.run(
        "gitlob-purge", "--remote-store", "--grace", "0", "--json",
        env={"PATH": f"{shim.parent}:{os.environ['PATH']}"}, code=code,
    )  # fmt: skip
    return json.loads(done.stdout) if not code else {"error": done.stderr}


def test_without_grace_a_list_that_comes_meanwhile_counts(on_a_path: tuple[Work, Path], tmp_path: Path) -> None:
    """Its clone had found there what was just moved."""
    work, store = on_a_path
    for at in lists(store):
        if str(work.path).encode() not in at.read_bytes():
            text = at.read_text().replace("end 1", f"{sha_of(OLD)}\nend 2")
    (tmp_path / "list").write_text(text)
    said = meanwhile(work, tmp_path, "--backup-dir=", f'cp "{tmp_path}/list" "{store}/gitlob/lists/{"ab" * 12}"')
    assert said["restored"]["binaries"] == [sha_of(OLD)]
    assert check(store) == {sha_of(ONE), sha_of(TWO), sha_of(OLD)}


def test_a_list_that_is_damaged_meanwhile_brings_back_what_was_moved(
    on_a_path: tuple[Work, Path], tmp_path: Path
) -> None:
    """What it named is not known then."""
    work, store = on_a_path
    before = check(store)
    (tmp_path / "torn").write_text("torn")
    script = f'cp "{tmp_path}/torn" "{store}/gitlob/lists/{"ab" * 12}"'
    assert "is damaged" in meanwhile(work, tmp_path, "--backup-dir=", script, code=1)["error"]
    assert check(store) == before


def test_without_grace_what_others_move_meanwhile_stays_in_the_trash(
    on_a_path: tuple[Work, Path], tmp_path: Path
) -> None:
    """Another purge may have to bring it back: the lists were not read since."""
    work, store = on_a_path
    others = store / "gitlob" / "trash" / LONG_AGO
    strew(others, b"looked at", 9)
    put(tmp_path / "of another purge", b"just moved")
    script = f'cp -R "{tmp_path}/of another purge/." "{others}"'
    said = meanwhile(work, tmp_path, "/gitlob/trash/'**'", script)
    assert sha_of(b"looked at") in said["emptied"]["binaries"]
    assert sha_of(b"just moved") not in said["emptied"]["binaries"]
    assert trash(store) == {LONG_AGO: {sha_of(b"just moved")}}


def test_without_grace_what_others_move_meanwhile_and_is_needed_is_brought_back(
    on_a_path: tuple[Work, Path], tmp_path: Path
) -> None:
    """Though it was in the store when that was looked at."""
    work, store = on_a_path
    for content in (OLD, YOUNG):
        for name in files_of(content):
            (store / name).unlink()
    script = f'mkdir -p "{store}/gitlob/trash/{LONG_AGO}"'
    for name in files_of(ONE):
        at = store / "gitlob" / "trash" / LONG_AGO / name
        script += f'; mkdir -p "{at.parent}"; mv "{store / name}" "{at}" 2>/dev/null'
    said = meanwhile(work, tmp_path, "_meta", script)
    assert said["restored"]["binaries"] == [sha_of(ONE)]
    assert check(store) == {sha_of(ONE), sha_of(TWO)}


def other_list(work: Work, store: Path) -> Path:
    (at,) = (at for at in lists(store) if str(work.path).encode() not in at.read_bytes())
    return at


@pytest.mark.parametrize("damaged", [False, True])
def test_a_list_is_forgotten(place: Place, two: tuple[Work, Work], damaged: bool) -> None:
    one, other = two
    at = other_list(one, place.folder)
    then = time.time() - 3 * DAY
    os.utime(at, (then, then))
    shown = purge(one, "-n")["clones"]
    assert [(clone["own"], clone["count"]) for clone in shown] == [(False, 1), (True, 1)], "the oldest comes first"
    assert shown[0]["name"] == at.name
    assert shown[0]["place"].endswith(f":{other.path}/.git")
    assert 3 * DAY <= shown[0]["age"] < 4 * DAY
    if damaged:
        at.write_bytes(b"torn")
    before = everything(place.folder)
    would = purge(one, "--forget-list", at.name, "-n")
    assert everything(place.folder) == before
    done = purge(one, "--forget-list", at.name)
    assert would["lists"] == done["lists"] == 1
    assert would["clones"][0]["forgotten"] and done["clones"][0]["forgotten"]
    assert would["moved"] == done["moved"]
    assert done["moved"]["binaries"] == sorted([sha_of(OLD), sha_of(TWO)])
    assert [at.name for at in lists(place.folder)] == [done["clones"][1]["name"]]
    assert list((place.folder / "gitlob" / "trash").glob(f"*/gitlob/lists/{at.name}")), "it is in the trash"


def test_the_lists_are_told_with_their_age(on_a_path: tuple[Work, Path]) -> None:
    work, store = on_a_path
    at = other_list(work, store)
    then = time.time() - 50 * 3600
    os.utime(at, (then, then))
    for args, forgets in ((("-n",), ("1 binary; ", "would be rewritten")), ((), ("1 binary; ", "was rewritten"))):
        said = work.run("gitlob-purge", "--remote-store", "--grace", "2d", *args).stderr.splitlines()
        assert [line for line in said if f"  {at.name} " in line and "its list is 2 days old" in line]
        assert [line for line in said if str(work.path) in line and all(word in line for word in forgets)]


def test_a_list_that_is_not_there_is_not_forgotten(on_a_path: tuple[Work, Path]) -> None:
    work, store = on_a_path
    (own,) = {at.name for at in lists(store)} - {other_list(work, store).name}
    before = everything(store)
    for name in ("", "0" * 24, own, f"../{own}", "*"):
        done = work.run("gitlob-purge", "--remote-store", "--forget-list", name, code=2)
        (line,) = done.stderr.splitlines()
        assert "the list " in line and " -n shows the lists" in line
    assert everything(store) == before
    assert "--forget-list requires --remote-store" in work.run("gitlob-purge", "--forget-list", own, code=2).stderr


def test_parts_that_a_lost_clone_sent_are_swept(place: Place, two: tuple[Work, Work]) -> None:
    """With their folders, once they are older than the grace time; those of a push that may go on stay."""
    (its_list, _) = lists(place.folder)
    left = []
    for at, client, days in (
        (chunk(place.folder, ONE), "0123456789ab", 3.0),
        (chunk(place.folder, ONE), "ba9876543210", 1.5),
        (its_list, "0123456789ab", 3.0),
        (chunk(place.folder, OLD), "0123456789ab", 3.0),
    ):
        part = at.parent / f".rsync-partial-{client}" / at.name
        part.parent.mkdir()
        part.write_bytes(b"cut o")
        os.utime(part, (time.time() - days * DAY,) * 2)
        left += [part] if days < 2 else []
    before = everything(place.folder)
    purge(two[0], "-n")
    assert everything(place.folder) == before
    purge(two[0])
    folders = [at for at in place.folder.rglob(".rsync-partial-*") if "trash" not in at.parts]
    assert folders == [part.parent for part in left] and all(part.exists() for part in left)
    stamped(place.folder, LONG_AGO)
    purge(two[0])
    assert not (place.folder / "gitlob" / "trash" / LONG_AGO).exists()
    assert check(place.folder) == {sha_of(ONE), sha_of(TWO), sha_of(YOUNG)}


def test_what_is_pushed_anew_meanwhile_stays(on_a_path: tuple[Work, Path], tmp_path: Path) -> None:
    """A push that found it gone sends it before the purge has looked whether all of it went."""
    work, store = on_a_path
    put(tmp_path / "of another clone", OLD)
    shim = tmp_path / "shim" / "rsync"
    shim.parent.mkdir()
    shim.write_text(
        f'#!/bin/sh\n{shutil.which("rsync")} "$@"; code=$?\n'
        f'case "$*" in *--delete-missing-args*) cp -R "{tmp_path}/of another clone/." "{store}";; esac\nexit $code\n'
    )
    shim.chmod(0o755)
    done = work.run(
        "gitlob-purge", "--remote-store", "-q", "--grace", "2d", env={"PATH": f"{shim.parent}:{os.environ['PATH']}"}
    )
    assert not done.stderr
    assert sha_of(OLD) in check(store)
    assert [sha_of(OLD)] == [sha for shas in trash(store).values() for sha in shas]


# A push and a purge of one clone at once


@pytest.fixture
def amid(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Work, Callable[[Callable[[], object]], None]]:
    """A clone that pushed what only a branch needed that is deleted by now, and what has something happen in it when its next
    push has just sent all, and has not put it on record yet."""
    work = repository(tmp_path / "work", str(store), {"a.bin": ONE})
    work.git("branch", "-q", "kept")
    commit(work, {"b.bin": OLD})
    put(work.content, OLD)
    work.sync("--push")
    work.git("branch", "-q", "gone")
    work.git("reset", "-q", "--hard", "kept")
    age(store, OLD, 30)
    old = work.git("rev-parse", "gone").decode().strip()
    work.git("branch", "-q", "-D", "gone")
    (work.path / "old").write_text(old)
    monkeypatch.chdir(work.path)
    send = push._push

    def arrange(event: Callable[[], object]) -> None:
        def once(*args: Any) -> TransferReport:
            monkeypatch.setattr(push, "_push", send)
            report = send(*args)
            event()
            return report

        monkeypatch.setattr(push, "_push", once)

    return work, arrange


def connection(work: Work) -> Connection:
    repo = Repo.discover()
    settings = Settings.load(repo)
    return Connection(Context(repo, Stores.load(repo), settings, Silent("test")), settings.remote(None))


def test_a_purge_amid_a_push_leaves_nothing_on_record_that_it_takes(
    amid: tuple[Work, Callable[[Callable[[], object]], None]], store: Path
) -> None:
    work, arrange = amid
    commit(work, {"c.bin": TWO})
    put(work.content, TWO)
    arrange(lambda: purge(work))
    with connection(work) as joined:
        push.push_commits(joined, [work.git("rev-parse", "HEAD").decode().strip()])
    assert check(store) == {sha_of(ONE), sha_of(TWO)}
    work.git("branch", "back", work.read("old").decode())
    with connection(work) as joined:
        push.push_commits(joined, [work.git("rev-parse", "back").decode().strip()])
    assert check(store) == {sha_of(ONE), sha_of(TWO), sha_of(OLD)}


@pytest.mark.parametrize("whole", [False, True])
def test_a_purge_amid_a_push_takes_nothing_that_it_pushes(
    amid: tuple[Work, Callable[[Callable[[], object]], None]], store: Path, whole: bool
) -> None:
    """What is pushed is no ref's any more when the purge looks."""
    work, arrange = amid
    commit(work, {"c.bin": OLD})
    pushed = work.git("rev-parse", "HEAD").decode().strip()

    def amend() -> None:
        work.git("reset", "-q", "--hard", "kept")
        purge(work)

    arrange(amend)
    with connection(work) as joined:
        if whole:
            push.push(joined, Committed((pushed,)))
        else:
            push.push_commits(joined, [pushed])
    assert check(store) == {sha_of(ONE), sha_of(OLD)}


def test_a_push_of_everything_looks_after_it_said_what_is_needed(
    amid: tuple[Work, Callable[[Callable[[], object]], None]], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, _ = amid
    commit(work, {"c.bin": OLD})
    publish = push._publish

    def late(*args: Any) -> None:
        for name in files_of(OLD):  # another clone's purge, just before
            (store / name).unlink()
        publish(*args)

    monkeypatch.setattr(push, "_publish", late)
    with connection(work) as joined:
        push.push_everything(joined)
    assert check(store) == {sha_of(ONE), sha_of(OLD)}
