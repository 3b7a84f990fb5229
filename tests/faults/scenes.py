"""What can be killed: each thing that moves binaries, the state it starts from, and what must be true afterwards."""

import os
import random
import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.faults.killing import Crowd, Ended, Kill
from tests.faults.kit import intact, sound
from tests.support.handmade import CHUNK, check, files_of, link_into, placeholder, put, sha_of, shas_in
from tests.support.places import Place
from tests.support.purging import age
from tests.support.purging import pushed as known_as_pushed
from tests.support.purging_remote import LONG_AGO, ONE, TWO, YOUNG, pushed, strew
from tests.support.purging_remote import OLD as STRAY
from tests.support.repositories import commit, repository
from tests.support.words import ago
from tests.support.work import Work

CONFIG = """\
[filter "lob"]
	process = gitlob-filter process
	required = true
[git-lob]
	fsync = false
	retries = 0
	bwlimit = 20m
[core]
	checkStat = minimal
"""
"""The machine does not crash here; a connection that breaks is not tried again, so that a kill is felt; a transfer takes
long enough to be met on its way; and git knows the files of a repository that was copied."""
UNNAMED = re.compile(r"\.([0-9a-f]{40}_(meta|\d+)|[0-9a-f]{24})\.\w{6}")
"""What rsync calls a file that it still writes."""
OURS = re.compile(
    r"(gitlob/trash/\d{8}T\d{6}Z(-[0-9a-f]{8})?/)?[0-9a-f]{3}/[0-9a-f]{3}/[0-9a-f]{40}_(meta|\d+)"
    r"|gitlob/lists/[0-9a-f]{24}(\.edition)?|gitlob/identity"
)
"""The files that a store may hold; but for these, what is there is left over."""

Files = Mapping[str, bytes]


def made_up(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


SIZES = (0, 1, 3000, 70_000, 400_000, 3 << 20, 49, 90_000)
FILES = {f"{'deep/er/' * (n % 2)}{n}.bin": made_up(n, size) for n, size in enumerate(SIZES)}
BEFORE = {name: made_up(100 + n, 30_000) for n, name in enumerate([*list(FILES)[2:6], "gone.bin"])}
"""Another state: some files differ, one is not there any more, and others are not there yet."""
EDITED = {"edited.bin": b"as the user has it", "notes": b"the user's own"}
AS_IT_WAS = b"as it is committed"
LARGE = bytes(CHUNK) + b"tail"
OLD = (LARGE, *(made_up(200 + n, size) for n, size in enumerate((1, 2000, 300_000, 5000))))
UNNEEDED = tuple(made_up(300 + n, 1000) for n in range(3))
NEEDED = {name: made_up(400 + n, 1000) for n, name in enumerate(("now", "unpushed", "index", "stash"))}
STRAYS = (STRAY, LARGE, *(made_up(500 + n, size) for n, size in enumerate((0, 10, 100_000, 3000))))
BACK = tuple(made_up(600 + n, 20_000) for n in range(3))
EMPTIED = tuple(made_up(700 + n, 20_000) for n in range(3))


def shas(*contents: bytes) -> set[str]:
    return {sha_of(content) for content in contents}


class Scene(ABC):
    """Something that is done again and again from the same state on, and is killed each time."""

    what: str
    argv: tuple[str, ...]
    then: tuple[tuple[str, ...], ...] = ()
    """The next plain run, where that is not the same command."""

    def __init__(self, tmp_path: Path, place: Place, crowd: Crowd, shared: bool) -> None:
        self.tmp_path, self.place, self.crowd = tmp_path, place, crowd
        self.shared = tmp_path / "shared"
        # an rsync at the remote whose other half was killed may hold the connection, and say nothing, until this is over
        self.config = f"{CONFIG}[git-lob]\n\ttimeout = 10\n" + (f"\tsharedstore = {self.shared}\n" if shared else "")
        self._tops = [tmp_path / name for name in ("work", "one", "other", "remote", "rsyncd", "shared")]
        for folder in (place.folder, self.shared):
            folder.mkdir(parents=True, exist_ok=True)
        self.work = self.prepare()
        self._pristine = tmp_path / "pristine"
        self._pristine.mkdir()
        self.folders = [at for at in self._tops if at.exists()]
        subprocess.run(["cp", "-a", *self.folders, self._pristine], check=True)

    def begin(self) -> None:
        """As it was, with its links and times."""
        for folder in self.folders:
            shutil.rmtree(folder)
        subprocess.run(["cp", "-a", f"{self._pristine}/.", self.tmp_path], check=True)

    @abstractmethod
    def prepare(self) -> Work:
        """The repository in which it is done, and all that it needs."""

    @abstractmethod
    def after_the_kill(self, role: str, ended: Ended) -> None:
        """What must be true of this kind as soon as nothing runs any more."""

    @abstractmethod
    def at_the_end(self) -> None:
        """What must be true of this kind when the next plain run is done."""

    @property
    def stores(self) -> list[Path]:
        return [self.work.content, self.place.folder, self.shared]

    def check_kill(self, role: str, ended: Ended) -> None:
        sound(*self.stores)
        self.work.git("status", "--porcelain")
        self.after_the_kill(role, ended)

    def check_end(self, role: str) -> None:
        """All is done, and nothing is left of what was killed."""
        sound(*self.stores)
        self.at_the_end()
        assert not self.work.staging
        self.sweep(role)
        for store in self.stores:
            for at in store.rglob("*"):
                is_left = ".rsync-partial" in at.name if at.is_dir() else not OURS.fullmatch(str(at.relative_to(store)))
                assert not is_left, f"{at} is left"

    def sweep(self, role: str) -> None:
        """What a killed rsync was writing into a remote store stays there, until that store is purged; at times also what the
        other half of it was writing, which is told to stop just as it ends by itself."""
        found = [at for at in self.place.folder.rglob(".*") if UNNAMED.fullmatch(at.name) and "trash" not in at.parts]
        if role in ("rsync", "the far rsync", "the child of rsync") and found:
            for at in found:
                os.utime(at, (ago(2), ago(2)))
            self.work.run("gitlob-purge", "-q", "--remote-store")
            assert not any(at.exists() for at in found)
            shutil.rmtree(self.place.folder / "gitlob" / "trash")

    def repository(self, files: Files, *, have: bool) -> Work:
        work = repository(self.tmp_path / "work", self.place.location, dict(files), have=have, config=self.config)
        info = work.path / ".git" / "info"
        info.mkdir(exist_ok=True)
        (info / "attributes").write_text("*.bin filter=lob -text\n")
        return work


class Push(Scene):
    what = "push"
    argv = ("gitlob-sync", "--push")

    def prepare(self) -> Work:
        return self.repository(FILES, have=True)

    def after_the_kill(self, role: str, ended: Ended) -> None:
        assert check(self.work.content) == shas(*FILES.values())

    def at_the_end(self) -> None:
        assert check(self.place.folder) == check(self.work.content) == shas(*FILES.values())


class Pull(Scene):
    """With the fix-up of the working tree."""

    what = "pull"
    argv = ("gitlob-sync", "--pull")

    def prepare(self) -> Work:
        committed = {**FILES, "edited.bin": AS_IT_WAS}
        work = self.repository(committed, have=False)
        for content in committed.values():
            put(self.place.folder, content)
        work.git("read-tree", "HEAD")
        for name, content in FILES.items():
            work.write(name, placeholder(content))
        for name, content in EDITED.items():
            work.write(name, content)
        return work

    def after_the_kill(self, role: str, ended: Ended) -> None:
        intact(self.work, FILES, EDITED)

    def at_the_end(self) -> None:
        # git status may have looked at the edited file, and filed its content
        assert check(self.work.content) - shas(*EDITED.values()) == shas(*FILES.values(), AS_IT_WAS)
        assert {name: self.work.read(name) for name in (*FILES, *EDITED)} == {**FILES, **EDITED}
        assert self.work.git("status", "--porcelain").decode().splitlines() == [" M edited.bin", "?? notes"]


class Add(Scene):
    """git add of new files and changed ones: clean."""

    what = "git add"
    argv = ("git", "add", "-A")

    def prepare(self) -> Work:
        work = self.repository(BEFORE, have=True)
        work.git("reset", "-q", "--hard")
        (work.path / "gone.bin").unlink()
        for name, content in FILES.items():
            work.write(name, content)
        return work

    def after_the_kill(self, role: str, ended: Ended) -> None:
        assert {name: self.work.read(name) for name in FILES} == FILES
        assert check(self.work.content, whole=False) >= shas(*BEFORE.values())

    def at_the_end(self) -> None:
        self.after_the_kill("", Ended(0, "", False, {}))
        assert check(self.work.content) == shas(*FILES.values(), *BEFORE.values())
        staged = {name: self.work.git("cat-file", "blob", f":{name}") for name in FILES}
        assert staged == {name: placeholder(content) for name, content in FILES.items()}
        assert {line[1:2] for line in self.work.git("status", "--porcelain").splitlines()} == {b" "}
        # a filter that is killed when all is added leaves its folder to the next that needs one
        self.work.write("later.bin", b"later")
        self.work.git("add", "later.bin")


class Checkout(Scene):
    """git checkout of another state: smudge. What is missing is downloaded."""

    what = "git checkout"
    argv: tuple[str, ...] = ("git", "checkout", "-q", "next")
    then: tuple[tuple[str, ...], ...] = (("git", "checkout", "-q", "-f", "next"), ("gitlob-sync", "--checkout"))
    here = False

    def prepare(self) -> Work:
        work = self.repository({**BEFORE, "edited.bin": AS_IT_WAS}, have=True)
        work.git("reset", "-q", "--hard")
        work.git("branch", "next", "main")
        commit(work, FILES, "next")
        for content in FILES.values():
            put(work.content if self.here else self.place.folder, content)
        for name, content in EDITED.items():
            work.write(name, content)
        return work

    def after_the_kill(self, role: str, ended: Ended) -> None:
        for name, content in EDITED.items():
            assert self.work.read(name) == content
        for name in {**BEFORE, **FILES}:
            states = [some[name] for some in (BEFORE, FILES) if name in some]
            known = [whole for content in states for whole in (content, placeholder(content))]
            # git takes a file away before it writes the new one, and it is git that writes it
            now = self.work.read(name) if (self.work.path / name).exists() else None
            if now is not None and not (role == "git" and any(whole.startswith(now) for whole in known)):
                assert now in known, f"{name} is neither what it was nor what it is to be"
        assert check(self.work.content, whole=False) >= shas(*BEFORE.values())

    def at_the_end(self) -> None:
        assert {name: self.work.read(name) for name in FILES} == FILES
        assert self.work.read("notes") == EDITED["notes"]
        assert self.work.git("symbolic-ref", "HEAD") == b"refs/heads/next\n"
        assert self.work.git("status", "--porcelain").decode().splitlines()[-1:] == ["?? notes"]
        assert check(self.work.content) >= shas(*FILES.values(), *BEFORE.values())
        # what a killed run left in staging goes when the next binary comes, and here none has to
        self.work.write("new.bin", b"new")
        self.work.git("add", "new.bin")


class CheckoutHere(Checkout):
    """The same without a download."""

    here = True


class FixUp(Checkout):
    """gitlob-sync --checkout after a checkout whose download was killed."""

    what = "fix-up"
    argv = ("gitlob-sync", "--checkout")
    then = ()

    def prepare(self) -> Work:
        work = super().prepare()
        done = self.crowd.run(Checkout.argv, work.path, [work.path], kill=Kill("rsync", 0, random.Random(0)))
        assert done.killed and done.code == 0
        assert any(work.read(name) == placeholder(content) for name, content in FILES.items())
        return work

    def after_the_kill(self, role: str, ended: Ended) -> None:
        intact(self.work, FILES, EDITED)

    def at_the_end(self) -> None:
        super().at_the_end()
        intact(self.work, {}, EDITED)


class Purge(Scene):
    """The local purge: what only older states need goes, and what nothing needs."""

    what = "purge"
    argv = ("gitlob-purge",)

    def prepare(self) -> Work:
        work = self.repository({}, have=False)
        (work.path / ".git" / "info" / "attributes").unlink()  # what is staged here is placeholders
        work.commit(date=ago(100), **{f"{n}.bin".replace(".", "__"): placeholder(one) for n, one in enumerate(OLD)})  # type: ignore[arg-type]
        for number in range(len(OLD)):
            (work.path / f"{number}.bin").unlink()
        work.commit(date=ago(60), now=placeholder(NEEDED["now"]))
        known_as_pushed(work)
        work.commit(date=ago(50), unpushed=placeholder(NEEDED["unpushed"]))
        work.write("stash", placeholder(NEEDED["stash"]))
        work.git("add", "stash")
        work.git("stash", "-q")
        work.write("index", placeholder(NEEDED["index"]))
        work.git("add", "index")
        for content in (*OLD, *NEEDED.values(), *UNNEEDED):
            put(work.content, content)
        for content in (*OLD, NEEDED["now"]):
            put(self.place.folder, content)
        age(work.content)
        if "sharedstore" in self.config:
            link_into(self.shared, work.content)
        return work

    def after_the_kill(self, role: str, ended: Ended) -> None:
        for store in (self.work.content, self.shared):
            if store != self.shared or "sharedstore" in self.config:
                assert check(store, whole=False) >= shas(*NEEDED.values())
        assert check(self.place.folder) == shas(*OLD, NEEDED["now"])

    def at_the_end(self) -> None:
        self.after_the_kill("", Ended(0, "", False, {}))
        assert check(self.work.content) == shas(*NEEDED.values())
        assert check(self.shared) <= shas(*NEEDED.values())


class RemotePurge(Scene):
    """The purge of a remote store, which also brings back from its trash, and empties it."""

    what = "purge of a remote store"
    argv = ("gitlob-purge", "--remote-store", "--grace", "2d")

    def prepare(self) -> Work:
        one, other = pushed(self.tmp_path, self.place)
        with (one.path / ".git" / "config").open("a") as file:
            file.write(self.config)
        commit(one, {f"back{n}.bin": content for n, content in enumerate(BACK)})
        for content in STRAYS:
            strew(self.place.folder, content, 9)
        for content in (*BACK, *EMPTIED):
            strew(self.place.folder / "gitlob" / "trash" / LONG_AGO, content, 9)
        assert other
        return one

    def _trash(self) -> list[Path]:
        return list((self.place.folder / "gitlob" / "trash").glob("*"))

    def _lost(self, contents: Iterable[bytes]) -> set[str]:
        """The files of binaries that are neither in the store nor in the trash."""
        places = [self.place.folder, *self._trash()]
        names = {name: data for content in contents for name, data in files_of(content).items()}
        return {
            name for name, data in names.items()
            if not any((at / name).exists() and (at / name).read_bytes() == data for at in places)
        }  # fmt: skip

    def after_the_kill(self, role: str, ended: Ended) -> None:
        assert shas_in(self.place.folder) >= shas(ONE, TWO, YOUNG)
        assert not self._lost((*BACK, *STRAYS))

    def at_the_end(self) -> None:
        assert check(self.place.folder) == shas(ONE, TWO, YOUNG, *BACK)
        assert not self._lost(STRAYS)
        assert LONG_AGO not in {at.name for at in self._trash()}
