"""A repository joined with one remote store: one connection, and what is here and what is there."""

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property

from gitlob_rsync.config import Remote, Settings, client_name
from gitlob_rsync.git import Repo
from gitlob_rsync.layout import META, NAME, Meta, name
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.progress import Meter
from gitlob_rsync.report import Paths
from gitlob_rsync.rsync import NotAStore, Options, Session
from gitlob_rsync.store import read_meta
from gitlob_rsync.stores import Stores, obtain


class Connection:
    """Use it in a `with` block: nothing is connected before it is needed, and all that is done shares one session."""

    def __init__(self, repo: Repo, stores: Stores, settings: Settings, remote: Remote, meter: Meter) -> None:
        self.repo = repo
        self.settings = settings
        self.remote = remote
        self.meter = meter
        self.store = stores.own
        self.shared = stores.shared
        self._listing: dict[str, int] | None = None

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        if "session" in self.__dict__:
            self.session.close()

    @cached_property
    def session(self) -> Session:
        """The connection to the remote store."""
        own = self.settings
        options = Options(own.timeout, client_name(self.repo), own.bwlimit, own.fsync, own.ssh_command, own.retries)
        return Session(self.remote.location, options, self.meter)

    def reach(self) -> None:
        """See whether the store can be read, without moving anything. Raises RemoteError, and NotAStore."""
        self.session.sizes([name(Sha("0" * 40), META)])

    def listing(self, *, new: bool = False) -> Mapping[str, int]:
        """Every file of the remote store that has a binary's name, with its size in bytes, as it was when first asked for.

        Raises RemoteError where the remote cannot be reached or broke off, and NotAStore unless it may be `new`.
        """
        if self._listing is None:
            try:
                self._listing = {item.name: item.size for item in self.session.listing()}
            except NotAStore:
                if not new:
                    raise
                self._listing = {}
        return self._listing

    def everything(self) -> Paths:
        """Every binary of the remote store."""
        named = (NAME.match(file) for file in self.listing())
        return {Sha(found[3]): [] for found in named if found and found[4] == META}

    def here(self, shas: Iterable[Sha], *, link: bool) -> dict[Sha, Meta]:
        """Of `shas`, those that are here whole. What only the shared store has is linked, unless that is not wanted."""
        if link:
            return {sha: meta for sha in shas if (meta := obtain(sha, self.store, self.shared))}
        places = [store for store in (self.store, self.shared) if store]
        return {sha: meta for sha in shas for store in places if (meta := store.complete(sha))}

    def whole_there(self, shas: Collection[Sha]) -> set[Sha]:
        """Of binaries of the local store, those that the remote has whole, by the sizes of their files: one call, however
        many there are. Raises RemoteError, and NotAStore.

        One that has no meta here (a purge was killed) does not say how large it is. That the remote has its meta, which
        gets there last, and each file that is here, will do for it.
        """
        metas = {sha: read_meta(self.store.path(sha, META), sha) for sha in sorted(shas)}
        files: dict[Sha, list[str]] = {
            sha: meta.parts() if meta else [*self.store.parts_of(sha), META] for sha, meta in metas.items()
        }
        listing = self.session.sizes({name(sha, part): None for sha, parts in files.items() for part in parts})
        return {sha for sha, meta in metas.items() if (meta.whole_in(listing) if meta else self._covered(sha, listing))}

    def _covered(self, sha: Sha, listing: Mapping[str, int]) -> bool:
        chunks = [part for part in self.store.parts_of(sha) if part != META]
        same = (listing.get(name(sha, part)) == self.store.held(sha, [part])[0] for part in chunks)
        return name(sha, META) in listing and all(same)

    def metas_there(self, shas: Collection[Sha]) -> set[Sha]:
        """Of `shas`, those whose meta the remote has: it gets there last. Raises RemoteError."""
        if not shas:
            return set()
        try:
            found = self.session.sizes(name(sha, META) for sha in sorted(shas))
        except NotAStore:
            return set()
        return {sha for sha in shas if name(sha, META) in found}
