"""git's clean and smudge: content becomes a placeholder and a binary in the store, and back.

What clean stores is not fsynced, as git does not fsync its loose objects by default: the working file is still there. A
crash can leave a binary incomplete, never wrong and complete, since a push hashes what it sends.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

from gitlob_rsync import placeholder
from gitlob_rsync.errors import GitlobError, writing
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.plain_files import BLOCK
from gitlob_rsync.store.layout import Meta
from gitlob_rsync.store.local import Stores
from gitlob_rsync.store.staging import Staging
from gitlob_rsync.store.verify import Damaged, new_hash
from gitlob_rsync.store.writer import Writer

SMALL = 4 << 20
"""Bytes up to which content is held in memory, so that it is hashed before any of it is written."""
STDIN = "standard input"
"""What content without a path is called."""
NEAR = "git-lob.allow-near-placeholder"
"""The key of git's configuration that makes the filter take an edited placeholder for content."""
_BRIEF = 1 << 16
"""Bytes up to which hashing takes no longer than another request of git."""


class Filter:
    """The two directions, for any number of files. Use it in a `with` block: they share a staging folder."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._store = stores.own
        self._open = ExitStack()
        self._staging: Staging | None = None
        self._sound: set[Sha] = set()

    def __enter__(self) -> "Filter":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def clean(self, blocks: Iterable[bytes], path: str, may_be_near: Callable[[], bool]) -> bytes:
        """Store content and return its placeholder. Content that is a placeholder itself is returned as it is. A damaged
        binary in the store is replaced: this may be the last sound copy.

        Nothing of it is left in the store if `blocks` raises. Raises GitlobError, which names `path`, for an edited
        placeholder, unless it `may_be_near` one, or was stored before.
        """
        rest = iter(blocks)
        start = _take(rest, SMALL)
        if placeholder.decode(start):
            return start
        digest = new_hash(start)
        if len(start) <= SMALL:
            sha = Sha(digest.hexdigest())
            if self._store.holds(sha, (start[at : at + BLOCK] for at in range(0, len(start), BLOCK))):
                self._store.touch(sha)
                self._stores.share(Meta(sha, len(start)))
                return placeholder.encode(sha)
            if placeholder.is_touched_up(start) and not may_be_near():
                at = "FILE" if path == STDIN or path.startswith('"') else shlex.quote(f":/{path}")  # from any folder
                raise GitlobError(
                    f"{path} waits for its content, and its placeholder was edited",
                    f"git checkout -- {at} undoes it; git -c {NEAR}=true add {at} takes it for content",
                )
        with writing(self._staged().path), Writer(self._staged()) as writer:
            writer.write(start)
            for block in rest:
                digest.update(block)
                writer.write(block)
            sha = Sha(digest.hexdigest())
            writer.finish(sha)
        if self._stores.shared and (meta := self._store.complete(sha)):
            self._stores.share(meta)
        return placeholder.encode(sha)

    def _staged(self) -> Staging:
        if self._staging is None:
            self._staging = self._open.enter_context(Staging(self._store))
        return self._staging

    def load(self, sha: Sha) -> Iterable[bytes] | None:
        """The content of a binary in blocks, or None if it is not complete and sound here. It is brought from another
        store of this machine if need be. All of it is hashed before the first block is returned: git cannot discard one."""
        meta = self._stores.obtain(sha)
        if not meta:
            return None
        if sha in self._sound:
            return self._store.blocks(meta)
        if meta.size > SMALL:
            return self._store.blocks(meta) if self._store.sound(meta) else None
        try:
            return [b"".join(self._store.read(meta))]
        except (Damaged, FileNotFoundError):
            return None

    def takes_long(self, sha: Sha) -> bool:
        """Whether a binary is here, and so large that it is better hashed while git asks for others."""
        meta = self._stores.obtain(sha)
        return meta is not None and meta.size > _BRIEF and sha not in self._sound

    def is_sound(self, sha: Sha) -> bool:
        """Hash a binary that is here, so that it is not hashed again when it is loaded. Another thread may call this."""
        if sha not in self._sound and (meta := self._store.complete(sha)) and self._store.sound(meta):
            self._sound.add(sha)
        return sha in self._sound


def split_placeholder(blocks: Iterable[bytes]) -> tuple[Sha | None, bytes, Iterator[bytes]]:
    """The binary that a blob stands for, if any; its beginning; and the rest: a pipe may deliver a placeholder in pieces."""
    rest = iter(blocks)
    start = _take(rest, placeholder.SIZE)
    return placeholder.decode(start), start, rest


def _take(blocks: Iterator[bytes], size: int) -> bytes:
    """The first blocks: more than `size` bytes, or all there are."""
    taken, total = [], 0
    while total <= size and (block := next(blocks, None)) is not None:
        taken.append(block)
        total += len(block)
    return b"".join(taken)
