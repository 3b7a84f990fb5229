"""The content of a remote store: fetching, sending, finding and listing its files."""

import os
import re
import tempfile
from collections.abc import Callable, Iterable

from gitlob_rsync.location import Kind, Location
from gitlob_rsync.store.layout import EMPTY, META, NAME, name
from gitlob_rsync.store.store import check_folders
from gitlob_rsync.transport.base import Item
from gitlob_rsync.transport.rsync import flags
from gitlob_rsync.transport.rsync.meaning import (
    causes,
    lacks_root,
    no_room,
    only_modes_failed,
    quote,
)
from gitlob_rsync.transport.rsync.session import Session

_NOWHERE = re.compile(r"link_stat .* failed: (Too many levels of symbolic links|Invalid cross-device link)")
"""A daemon's message about a name below a link: it follows no links, or (since CVE-2026-29518) none that lead outside."""


class Content(Session):
    """Implements Transport (base.py), which documents the methods."""

    def fetch(
        self, names: Iterable[str], into: str, partial: str, arrived: Callable[[str], None] | None = None
    ) -> dict[str, int]:
        """Download files. What arrived before an error stays. Names come back as they are in `into`."""
        source, names = self._to_read(names, flat=True)
        ended = self._run(
            lambda: flags.fetch_args(self._version, self._lacking, partial), source, into + "/", names,
            steady=True, arrived=arrived,
        )  # fmt: skip
        if ended.code not in (0, 23, 24) or (ended.code == 23 and no_room(ended)):
            raise self._failure(ended, into, moved=True)
        if ended.code == 23 and not ended.items:
            self.sizes([name(EMPTY, META)])  # raises NotAStore, unless it is a store that lacks all of them
        if ended.code == 23 and causes(ended.stderr) and not only_modes_failed(ended):
            self._meter.warn(f"{self.location}: {quote(self.location, ended.stderr)}")
        return ended.sizes()

    def send(self, names: Iterable[str], root: str, *, overwrite: bool = False) -> dict[str, int]:
        """Upload files. Raises GitlobError if the store is on a local path and a link would lead out of it."""
        names = list(names)
        self._check_folders(names)

        def args() -> list[str]:
            return flags.send_args(
                self._version, self._lacking, self._options.client, self._options.fsync, self._mode, overwrite
            )

        while True:
            ended = self._run(args, root + "/", self._root(), names, umask=self._remote_umask())
            if ended.code in (3, 11) and "--mkpath" not in args() and "No such file" in ended.stderr:
                self._make_root(self.location.path.rstrip("/"))
                continue
            break
        if ended.code and not (only_modes_failed(ended) and self._has(names, root)):
            raise self._failure(ended, moved=True)
        return ended.sizes()

    def _has(self, names: Iterable[str], root: str) -> bool:
        """Whether the remote store has these files, in the sizes that they have below `root`."""
        found = self.sizes(names)
        return all(found.get(name) == os.lstat(f"{root}/{name}").st_size for name in names)

    def _check_folders(self, names: Iterable[str]) -> None:
        """For a store on a local path, raise GitlobError if a link would divert writes to these names."""
        if self.location.kind is Kind.PATH:
            check_folders(self.location.path, names)

    def _remote_umask(self) -> int | None:
        """The umask to run rsync with: files in a store on a local path are for those who may use its root, whatever our
        umask is; None elsewhere, where the remote machine's own umask applies."""
        if self.location.kind is not Kind.PATH:
            return None
        try:
            return 0o077 & ~os.stat(self.location.path).st_mode
        except OSError:
            return None

    def _make_root(self, path: str) -> None:
        """Create a folder at the remote, level by level, for an rsync without --mkpath."""
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
        """The sizes of those of these files that the store has; a dry run, which transfers nothing."""
        empty = tempfile.mkdtemp(dir=self._scratch)
        source, names = self._to_read(names)
        ended = self._run(lambda: flags.look_args(self._version, self._lacking), source, empty + "/", names)
        problems = [line for line in causes(ended.stderr) if not _NOWHERE.search(line)]
        failed = ended.code not in (0, 24) and (ended.code != 23 or problems)
        if failed or lacks_root(self.location, ended):
            raise self._failure(ended)
        return ended.sizes()

    def listing(self) -> list[Item]:
        """All files whose names are those of a store's content."""
        return [item for item in self._list(flags.list_args) if NAME.match(item.name)]

    def listing_with_left_over(self) -> tuple[list[Item], list[Item]]:
        """The same, and unfinished files that have not got their final names; some may still be being written."""
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
        """The source and the file list of a download. The part of a name behind `/./` is the name that the local file gets;
        with `flat`, that is the base name alone. A daemon of version 3.5.0 does not find names in a list that are relative
        to a folder of its module, so with daemons they are relative to the module."""
        module, _, folder = self.location.path.partition("/")
        source = self.location
        prefix = ""
        if self.location.kind is Kind.DAEMON and folder:
            source = Location(Kind.DAEMON, module, self.location.host, self.location.port)
            prefix = f"{folder}/" if flat else f"{folder}/./"
        if flat:
            names = ("/./".join(name.rsplit("/", 1)) for name in names)
        return source.rsync_argument(), (prefix + name for name in names)
