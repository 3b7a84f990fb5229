"""The system's rsync: the only file that knows one of its flags or exit codes, and the only user of `sh`.

What the flags are for was found out by experiment, with versions from 3.1.3 to 3.5.0:
- names go in as a NUL-separated list on standard input, a real file, so that no thread feeds it and nothing can deadlock;
- --trust-sender, because newer clients check each name that comes against the whole list, which is quadratic; what comes
  goes into a staging folder, without links or devices, and is believed only after it was hashed;
- --partial-dir keeps a chunk that was cut off for the next run, where --partial or --inplace would leave it under its
  final name; a relative one, since a receiver with the fix of CVE-2024-12086 resumes from no other;
- --size-only mends a file of a wrong size and leaves one of the right size alone (sizes are checked here);
- --no-perms --chmod=ugo=rwX lets the umask of the receiving side rule; --fsync has what a push reports survive a crash.
"""

import calendar
import math
import os
import re
import select
import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from gitlob_rsync import process
from gitlob_rsync.errors import GitlobError, RemoteError, ToolError, UsageError
from gitlob_rsync.location import Kind, Location
from gitlob_rsync.progress import Meter
from gitlob_rsync.store import CHUNK, EMPTY, META, NAME, check_folders, name

OLDEST = (3, 1, 3)
CONNECT_SECONDS = 20
_NOT_EVERYWHERE = {"--mkpath": (3, 2, 3), "--fsync": (3, 2, 4), "--trust-sender": (3, 2, 5)}
"""Options and the version that brought them. The first two must be known to the remote's rsync too."""

_ITEM = re.compile(rb"([<>]f[^|]{9})\|(\d{1,19})\|(\d{4}(?:/\d\d){2}-\d\d(?::\d\d){2})\|(.*)\Z", re.DOTALL)
_NO_FOLDER = re.compile(
    rb'change_dir "[^"]*\b[0-9a-f]{3}/[0-9a-f]{3}"( \(in .*\))? failed: No such file or directory \(2\)'
)
_TOTAL = re.compile(rb" *(\d{1,19}) +\d+%")
_FORMAT = "--out-format=%i|%l|%M|%n"
"""What happened, size in bytes, time of the last change, name."""


_PAUSE = 2.0
"""Seconds before a broken connection is tried again; twice as long before each further try."""


class NotAStore(UsageError):
    """There is no such folder at the remote."""


class BrokenOff(RemoteError):
    """The remote cannot be reached, or was and is not any more: the same again may go well."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to transfer. `timeout` in seconds without progress; `bwlimit` as rsync takes it; `ssh_command` as git has it,
    a shell command; `client` names this clone at the remote, so that two clones do not share one partial folder. A
    connection that worked, and broke, is tried again up to `retries` times without progress."""

    timeout: int
    client: str
    bwlimit: str | None = None
    fsync: bool = True
    ssh_command: str | None = None
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """A file that rsync tells of: `size` in bytes, `stamp` as rsync prints a time."""

    name: str
    size: int
    stamp: str

    @property
    def changed(self) -> float:
        """When it was changed last, in seconds since 1970 by the clock of its machine. What cannot be a time is later than
        all: nothing is deleted for its age then."""
        try:
            return calendar.timegm(time.strptime(self.stamp, "%Y/%m/%d-%H:%M:%S"))
        except ValueError:
            return math.inf


@dataclass(slots=True)
class _Heard:
    """What a run reported so far; `moved` in bytes."""

    items: list[Item] = field(default_factory=list)
    moved: int = 0


@dataclass(frozen=True, slots=True)
class _Ended:
    code: int
    items: list[Item]
    stderr: str
    moved: int

    def sizes(self) -> dict[str, int]:
        return {item.name: item.size for item in self.items}


def local_version() -> tuple[int, ...]:
    """The version of the rsync on PATH. Raises UsageError where it is none that will do."""
    return version_in(process.run([process.tool("rsync"), "--version"], env=process.clean_env()))


def version_in(said: bytes) -> tuple[int, ...]:
    """The version that `rsync --version` says. Raises as local_version."""
    first = said.decode(errors="replace").partition("\n")[0]
    if first.startswith("openrsync"):
        raise UsageError(
            f"the rsync on PATH is {first}", "it cannot read file lists: install rsync from rsync.samba.org"
        )
    found = re.match(r"rsync +version v?([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})", first)
    version = tuple(map(int, found.groups())) if found else ()
    if version < OLDEST:
        raise UsageError(f"rsync is too old: {first}", f"install rsync {'.'.join(map(str, OLDEST))} or later")
    return version


def transport(location: Location, version: tuple[int, ...], timeout: int, ssh: str | None) -> list[str]:
    """The options that reach a location; `ssh` is the value of -e."""
    if location.kind is Kind.DAEMON:
        return [f"--timeout={timeout}", f"--contimeout={min(timeout, CONNECT_SECONDS)}", "--no-motd"]
    args = [f"--timeout={timeout}"]
    if location.kind is Kind.SSH:
        assert ssh
        args += ["-e", ssh]
        # the far shell gets the path: newer ones escape what it would act on, but for this one character
        if re.search(r"[^\w@%+=:,./-]" if version < (3, 2, 4) else "`", location.path):
            args.append("--protect-args")
    return args


def known(version: tuple[int, ...], lacking: Iterable[str], *flags: str) -> list[str]:
    """Of flags that not every rsync knows, those that both sides do."""
    return [flag for flag in flags if version >= _NOT_EVERYWHERE[flag] and flag not in lacking]


_FILES = ("--files-from=-", "--from0", "--no-dirs", "--no-perms", "--chmod=ugo=rwX", "--no-h", _FORMAT)


def fetch_args(version: tuple[int, ...], lacking: Iterable[str], partial: str) -> list[str]:
    # nothing in a store is larger than a chunk
    return [*_FILES, f"--max-size={CHUNK}", "--size-only", "--ignore-missing-args", "--info=progress2",
            f"--partial-dir={partial}", *known(version, lacking, "--trust-sender")]  # fmt: skip


def send_args(
    version: tuple[int, ...], lacking: Iterable[str], client: str, fsync: bool, anew: bool = False
) -> list[str]:
    durable = ["--fsync"] if fsync else []
    # nothing in a store is larger than a chunk
    which = ["--ignore-times"] if anew else [f"--max-size={CHUNK}", "--size-only"]
    return [*_FILES, *which, "--info=progress2", f"--partial-dir=.rsync-partial-{client}",
            *known(version, lacking, "--mkpath", *durable)]  # fmt: skip


def look_args(version: tuple[int, ...], lacking: Iterable[str]) -> list[str]:
    return ["--dry-run", *_FILES, "--ignore-missing-args", *known(version, lacking, "--trust-sender")]


def list_args(left_over: bool = False) -> list[str]:
    hex3 = "[0-9a-f]" * 3
    kept = [f"/{hex3}/", f"/{hex3}/{hex3}/", f"/{hex3}/{hex3}/[0-9a-f]*_meta", f"/{hex3}/{hex3}/[0-9a-f]*_[0-9]*"]
    if left_over:
        kept += [f"/{hex3}/{hex3}/.[0-9a-f]*.??????", f"/{ASIDE}/", f"/{ASIDE}/*/", f"/{ASIDE}/*/.[0-9a-f]*.??????"]
    return ["--dry-run", "--recursive", "--no-h", _FORMAT, *(f"--include={kind}" for kind in kept), "--exclude=*"]


ASIDE = "gitlob"
"""Ours at a remote store, beside the content: no folder of that can have this name."""
_LEFT_OVER = re.compile(rf"(...)/(...)/\.\1\2[0-9a-f]{{34}}_(meta|\d+)\.\w{{6}}|{ASIDE}/[a-z]+/\.[0-9a-f]+\.\w{{6}}")
"""What rsync calls a file that it still writes. Where it is killed, nobody comes back for it."""


def aside_args(folder: str) -> list[str]:
    kept = [f"/{ASIDE}/", *(f"/{ASIDE}/{folder}/" for folder in _above(folder)), f"/{ASIDE}/{folder}/**"]
    return ["--recursive", "--no-h", _FORMAT, *(f"--include={kind}" for kind in kept), "--exclude=*"]


def _above(folder: str) -> list[str]:
    """A folder and those above it: a/b/c -> a, a/b, a/b/c."""
    parts = folder.split("/")
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def move_args(into: str) -> list[str]:
    # rsync >= 3.1.0 at both ends
    return ["--files-from=-", "--from0", "--no-perms", "--chmod=ugo=rwX", "--delete-missing-args", "--backup",
            f"--backup-dir={into}"]  # fmt: skip


def empty_args(folder: str) -> list[str]:
    return ["--recursive", "--delete", f"--include=/{folder}/***", "--exclude=*"]


class Session:
    """Transfers with the store at one location, until `close`. Files are given and returned by name, with their sizes
    in bytes."""

    def __init__(self, location: Location, options: Options, meter: Meter) -> None:
        self.location = location
        self._options = options
        self._meter = meter
        self._version = local_version()
        self._lacking: set[str] = set()  # what the remote's rsync turned out not to know
        self._worked = False  # whether the remote ever answered
        ssh = process.tool("ssh") if location.kind is Kind.SSH and options.ssh_command is None else ""
        self._scratch = tempfile.mkdtemp(prefix="gitlob-")
        self._ssh = self._ssh_command(ssh) if location.kind is Kind.SSH else None

    def close(self) -> None:
        """End the ssh connection that the runs share, and remove what they needed."""
        if self._ssh and os.path.exists(self._scratch) and any(n.startswith("cm-") for n in os.listdir(self._scratch)):
            with suppress(ToolError, OSError):
                argv = [*shlex.split(self._ssh), "-O", "exit", re.sub(r"[\[\]]", "", self.location.host)]
                process.run(argv, env=process.clean_env())
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _ssh_command(self, ssh: str) -> str:
        """The value of -e. git's own ssh command is one for the shell, and gets our options where it is ssh itself."""
        own = self._options.ssh_command
        options = [
            "-oBatchMode=yes",
            f"-oConnectTimeout={min(self._options.timeout, CONNECT_SECONDS)}",
            "-oServerAliveInterval=15",
            "-oServerAliveCountMax=4",
        ]
        if len(self._scratch) < 50:  # a socket's path has room for some hundred bytes
            options += ["-oControlMaster=auto", f"-oControlPath={self._scratch}/cm-%C", "-oControlPersist=60"]
        if self.location.port is not None:
            options += ["-p", str(self.location.port)]
        if own is None:
            return shlex.join([ssh, *options])
        if not any(os.path.basename(word) == "ssh" for word in own.split()):
            options = options[-2:] if self.location.port is not None else []
        script = Path(self._scratch, "ssh")
        script.write_bytes(os.fsencode(f'{own} {shlex.join(options)} "$@"\n'))
        return shlex.join(["/bin/sh", str(script)])

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
            lambda: fetch_args(self._version, self._lacking, partial), source, into + "/", names,
            watched=True, arrived=arrived,
        )  # fmt: skip
        if ended.code not in (0, 23, 24):
            raise self._failure(ended)
        if ended.code == 23 and not ended.items:
            self.sizes([name(EMPTY, META)])  # tells a store that lacks all of it from a place where no store is
        if ended.code == 23 and _telling(ended.stderr):
            self._meter.warn(f"{self.location}: {_gist(ended.stderr)}")
        return ended.sizes()

    def send(self, names: Iterable[str], root: str, *, anew: bool = False) -> dict[str, int]:
        """Bring files of the store at `root` to the remote one, but for those that it has in their size, unless `anew`.
        Makes its folder, however deep. Returns what was sent. Raises GitlobError where a link on a disk of ours would lead
        away."""
        names = list(names)
        self._check_folders(names)

        def args() -> list[str]:
            return send_args(self._version, self._lacking, self._options.client, self._options.fsync, anew)

        while True:
            ended = self._run(args, root + "/", self._root(), names, umask=self._remote_umask())
            if ended.code == 11 and "--mkpath" not in args() and "No such file" in ended.stderr:
                self._make_root(self.location.path.rstrip("/"))
                continue
            break
        if ended.code:
            raise self._failure(ended)
        return ended.sizes()

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
        ended = self._run(lambda: look_args(self._version, self._lacking), source, empty + "/", names)
        if ended.code not in (0, 24) or self._lacks_root(ended):
            raise self._failure(ended)
        return ended.sizes()

    def listing(self) -> list[Item]:
        """All files of the remote store that have a store's names."""
        return [item for item in self._list(list_args) if NAME.match(item.name)]

    def listing_with_left_over(self) -> tuple[list[Item], list[Item]]:
        """The same, and what is there of files that an rsync did not come to name; some it may be writing now."""
        found = self._list(lambda: list_args(left_over=True))
        return (
            [item for item in found if NAME.match(item.name)],
            [item for item in found if _LEFT_OVER.fullmatch(item.name)],
        )

    def _list(self, args: Callable[[], list[str]], below: str = "") -> list[Item]:
        empty = tempfile.mkdtemp(dir=self._scratch)
        ended = self._run(args, self._root(below), empty + "/", ())
        if ended.code not in (0, 24):
            raise self._failure(ended)
        return ended.items

    # Beside the store's content: lists of what clones need, and the trash

    def publish(self, file: str, content: bytes) -> None:
        """Put a small file below ASIDE at the remote, in the place of an older one."""
        top = tempfile.mkdtemp(dir=self._scratch)
        at = os.path.join(top, ASIDE, file)
        os.makedirs(os.path.dirname(at))
        Path(at).write_bytes(content)
        self.send([f"{ASIDE}/{file}"], top, anew=True)

    def aside(self, folder: str) -> list[Item]:
        """The files of a folder below ASIDE at the remote, by their names in it; none where there is no such folder."""
        args = aside_args(folder)
        prefix = f"{ASIDE}/{folder}/"
        found = self._list(lambda: ["--dry-run", *args])
        return [replace(item, name=item.name.removeprefix(prefix)) for item in found if item.name.startswith(prefix)]

    def fetch_aside(self, folder: str) -> dict[str, bytes]:
        """The same with their contents: for small files."""
        into = tempfile.mkdtemp(dir=self._scratch)
        ended = self._run(lambda: aside_args(folder), self._root(), into + "/", (), watched=True)
        if ended.code not in (0, 24):
            raise self._failure(ended)
        top = Path(into, ASIDE, folder)
        return {at.name: at.read_bytes() for at in sorted(top.iterdir()) if at.is_file()} if top.is_dir() else {}

    def discard(self, names: Collection[str], trash: str) -> None:
        """Move files of the remote store into a folder below ASIDE there, under the names that they had. Raises as send."""
        self._check_folders([*names, f"{ASIDE}/{trash}/."])
        self._move(names, self._root(), f"{ASIDE}/{trash}")

    def bring_back(self, names: Collection[str], trash: str) -> None:
        """Move files from a folder below ASIDE at the remote into the store there. Raises as send."""
        self._check_folders([*names, f"{ASIDE}/{trash}/."])
        _, _, folder = self.location.path.partition("/")
        up = "/".join([".."] * f"{ASIDE}/{trash}".count("/")) + "/.."
        self._move(names, self._root(f"{ASIDE}/{trash}/"), f"/{folder}" if self.location.kind is Kind.DAEMON else up)

    def _move(self, names: Collection[str], target: str, into: str) -> None:
        """Have rsync delete files at the remote, with backups elsewhere: it renames. They are those that the source does
        not have, an empty folder of ours; that it lacks their folders too is no reason to stop (24, and with them Debian's
        3.2.7 does not do it)."""
        source = tempfile.mkdtemp(dir=self._scratch)
        ended = self._run(lambda: move_args(into), source + "/", target, sorted(names), umask=self._remote_umask())
        if ended.code not in (0, 24):
            raise self._failure(ended)

    def empty(self, trash: str) -> None:
        """Delete a folder below ASIDE at the remote, with all that is in it."""
        source = tempfile.mkdtemp(dir=self._scratch)
        above, _, last = f"{ASIDE}/{trash}".rpartition("/")
        ended = self._run(lambda: empty_args(last), source + "/", self._root(f"{above}/"), ())
        if ended.code:
            raise self._failure(ended)

    def _lacks_root(self, ended: _Ended) -> bool:
        """Whether a daemon said that the store's folder is not in its module: for rsync only some files did not come."""
        folder = self.location.path.partition("/")[2]
        # rsync writes bytes that are no ASCII as \\#303; under `use chroot` the folder begins with a slash
        told = "".join(chr(byte) if 32 <= byte < 127 else f"\\#{byte:03o}" for byte in os.fsencode(folder))
        return (
            self.location.kind is Kind.DAEMON
            and bool(folder)
            and (f'change_dir "{told}"' in ended.stderr or f'change_dir "/{told}"' in ended.stderr)
        )

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
        *, watched: bool = False, umask: int | None = None, arrived: Callable[[str], None] | None = None,
    ) -> _Ended:  # fmt: skip
        """One rsync; again, after a pause, where a connection broke that had worked. Names that have come then are passed
        over by rsync itself."""
        names = list(names)
        items: dict[str, Item] = {}
        tries = 0
        while True:
            ended = self._run_once(args, source, target, names, watched, umask, arrived)
            before = len(items)
            items |= {item.name: item for item in ended.items}
            self._worked |= ended.moved > 0 or bool(ended.items) or ended.code in (0, 23, 24)
            # a listing that always ends early tells the same again and again
            tries = 1 if len(items) > before else tries + 1
            broke = ended.code and isinstance(self._failure(ended), BrokenOff)
            if not broke or not self._worked or tries > self._options.retries:
                return replace(ended, items=list(items.values()))
            pause = _PAUSE * 2 ** (tries - 1)
            said = _gist(ended.stderr)
            self._meter.note(
                f"{self.location}: {said}: again in {pause:.0f} seconds ({tries} of {self._options.retries})"
            )
            time.sleep(pause)

    def _run_once(
        self, args: Callable[[], list[str]], source: str, target: str, names: Iterable[str],
        watched: bool, umask: int | None, arrived: Callable[[str], None] | None,
    ) -> _Ended:  # fmt: skip
        """Again without what the other side does not know."""
        while True:
            limit = [f"--bwlimit={self._options.bwlimit}"] if self._options.bwlimit else []
            reach = transport(self.location, self._version, self._options.timeout, self._ssh)
            given = args()
            with tempfile.TemporaryFile() as feed, tempfile.TemporaryFile() as errors:
                feed.writelines(name.encode() + b"\0" for name in names)
                feed.seek(0)
                argv = [*given, *limit, *reach, "--", source, target]
                ended = self._supervise(argv, feed, errors, watched, umask, arrived)
            refused = {
                flag for flag in _NOT_EVERYWHERE if flag in given
                and re.search(rf"{flag}: unknown option|refuse.* {flag}", ended.stderr)
            }  # fmt: skip
            if not ended.code or not refused:
                return ended
            self._lacking |= refused

    def _supervise(
        self, argv: Sequence[str], feed: IO[bytes], errors: IO[bytes], watched: bool, umask: int | None,
        arrived: Callable[[str], None] | None,
    ) -> _Ended:  # fmt: skip
        """Start rsync in a session of its own, read what it reports, and see to it that nothing of it outlives us.

        A `watched` one is stopped when it reports nothing for the timeout: rsync's own does not fire on a pull whose
        sender froze, because keep-alives count.
        """
        import sh

        read_end, write_end = os.pipe()
        with open(read_end, "rb", buffering=0) as reports:
            with open(write_end, "wb") as output:
                with _umask(umask):
                    # paths are bytes: sh writes arguments in an encoding, and this one has every byte
                    plain = [os.fsencode(word).decode("latin-1") for word in (process.tool("rsync"), *argv)]
                    running = sh.Command(plain[0])(
                        *plain[1:], _encoding="latin-1", _in=feed, _out=output, _err=errors, _tty_out=False,
                        _bg=True, _bg_exc=False, _new_session=True, _preexec_fn=process.end_with_parent,
                        _ok_code=list(range(256)), _env=process.clean_env(TZ="UTC0"),
                    )  # fmt: skip
            heard = _Heard()
            said = ""
            try:
                patience = self._options.timeout if watched else math.inf
                if self._listen(reports, running, patience, arrived, heard):
                    running.wait()
                    code = running.exit_code
                else:
                    _stop(running)
                    code, said = 30, f"it sent nothing for {self._options.timeout} seconds"
            except sh.SignalException as error:
                _stop(running)  # its receiver may live on
                code = error.exit_code
            except BaseException:
                _stop(running)
                raise
        return _Ended(code, heard.items, said or _told(errors), heard.moved)

    def _listen(
        self, reports: IO[bytes], running: Any, patience: float, arrived: Callable[[str], None] | None, heard: _Heard
    ) -> bool:
        """To the end; False where nothing came for `patience` seconds. An rsync that was killed leaves its receiver behind,
        which waits with the reports open, and says no more."""
        items = heard.items
        rest = b""
        heard_at = time.monotonic()
        while True:
            ready, _, _ = select.select([reports], [], [], min(patience, 0.5))
            if not ready:
                if not running.is_alive():
                    return True
                if time.monotonic() - heard_at >= patience:
                    return False
                continue
            heard_at = time.monotonic()
            block = reports.read(1 << 16)
            *lines, rest = re.split(rb"[\r\n]", rest + block)
            for line in lines:
                if item := _ITEM.match(line):
                    if arrived and items:
                        arrived(items[-1].name)  # rsync tells of a file just before it gives it its name
                    items.append(Item(item[4].decode(errors="replace"), int(item[2]), item[3].decode()))
                elif total := _TOTAL.match(line):
                    heard.moved = int(total[1])
                    self._meter.reached(heard.moved)
            if not block:
                return True

    def _failure(self, ended: _Ended) -> GitlobError:
        """What an exit code and rsync's own words mean (rsync(1), "EXIT VALUES", and experiment)."""
        said = _gist(ended.stderr)
        text = ended.stderr
        where = str(self.location)
        again = "run it again: it resumes"
        if "No space left" in text or "Disk quota exceeded" in text:
            return ToolError(f"{where}: no space left: {said}", again)
        if re.search(r"Permission denied \([a-z,-]+\)", text):
            return RemoteError(f"{where}: ssh was not let in: {said}", "load a key into ssh-agent or see ~/.ssh/config")
        if "Host key verification failed" in text:
            return RemoteError(f"{where}: ssh does not know the host's key", f"run ssh {self.location.host} once")
        if "Permission denied" in text or "Operation not permitted" in text:
            return ToolError(f"{where}: permission denied: {said}", "mend the permissions and run it again")
        if "Not a directory" in text:
            return UsageError(f"{where} is not a store: {said}", "mend its location")
        if ended.code == 3 or ("change_dir" in text and "No such file" in text):
            return NotAStore(f"{where} is not there: {said}", "the first push makes it; or mend its location")
        if ended.code == 127 or re.search("command not found|rsync: not found", text):
            return UsageError(f"{where}: no rsync there: {said}", "install rsync on the remote machine")
        if ended.code == 5 or "@ERROR" in text:
            return UsageError(f"{where}: the rsync daemon refused: {said}", "mend the module's name or its settings")
        if ended.code in (1, 4):
            return UsageError(f"{where}: rsync refused: {said}", "see whether the module is read only or rsync too old")
        if ended.code in (2, 6, 11, 13, 14, 22, 23, 24, 25):
            return ToolError(f"{where}: rsync failed (exit code {ended.code}): {said}")
        return BrokenOff(f"{where} cannot be reached or broke off: {said}", again)


@contextmanager
def _umask(mask: int | None) -> Iterator[None]:
    """Have what is started in the block run with this umask, or with our own."""
    if mask is None:
        yield
        return
    own = os.umask(mask)
    try:
        yield
    finally:
        os.umask(own)


def _told(errors: IO[bytes]) -> str:
    """What was said on stderr, but for folders of a store that are not there: what they would hold is not there either."""
    said, at, rest = bytearray(), 0, b""
    # not by seek and read: an ssh that still writes shares the file's position
    while block := os.pread(errors.fileno(), 1 << 20, at):
        at += len(block)
        *lines, rest = (rest + block).split(b"\n")
        said += b"".join(line + b"\n" for line in lines if len(said) < 1 << 20 and not _NO_FOLDER.search(line))
    return (said + rest).decode(errors="replace")


def _telling(stderr: str) -> list[str]:
    """The lines of rsync's or ssh's words that say what went wrong, and are no mere consequence."""
    lines = (line.strip() for line in stderr.splitlines())
    consequence = r"rsync error:|rsync: connection unexpectedly closed|file has vanished:|Warning:"
    return [line for line in lines if line and not re.match(consequence, line)]


def _gist(stderr: str) -> str:
    """The first of these, or whatever else was said."""
    return (_telling(stderr) or [line.strip() for line in stderr.splitlines() if line.strip()] or ["it said nothing"])[
        0
    ]


def _stop(running: Any) -> None:
    """End rsync and all it started: ask first, and wait for the whole group, since a receiver outlives its leader."""
    deadline = time.monotonic() + 4
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            running.is_alive()  # reaps the leader
            os.killpg(running.pid, 0)
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGKILL)
    with suppress(Exception):
        running.wait()
