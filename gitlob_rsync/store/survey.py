"""What lies in a store, file by file: whole binaries, parts of others, and what does not belong there. Contents are not
read, and no link is followed: whatever stands under a name, it is looked at where it stands."""

import os
import re
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from gitlob_rsync.placeholder import Sha
from gitlob_rsync.store.layout import FILE_NAME, META, NAME, Meta
from gitlob_rsync.store.store import OWN, Store, read_meta

_FOLDER = re.compile(r"[0-9a-f]{3}(/[0-9a-f]{3})?/\Z")


@dataclass(slots=True)
class Survey:
    """`whole`: binaries of which everything is there, and no more. `suspect`: others of which something is there.

    `misplaced`: files that have a binary's name in a folder that is not the binary's. `foreign`: whatever else, with what
    it is. `unchecked`: folders that could not be looked into, with why. Paths are relative to the root of the store.
    """

    whole: list[Meta] = field(default_factory=list)
    suspect: list[Sha] = field(default_factory=list)
    misplaced: list[bytes] = field(default_factory=list)
    foreign: dict[bytes, str] = field(default_factory=dict)
    unchecked: dict[bytes, str] = field(default_factory=dict)


def survey(store: Store) -> Survey:
    """Look at every file below the root of a store; nothing is there where there is no store."""
    found = Survey()
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(f"{store.root}/{folder}") as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            found.unchecked[os.fsencode(folder or ".")] = os.strerror(error.errno or 0)
            continue
        if not entries and folder and not _FOLDER.match(folder):
            found.foreign[os.fsencode(folder)] = "folder"
        binaries: dict[Sha, int] = {}
        for entry in entries:
            path = folder + entry.name
            if not folder and entry.name.startswith(OWN) and entry.is_dir(follow_symlinks=False):
                continue  # where binaries wait to be whole, or are put aside
            if named := NAME.match(path):
                binaries[Sha(named[3])] = binaries.get(Sha(named[3]), 0) + 1
            elif entry.is_dir(follow_symlinks=False):
                folders.append(f"{path}/")
            elif entry.is_file(follow_symlinks=False) and FILE_NAME.match(entry.name):
                found.misplaced.append(os.fsencode(path))
            else:
                kind = "link" if entry.is_symlink() else "file" if entry.is_file() else "special file"
                found.foreign[os.fsencode(path)] = kind
        for sha, files in binaries.items():
            meta = _complete(store, sha)
            if meta and files == len(meta.parts()):
                found.whole.append(meta)
            else:
                found.suspect.append(sha)
    return found


def _complete(store: Store, sha: Sha) -> Meta | None:
    try:
        return store.complete(sha)
    except OSError:  # whoever looks closer finds out why
        return None


def parts(store: Store, sha: Sha) -> dict[str, os.stat_result]:
    """What stands in a store under the names of one binary, by part: the meta first, then chunks by number."""
    folder = os.path.dirname(store.path(sha, META))
    found = {}
    try:
        with os.scandir(folder) as listing:
            for entry in listing:
                if (named := FILE_NAME.match(entry.name)) and named[1] == sha:
                    found[named[2]] = entry.stat(follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return dict(sorted(found.items(), key=lambda part: -1 if part[0] == META else int(part[0])))


def shortfall(store: Store, sha: Sha, seen: Mapping[str, os.stat_result]) -> str:
    """What keeps a binary whose `parts` are these from being whole, in words; "" where nothing does."""
    if META not in seen:
        return "its meta is missing"
    if not stat.S_ISREG(seen[META].st_mode):
        return f"{_kind(seen[META])} stands in the place of its meta"
    meta = read_meta(store.path(sha, META), sha)
    if not meta:
        return "its meta cannot be right"
    for number in range(meta.chunks):
        found = seen.get(str(number))
        if not found:
            return f"chunk {number} of {meta.chunks} is missing"
        if not stat.S_ISREG(found.st_mode):
            return f"{_kind(found)} stands in the place of chunk {number}"
        if found.st_size != meta.chunk_size(number):
            return f"chunk {number} has {found.st_size} bytes in the place of {meta.chunk_size(number)}"
    more = surplus(meta, seen)
    return f"it has a chunk {more[0]}, and its meta says {meta.chunks}" if more else ""


def surplus(meta: Meta, seen: Collection[str]) -> list[str]:
    """The chunks that are more than the meta says."""
    return [part for part in seen if part != META and int(part) >= meta.chunks]


def _kind(found: os.stat_result) -> str:
    kinds = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder"}
    return kinds.get(stat.S_IFMT(found.st_mode), "a special file")
