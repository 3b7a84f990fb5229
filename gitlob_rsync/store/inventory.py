"""What is in a store: the one walk over its folders, and what is learned from it. Contents are not read, and no link is
followed."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from stat import S_ISREG

from gitlob_rsync.placeholder import Sha
from gitlob_rsync.store import layout
from gitlob_rsync.store.layout import EMPTY, FILE_NAME, META, NAME, Entry, Meta
from gitlob_rsync.store.store import OWN, Store

_BY_NAME = attrgetter("name")
_DEEPEST = len(layout.folder(EMPTY)) + 1
"""Characters of the longest name of a folder of a store, with the slash at its end."""


def _walk(root: str, *, everything: bool = False) -> Iterator[tuple[str, list[Entry] | OSError]]:
    """Each folder below the root of a store, in order, by its name relative to the root ("" or with a slash at the end), and
    what is in it; or why that cannot be read.

    `everything`: also folders that a store does not have, except our own.
    """
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(f"{root}/{folder}") as listing:
                entries = list(listing)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            yield folder, error
            continue
        if everything or len(folder) < _DEEPEST:  # `binaries` sorts what is in the deepest ones
            entries.sort(key=_BY_NAME)
        yield folder, entries
        if everything:
            below = [e for e in entries if not NAME.match(folder + e.name) and (folder or not e.name.startswith(OWN))]
        elif len(folder) < _DEEPEST:
            below = [entry for entry in entries if layout.FOLDER_NAME.fullmatch(entry.name)]
        else:
            continue
        folders += [f"{folder}{entry.name}/" for entry in reversed(below) if entry.is_dir(follow_symlinks=False)]


def binaries(root: str) -> Iterator[tuple[Sha, dict[str, Entry]]]:
    """Every binary of which a store has something, complete or not, in order, and its files by part. Raises OSError for a
    folder that cannot be read."""
    for folder, entries in _walk(root):
        if isinstance(entries, OSError):
            raise entries
        if len(folder) == _DEEPEST:
            found = layout.by_binary(folder[:-1], entries)
            yield from sorted(found.items()) if len(found) > 1 else found.items()


def complete(store: Store) -> Iterator[Meta]:
    """The metas of all binaries that are complete, in order. Raises as binaries."""
    for sha, files in binaries(store.root):
        if META in files and (meta := store.complete(sha)):
            yield meta


@dataclass(frozen=True, slots=True)
class Inventory:
    """`held`: the bytes of content of each complete binary, and when it was added (seconds since 1970). `torn`: how many
    others have files there."""

    held: dict[Sha, tuple[int, float]]
    torn: int = 0


def take(store: Store) -> Inventory:
    """The inventory of a store, which is empty where there is none. No file is opened unless something about it is odd.
    Raises as binaries."""
    held: dict[Sha, tuple[int, float]] = {}
    torn = 0
    for sha, files in binaries(store.root):
        try:
            seen = {part: entry.stat(follow_symlinks=False) for part, entry in files.items()}
        except FileNotFoundError:  # it is being deleted
            continue
        size = _size(store, sha, seen)
        if size is None:
            torn += 1
        else:
            held[sha] = size, seen[META].st_mtime
    return Inventory(held, torn)


def _size(store: Store, sha: Sha, seen: Mapping[str, os.stat_result]) -> int | None:
    """Bytes of content of a binary; None where it is not complete. A meta of the length that it must have, beside chunks of
    the sizes that they must have, is taken for valid; any other is read."""
    if META not in seen:
        return None
    chunks = [found for number in range(len(seen) - 1) if (found := seen.get(str(number))) and S_ISREG(found.st_mode)]
    if len(chunks) == len(seen) - 1 and S_ISREG(seen[META].st_mode):
        expected = Meta.of_chunks(sha, [found.st_size for found in chunks])
        if expected and seen[META].st_size == len(expected.encode()):
            return expected.size
    meta = store.complete(sha)
    return meta.size if meta else None


@dataclass(slots=True)
class Audit:
    """`whole`: binaries of which all files are there, and no more. `suspect`: others of which something is there.

    `misplaced`: files that have a binary's name in a folder that is not the binary's. `foreign`: anything else, with what
    it is. `unchecked`: folders that cannot be read, with the reason. Paths are relative to the root of the store.
    """

    whole: list[Meta] = field(default_factory=list)
    suspect: list[Sha] = field(default_factory=list)
    misplaced: list[bytes] = field(default_factory=list)
    foreign: dict[bytes, str] = field(default_factory=dict)
    unchecked: dict[bytes, str] = field(default_factory=dict)


def audit(store: Store) -> Audit:
    """Look at every file below the root of a store; nothing is found where there is no store."""
    found = Audit()
    for folder, entries in _walk(store.root, everything=True):
        if isinstance(entries, OSError):
            found.unchecked[os.fsencode(folder or ".")] = os.strerror(entries.errno or 0)
            continue
        if not entries and folder and not _is_of_store(folder):
            found.foreign[os.fsencode(folder)] = "folder"
        for sha, files in layout.by_binary(folder[:-1], entries).items():
            meta = _complete(store, sha)
            if meta and len(files) == len(meta.parts()):
                found.whole.append(meta)
            else:
                found.suspect.append(sha)
        for entry in entries:
            path = folder + entry.name
            if not NAME.match(path) and not entry.is_dir(follow_symlinks=False):
                _note_other(found, os.fsencode(path), entry)
    return found


def _note_other(found: Audit, path: bytes, entry: Entry) -> None:
    if entry.is_file(follow_symlinks=False) and FILE_NAME.match(entry.name):
        found.misplaced.append(path)
    else:
        found.foreign[path] = "link" if entry.is_symlink() else "file" if entry.is_file() else "special file"


def _is_of_store(folder: str) -> bool:
    parts = folder[:-1].split("/")
    return len(parts) <= 2 and all(map(layout.FOLDER_NAME.fullmatch, parts))


def _complete(store: Store, sha: Sha) -> Meta | None:
    try:
        return store.complete(sha)
    except OSError:  # a closer look at it will find out why
        return None
