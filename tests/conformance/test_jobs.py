"""A whole push, pull, and purge of the remote store, against each way to a store."""

import json
import shutil
from pathlib import Path

import pytest

from tests.support.handmade import check, put, sha_of, tree
from tests.support.places import Place, make_place
from tests.support.purging_remote import LONG_AGO, OLD, ONE, TWO, YOUNG, pushed, strew
from tests.support.repositories import commit, repository
from tests.support.work import Work


@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["path", "ssh", "host:path", "daemon", "daemon root"])
def test_what_is_pushed_can_be_pulled(tmp_path: Path, request: pytest.FixtureRequest, kind: str) -> None:
    """The first push makes the store, however deep."""
    place = make_place(kind, request)
    contents = {"a.bin": b"one", "b.bin": b"two" * 1000, "empty.bin": b""}
    work = repository(tmp_path / "work", place.location, contents)
    work.sync("--push")
    assert check(place.folder) == {sha_of(content) for content in contents.values()}
    shutil.rmtree(work.content)
    work.sync("--pull")
    assert tree(work.content) == tree(place.folder)


def test_the_first_push_makes_a_store_and_says_so(tmp_path: Path, place: Place) -> None:
    work = repository(tmp_path / "work", place.location, {"a.bin": b"a"})
    said = work.sync("--push").stderr
    first, identity = (place.folder / "gitlob" / "identity").read_text().splitlines()
    assert first == "gitlob-rsync store 1"
    assert "is a new store" in said and identity[:12] in said
    commit(work, {"b.bin": b"b"})
    put(work.content, b"b")
    assert "new store" not in work.sync("--push").stderr
    assert (place.folder / "gitlob" / "identity").read_text().splitlines() == [first, identity]
    checked = work.run("gitlob-setup", "--check", code=None).stderr
    assert identity in checked and "can be reached and written to" in checked


def test_a_purge_of_the_remote_store(tmp_path: Path, place: Place) -> None:
    """What no list names goes into the trash; what one names by now comes back from there, and the rest goes."""

    def purge(work: Work) -> dict:
        return json.loads(work.run("gitlob-purge", "--remote-store", "--grace", "2d", "--json").stdout)

    one, other = pushed(tmp_path, place)
    trash = place.folder / "gitlob" / "trash"
    assert purge(one)["moved"]["binaries"] == [sha_of(OLD)]
    assert check(place.folder) == {sha_of(ONE), sha_of(TWO), sha_of(YOUNG)}
    (stamp,) = trash.iterdir()
    assert check(stamp) == {sha_of(OLD)}
    strew(stamp, b"another", 9)
    stamp.rename(trash / LONG_AGO)
    commit(other, {"c.bin": OLD})
    said = purge(other)
    assert said["restored"]["binaries"] == [sha_of(OLD)]
    assert said["emptied"]["binaries"] == [sha_of(b"another")]
    assert check(place.folder) == {sha_of(ONE), sha_of(TWO), sha_of(YOUNG), sha_of(OLD)}
    assert not (trash / LONG_AGO).exists()
