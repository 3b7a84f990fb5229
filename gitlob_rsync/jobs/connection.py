"""A repository's connection to one remote store: checks that it is the right store, and finds out what each side has."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property

from gitlob_rsync.errors import GitlobError, UsageError
from gitlob_rsync.jobs.context import Context
from gitlob_rsync.jobs.transfer_report import Paths
from gitlob_rsync.location import Remote
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.state import clone, identity, needs_list, pushed
from gitlob_rsync.state.identity import WrongStore
from gitlob_rsync.store.aside import IDENTITY
from gitlob_rsync.store.layout import META, NAME, Meta
from gitlob_rsync.transport.base import NotAStore, Options, Transport
from gitlob_rsync.transport.choose import connect


class Connection:
    """To be used in a `with` block. It connects when that is first needed, and everything in the block shares one
    session."""

    def __init__(self, context: Context, remote: Remote) -> None:
        self.repo = context.repo
        self.settings = context.settings
        self.remote = remote
        self.meter = context.meter
        self.stores = context.stores
        self.store = context.stores.own
        self.shared = context.stores.shared
        self._listing: dict[str, int] | None = None
        self._identity: str | None = None
        self._identified = False
        self._edition: str | None = None
        self._editions: frozenset[str] | None = None
        self._empty: bool | None = None

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        if "_transport" in self.__dict__:
            self._transport.close()

    @cached_property
    def _transport(self) -> Transport:
        """The transport to the location, whichever store is there."""
        own = self.settings
        options = Options(
            own.timeout, clone.client_name(self.repo), own.bwlimit, own.fsync, own.ssh_command, own.retries,
            own.rsync_path(self.remote), own.askpass,
        )  # fmt: skip
        return connect(self.remote.location, options, self.meter)

    @property
    def session(self) -> Transport:
        """The transport, once the store has been identified as the right one. Raises as identify."""
        self.identify()
        return self._transport

    @property
    def known(self) -> str | None:
        """The identity of the store expected at the location; None if none is known."""
        return identity.known(self.repo, self.remote)

    def identify(self) -> str | None:
        """The identity of the store at the location; None if it has none yet and none is expected. Writes nothing to the
        store.

        Raises WrongStore if it is not the expected store, NotAStore if the folder does not exist and no store is expected
        there, and RemoteError."""
        while not self._identified:
            known = self.known
            found, error = None, None
            try:
                found = self._read_identity()
            except NotAStore as not_there:
                error = not_there
            if self.known != known:
                continue  # another run of this clone has met or made the store since then: look again
            used = identity.was_used(self.repo, self.remote.location)
            if error:
                if known or used:
                    raise self._wrong_store("its folder does not exist")
                raise error
            if found != known and (found is None or known):
                raise self._wrong_store(f"the folder has the identity {identity.short(found)}")
            if found is None and used and not self._transport.has_content():
                raise self._wrong_store("its folder is empty")
            self._accept(found)
        return self._identity

    def _read_identity(self) -> str | None:
        known = needs_list.own_editions(self.repo, self.remote.location)
        edition = needs_list.own_edition_file(self.repo)
        found = self._transport.look(IDENTITY, *([edition] if edition else [])).files
        if self._editions is None:
            self._editions = known
            self._edition = found[edition].decode("ascii", errors="replace") if edition and edition in found else None
        return identity.decode(found[IDENTITY], str(self.remote)) if IDENTITY in found else None

    def _wrong_store(self, why: str) -> WrongStore:
        name = self.remote.name or self.remote.location
        known = f"the store {identity.short(self.known)}" if self.known else "the store used before"
        return WrongStore(
            f"{self.remote}: {known} was not found: {why}",
            f"mount it, or set its new location; gitlob-setup {name} --adopt accepts the store found there, "
            "--create creates a new one",
        )

    def _accept(self, found: str | None) -> None:
        self._identified, self._identity = True, found
        if found:
            self._empty = False
        if found and found != identity.remembered(self.repo, self.remote.location):
            with suppress(OSError):  # the next run remembers it
                identity.remember(self.repo, self.remote.location, found)

    def establish(self) -> str:
        """Make sure that the store exists and has an identity, and return the identity. A folder that is missing or empty
        becomes a new store, and a store of git-lob or of an older version gets an identity; both are reported. Raises as
        identify."""
        if self.is_new:
            return self._give_identity(old=False)
        return self._identity or self._give_identity(old=True)

    @property
    def is_new(self) -> bool:
        """Whether there is no store at the location, and none is expected there. Raises as identify."""
        if self._empty is None:
            try:
                self._empty = self.identify() is None and not self._transport.has_content()
            except NotAStore:
                self._empty = True
        return self._empty

    def forget_lost_list(self) -> bool:
        """If the store no longer has this clone's list of needs as the clone wrote it, forget what was pushed: a purge may
        have deleted what the list there does not name. Returns whether that was so; only the first call looks. Raises as
        identify."""
        if self.is_new or self._editions is None:
            return False
        location = self.remote.location
        expected, self._editions = self._editions | needs_list.own_editions(self.repo, location), None
        if not expected or self._edition in expected:
            return False
        needs_list.forget(self.repo, location)
        pushed.forget(self.repo, location)
        return True

    def adopt(self) -> str:
        """Accept the store at the location as the right one, whichever was expected. Raises UsageError if there is none."""
        with suppress(NotAStore):
            if found := self._read_identity():
                self._accept(found)
                return found
            if self._transport.has_content():
                return self._give_identity(old=True)
        raise UsageError(
            f"{self.remote}: there is no store: the folder is empty or missing",
            "mount the store, or correct the location; --create creates a new one",
        )

    def create(self, *, shared: bool) -> str:
        """Create a store at the location; `shared`: writable for all accounts of its folder's group. Raises UsageError if
        there is one already."""
        with suppress(NotAStore):
            if self._read_identity() or self._transport.has_content():
                raise UsageError(
                    f"{self.remote}: there is a store already", "gitlob-setup REMOTE --adopt accepts it as it is"
                )
        if shared:
            self._transport.make_shared_root()
            if not self._transport.look().is_shared:
                raise UsageError(
                    f"{self.remote}: its folder cannot be made writable for its group",
                    "its owner has to run chmod 2775 on it",
                )
        return self._give_identity(old=False)

    def _give_identity(self, *, old: bool) -> str:
        """Give an identity to a store that has none. If two clones do so at once, the one that is written last counts."""
        with suppress(NotAStore):  # another push may have been quicker while this one waited
            if found := self._read_identity():
                self._accept(found)
                return found
        self._transport.publish({IDENTITY: identity.encode(identity.make())}, overwrite=False)
        found = self._read_identity()
        if found is None:
            raise UsageError(f"{self.remote}: a file that was just written is missing", "check the remote disk")
        self._accept(found)
        what = "had no identity, and has one now" if old else "is a new store"
        self.meter.note(f"{self.remote} {what}: {identity.short(found)}")
        return found

    def probe(self) -> GitlobError | None:
        """Check that this account may write to the store. Returns the error if it may not delete files, which only a purge
        does. Raises GitlobError if it may not write."""
        try:
            return self._probe()
        except GitlobError as error:
            account = self.remote.location.account
            failed = GitlobError(f"{self.remote}: {account} may not write to it: {error}", error.hint)
            failed.exit_code = error.exit_code
            raise failed from None

    def _probe(self) -> GitlobError | None:
        name = f"probe-{clone.client_name(self.repo)}"
        self.session.publish({name: b""})
        try:
            self.session.delete([name])
        except GitlobError as error:
            return error
        return None

    def listing(self, *, new: bool = False) -> Mapping[str, int]:
        """All files of the remote store's content, name -> size in bytes; read once and cached. Raises RemoteError, and
        NotAStore unless the store may be `new`."""
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

    def available(self, shas: Iterable[Sha], *, link: bool) -> dict[Sha, Meta]:
        """Those of `shas` that are available locally, whole. `link`: link or copy those that only another store of this
        machine has."""
        look = self.stores.obtain if link else self.stores.find
        return {sha: meta for sha in shas if (meta := look(sha))}
