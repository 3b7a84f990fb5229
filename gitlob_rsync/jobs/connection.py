"""A repository joined with one remote store: one connection, and what is here and what is there."""

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
    """Use it in a `with` block: nothing is connected before it is needed, and all that is done shares one session."""

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
        self._looked = False
        self._edition: str | None = None
        self._editions: frozenset[str] | None = None
        self._empty: bool | None = None

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        if "_line" in self.__dict__:
            self._line.close()

    @cached_property
    def _line(self) -> Transport:
        """The connection, to whatever is there."""
        own = self.settings
        options = Options(
            own.timeout, clone.client_name(self.repo), own.bwlimit, own.fsync, own.ssh_command, own.retries,
            own.rsync_path(self.remote), own.askpass,
        )  # fmt: skip
        return connect(self.remote.location, options, self.meter)

    @property
    def session(self) -> Transport:
        """The connection to the remote store, once it turned out to be the right one. Raises as identify."""
        self.identify()
        return self._line

    @property
    def known(self) -> str | None:
        """The identity of the store that is to be at the location; None where nothing says which."""
        return identity.known(self.repo, self.remote)

    def identify(self) -> str | None:
        """The identity of the store at the location; None where it has none yet, and none is known. Nothing is written.

        Raises WrongStore where it is not the one that is known, RemoteError, and NotAStore where there is no such folder
        and none is known."""
        if not self._looked:
            try:
                shown = self._shown()
            except NotAStore:
                if self.known or identity.was_used(self.repo, self.remote.location):
                    raise self._lost("there is no such folder") from None
                raise
            if shown != self.known and (shown is None or self.known):
                raise self._lost(f"the folder there shows the identity {identity.short(shown)}")
            if shown is None and identity.was_used(self.repo, self.remote.location) and not self._line.has_content():
                raise self._lost("the folder there is empty")
            self._accept(shown)
        return self._identity

    def _shown(self) -> str | None:
        known = needs_list.own_editions(self.repo, self.remote.location)
        edition = needs_list.own_edition_file(self.repo)
        found = self._line.look(IDENTITY, *([edition] if edition else [])).files
        if self._editions is None:
            self._editions = known
            self._edition = found[edition].decode("ascii", errors="replace") if edition and edition in found else None
        return identity.decode(found[IDENTITY], str(self.remote)) if IDENTITY in found else None

    def _lost(self, why: str) -> WrongStore:
        name = self.remote.name or self.remote.location
        known = f"the store {identity.short(self.known)}" if self.known else "the store that was there before"
        return WrongStore(
            f"{self.remote}: {known} is not there: {why}",
            f"mount it, or name its new place; gitlob-setup {name} --adopt takes what is there for the store, "
            "--create makes a new one",
        )

    def _accept(self, shown: str | None) -> None:
        self._looked, self._identity = True, shown
        if shown:
            self._empty = False
        if shown and shown != identity.remembered(self.repo, self.remote.location):
            with suppress(OSError):  # it is met again the next time
                identity.remember(self.repo, self.remote.location, shown)

    def establish(self) -> str:
        """Have the store be there with an identity, and return that. A folder that is not there, or is empty, becomes a new
        store, and a store of git-lob or of older versions gets an identity; either is said. Raises as identify."""
        if self.is_new:
            return self._name(old=False)
        return self._identity or self._name(old=True)

    @property
    def is_new(self) -> bool:
        """Whether nothing is at the location, and nothing is known to have been there. Raises as identify."""
        if self._empty is None:
            try:
                self._empty = self.identify() is None and not self._line.has_content()
            except NotAStore:
                self._empty = True
        return self._empty

    def forget_lost_list(self) -> bool:
        """Where the list of this clone's needs that is in the store is not the one that was left there, forget what was
        pushed: what others did not find in it may be gone. Returns whether that was so. Asked once. Raises as identify."""
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
        """Take the store at the location for the right one, whatever was known of it. Raises UsageError where there is
        none."""
        with suppress(NotAStore):
            if shown := self._shown():
                self._accept(shown)
                return shown
            if self._line.has_content():
                return self._name(old=True)
        raise UsageError(
            f"{self.remote}: there is no store: the folder is empty or missing",
            "mount the store, or name its place; --create makes a new one",
        )

    def create(self, *, shared: bool) -> str:
        """Make a new store at the location; `shared`: for all accounts of its folder's group. Raises UsageError where
        there is one already."""
        with suppress(NotAStore):
            if self._shown() or self._line.has_content():
                raise UsageError(
                    f"{self.remote}: there is a store already", "gitlob-setup REMOTE --adopt takes it as it is"
                )
        if shared:
            self._line.make_shared_root()
            if not self._line.look().is_shared:
                raise UsageError(
                    f"{self.remote}: its folder cannot be made one that its group may write to",
                    "its owner has to run: chmod 2775 on it there",
                )
        return self._name(old=False)

    def _name(self, *, old: bool) -> str:
        """Give a store that has no identity one. Where two clones do so at once, the one that is there in the end counts."""
        with suppress(NotAStore):  # another push may have been quicker while we waited for our turn
            if shown := self._shown():
                self._accept(shown)
                return shown
        self._line.publish({IDENTITY: identity.encode(identity.make())}, anew=False)
        shown = self._shown()
        if shown is None:
            raise UsageError(f"{self.remote}: the file that was just written there is not there", "see the disk there")
        self._accept(shown)
        what = "had no identity, and has one now" if old else "is a new store"
        self.meter.note(f"{self.remote} {what}: {identity.short(shown)}")
        return shown

    def probe(self) -> GitlobError | None:
        """See whether this account may write to the store. Returns what is said where nothing may be deleted there: only a
        purge does that. Raises GitlobError, as the write failed, where it may not write."""
        try:
            return self._probe()
        except GitlobError as error:
            account = self.remote.location.account
            failed = GitlobError(f"{self.remote}: {account} may not write there: {error}", error.hint)
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
        """Of `shas`, those that are here whole. What only another store of this machine has is brought, unless no `link` to
        it is wanted."""
        look = self.stores.obtain if link else self.stores.find
        return {sha: meta for sha in shas if (meta := look(sha))}
