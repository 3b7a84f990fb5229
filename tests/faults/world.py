"""A repository and its remote store, with binaries made up at random, for tests that spoil one of the two."""

import itertools
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.damage import RESPELT, Left, mend, spoil, whole
from tests.faults.kit import intact, sound
from tests.support.handmade import CHUNK, placeholder, put, sha_of, shas_in
from tests.support.places import Place, make_place
from tests.support.repositories import repository
from tests.support.work import Work

FILTER = '[filter "lob"]\n\tprocess = gitlob-filter process\n[git-lob]\n\tfsync = false\n'


def made_up(rng: random.Random, *, large: bool) -> dict[str, bytes]:
    """Paths and contents: an empty one, small ones, and, where that is wanted, one of more than a chunk. Each has folders of
    its own in a store, so that what is done to the folders of one is done to no other."""
    files = {"deep/er/empty.bin": b""}
    taken = {sha_of(b"")[:3]}

    def add(path: str, make: Callable[[], bytes]) -> None:
        while (folder := sha_of(content := make())[:3]) in taken:
            pass
        taken.add(folder)
        files[path] = content

    for number in range(7):
        add(f"{number}.bin", lambda: rng.randbytes(rng.choice([1, 2, 49, rng.randrange(1, 40_000)])))
    if large:
        add("large.bin", lambda: rng.randbytes(1000) * (CHUNK // 1000) + rng.randbytes(rng.randrange(1000, 3000)))
    return files


@dataclass
class World:
    """A repository, its remote store, and what was done to one of the two stores: by path, what and what is left."""

    work: Work
    location: str
    remote: Path
    files: dict[str, bytes]
    edited: dict[str, bytes] = field(default_factory=dict)
    spoilt: dict[str, tuple[str, Left]] = field(default_factory=dict)

    @classmethod
    def make(cls, path: Path, place: Place, rng: random.Random, *, have: bool) -> "World":
        """All binaries are at the remote, and here if `have`. The working tree waits for all but one file, an edited one."""
        files = made_up(rng, large=rng.random() < 0.4)
        location, remote = f"{place.location.rstrip('/')}/{path.name}", place.folder / path.name
        for content in files.values():
            put(remote, content)
        path.mkdir()
        work = repository(path / "work", location, files, have=have, config=FILTER)
        (work.path / ".git" / "info").mkdir(exist_ok=True)
        (work.path / ".git" / "info" / "attributes").write_text("*.bin filter=lob -text\n")
        world = cls(work, location, remote, files)
        work.git("read-tree", "HEAD")
        for name, content in files.items():
            work.write(name, placeholder(content))
        world.edited = {rng.choice(sorted(files)): rng.randbytes(20)}
        for name, content in world.edited.items():
            work.write(name, content)
        return world

    def spoil(self, root: Path, rng: random.Random) -> None:
        """One to four binaries of a store."""
        victims = rng.sample([path for path, content in sorted(self.files.items()) if content], rng.randrange(1, 5))
        victims += [path for path in self.files if path == "large.bin" and path not in victims and rng.random() < 0.7]
        for path in victims:
            self.spoilt[path] = spoil(root, self.files[path], rng, root.parent / f"elsewhere {root.name}")

    @property
    def shas(self) -> set[str]:
        return set(map(sha_of, self.files.values()))

    @property
    def harmed(self) -> set[str]:
        """The binaries to which anything was done."""
        return {sha_of(self.files[path]) for path in self.spoilt}

    def left(self, *what: Left) -> set[str]:
        """The binaries of which this is left."""
        return {sha_of(content) for path, content in self.files.items() if self._left(path) in what}

    def _left(self, path: str) -> Left:
        return self.spoilt[path][1] if path in self.spoilt else Left.ALL

    def told(self) -> str:
        """What was done, for who reads a failure."""
        return "; ".join(f"{sha_of(self.files[path])[:10]} ({path}): {what}" for path, (what, _) in self.spoilt.items())

    def settled(self) -> None:
        """What must be true whatever happened."""
        sound(self.work.content)
        intact(self.work, self.files, self.edited)
        assert not self.work.staging

    def completes(self) -> None:
        """With the stores mended, a plain run brings all there is."""
        for path in self.spoilt:
            mend(self.remote, self.files[path])
        self.work.sync()
        assert shas_in(self.work.content) >= self.shas
        sound(self.work.content)
        for path, content in self.files.items():
            assert self.work.read(path) == self.edited.get(path, content)
            assert whole(self.remote, content) or self.spoilt.get(path, ("",))[0] == RESPELT


def worlds(
    tmp_path: Path, request: pytest.FixtureRequest, rng: random.Random, count: int
) -> Iterator[tuple[Path, Place]]:
    """A free folder and a place for each of some rounds, by all ways in turn."""
    places = [make_place(kind, request) for kind in ("path", "ssh", "daemon root")]
    for number, place in zip(range(count), itertools.cycle(places)):
        yield tmp_path / f"round{number}", place
        shutil.rmtree(tmp_path / f"round{number}")
        shutil.rmtree(place.folder, ignore_errors=True)
        place.folder.mkdir(parents=True)
