"""Each operation of a transport (gitlob_rsync/transport/base.py), against each way to a store."""

import os
import shutil
import stat
import time
from pathlib import Path

import pytest

from gitlob_rsync.errors import UsageError
from gitlob_rsync.store.aside import ASIDE, LISTS
from gitlob_rsync.transport.base import NotAStore, Transport
from tests.support.handmade import CHUNK, check, chunk, files_of, meta, put, sha_of, tree
from tests.support.places import Place

CONTENTS = (b"one", b"two" * 1000, b"")
TRASH = "trash/20200102T030405Z"


def names(*contents: bytes) -> list[str]:
    return sorted(name for content in contents for name in files_of(content))


def sizes(*contents: bytes) -> dict[str, int]:
    return {name: len(data) for content in contents for name, data in files_of(content).items()}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A store on this machine."""
    folder = tmp_path / "here"
    for content in CONTENTS:
        put(folder, content)
    return folder


@pytest.fixture
def there(place: Place) -> Path:
    """The folder of the remote store, which has some binaries."""
    for content in CONTENTS:
        put(place.folder, content)
    return place.folder


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """A staging folder with its folder for what was cut off."""
    (tmp_path / "staging" / "partial").mkdir(parents=True)
    return tmp_path / "staging"


def fetched(into: Path) -> dict[str, bytes]:
    return {at.name: at.read_bytes() for at in into.iterdir() if at.is_file()}


# The content


def test_fetch(remote: Transport, there: Path, into: Path) -> None:
    """What is there comes, flat; what is not there does not."""
    arrived: list[str] = []
    came = remote.fetch([*names(*CONTENTS), *names(b"not there")], str(into), str(into / "partial"), arrived.append)
    wanted = {os.path.basename(name): (there / name).read_bytes() for name in names(*CONTENTS)}
    assert fetched(into) == wanted
    assert came == {name: len(data) for name, data in wanted.items()}
    assert set(arrived) <= wanted.keys() and len(arrived) >= len(wanted) - 1, "the last one may go without saying"
    assert remote.fetch(names(b"not there"), str(into), str(into / "partial")) == {}


def test_fetch_of_what_is_no_file(remote: Transport, there: Path, into: Path, tmp_path: Path) -> None:
    """A link, a FIFO or a folder in place of a file; a file in place of a folder: they do not come, and stop nothing."""
    kinds = {kind: put(there, kind.encode()) for kind in ("link", "fifo", "folder")}
    for kind in kinds:
        chunk(there, kind.encode()).unlink()
    chunk(there, b"link").symlink_to(tmp_path / "precious")
    (tmp_path / "precious").write_bytes(b"precious")
    os.mkfifo(chunk(there, b"fifo"))
    chunk(there, b"folder").mkdir()
    (there / sha_of(b"other")[:3]).write_bytes(b"x")
    asked = [str(chunk(Path(), content)) for content in (*map(str.encode, kinds), b"one", b"other")]
    remote.fetch(asked, str(into), str(into / "partial"))
    assert fetched(into) == {chunk(there, b"one").name: b"one"}


def test_fetch_again_passes_over_what_has_come(remote: Transport, there: Path, into: Path) -> None:
    remote.fetch(names(b"one"), str(into), str(into / "partial"))
    came = remote.fetch(names(*CONTENTS), str(into), str(into / "partial"))
    assert not came.keys() & {os.path.basename(name) for name in names(b"one")}
    assert len(fetched(into)) == len(names(*CONTENTS))


def test_send_makes_the_store(remote: Transport, place: Place, here: Path) -> None:
    assert remote.send(names(*CONTENTS), str(here)) == sizes(*CONTENTS)
    assert tree(place.folder) == tree(here)
    assert check(place.folder) == set(map(sha_of, CONTENTS))


def test_send_what_is_there(remote: Transport, place: Place, here: Path) -> None:
    """A file of the right size stays, unless it is to come anew; one of a wrong size is replaced."""
    put(place.folder, b"one")
    theirs = chunk(place.folder, b"one")
    theirs.write_bytes(b"ONE")
    os.truncate(meta(place.folder, b"one"), 3)
    before = theirs.stat()
    assert remote.send(names(b"one"), str(here)).keys() == set(names(b"one")) - {str(theirs.relative_to(place.folder))}
    after = theirs.stat()
    assert (theirs.read_bytes(), after.st_ino, after.st_mtime_ns) == (b"ONE", before.st_ino, before.st_mtime_ns)
    remote.send(names(b"one"), str(here), overwrite=True)
    assert check(place.folder) == {sha_of(b"one")}


def test_send_leaves_modes_to_the_umask_there(remote: Transport, place: Place, here: Path) -> None:
    """git-lob leaves files that nobody else can read; what others are to pull must not stay so."""
    for path in here.rglob("*_*"):
        path.chmod(0o400)
    remote.send(names(*CONTENTS), str(here))
    files = {stat.S_IMODE(at.stat().st_mode) for at in place.folder.rglob("*_*")}
    folders = {stat.S_IMODE(at.stat().st_mode) for at in place.folder.glob("???/???")}
    assert (files, folders) == ({0o644}, {0o755})


def test_send_and_fetch_of_several_chunks(remote: Transport, place: Place, here: Path, into: Path) -> None:
    content = bytes(CHUNK) + b"tail"
    put(here, content)
    remote.send(names(content), str(here))
    assert check(place.folder) == {sha_of(content)}
    remote.fetch(names(content), str(into), str(into / "partial"))
    assert len(fetched(into)) == 3


def test_sizes(remote: Transport, there: Path) -> None:
    os.truncate(chunk(there, b"one"), 1)
    asked = [*names(*CONTENTS), *names(b"not there")]
    one = str(chunk(there, b"one").relative_to(there))
    assert remote.sizes(asked) == {**sizes(*CONTENTS), one: 1}
    assert remote.sizes(names(b"not there")) == {}
    assert remote.sizes([]) == {}


def test_sizes_of_what_is_no_file(remote: Transport, there: Path, tmp_path: Path) -> None:
    """A link, and a folder, in place of a file; a file in place of a folder."""
    chunk(there, b"one").unlink()
    chunk(there, b"one").symlink_to(tmp_path)
    chunk(there, CONTENTS[1]).unlink()
    chunk(there, CONTENTS[1]).mkdir()
    (there / sha_of(b"other")[:3]).write_bytes(b"x")
    asked = [*names(*CONTENTS), *names(b"other")]
    lost = {str(chunk(there, content).relative_to(there)) for content in CONTENTS[:2]}
    assert remote.sizes(asked).keys() - lost == set(names(*CONTENTS)) - lost


def test_listing(remote: Transport, there: Path) -> None:
    """The content, and nothing else that is there."""
    (there / "README").write_text("x")
    (there / "gitlob" / "lists").mkdir(parents=True)
    (there / "gitlob" / "lists" / ("0" * 24)).write_text("x")
    os.utime(chunk(there, b"one"), (86400, 86400))
    found = {item.name: item for item in remote.listing()}
    assert {name: item.size for name, item in found.items()} == sizes(*CONTENTS)
    one = found[str(chunk(there, b"one").relative_to(there))]
    assert one.changed == 86400
    assert abs(found[str(meta(there, b"one").relative_to(there))].changed - time.time()) < 3600


def test_what_a_killed_transfer_left(remote: Transport, there: Path) -> None:
    """Whatever the far rsync had not come to name: it is listed, and moved aside with its folder."""
    at = chunk(there, b"one")
    edition = there / ASIDE / LISTS / f"{'ab' * 12}.edition"
    left = [
        here
        for one in (at, edition)
        for here in (one.with_name(f".{one.name}.aB3dE_"), one.parent / ".rsync-partial-0123456789ab" / one.name)
    ]
    for file in left:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"o")
    content, unfinished = remote.listing_with_left_over()
    assert {item.name: item.size for item in content} == sizes(*CONTENTS)
    assert {item.name: item.size for item in unfinished} == {str(file.relative_to(there)): 1 for file in left}
    remote.move_aside([item.name for item in unfinished], TRASH)
    assert tree(there) == {name: data for content in CONTENTS for name, data in files_of(content).items()}
    assert not left[1].parent.exists() and not left[3].parent.exists()


def test_where_there_is_no_store(remote: Transport, place: Place, into: Path) -> None:
    """The root of a daemon's module is there; else its configuration is wrong."""
    shutil.rmtree(place.folder, ignore_errors=True)
    expected = UsageError if place.folder.name == "rsyncd" else NotAStore
    with pytest.raises(expected):
        remote.fetch(names(b"one"), str(into), str(into / "partial"))
    with pytest.raises(expected):
        remote.sizes(names(b"one"))
    with pytest.raises(expected):
        remote.look("identity")
    assert not fetched(into)


# Which store it is, lists of what clones need, and the trash


def test_look(remote: Transport, there: Path) -> None:
    (there / "gitlob").mkdir()
    (there / "gitlob" / "identity").write_bytes(b"which\n")
    there.chmod(0o2775)
    found = remote.look("identity", "absent")
    assert dict(found.files) == {"identity": b"which\n"}
    assert found.is_shared
    there.chmod(0o755)
    assert not remote.look().is_shared


def test_has_content(remote: Transport, place: Place) -> None:
    place.folder.mkdir(parents=True, exist_ok=True)
    assert not remote.has_content()
    (place.folder / "README").write_text("x")
    (place.folder / "gitlob").mkdir()
    (place.folder / "gitlob" / "identity").write_bytes(b"which\n")
    assert not remote.has_content()
    put(place.folder, b"one")
    assert remote.has_content()


def test_a_list_is_content(remote: Transport, place: Place) -> None:
    (place.folder / "gitlob" / "lists").mkdir(parents=True)
    (place.folder / "gitlob" / "lists" / ("0" * 24)).write_text("x")
    assert remote.has_content()


def test_make_shared_root(remote: Transport, place: Place, here: Path) -> None:
    remote.make_shared_root()
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o2775
    assert remote.look().is_shared
    remote.send(names(*CONTENTS), str(here))
    files = {stat.S_IMODE(at.stat().st_mode) for at in place.folder.rglob("*_*")}
    folders = {stat.S_IMODE(at.stat().st_mode) for at in place.folder.glob("???/???")}
    assert (files, folders) == ({0o664}, {0o2775})


def test_publish(remote: Transport, place: Place) -> None:
    """It makes the folders; without `anew` one of the same size stays."""
    remote.publish({"identity": b"first", "lists/a": b"aaa"})
    aside = place.folder / "gitlob"
    assert tree(aside) == {"identity": b"first", "lists/a": b"aaa"}
    remote.publish({"identity": b"other"}, overwrite=False)
    assert (aside / "identity").read_bytes() == b"first"
    remote.publish({"identity": b"other", "lists/b": b""})
    assert tree(aside) == {"identity": b"other", "lists/a": b"aaa", "lists/b": b""}


def test_listing_and_reading_aside(remote: Transport, there: Path) -> None:
    files = {"a": b"aaa", "b": b"", "c.old": b"c"}
    for name, content in files.items():
        (there / "gitlob" / "lists").mkdir(parents=True, exist_ok=True)
        (there / "gitlob" / "lists" / name).write_bytes(content)
    assert {item.name: item.size for item in remote.listing_aside("lists")} == {"a": 3, "b": 0, "c.old": 1}
    assert remote.read_aside("lists") == files
    assert remote.read_aside("lists", "a") == {"a": b"aaa"}
    assert remote.listing_aside("trash") == []
    assert remote.read_aside("trash") == {}


def test_move_aside_and_bring_back(remote: Transport, there: Path) -> None:
    """Files are renamed, and not copied."""
    inodes = {name: (there / name).stat().st_ino for name in names(*CONTENTS)}
    remote.move_aside(names(b"one", b""), TRASH)
    assert check(there) == {sha_of(b"two" * 1000)}
    trash = there / "gitlob" / TRASH
    assert check(trash) == {sha_of(b"one"), sha_of(b"")}
    assert {item.name for item in remote.listing_aside(TRASH)} == set(names(b"one", b""))
    assert all((trash / name).stat().st_ino == inodes[name] for name in names(b"one", b""))
    remote.bring_back(names(b"one"), TRASH)
    assert check(there) == {sha_of(b"one"), sha_of(b"two" * 1000)}
    assert check(trash) == {sha_of(b"")}
    assert all((there / name).stat().st_ino == inodes[name] for name in names(b"one"))


def test_send_into_a_root_for_a_group(remote: Transport, place: Place, here: Path) -> None:
    """Whatever our umask."""
    place.folder.mkdir(parents=True, exist_ok=True)
    place.folder.chmod(0o2770)
    remote.look()
    old = os.umask(0o022)
    try:
        remote.send(names(*CONTENTS), str(here))
    finally:
        os.umask(old)
    files = {stat.S_IMODE(at.stat().st_mode) for at in place.folder.rglob("*_*")}
    folders = {stat.S_IMODE(at.stat().st_mode) for at in place.folder.glob("???/???")}
    assert (files, folders) == ({0o660}, {0o2770})


def test_move_aside_in_a_shared_store(remote: Transport, there: Path) -> None:
    for at in (there, *there.rglob("*")):
        at.chmod(0o2775 if at.is_dir() else 0o664)
    assert remote.look().is_shared
    remote.move_aside(names(b"one"), TRASH)
    folders = [at for at in (there / "gitlob").rglob("*") if at.is_dir()]
    assert len(folders) == 4
    assert {stat.S_IMODE(at.stat().st_mode) for at in folders} == {0o2775}


def test_delete(remote: Transport, there: Path) -> None:
    remote.publish({"probe": b"", "lists/a": b"a", "lists/b": b"b"})
    remote.delete(["probe"])
    remote.delete(["a", "not there"], "lists")
    assert tree(there / "gitlob") == {"lists/b": b"b"}
    assert check(there) == set(map(sha_of, CONTENTS))


def test_empty(remote: Transport, there: Path) -> None:
    """The folder goes with its files, unless others came into it."""
    remote.move_aside(names(b"one", b""), TRASH)
    trash = there / "gitlob" / TRASH
    remote.empty(TRASH, names(b"one"))
    assert check(trash) == {sha_of(b"")}
    remote.empty(TRASH, names(b""))
    assert not trash.exists()
    assert check(there) == {sha_of(b"two" * 1000)}
