"""Transfers with a remote store: what is asked of rsync, and asked again where a connection broke."""

import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gitlob_rsync import process
from gitlob_rsync.errors import GitlobError, writing
from gitlob_rsync.location import Kind, Location
from gitlob_rsync.progress import Meter
from gitlob_rsync.store.aside import ASIDE
from gitlob_rsync.store.layout import EMPTY, META, NAME, name
from gitlob_rsync.store.store import check_folders, open_plain
from gitlob_rsync.transport.rsync import flags
from gitlob_rsync.transport.rsync.meaning import (
    BrokenOff,
    Busy,
    failure,
    gist,
    hung_up_on,
    lacks_modes_alone,
    lacks_root,
    no_room,
    spoke_first,
    telling,
    unclean,
    why_broken,
)
from gitlob_rsync.transport.rsync.reports import Item
from gitlob_rsync.transport.rsync.run import Ended, run
from gitlob_rsync.transport.rsync.ssh import Ssh

_NOWHERE = re.compile(r"link_stat .* failed: (Too many levels of symbolic links|Invalid cross-device link)")
"""What a daemon says of a name below a link: it follows none there, or (since CVE-2026-29518) none that leads out."""
_PAUSE = 2.0
"""Seconds before a broken connection is tried again; twice as long before each further try."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to transfer. `timeout` in seconds without progress; `bwlimit` as rsync takes it; `ssh_command` as git has it,
    a shell command; `client` names this clone at the remote, so that two clones do not share one partial folder. A
    connection that worked, and broke, is tried again up to `retries` times without progress. `rsync_path` is the rsync of
    a far machine, as its shell takes it; `askpass`: ssh may ask by SSH_ASKPASS."""

    timeout: int
    client: str
    bwlimit: str | None = None
    fsync: bool = True
    ssh_command: str | None = None
    retries: int = 0
    rsync_path: str | None = None
    askpass: bool = False


@dataclass(frozen=True, slots=True)
class Root:
    """The folder of a store: its permission bits (None where they do not show), and the contents of small files of ours."""

    mode: int | None
    files: Mapping[str, bytes]

    @property
    def is_shared(self) -> bool:
        return flags.is_shared(self.mode)


class Session:
    """Transfers with the store at one location, until `close`. Files are given and returned by name, with their sizes
    in bytes."""

    def __init__(self, location: Location, options: Options, meter: Meter) -> None:
        self.location = location
        self._options = options
        self._meter = meter
        self._version = flags.local_version()
        self._lacking: set[str] = set()  # what the remote's rsync turned out not to know
        self._worked = False  # whether the remote ever answered
        self._mode: int | None = None  # the permissions of the store's root, once it was looked at
        self._tried_without = False  # what not every rsync knows; or with it, and that went well
        self._scratch = tempfile.mkdtemp(prefix="gitlob-")
        # without a password rsync would ask for one, and take our list of names for it
        self._env = {"RSYNC_PASSWORD": "", **process.clean_env(TZ="UTC0")}
        self._ssh: Ssh | None = None
        if location.kind is Kind.SSH:
            ask = options.askpass and bool(os.environ.get("SSH_ASKPASS"))
            try:
                self._ssh = Ssh(location, options.ssh_command, options.timeout, self._scratch, ask=ask)
            except BaseException:
                shutil.rmtree(self._scratch, ignore_errors=True)
                raise
            self._env |= self._ssh.env | {"TZ": "UTC0"}

    def close(self) -> None:
        """End the ssh connection that the runs share, and remove what they needed."""
        if self._ssh:
            self._ssh.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _failure(self, ended: Ended, into: str = "") -> GitlobError:
        """What to raise for a run that failed."""
        if self._ssh and unclean(self.location, ended) and (said := self._ssh.first_words()):
            return spoke_first(self.location, said)
        return failure(self.location, ended, into, worked=self._worked)

    def fetch(
        self, names: Iterable[str], into: str, partial: str, arrived: Callable[[str], None] | None = None
    ) -> dict[str, int]:
        """Bring files of the remote store into a staging folder, where they lie without the store's folders; what is cut
        off lies in its folder `partial`. Those that the store lacks, or may not read, do not come.

        Returns what came, by its name there, and tells `arrived` of each while others still come. Raises RemoteError where
        the connection broke (what had come stays), NotAStore.
        """
        source, names = self._to_read(names, flat=True)
        ended = self._run(
            lambda: flags.fetch_args(self._version, self._lacking, partial), source, into + "/", names,
            steady=True, arrived=arrived,
        )  # fmt: skip
        if ended.code not in (0, 23, 24) or (ended.code == 23 and no_room(ended)):
            raise self._failure(ended, into)
        if ended.code == 23 and not ended.items:
            self.sizes([name(EMPTY, META)])  # tells a store that lacks all of it from a place where no store is
        if ended.code == 23 and telling(ended.stderr) and not lacks_modes_alone(ended):
            self._meter.warn(f"{self.location}: {gist(self.location, ended.stderr)}")
        return ended.sizes()

    def send(self, names: Iterable[str], root: str, *, anew: bool = False) -> dict[str, int]:
        """Bring files of the store at `root` to the remote one, but for those that it has in their size, unless `anew`.
        Makes its folder, however deep. Returns what was sent. Raises GitlobError where a link on a disk of ours would lead
        away."""
        names = list(names)
        self._check_folders(names)

        def args() -> list[str]:
            return flags.send_args(
                self._version, self._lacking, self._options.client, self._options.fsync, self._mode, anew
            )

        while True:
            ended = self._run(args, root + "/", self._root(), names, umask=self._remote_umask())
            if ended.code in (3, 11) and "--mkpath" not in args() and "No such file" in ended.stderr:
                self._make_root(self.location.path.rstrip("/"))
                continue
            break
        if ended.code and not (lacks_modes_alone(ended) and self._has(names, root)):
            raise self._failure(ended)
        return ended.sizes()

    def _has(self, names: Iterable[str], root: str) -> bool:
        """Whether the remote store has files in the sizes that they have below `root`."""
        there = self.sizes(names)
        return all(there.get(name) == os.lstat(f"{root}/{name}").st_size for name in names)

    def _check_folders(self, names: Iterable[str]) -> None:
        """On a disk of ours, raise GitlobError where a link would lead away what is to get to these names."""
        if self.location.kind is Kind.PATH:
            check_folders(self.location.path, names)

    def _remote_umask(self) -> int | None:
        """A store on a disk of ours is for whom its root is for, whatever our umask; elsewhere the far umask rules."""
        if self.location.kind is not Kind.PATH:
            return None
        try:
            return 0o077 & ~os.stat(self.location.path).st_mode
        except OSError:
            return None

    def _make_root(self, path: str) -> None:
        """Make a folder at the remote, level by level, for an rsync that has no --mkpath."""
        empty = os.path.join(self._scratch, "empty")
        os.makedirs(empty, exist_ok=True)
        target = Location(self.location.kind, path, self.location.host, self.location.port)
        for attempt in (1, 2):
            ended = self._run(lambda: ["--dirs", "--no-perms"], empty + "/", target.rsync_argument(), ())
            if ended.code == 0:
                return
            above = path.rpartition("/")[0]
            if ended.code != 11 or not above or attempt == 2:
                raise self._failure(ended)
            self._make_root(above)

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Of files by name, those that the remote store has, with their sizes. Nothing is transferred."""
        empty = tempfile.mkdtemp(dir=self._scratch)
        source, names = self._to_read(names)
        ended = self._run(lambda: flags.look_args(self._version, self._lacking), source, empty + "/", names)
        told = [line for line in telling(ended.stderr) if not _NOWHERE.search(line)]
        failed = ended.code not in (0, 24) and (ended.code != 23 or told)
        if failed or lacks_root(self.location, ended):
            raise self._failure(ended)
        return ended.sizes()

    def listing(self) -> list[Item]:
        """All files of the remote store that have a store's names."""
        return [item for item in self._list(flags.list_args) if NAME.match(item.name)]

    def listing_with_left_over(self) -> tuple[list[Item], list[Item]]:
        """The same, and what is there of files that an rsync did not come to name; some it may be writing now."""
        found = self._list(lambda: flags.list_args(left_over=True))
        return (
            [item for item in found if NAME.match(item.name)],
            [item for item in found if flags.LEFT_OVER.fullmatch(item.name)],
        )

    def _list(self, args: Callable[[], list[str]], below: str = "") -> list[Item]:
        empty = tempfile.mkdtemp(dir=self._scratch)
        ended = self._run(args, self._root(below), empty + "/", ())
        if ended.code not in (0, 24):
            raise self._failure(ended)
        return ended.items

    # Beside the store's content: which store it is, lists of what clones need, and the trash

    def look(self, *files: str) -> Root:
        """Look at the store's root, and read small `files` below ASIDE. What is sent later gets permissions by those of the
        root. Raises NotAStore where there is no such folder."""
        if self.location.kind is Kind.PATH and (root := _root_here(self.location.path, files)):
            self._mode = root.mode
            return root
        into = os.path.join(tempfile.mkdtemp(dir=self._scratch), "root")
        # one folder is soon listed: who sends nothing but signs of life is given up
        ended = self._run(lambda: flags.root_args(files), self._root(), into + "/", (), steady=True)
        if not _was_listed(ended):
            raise self._failure(ended, into)
        self._mode = ended.folders.get(".")
        found = {file: Path(into, ASIDE, file) for file in files}
        return Root(self._mode, {file: at.read_bytes() for file, at in found.items() if at.is_file()})

    def has_content(self) -> bool:
        """Whether the store's root has what only a store has: a binary, or a list of what a clone needs."""
        into = os.path.join(tempfile.mkdtemp(dir=self._scratch), "content")
        ended = self._run(flags.content_args, self._root(), into + "/", (), steady=True)
        if not _was_listed(ended):
            raise self._failure(ended, into)
        return any(name not in (".", ASIDE) for name in ended.folders)

    def make_shared_root(self) -> None:
        """Make the store's root, or change it, for all accounts of its group. Raises as send."""
        source = tempfile.mkdtemp(dir=self._scratch)

        def run_once() -> Ended:
            return self._run(
                lambda: flags.shared_root_args(self._version, self._lacking), source + "/", self._root(), ()
            )

        ended = run_once()
        if ended.code == 11 and "No such file" in ended.stderr:
            self._make_root(self.location.path.rstrip("/"))
            ended = run_once()
        if ended.code:
            raise self._failure(ended)

    def publish(self, files: Mapping[str, bytes], *, anew: bool = True) -> None:
        """Put small files below ASIDE at the remote, one after the other in the order of their names; `anew`: instead of
        those that are there in the same size."""
        top = tempfile.mkdtemp(dir=self._scratch)
        with writing(self._scratch):
            for file, content in files.items():
                at = Path(top, ASIDE, file)
                at.parent.mkdir(parents=True, exist_ok=True)
                at.write_bytes(content)
        self.send(sorted(f"{ASIDE}/{file}" for file in files), top, anew=anew)

    def probe(self) -> GitlobError | None:
        """See whether this account may write to the store, by a small file that goes at once. Returns what the remote said
        where it lets nobody delete. Raises as send."""
        name = f"probe-{self._options.client}"
        self.publish({name: b""})
        try:
            self.delete([name])
        except GitlobError as error:
            return error
        return None

    def aside(self, folder: str) -> list[Item]:
        """The files of a folder below ASIDE at the remote, by their names in it; none where there is no such folder."""
        args = flags.aside_args(folder)
        prefix = f"{ASIDE}/{folder}/"
        found = self._list(lambda: ["--dry-run", *args])
        return [replace(item, name=item.name.removeprefix(prefix)) for item in found if item.name.startswith(prefix)]

    def fetch_aside(self, folder: str, file: str = "**") -> dict[str, bytes]:
        """The same with their contents, or one of them: for small files."""
        into = tempfile.mkdtemp(dir=self._scratch)
        ended = self._run(lambda: flags.aside_args(folder, file), self._root(), into + "/", (), steady=True)
        if ended.code not in (0, 24):
            raise self._failure(ended)
        top = Path(into, ASIDE, folder)
        return {at.name: at.read_bytes() for at in sorted(top.iterdir()) if at.is_file()} if top.is_dir() else {}

    def discard(self, names: Collection[str], trash: str) -> None:
        """Move files of the remote store into a folder below ASIDE there, under the names that they had. Raises as send."""
        into = f"{ASIDE}/{trash}"
        self._check_folders([*names, f"{into}/."])
        if flags.is_shared(self._mode):
            self._make_folders(into)  # which rsync would make for the one account that it is now
        self._move(names, self._root(), into)

    def _make_folders(self, path: str) -> None:
        """Make folders below the store's root, with permissions by those of the root. Raises as send."""
        source = tempfile.mkdtemp(dir=self._scratch)
        os.makedirs(os.path.join(source, path))
        ended = self._run(lambda: ["--recursive", *flags.permissions(self._mode)], source + "/", self._root(), ())
        if ended.code and not lacks_modes_alone(ended):
            raise self._failure(ended)

    def bring_back(self, names: Collection[str], trash: str) -> None:
        """Move files from a folder below ASIDE at the remote into the store there. Raises as send."""
        self._check_folders([*names, f"{ASIDE}/{trash}/."])
        source = f"{ASIDE}/{trash}/"
        _, _, folder = self.location.path.partition("/")
        if self.location.kind is not Kind.DAEMON:
            self._move(names, self._root(source), "/".join([".."] * source.count("/")))
        elif folder:
            self._move(names, self._root(source), f"/{folder}")
        else:
            # no daemon of version 3.5.0, and no one with chroot, moves anything to the root of a module itself
            for first in sorted({name.partition("/")[0] for name in names}):
                below = [name.removeprefix(f"{first}/") for name in names if name.startswith(f"{first}/")]
                self._move(below, self._root(f"{source}{first}/"), f"/{first}")

    def _move(self, names: Collection[str], target: str, into: str) -> None:
        """Have rsync delete files at the remote, with backups elsewhere: it renames."""
        self._delete(names, target, lambda: flags.move_args(into))

    def delete(self, names: Collection[str], folder: str = "") -> None:
        """Delete files of a folder below ASIDE at the remote, by their names in it. Raises as send."""
        below = f"{ASIDE}/{folder}/" if folder else f"{ASIDE}/"
        self._check_folders([below + file for file in names])
        self._delete(names, self._root(below), flags.delete_args)

    def delete_empty(self, folders: Collection[str]) -> None:
        """Delete folders at the remote, but those in which something is. Raises as send."""
        self._check_folders([f"{folder}/." for folder in folders])
        self._delete(folders, self._root(), flags.delete_args)

    def _delete(self, names: Collection[str], target: str, args: Callable[[], list[str]]) -> None:
        """Delete files that the source does not have: folders of ours without a file. A receiver of version 3.1.3 wants the
        folders of all names there; 3.2.7 with Debian's patches, or 3.4.3, takes no missing file behind a folder, and says
        so before it does anything."""
        for folders in (sorted({os.path.dirname(file) for file in names}), []):
            source = tempfile.mkdtemp(dir=self._scratch)
            for folder in folders:
                Path(source, folder).mkdir(parents=True, exist_ok=True)
            ended = self._run(args, f"{source}/", target, sorted(names), umask=self._remote_umask())
            if ended.code != 2 or "invalid file mode" not in ended.stderr:
                break
        if ended.code not in (0, 24):
            raise self._failure(ended)

    def empty(self, trash: str, names: Collection[str]) -> None:
        """Delete these files of a folder below ASIDE at the remote, and the folder, if nothing else came into it."""
        self.delete(names, trash)
        source = tempfile.mkdtemp(dir=self._scratch)
        above, _, last = f"{ASIDE}/{trash}".rpartition("/")
        ended = self._run(lambda: flags.empty_args(last), source + "/", self._root(f"{above}/"), ())
        if ended.code:
            raise self._failure(ended)

    def _to_read(self, names: Iterable[str], *, flat: bool = False) -> tuple[str, Iterable[str]]:
        """Source and file list of a pull; `/./` says where what files are called here begins, `flat` that it is their bare
        name. A daemon of version 3.5.0 does not find what a list names below a folder of its module, so names count from
        the module there."""
        module, _, folder = self.location.path.partition("/")
        source = self.location
        prefix = ""
        if self.location.kind is Kind.DAEMON and folder:
            source = Location(Kind.DAEMON, module, self.location.host, self.location.port)
            prefix = f"{folder}/" if flat else f"{folder}/./"
        if flat:
            names = ("/./".join(name.rsplit("/", 1)) for name in names)
        return source.rsync_argument(), (prefix + name for name in names)

    def _root(self, below: str = "") -> str:
        return self.location.rsync_argument() + below

    def _run(
        self, args: Callable[[], list[str]], source: str, target: str, names: Iterable[str],
        *, steady: bool = False, umask: int | None = None, arrived: Callable[[str], None] | None = None,
    ) -> Ended:  # fmt: skip
        """One rsync; again, after a pause, where a connection broke that had worked. Names that have come then are passed
        over by rsync itself."""
        names = list(names)
        items: dict[str, Item] = {}
        tries = 0
        while True:
            ended = self._run_once(args, source, target, names, steady, umask, arrived)
            before = len(items)
            items |= {item.name: item for item in ended.items}
            # 3 and 11: it answers, and has no such folder yet
            self._worked |= ended.moved > 0 or bool(ended.items) or ended.code in (0, 3, 11, 23, 24)
            # a listing that always ends early tells the same again and again
            tries = 1 if len(items) > before else tries + 1
            error = failure(self.location, ended, worked=self._worked) if ended.code else None
            again = isinstance(error, Busy) or (isinstance(error, BrokenOff) and self._worked)
            if not again or tries > self._options.retries:
                return replace(ended, items=list(items.values()))
            pause = _PAUSE * 2 ** (tries - 1)
            said = why_broken(self.location, ended.stderr)
            self._meter.note(
                f"{self.location}: {said}: again in {pause:.0f} seconds ({tries} of {self._options.retries})"
            )
            time.sleep(pause)

    def _run_once(
        self, args: Callable[[], list[str]], source: str, target: str, names: Iterable[str],
        steady: bool, umask: int | None, arrived: Callable[[str], None] | None,
    ) -> Ended:  # fmt: skip
        """Again without what the other side does not know, and once without what it may not know."""
        while True:
            ended = self._run_exactly(args(), source, target, names, steady, umask, arrived)
            refused = flags.refused(args(), ended.stderr) if ended.code else set()
            if not refused:
                break
            self._lacking |= refused
        new = flags.for_both(args())
        if not new or self._tried_without or not hung_up_on(self.location, ended):
            self._tried_without |= bool(new) and (ended.code in (0, 23, 24) or ended.moved > 0)
            return ended
        self._tried_without = True
        self._lacking |= new
        without = self._run_exactly(args(), source, target, names, steady, umask, arrived)
        if not hung_up_on(self.location, without):
            return without
        self._lacking -= new  # it was something else
        return ended

    def _run_exactly(
        self, given: list[str], source: str, target: str, names: Iterable[str],
        steady: bool, umask: int | None, arrived: Callable[[str], None] | None,
    ) -> Ended:  # fmt: skip
        own = self._options
        limit = [f"--bwlimit={own.bwlimit}"] if own.bwlimit else []
        ssh = self._ssh.argument if self._ssh else None
        reach = flags.transport(self.location, self._version, own.timeout, ssh, own.rsync_path)
        return run(
            [*given, *limit, *reach, "--", source, target], names, self._meter, env=self._env,
            patience=own.timeout, steady=steady, umask=umask, arrived=arrived,
        )  # fmt: skip


def _was_listed(ended: Ended) -> bool:
    """Whether the root of a store was read, though some of what is in it may not be for us."""
    return ended.code in (0, 24) or (ended.code == 23 and "." in ended.folders and not no_room(ended))


def _root_here(path: str, files: Iterable[str]) -> Root | None:
    """The root of a store on a disk of ours, read without an rsync, which takes longer than a small push; None where that
    fails, and rsync says why. No link in the place of ours leads anywhere."""
    aside = os.path.join(path, ASIDE)
    try:
        mode = os.stat(os.path.join(path, "")).st_mode
        read = {file: _read_plain(aside, file) for file in files}
    except OSError:
        return None
    return Root(stat.S_IMODE(mode), {file: content for file, content in read.items() if content is not None})


def _read_plain(folder: str, file: str) -> bytes | None:
    """The content of a small file below a folder, without following a link; None where there is no such file."""
    above = [folder]
    for part in file.split("/")[:-1]:
        above.append(os.path.join(above[-1], part))
    found = open_plain(os.path.join(folder, file)) if not any(map(os.path.islink, above)) else None
    if found is None:
        return None
    with open(found, "rb") as opened:
        content = opened.read(flags.MOST_READ + 1)
    return content if len(content) <= flags.MOST_READ else None
