"""The stores on this machine, taken together: all that the filter needs as long as nothing is missing. It starts with each
git command, so this imports little."""

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from gitlob_rsync import process
from gitlob_rsync.errors import GitlobError, writing
from gitlob_rsync.git import others
from gitlob_rsync.git.gitconfig import Value, parse
from gitlob_rsync.git.repo import Repo, folder_in
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.store import linking
from gitlob_rsync.store.layout import Meta
from gitlob_rsync.store.sharing import Sharing
from gitlob_rsync.store.staging import Staging
from gitlob_rsync.store.store import Store

_CONTENT = "content"
"""The store in a repository's private folder."""


@dataclass(frozen=True, slots=True)
class Stores:
    """The repository's own store, common to its worktrees; the one that several repositories share, if one is configured;
    and those of the repositories whose objects this one uses (git clone --shared, --reference), which are only read."""

    own: Store
    shared: Store | None
    lenders: tuple[Store, ...] = ()

    @classmethod
    def load(cls, repo: Repo) -> "Stores":
        """From git's own configuration alone: no tracked file may decide where git add writes. Raises as of."""
        asked = r"^(git-lob\.sharedstore|core\.sharedrepository)$"
        listing = repo.run("config", "-z", "--show-origin", "--get-regexp", asked, ok=(0, 1))
        return cls.of(repo, {value.key: value for value in parse(listing, None)})

    @classmethod
    def of(cls, repo: Repo, values: dict[str, Value]) -> "Stores":
        """Check values, by key. Raises UsageError for an invalid one."""
        sharing = Sharing.of(values.get("core.sharedrepository"))
        shared = None
        if (value := values.get("git-lob.sharedstore")) and value.text:
            at = os.path.expanduser(value.text)
            at = at if os.path.isabs(at) else os.path.join(repo.home(), at)
            shared = Store.open_to_others(os.path.normpath(at), sharing)
        objects = dict.fromkeys(others.alternates(os.path.join(repo.common_dir, "objects")))
        lenders = tuple(_lent(os.path.dirname(at)) for at in objects)
        return cls(Store(os.path.join(repo.folder, _CONTENT), sharing), shared, lenders)

    def with_origins(self, urls: Iterable[str]) -> "Stores":
        """The same, and the stores of the repositories on this machine that are at the remotes' `urls` (git clone of a
        folder shares objects by hard links, and does not record that). For a repository without a remote store, where
        binaries come from otherwise."""
        paths = (url.removeprefix("file://") for url in urls)
        places = dict.fromkeys(filter(None, map(others.common_dir_at, filter(os.path.isabs, paths))))
        return replace(self, lenders=self.lenders + tuple(map(_lent, places)))

    @property
    def others(self) -> tuple[Store, ...]:
        """Where this machine may have what is missing in the repository's own store."""
        return (*((self.shared,) if self.shared else ()), *self.lenders)

    def find(self, sha: Sha) -> Meta | None:
        """The meta of a binary that is complete in any of them. Nothing is changed."""
        return self.own.complete(sha) or next(filter(None, (_look(sha, other) for other in self.others)), None)

    def obtain(self, sha: Sha) -> Meta | None:
        """The meta of a binary that is complete in our own store, brought there from another of them if need be."""
        return self.own.complete(sha) or self.bring(sha)

    def bring(self, sha: Sha) -> Meta | None:
        """Put into our own store what is complete and sound in another one of this machine, replacing what is there: by
        links where possible, else as a copy. None where no other store has it."""
        for other in self.others:
            meta = _look(sha, other)
            if meta and ((self._may_link(meta, other) and linking.link(meta, self.own, other)) or
                         _copy(meta, self.own, other)):  # fmt: skip
                return meta
        return None

    def share(self, meta: Meta) -> None:
        """Add a binary of our own store to the shared one as well, if one is configured."""
        if self.shared:
            linking.share(meta, self.own, self.shared)

    def _may_link(self, meta: Meta, origin: Store) -> bool:
        """A shared store takes the number of links to a file for the number of repositories that need it: a link of ours to
        a file that is in another repository's shared store, or in ours and a lender's, would keep it there for ever."""
        if not origin.lent:
            return True
        if self.shared:
            return False
        with suppress(OSError):
            if all(os.lstat(origin.path(meta.sha, number)).st_nlink == 1 for number in range(meta.chunks)):
                return True
        config = os.path.join(os.path.dirname(origin.folder), "config")
        argv = [process.tool("git"), "config", "--file", config, "--get", "git-lob.sharedstore"]
        with suppress(GitlobError):
            return not process.run(argv, env=process.clean_env(), ok=(0, 1)).strip()
        return False


def _lent(common_dir: str) -> Store:
    """The store of another repository."""
    return Store(os.path.join(folder_in(common_dir), _CONTENT), of_others=True, lent=True)


def _look(sha: Sha, store: Store) -> Meta | None:
    """The meta of a binary that is complete in a store. What is lent and cannot be read counts as missing."""
    try:
        return store.complete(sha)
    except OSError:
        if store.lent:
            return None
        raise


def _copy(meta: Meta, own: Store, origin: Store) -> bool:
    """Copy a binary into our own store; False where the other's is damaged or was just deleted."""
    with Staging(own) as staging:
        try:
            for part in meta.parts():
                with writing(staging.path):
                    shutil.copyfile(origin.path(meta.sha, part), staging.at(meta.sha, part), follow_symlinks=False)
        except (FileNotFoundError, PermissionError):
            return False
        if staging.prepare(meta.sha) != meta:
            return False
        staging.admit(meta)
    return True
