"""rsync as a transport: the content of a store, and our own files beside it."""

import os
import stat
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from gitlob_rsync.errors import writing
from gitlob_rsync.location import Kind
from gitlob_rsync.plain_files import open_plain
from gitlob_rsync.store.aside import ASIDE
from gitlob_rsync.transport.base import Item, Root, is_shared
from gitlob_rsync.transport.rsync import flags
from gitlob_rsync.transport.rsync.content import Content
from gitlob_rsync.transport.rsync.meaning import (
    no_room,
    only_modes_failed,
)
from gitlob_rsync.transport.rsync.run import Ended


class RsyncTransport(Content):
    """Implements Transport (base.py), which documents the methods."""

    # Beside the store's content: its identity, the lists of what clones need, and the trash

    def look(self, *files: str) -> Root:
        """Inspect the store's root, and read small `files` below ASIDE. Files sent later get permissions to match the
        root's. Raises NotAStore if the root does not exist."""
        if self.location.kind is Kind.PATH and (root := _read_local_root(self.location.path, files)):
            self._mode = root.mode
            return root
        into = os.path.join(tempfile.mkdtemp(dir=self._scratch), "root")
        # listing one folder takes a moment: a remote that sends nothing but keep-alives is given up
        ended = self._run(lambda: flags.root_args(files), self._root(), into + "/", (), steady=True)
        if not _was_listed(ended):
            raise self._failure(ended, into)
        self._mode = ended.folders.get(".")
        found = {file: Path(into, ASIDE, file) for file in files}
        return Root(self._mode, {file: at.read_bytes() for file, at in found.items() if at.is_file()})

    def has_content(self) -> bool:
        """Whether the root holds what only a store holds: a binary, or a clone's list of what it needs."""
        into = os.path.join(tempfile.mkdtemp(dir=self._scratch), "content")
        ended = self._run(flags.content_args, self._root(), into + "/", (), steady=True)
        if not _was_listed(ended):
            raise self._failure(ended, into)
        return any(name not in (".", ASIDE) for name in ended.folders)

    def make_shared_root(self) -> None:
        """Create the store's root, or change it, so that every account of its group may write to it. Raises as send."""
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

    def publish(self, files: Mapping[str, bytes], *, overwrite: bool = True) -> None:
        """Write small files below ASIDE, one after the other in the order of their names; `overwrite`: even over one of the
        same size."""
        top = tempfile.mkdtemp(dir=self._scratch)
        with writing(self._scratch):
            for file, content in files.items():
                at = Path(top, ASIDE, file)
                at.parent.mkdir(parents=True, exist_ok=True)
                at.write_bytes(content)
        self.send(sorted(f"{ASIDE}/{file}" for file in files), top, overwrite=overwrite)

    def listing_aside(self, folder: str) -> list[Item]:
        """The files of a folder below ASIDE, by their names in it; none if the folder does not exist."""
        args = flags.aside_args(folder)
        prefix = f"{ASIDE}/{folder}/"
        found = self._list(lambda: ["--dry-run", *args])
        return [replace(item, name=item.name.removeprefix(prefix)) for item in found if item.name.startswith(prefix)]

    def read_aside(self, folder: str, file: str = "**") -> dict[str, bytes]:
        """The contents of these files, or of one of them; for small files."""
        into = tempfile.mkdtemp(dir=self._scratch)
        ended = self._run(lambda: flags.aside_args(folder, file), self._root(), into + "/", (), steady=True)
        if ended.code not in (0, 24):
            raise self._failure(ended)
        top = Path(into, ASIDE, folder)
        return {at.name: at.read_bytes() for at in sorted(top.iterdir()) if at.is_file()} if top.is_dir() else {}

    def move_aside(self, names: Collection[str], folder: str) -> None:
        into = f"{ASIDE}/{folder}"
        self._check_folders([*names, f"{into}/."])
        if is_shared(self._mode):
            self._make_folders(into)  # rsync would create it writable for the current account alone
        self._move(names, self._root(), into)
        if left := {os.path.dirname(name) for name in names if flags.is_partial(name)}:
            self._delete_empty(left)

    def _make_folders(self, path: str) -> None:
        """Create folders below the store's root, with permissions to match the root's. Raises as send."""
        source = tempfile.mkdtemp(dir=self._scratch)
        os.makedirs(os.path.join(source, path))
        ended = self._run(lambda: ["--recursive", *flags.permissions(self._mode)], source + "/", self._root(), ())
        if ended.code and not only_modes_failed(ended):
            raise self._failure(ended)

    def bring_back(self, names: Collection[str], folder: str) -> None:
        """Move files from a folder below ASIDE back into the content. Raises as send."""
        self._check_folders([*names, f"{ASIDE}/{folder}/."])
        source = f"{ASIDE}/{folder}/"
        _, _, in_module = self.location.path.partition("/")
        if self.location.kind is not Kind.DAEMON:
            self._move(names, self._root(source), "/".join([".."] * source.count("/")))
        elif in_module:
            self._move(names, self._root(source), f"/{in_module}")
        else:
            # a daemon of version 3.5.0, or one with chroot, cannot move anything to the root of a module itself
            for first in sorted({name.partition("/")[0] for name in names}):
                below = [name.removeprefix(f"{first}/") for name in names if name.startswith(f"{first}/")]
                self._move(below, self._root(f"{source}{first}/"), f"/{first}")

    def _move(self, names: Collection[str], target: str, into: str) -> None:
        """Have rsync delete files at the remote, with backups in another folder: it renames them."""
        self._delete(names, target, lambda: flags.move_args(into))

    def delete(self, names: Collection[str], folder: str = "") -> None:
        """Delete files of a folder below ASIDE, by their names in it. Raises as send."""
        below = f"{ASIDE}/{folder}/" if folder else f"{ASIDE}/"
        self._check_folders([below + file for file in names])
        self._delete(names, self._root(below), flags.delete_args)

    def _delete_empty(self, folders: Collection[str]) -> None:
        """Delete folders at the remote, except those that are not empty. Raises as send."""
        self._check_folders([f"{folder}/." for folder in folders])
        self._delete(folders, self._root(), flags.delete_args)

    def _delete(self, names: Collection[str], target: str, args: Callable[[], list[str]]) -> None:
        """Delete files that the source lacks; the source is a tree of empty folders. A receiver of version 3.1.3 requires
        the folders of all names in it; 3.2.7 with Debian's patches, and 3.4.3, accept no missing file behind a folder, and
        say so before they do anything: then it is tried again without folders."""
        for folders in (sorted({os.path.dirname(file) for file in names}), []):
            source = tempfile.mkdtemp(dir=self._scratch)
            for folder in folders:
                Path(source, folder).mkdir(parents=True, exist_ok=True)
            ended = self._run(args, f"{source}/", target, sorted(names), umask=self._remote_umask())
            if ended.code != 2 or "invalid file mode" not in ended.stderr:
                break
        if ended.code not in (0, 24):
            raise self._failure(ended)

    def empty(self, folder: str, names: Collection[str]) -> None:
        """Delete these files of a folder below ASIDE, and the folder itself unless something else is in it."""
        self.delete(names, folder)
        source = tempfile.mkdtemp(dir=self._scratch)
        above, _, last = f"{ASIDE}/{folder}".rpartition("/")
        ended = self._run(lambda: flags.empty_args(last), source + "/", self._root(f"{above}/"), ())
        if ended.code:
            raise self._failure(ended)


def _was_listed(ended: Ended) -> bool:
    """Whether the root of a store was read, even if we may not read all that is in it."""
    return ended.code in (0, 24) or (ended.code == 23 and "." in ended.folders and not no_room(ended))


def _read_local_root(path: str, files: Iterable[str]) -> Root | None:
    """The root of a store on a local path, read without rsync, which takes longer than a small push. None if that fails:
    rsync then reports why. Follows no links in our own folders."""
    aside = os.path.join(path, ASIDE)
    try:
        mode = os.stat(os.path.join(path, "")).st_mode
        read = {file: _read_plain(aside, file) for file in files}
    except OSError:
        return None
    return Root(stat.S_IMODE(mode), {file: content for file, content in read.items() if content is not None})


def _read_plain(folder: str, file: str) -> bytes | None:
    """The content of a small file below a folder, without following links; None if there is no such file."""
    above = [folder]
    for part in file.split("/")[:-1]:
        above.append(os.path.join(above[-1], part))
    found = open_plain(os.path.join(folder, file)) if not any(map(os.path.islink, above)) else None
    if found is None:
        return None
    with open(found, "rb") as opened:
        content = opened.read(flags.MOST_READ + 1)
    return content if len(content) <= flags.MOST_READ else None
