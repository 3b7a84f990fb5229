"""Checks the store: finds binaries whose content does not match their names, and what needs them.

Nothing is deleted: damaged binaries are moved to the quarantine. A pull, git add or purge may run at the same time, so
whatever seems wrong is checked again right before it is moved, and files that have replaced it since are left alone.
Repairs are another module's task (repair.py).
"""

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gitlob_rsync.errors import GitlobError, ToolError, way_out
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.plain_files import is_unchanged
from gitlob_rsync.progress import Meter
from gitlob_rsync.selection import usage
from gitlob_rsync.selection.usage import Need
from gitlob_rsync.store.hasher import Hasher
from gitlob_rsync.store.inventory import audit
from gitlob_rsync.store.layout import name
from gitlob_rsync.store.local import Stores
from gitlob_rsync.store.quarantine import Quarantine
from gitlob_rsync.store.shortfall import parts, shortfall

_WORN = {errno.EIO, errno.EBADMSG, getattr(errno, "EUCLEAN", errno.EIO)}
"""Errors with which a disk or a file system reports that data is lost."""
_ATTEMPTS = 3
"""How often a binary is checked again if it changes during the check."""

Seen = Mapping[str, os.stat_result]
"""What was found under the names of a binary's files, by part."""


class State(StrEnum):
    DAMAGED = "damaged"
    INCOMPLETE = "incomplete"
    MISSING = "missing"
    """An earlier run set it aside, and it is still needed."""


class Remedy(StrEnum):
    """Where a repaired binary came from."""

    ITSELF = "own chunks"
    SHARED = "shared store"
    REMOTE = "remote"


@dataclass(slots=True)
class Finding:
    """A binary with a problem. `need`: what needs it, None if git could not say; `repaired`: where a sound copy came from;
    `shared`: what was done with the copy in the shared store, if its files are the same ones, and so damaged too."""

    sha: Sha
    state: State
    why: str
    seen: Seen = field(default_factory=dict)
    need: Need | None = None
    set_aside: bool = False
    repaired: Remedy | None = None
    shared: str | None = None

    @property
    def needed(self) -> bool | None:
        """Whether a commit or an index names it."""
        return None if self.need is None else bool(self.need.paths)


@dataclass(slots=True)
class FsckReport:
    """All that was found and done. `size`: bytes of the content that was checked; `repairing`: a repair was requested;
    `failures`: what could not be done. The paths in `misplaced`, `foreign` and `unchecked` are relative to the root of the
    store."""

    checked: int = 0
    size: int = 0
    findings: list[Finding] = field(default_factory=list)
    misplaced: list[bytes] = field(default_factory=list)
    foreign: dict[bytes, str] = field(default_factory=dict)
    unchecked: dict[bytes, str] = field(default_factory=dict)
    repairing: bool = False
    failures: list[GitlobError] = field(default_factory=list)

    @property
    def remaining(self) -> list[Finding]:
        """The problems that remain after this run: a binary that nothing needs and that a repair has set aside does not
        count."""

        def settled(finding: Finding) -> bool:
            return self.repairing and finding.set_aside and finding.needed is False

        return [finding for finding in self.findings if not finding.repaired and not settled(finding)]

    def fail(self, error: GitlobError | OSError, what: str = "") -> None:
        """Record a failure, and go on. `what`: describes the action, for an OSError."""
        if isinstance(error, OSError):
            at = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
            error = ToolError(": ".join(filter(None, (what or at, strerror(error)))), way_out(error))
        if str(error) not in map(str, self.failures):
            self.failures.append(error)


class Fsck:
    """One check of the local store. `fast`: presence and sizes only; `dry_run`: move nothing."""

    def __init__(self, repo: Repo, stores: Stores, meter: Meter, *, fast: bool, dry_run: bool) -> None:
        self.repo = repo
        self.stores = stores
        self.own = stores.own
        self.shared = stores.shared
        self.hasher = Hasher(stores.own, meter)
        self.quarantine = Quarantine(stores.own)
        self.report = FsckReport()
        self._fast = fast
        self._dry_run = dry_run

    def scan(self) -> list[Sha]:
        """Go through the whole store; returns the suspect binaries. No single file makes it fail."""
        found = audit(self.own)
        report = self.report
        report.misplaced = sorted(found.misplaced)
        report.foreign = dict(sorted(found.foreign.items()))
        report.unchecked = found.unchecked
        report.checked = len(found.whole) + len(found.suspect)
        report.size = sum(meta.size for meta in found.whole)
        return sorted(found.suspect if self._fast else [*found.suspect, *self.hasher.wrong(found.whole)])

    def diagnose(self, suspects: Iterable[Sha]) -> None:
        """Find out what is wrong with suspects, and what needs them; set damaged ones aside."""
        for sha in suspects:
            try:
                finding = self._diagnose(sha)
            except OSError as error:
                self.report.unchecked[os.fsencode(f"{os.path.dirname(name(sha, 0))}/{sha}")] = strerror(error)
                continue
            if finding and finding.state is State.DAMAGED and not self._dry_run:
                finding = self._set_aside(finding)
            if finding:
                self.report.findings.append(finding)
        self._find_needs()

    def _diagnose(self, sha: Sha) -> Finding | None:
        """What is wrong with a binary now; None if it is sound or gone. Raises OSError if it cannot be checked."""
        finding = None
        for _ in range(_ATTEMPTS):
            seen = parts(self.own, sha)
            finding = self._check(sha, seen)
            if not finding or _unchanged(seen, parts(self.own, sha)):
                break
        return finding

    def _check(self, sha: Sha, seen: Seen) -> Finding | None:
        if not seen:
            return None
        try:
            meta = self.own.complete(sha)
            if meta and not self._fast and not self.hasher.sound(meta):
                return Finding(sha, State.DAMAGED, "its content does not match its name", seen)
        except OSError as error:
            if error.errno not in _WORN:
                raise
            return Finding(sha, State.DAMAGED, f"it cannot be read: {strerror(error)}", seen)
        why = shortfall(self.own, sha, seen)
        return Finding(sha, State.INCOMPLETE, why, seen) if why else None

    def _set_aside(self, finding: Finding) -> Finding | None:
        """Move a damaged binary to the quarantine; returns what is wrong now, None if it has been repaired meanwhile."""
        for _ in range(_ATTEMPTS):
            if self.take(finding.sha, finding.seen):
                finding.set_aside = True
                self._set_shared_aside(finding)
                return finding
            again = self._diagnose(finding.sha)
            if not again or again.state is not State.DAMAGED:
                return again
            finding = again
        return finding

    def take(self, sha: Sha, seen: Seen) -> bool:
        """Move files of the store to the quarantine; False if they have changed, or cannot be moved."""
        try:
            return not seen or self.quarantine.take(self.own, sha, seen, "content")
        except OSError as error:
            self.report.fail(error, f"{sha} cannot be moved to {self.quarantine.root}")
            return False

    def _set_shared_aside(self, finding: Finding) -> None:
        """Set the shared store's files aside too, if they are the same ones, so that no repository links them again."""
        if not self.shared:
            return
        try:
            meta, found = self.shared.complete(finding.sha), parts(self.shared, finding.sha)
            chunks = [str(number) for number in range(meta.chunks)] if meta else []
            linked = all(part in finding.seen and os.path.samestat(found[part], finding.seen[part]) for part in chunks)
            if meta and linked and self.quarantine.take(self.shared, finding.sha, found, "shared"):
                finding.shared = "set aside too"
        except OSError as error:
            finding.shared = f"cannot be set aside: {strerror(error)}"

    def _find_needs(self) -> None:
        """Find out what needs the binaries with problems; add those that earlier runs set aside and that are still needed
        and missing."""
        findings = self.report.findings
        wrong = {finding.sha for finding in findings}
        try:
            gone = {sha for sha in self.quarantine.binaries() - wrong if not self.own.complete(sha)}
            found = usage.find(self.repo, gone | wrong)
        except (GitlobError, OSError) as error:
            self.report.fail(error)
            return
        findings += [Finding(sha, State.MISSING, "an earlier run set it aside") for sha in sorted(gone & found.keys())]
        for finding in findings:
            finding.need = found.get(finding.sha, Need())


def _unchanged(seen: Seen, now: Seen) -> bool:
    return seen.keys() == now.keys() and all(
        is_unchanged(found, now[part], renamed=True) for part, found in seen.items()
    )


def strerror(error: OSError) -> str:
    return error.strerror or str(error)
