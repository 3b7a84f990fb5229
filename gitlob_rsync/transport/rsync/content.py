"""The content of a remote store: files are fetched, sent, looked for and listed."""

import os
import re
import tempfile
from collections.abc import Callable, Iterable

from gitlob_rsync.location import Kind, Location
from gitlob_rsync.store.layout import EMPTY, META, NAME, name
from gitlob_rsync.store.store import check_folders
from gitlob_rsync.transport.base import Item
from gitlob_rsync.transport.rsync import flags
from gitlob_rsync.transport.rsync.line import Line
from gitlob_rsync.transport.rsync.meaning import (
    gist,
    lacks_modes_alone,
    lacks_root,
    no_room,
    telling,
)

_NOWHERE = re.compile(r"link_stat .* failed: (Too many levels of symbolic links|Invalid cross-device link)")
"""What a daemon says of a name below a link: it follows none there, or (since CVE-2026-29518) none that leads out."""


class Content(Line):
    """See Transport (base.py) for what is promised."""

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
            raise self._failure(ended, into, moved=True)
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
            raise self._failure(ended, moved=True)
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
