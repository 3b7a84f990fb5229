"""Moving binaries between the local store and a remote one: what is selected, minus what is there, verified."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from gitlob_rsync import history, published, record
from gitlob_rsync.config import Remote, Settings, client_name
from gitlob_rsync.errors import GitlobError
from gitlob_rsync.git import Repo
from gitlob_rsync.history import Committed, Recent, Scope, Unpushed
from gitlob_rsync.layout import EMPTY, FILE_NAME, META, NAME, Meta, name
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.progress import Meter
from gitlob_rsync.rsync import NotAStore, Options, Session
from gitlob_rsync.staging import PARTIAL, Staging
from gitlob_rsync.store import read_meta
from gitlob_rsync.stores import Stores, obtain, share

_MOST_AT_ONCE = 16384
"""Chunks that are asked for in one run before it is known whether they exist: 512 GiB."""
_LEAST_OF_EACH = 64
"""Chunks of each binary among these, however many binaries: 2 GiB."""

Paths = dict[Sha, list[bytes]]
"""Binaries, each with paths that need it; none are known for one that no commit names."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a push or a pull did, in binaries, and in bytes of content.

    `selected`: what was asked for; `present`: of these, what was here before; `transferred`: what moved (with a dry run:
    would move; `bytes` is None then where only the remote could tell). `missing` and `damaged`: what could not be had,
    or sent. `absent`: at a push, what older commits need and neither here nor at the remote is.
    """

    selected: frozenset[Sha] = frozenset()
    present: frozenset[Sha] = frozenset()
    transferred: int = 0
    bytes: int | None = 0
    missing: Paths = field(default_factory=dict)
    damaged: Paths = field(default_factory=dict)
    absent: int = 0


class Syncer:
    """A repository and one remote store. Use it in a `with` block: what it does shares one connection."""

    def __init__(self, repo: Repo, stores: Stores, settings: Settings, remote: Remote, meter: Meter) -> None:
        self._repo = repo
        self._settings = settings
        self._remote = remote
        self._meter = meter
        self._store = stores.own
        self._shared = stores.shared

    def __enter__(self) -> "Syncer":
        return self

    def __exit__(self, *_: object) -> None:
        if "session" in self.__dict__:
            self.session.close()

    @cached_property
    def session(self) -> Session:
        """The connection to the remote store."""
        own = self._settings
        options = Options(own.timeout, client_name(self._repo), own.bwlimit, own.fsync, own.ssh_command, own.retries)
        return Session(self._remote.location, options, self._meter)

    @cached_property
    def _listing(self) -> dict[str, int]:
        """Every file of the remote store, with its size in bytes."""
        return {item.name: item.size for item in self.session.listing()}

    def reach(self) -> None:
        """See whether the store can be read, without moving anything. Raises as pull, and NotAStore."""
        self.session.sizes([name(Sha("0" * 40), META)])

    def everything(self) -> Paths:
        """Every binary of the remote store."""
        named = (NAME.match(file) for file in self._listing)
        return {Sha(found[3]): [] for found in named if found and found[4] == META}

    def listing(self) -> Mapping[str, int]:
        """Every file of the remote store that has a binary's name, with its size in bytes. Raises as pull, and NotAStore."""
        return self._listing

    # Both directions: what is here

    def _here(self, shas: Iterable[Sha], *, link: bool) -> dict[Sha, Meta]:
        """Of `shas`, those that are here whole. What only the shared store has is linked, unless that is not wanted."""
        if link:
            return {sha: meta for sha in shas if (meta := obtain(sha, self._store, self._shared))}
        places = [store for store in (self._store, self._shared) if store]
        return {sha: meta for sha in shas for store in places if (meta := store.complete(sha))}

    def _committed_paths(self, shas: Collection[Sha]) -> Paths:
        return history.references(self._repo, Committed(), shas)

    @staticmethod
    def _named(shas: Collection[Sha], find_paths: Callable[[Collection[Sha]], Paths]) -> Paths:
        """`shas` with all the paths that need them."""
        found = find_paths(shas) if shas else {}
        return {sha: found.get(sha, []) for sha in sorted(shas)}

    # Pull

    def pull(self, scope: Scope, *, refetch: bool = False, dry_run: bool = False) -> Report:
        """Bring what `scope` selects and what is not here, with `refetch` also what is here but damaged.

        Raises RemoteError where the remote cannot be reached or broke off; what had come is kept.
        """
        selected = history.references(self._repo, scope)
        return self._pull(selected, refetch, dry_run, lambda shas: history.references(self._repo, scope, shas))

    def pull_everything(self, *, refetch: bool = False, dry_run: bool = False) -> Report:
        """Bring every binary of the remote store; a dry run asks for its listing."""
        report = self._pull(self.everything(), refetch, dry_run, self._committed_paths)
        if dry_run and report.bytes is None:
            here = self._here(self.everything(), link=False)
            wanted = self.everything().keys() - {
                sha for sha, meta in here.items() if not refetch or self._mended(meta, True)
            }
            matches = ((NAME.match(file), size) for file, size in self._listing.items())
            content = (size for found, size in matches if found and found[4] != META and found[3] in wanted)
            return replace(report, bytes=sum(content))
        return report

    def fetch(self, shas: Collection[Sha]) -> set[Sha]:
        """Bring binaries by name, whatever is here under it; returns those that arrived. Raises RemoteError as pull."""
        return self._fetch(sorted(shas))[0]

    def _pull(
        self, selected: Paths, refetch: bool, dry_run: bool, find_paths: Callable[[Collection[Sha]], Paths]
    ) -> Report:
        here = self._here(selected, link=not dry_run)
        if refetch:
            here = {sha: meta for sha, meta in here.items() if self._mended(meta, dry_run)}
        wanted = sorted(selected.keys() - here.keys())
        report = Report(frozenset(selected), frozenset(here))
        if dry_run:
            return replace(report, transferred=len(wanted), bytes=None if wanted else 0)
        if not wanted:
            return report
        arrived, damaged, moved = self._fetch(wanted)
        return replace(
            report,
            transferred=len(arrived),
            bytes=moved,
            missing=self._named(set(wanted) - arrived - damaged, find_paths),
            damaged=self._named(damaged, find_paths),
        )

    def _mended(self, meta: Meta, dry_run: bool) -> bool:
        """Whether a binary that is here is sound, or could be replaced by a sound one of the shared store."""
        if self._store.complete(meta.sha) and self._store.sound(meta):
            return True
        if not self._shared or self._shared.complete(meta.sha) != meta:
            return False
        return self._shared.sound(meta) if dry_run else self._store.link(meta, self._shared)

    def _fetch(self, wanted: list[Sha]) -> tuple[set[Sha], set[Sha], int]:
        """Bring binaries into the store: returns which arrived, which came damaged, and how many bytes moved.

        What a killed run had brought is used. A crash may have spoilt it, so what proves wrong of it is brought anew.
        """
        arrived: set[Sha] = set()
        damaged: set[Sha] = set()
        moved = 0
        with Staging(self._store, resumable=True) as staging:
            taken = staging.take_over(frozenset(wanted))
            pending = wanted
            while pending:
                try:
                    moved += self._bring(staging, pending)
                except GitlobError:
                    self._admit(staging, pending)
                    raise
                finally:
                    self._meter.end()
                good, bad = self._admit(staging, pending)
                arrived |= good
                damaged = (damaged - set(pending)) | bad
                pending = sorted(bad & taken)
                for sha in pending:
                    staging.drop(sha)
                taken = set()
        return arrived, damaged, moved

    def _bring(self, staging: Staging, shas: list[Sha]) -> int:
        """Two runs, of which the first brings all there is of most: a first chunk that is not full is the only one, and
        its meta follows from it. The second brings metas and other chunks of the large ones; only where these are very
        large, or very many, is there a third. Returns bytes of content."""
        first = [name(sha, 0) for sha in shas if sha != EMPTY and not staging.has(sha, 0)]
        moved = self._fetch_files(staging, first, f"pull {len(shas)}")
        large = [sha for sha in shas if staging.is_large(sha)]
        while large:
            most = max(_LEAST_OF_EACH, _MOST_AT_ONCE // len(large))
            asked = {sha: parts for sha in large if (parts := staging.lacking(sha, most))}
            names = [name(sha, part) for sha, parts in asked.items() for part in parts]
            moved += self._fetch_files(staging, names, "pull the rest of large ones")
            # a remote that lies about a size cannot keep us busy: what did not come as promised is not asked for again
            large = [
                sha for sha, parts in asked.items()
                if staging.meta(sha) and not set(parts) & set(staging.lacking(sha, most))
            ]  # fmt: skip
        return moved

    def _fetch_files(self, staging: Staging, names: list[str], what: str) -> int:
        if not names:
            return 0
        self._meter.begin(what)
        moved = self.session.fetch(names, staging.path, PARTIAL, lambda file: self._arrived(staging, file))
        self._meter.end()
        return sum(size for file, size in moved.items() if not file.endswith(META))

    @staticmethod
    def _arrived(staging: Staging, file: str) -> None:
        """Use the time in which others still come."""
        if (found := FILE_NAME.match(file)) and found[2] == "0" and not staging.is_large(sha := Sha(found[1])):
            staging.prepare(sha)

    def _admit(self, staging: Staging, shas: list[Sha]) -> tuple[set[Sha], set[Sha]]:
        """Move what is whole into the store, and into the shared one; returns these, and those that came but wrong."""
        ready = []
        bad = set()
        for sha in shas:
            if meta := staging.prepare(sha):
                ready.append(meta)
            elif staging.meta(sha) or staging.has(sha, META):
                bad.add(sha)
        if ready and self._settings.fsync:
            staging.settle()
        for meta in ready:
            staging.admit(meta)
            share(meta, self._store, self._shared)
        return {meta.sha for meta in ready}, bad

    # Push

    def _publish(self, needed: Collection[Sha], *, known: bool = True) -> None:
        """Have the remote know that this clone needs `needed`, beside what it said before. It has to come before anything
        is sent, or found to be there already: a purge of the remote store at the same time goes by it.

        Not `known`: whatever was said before counts for nothing. Two pushes at once must not each forget the other's.
        """
        with published.turn(self._store, "a push", self._settings.lock_wait):
            self._publish_alone(needed, known)

    def _publish_alone(self, needed: Collection[Sha], known: bool) -> None:
        before = published.read(self._repo, self._remote.location)
        if before is not None and known:
            needs = before | set(needed)
        else:
            needs = set(needed) | history.references(self._repo, Committed()).keys()
        if needs == (before or set()) and (known or before is None):
            return
        self.session.publish(
            f"{published.FOLDER}/{published.clone_name(self._repo)}", published.encode(self._repo, needs)
        )
        published.write(self._repo, self._remote.location, needs)

    def push_commits(self, commits: Collection[str], known: Collection[str]) -> Report:
        """Send what `commits` need and the history of `known` does not imply already; the record stays as it is."""
        return self._push_scope(Committed(tuple(commits), known=tuple(known)), dry_run=False)

    def push(self, scope: Committed | Recent, *, recheck: bool = False, dry_run: bool = False) -> Report:
        """Send of what `scope` selects what is here and sound.

        With a Committed scope only commits are looked at that are not on record as pushed, unless `recheck`. Raises
        RemoteError where the remote cannot be reached or broke off.
        """
        tips: list[str] = []
        told = published.read(self._repo, self._remote.location) is not None
        if isinstance(scope, Committed):
            # what was pushed before it was said to be needed may have been purged there
            known = () if recheck or not told else record.read(self._repo, self._remote.location)
            tips = [*history.tips(self._repo, scope), *(known if scope.refs else ())]
            scope = replace(scope, known=known)
        report = self._push_scope(scope, dry_run, recheck=recheck)
        whole = not report.missing and not report.damaged and not report.absent
        if tips and not dry_run and not scope.pathspecs and whole:
            record.write(self._repo, self._remote.location, tips)
        return report

    def _push_scope(self, scope: Committed | Recent, dry_run: bool, *, recheck: bool = False) -> Report:
        selected = history.references(self._repo, scope)
        if not dry_run and (selected or recheck):
            self._publish(selected, known=not recheck)
        here = self._here(selected, link=not dry_run)
        report = Report(frozenset(selected), frozenset(here))
        report = self._push(report, here.values(), dry_run, lambda shas: history.references(self._repo, scope, shas))
        if dry_run:
            return report
        lacking = selected.keys() - here.keys() - self._at_remote(selected.keys() - here.keys())
        if lacking:
            unpushed = Unpushed(scope.refs, scope.pathspecs)
            needed = history.references(self._repo, unpushed, lacking).keys() & lacking
            missing = self._named(needed, lambda shas: history.references(self._repo, unpushed, shas))
            report = replace(report, missing=missing, absent=len(lacking - needed))
        return report

    def push_everything(self, *, dry_run: bool = False) -> Report:
        """Send every binary of the local store that the remote one has not, by its listing."""
        here = [meta for sha in self._store.shas() if (meta := self._store.complete(sha))]
        try:
            listing = self._listing
        except NotAStore:
            listing = self._listing = {}
        lacking = [meta for meta in here if not whole(meta, listing)]
        everything = frozenset(meta.sha for meta in here)
        if here and not dry_run:
            self._publish(())
        return self._push(Report(everything, everything), lacking, dry_run, self._committed_paths)

    def _push(
        self, report: Report, metas: Collection[Meta], dry_run: bool, find_paths: Callable[[Collection[Sha]], Paths]
    ) -> Report:
        """Send of `metas` those that are sound; the rest of what `report` tells stays."""
        if dry_run:
            return replace(report, transferred=len(metas), bytes=sum(meta.size for meta in metas))
        damaged = {meta.sha for meta in metas if not self._store.sound(meta)}
        whole = [meta for meta in metas if meta.sha not in damaged]
        chunks = [name(meta.sha, number) for meta in whole for number in range(meta.chunks)]
        total = sum(meta.size for meta in whole)
        sent = self._send_files(chunks, f"push {len(whole)}", total)
        moved = sum(sent.values())
        sent |= self._send_files([name(meta.sha, META) for meta in whole], "push", None)
        shas = {found[3] for file in sent if (found := NAME.match(file))}
        return replace(report, transferred=len(shas), bytes=moved, damaged=self._named(damaged, find_paths))

    def _send_files(self, names: list[str], what: str, total: int | None) -> dict[str, int]:
        if not names:
            return {}
        self._meter.begin(what, total)
        try:
            return self.session.send(sorted(names), self._store.root)
        finally:
            self._meter.end()

    def whole_there(self, shas: Collection[Sha]) -> set[Sha]:
        """Of binaries of the local store, those that the remote has whole, by the sizes of their files: one call, however
        many there are. Raises RemoteError, and NotAStore.

        One that has no meta here (a purge was killed) does not say how large it is. That the remote has its meta, which
        gets there last, and each file that is here, will do for it.
        """
        metas = {sha: read_meta(self._store.path(sha, META), sha) for sha in sorted(shas)}
        files: dict[Sha, list[str]] = {
            sha: meta.parts() if meta else [*self._store.parts_of(sha), META] for sha, meta in metas.items()
        }
        listing = self.session.sizes({name(sha, part): None for sha, parts in files.items() for part in parts})
        return {sha for sha, meta in metas.items() if (whole(meta, listing) if meta else self._covered(sha, listing))}

    def _covered(self, sha: Sha, listing: Mapping[str, int]) -> bool:
        chunks = [part for part in self._store.parts_of(sha) if part != META]
        same = (listing.get(name(sha, part)) == self._store.held(sha, [part])[0] for part in chunks)
        return name(sha, META) in listing and all(same)

    def _at_remote(self, shas: Collection[Sha]) -> set[Sha]:
        """Of `shas`, those whose meta the remote has: it gets there last."""
        if not shas:
            return set()
        try:
            found = self.session.sizes(name(sha, META) for sha in sorted(shas))
        except NotAStore:
            return set()
        return {sha for sha in shas if name(sha, META) in found}


def whole(meta: Meta, listing: Mapping[str, int]) -> bool:
    """Whether a listing has all files of a binary, in their sizes."""
    chunks = all(listing.get(name(meta.sha, number)) == meta.chunk_size(number) for number in range(meta.chunks))
    return chunks and listing.get(name(meta.sha, META)) == len(meta.encode())


def merged(one: Report, other: Report) -> Report:
    """A push and a pull told as one."""
    return Report(
        one.selected | other.selected,
        one.present | other.present,
        one.transferred + other.transferred,
        None if one.bytes is None or other.bytes is None else one.bytes + other.bytes,
        one.missing | other.missing,
        one.damaged | other.damaged,
        one.absent + other.absent,
    )
