"""Repairs what gitlob-fsck found: from local files, then from the shared store, then from the remote in one transfer."""

import stat
import time
from itertools import count, takewhile

from gitlob_rsync.errors import GitlobError, UsageError
from gitlob_rsync.jobs.connection import Connection
from gitlob_rsync.jobs.fsck import Finding, Fsck, Remedy, State
from gitlob_rsync.jobs.pull import fetch
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.state import needs_list
from gitlob_rsync.store.layout import META, Meta
from gitlob_rsync.store.shortfall import parts, surplus
from gitlob_rsync.store.staging import Staging

_GRACE = 3600
"""Seconds for which an incomplete binary may still be being written."""


class Repair:
    """Repairs the findings of `fsck`, and records the outcome in them. `connection`: to the remote, or the reason why there
    is none; `now`: in seconds since 1970, to tell what is too young to be moved."""

    def __init__(self, fsck: Fsck, connection: Connection | UsageError, now: float | None = None) -> None:
        self._fsck = fsck
        self._own = fsck.own
        self._stores = fsck.stores
        self._connection = connection
        self._now = time.time() if now is None else now

    def run(self) -> None:
        """Restore what commits or an index need, and set aside what is incomplete and not needed."""
        report = self._fsck.report
        report.repairing = True
        for finding in report.findings:
            try:
                self._repair_locally(finding)
                if finding.state is State.INCOMPLETE and not finding.repaired and finding.needed is False:
                    self._discard(finding)
            except (GitlobError, OSError) as error:
                report.fail(error, f"{finding.sha} cannot be repaired")
        waiting = [finding for finding in report.findings if finding.needed and not finding.repaired]
        if waiting:
            self._fetch(waiting)

    def _repair_locally(self, finding: Finding) -> None:
        """Repair from what this machine has."""
        if finding.state is State.INCOMPLETE and self._from_itself(finding.sha):
            finding.repaired = Remedy.ITSELF
        elif finding.needed and self._from_shared(finding.sha):
            finding.repaired = Remedy.SHARED

    def _from_itself(self, sha: Sha) -> bool:
        """Repair a binary whose content is complete: only its meta is wrong, or it has surplus chunks."""
        if self._own.complete(sha):
            return self._drop_surplus(sha)
        seen = parts(self._own, sha)
        chunks = list(takewhile(seen.__contains__, map(str, count())))
        meta = Meta.of_chunks(sha, [seen[part].st_size for part in chunks])
        if not meta or len(seen.keys() - {META}) > len(chunks) or not self._fsck.hasher.sound(meta):
            return False
        self._clear(sha)
        with Staging(self._own) as staging:
            with open(staging.at(sha, META), "xb") as file:
                file.write(meta.encode())
            # the chunks are already in place
            self._own.admit(meta, [*(self._own.path(sha, part) for part in chunks), staging.at(sha, META)])
        return True

    def _from_shared(self, sha: Sha) -> bool:
        if not any(other.complete(sha) for other in self._stores.others):
            return False
        self._clear(sha)
        return self._stores.bring(sha) is not None and self._drop_surplus(sha)

    def _clear(self, sha: Sha) -> None:
        """Set aside what would be in the way of new files, which arrive one by one, the meta last: the old meta, with which
        a new chunk among wrong ones of the right sizes would look whole, and folders, which no rename replaces."""
        seen = parts(self._own, sha)
        self._fsck.take(
            sha, {part: found for part, found in seen.items() if part == META or not stat.S_ISREG(found.st_mode)}
        )

    def _drop_surplus(self, sha: Sha) -> bool:
        """Set aside the chunks of a complete binary beyond those that its meta counts."""
        meta, seen = self._own.complete(sha), parts(self._own, sha)
        return meta is not None and self._fsck.take(sha, {part: seen[part] for part in surplus(meta, seen)})

    def _discard(self, finding: Finding) -> None:
        """Set aside an incomplete binary that is not needed and not being written. One that a list in the store names may
        stay incomplete for days: the push of its clone was interrupted, or has not sent the meta yet."""
        if finding.sha in needs_list.kept_in(self._own.root):
            return
        seen = parts(self._own, finding.sha)
        if all(self._now - found.st_ctime > _GRACE for found in seen.values()):
            finding.set_aside = self._fsck.take(finding.sha, seen)

    def _fetch(self, waiting: list[Finding]) -> None:
        arrived: set[Sha] = set()
        try:
            if isinstance(self._connection, UsageError):
                raise self._connection
            for finding in waiting:
                self._clear(finding.sha)
            arrived = fetch(self._connection, [finding.sha for finding in waiting])
        except (GitlobError, OSError) as error:
            self._fsck.report.fail(error)
        for finding in waiting:
            # even if the connection broke, what arrived before is in the store
            cleared = finding.set_aside or finding.state is not State.DAMAGED
            if finding.sha in arrived or (cleared and self._own.complete(finding.sha)):
                finding.repaired = Remedy.REMOTE
                self._drop_surplus(finding.sha)
