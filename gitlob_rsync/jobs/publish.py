"""Publishes to a remote store which binaries this clone needs: a purge of the store relies on it."""

import os
from collections.abc import Collection
from contextlib import AbstractContextManager, suppress

from gitlob_rsync.errors import GitlobError
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.location import Location, Remote
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.selection import references
from gitlob_rsync.selection.scopes import Committed
from gitlob_rsync.state import clone, needs_list
from gitlob_rsync.store import locks
from gitlob_rsync.store.aside import LISTS
from gitlob_rsync.store.store import Store
from gitlob_rsync.transport.base import NotAStore, Transport


def turn(store: Store, what: str, wait: float) -> AbstractContextManager[None]:
    """Hold the lock on this clone's own list of needs. Raises locks.Busy."""
    return locks.turn(store, "publish", what, wait)


def needs(repo: Repo) -> set[Sha]:
    """All binaries that this clone's list has to name. Raises as references.needed_by."""
    return {*references.needed_by(repo, Committed()), *references.outside_commits(repo)}


def publish(session: Transport, repo: Repo, remote: Remote, shas: Collection[Sha], tips: Collection[str]) -> str:
    """Replace this clone's list at the remote, and record it locally with the commits whose history it covers; returns the
    list's name. The caller holds the lock (turn). Raises RemoteError, and GitlobError if the list cannot be written."""
    location, place = remote.location, clone.place_of(repo)
    name = clone.own_name(repo)
    if not name or _is_anothers(session, repo, location, name):
        name = clone.new_name(repo)
    former = needs_list.former_name(repo, location)
    edition = os.urandom(8).hex()
    needs_list.note_edition(repo, location, name, edition)
    files = (needs_list.encode(shas, name, place, edition), edition.encode())
    session.publish(dict(zip(needs_list.files_of(name), files, strict=True)))
    if former:
        # some remotes forbid deletion: a purge then shows the old list, and --forget-list can remove it
        with suppress(GitlobError):
            session.delete(needs_list.files_of(former))
    needs_list.note_sent(repo, location, name, edition)
    needs_list.note(repo, remote, shas, tips)
    return name


def _is_anothers(session: Transport, repo: Repo, location: Location, name: str) -> bool:
    """Whether the list under our name was written by another clone: a machine made from the same image passes for this
    clone in every local check. The remote is asked only if this clone's host or path has changed."""
    if needs_list.place_noted(repo, location, name) == clone.place_of(repo):
        return False
    try:
        content = session.read_aside(LISTS, name).get(name)
    except NotAStore:
        return False
    edition = needs_list.edition_in(content) if content is not None else None
    return content is not None and not needs_list.is_own_edition(repo, location, name, edition)


def replaced(session: Transport, repo: Repo, location: Location) -> set[str]:
    """The names of this clone's older lists at the remote, which publish would replace. Raises as publish."""
    name = clone.own_name(repo)
    former = needs_list.former_name(repo, location)
    return {
        *([name] if name and not _is_anothers(session, repo, location, name) else []),
        *([former] if former else []),
    }
