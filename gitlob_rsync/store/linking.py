"""Binaries that two stores of one file system have in common, by hard links: they take their space once."""

import errno
import os
from contextlib import suppress

from gitlob_rsync.errors import GitlobError
from gitlob_rsync.plain_files import replace, replace_content
from gitlob_rsync.store.layout import META, Meta, file_name
from gitlob_rsync.store.store import Store

NO_LINK = frozenset({errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS})
"""How a file system says that it does not make hard links, or not this one."""


def link(meta: Meta, into: Store, origin: Store) -> bool:
    """Hard-link a binary of another store, `origin`, into one, its content hashed first, replacing what is there. False
    where the other's is damaged or was just deleted, or where its file system does not link it here: what the link count
    means (docs/format.md) holds only for links.

    The meta of a store that is `lent` is not linked: its time is changed here."""
    if not on_one_disk(into.root, origin.root) or not origin.sound(meta):
        return False
    folder = into.make_folders(meta.sha)
    for part in meta.parts():
        at = f"{folder}/{file_name(meta.sha, part)}"
        if origin.lent and part == META:
            replace_content(at, meta.encode())
            into.sharing.apply(at)
            continue
        try:
            _link_file(origin.path(meta.sha, part), at)
        except OSError as error:
            if error.errno in (*NO_LINK, errno.EXDEV, errno.ENOENT):
                return False
            raise
        if into.of_others:  # its owner has to let others read it
            into.sharing.apply(at)
    into.touch(meta.sha)
    return True


def _link_file(source: str, at: str) -> None:
    """Link a file, so that at no time there is nothing where there was something."""
    try:
        os.link(source, at, follow_symlinks=False)
    except FileExistsError:
        replace(at, lambda new: os.link(source, new, follow_symlinks=False))


def share(meta: Meta, own: Store, shared: Store) -> None:
    """Add a binary of our own store to the shared one, if that lets us, without using space twice: others profit, and we do
    not depend on it. Where each has a copy, ours is replaced by a link to the shared one."""
    with suppress(OSError, GitlobError):
        there = shared.complete(meta.sha)
        if there and (_linked(meta, own, shared) or link(there, own, shared) or not on_one_disk(own.root, shared.root)):
            return
        if not there or not shared.sound(there):
            link(meta, shared, own)


def _linked(meta: Meta, one: Store, other: Store) -> bool:
    """Whether two stores have the same files of a binary, not copies."""
    return all(os.path.samefile(one.path(meta.sha, part), other.path(meta.sha, part)) for part in meta.parts())


def on_one_disk(one: str, other: str) -> bool:
    """False where no file of one folder can be linked into the other. (One that does not exist yet may be created.)"""
    with suppress(FileNotFoundError):
        return os.stat(one).st_dev == os.stat(other).st_dev
    return True
