"""The stores on this machine: all that the filter has to know while nothing is missing. It starts with each git command, so
this loads little."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass

from gitlob_rsync.errors import GitlobError
from gitlob_rsync.git import Repo
from gitlob_rsync.gitconfig import Value, parse
from gitlob_rsync.layout import Meta
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.store import Sharing, Store


@dataclass(frozen=True, slots=True)
class Stores:
    """The repository's own, common to its worktrees, and the one that several repositories share, where one is
    configured."""

    own: Store
    shared: Store | None

    @classmethod
    def load(cls, repo: Repo) -> "Stores":
        """From git's own configuration alone: no tracked file has a say in where git add writes."""
        asked = r"^(git-lob\.sharedstore|core\.sharedrepository)$"
        listing = repo.run("config", "-z", "--show-origin", "--get-regexp", asked, ok=(0, 1))
        return cls.of(repo, {value.key: value for value in parse(listing, None)})

    @classmethod
    def of(cls, repo: Repo, values: dict[str, Value]) -> "Stores":
        """Check values, by key. Raises UsageError for one out of range."""
        sharing = _sharing(values.get("core.sharedrepository"))
        shared = None
        if (value := values.get("git-lob.sharedstore")) and value.text:
            at = os.path.join(repo.work_tree or repo.git_dir, os.path.expanduser(value.text))
            shared = Store.open_to_others(os.path.normpath(at), sharing)
        return cls(Store(os.path.join(repo.folder, "content"), sharing), shared)


def _sharing(value: Value | None) -> Sharing:
    """core.sharedRepository (git-config(1))."""
    text = value.text.lower() if value else "false"
    if text in ("umask", "false", "no", "off", "0", ""):
        return Sharing()
    if text in ("group", "true", "yes", "on", "1"):
        return Sharing(0o660)
    if text in ("all", "world", "everybody", "2", "3"):
        return Sharing(0o664)
    assert value
    if re.fullmatch(r"0[0-7]{3}", text) and int(text, 8) & 0o600 == 0o600:
        return Sharing(int(text, 8) & 0o666, exact=True)
    raise value.wrong("git knows umask, group, all or 0xxx here")


def share(meta: Meta, own: Store, shared: Store | None) -> None:
    """Have the shared store hold a binary of our own store too, where there is one and it lets us: others profit, we do
    not depend on it."""
    if shared:
        with suppress(OSError, GitlobError):
            there = shared.complete(meta.sha)
            if not there or not (_linked(meta, own, shared) or shared.sound(there)):
                shared.link(meta, own)


def _linked(meta: Meta, one: Store, other: Store) -> bool:
    """Whether two stores have a binary in common, not merely both."""
    return all(os.path.samefile(one.path(meta.sha, part), other.path(meta.sha, part)) for part in meta.parts())


def obtain(sha: Sha, store: Store, shared: Store | None) -> Meta | None:
    """The meta of a binary that `store` has whole, linked from the shared store where only that has it."""
    meta = store.complete(sha)
    if not meta and shared and (meta := shared.complete(sha)) and not store.link(meta, shared):
        return None
    return meta
