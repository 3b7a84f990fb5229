"""git's clean and smudge, for one file: content becomes a placeholder and a binary in the store, and the reverse.

What clean stores is not fsynced, as git does not fsync its loose objects by default: the working file is still there. A
crash can leave a binary incomplete, never wrong and complete, since a push hashes what it sends.
"""

from typing import IO

from gitlob_rsync import placeholder
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.staging import Staging, Writer
from gitlob_rsync.store import BLOCK, Damaged, Store


def head(content: IO[bytes]) -> bytes:
    """Enough of a stream to tell whether all of it is a placeholder; a pipe may deliver it in pieces."""
    start = b""
    while len(start) <= placeholder.SIZE and (more := content.read(BLOCK)):
        start += more
    return start


def clean(store: Store, shared: Store | None, content: IO[bytes], output: IO[bytes]) -> None:
    """Store the content and write its placeholder. Content that is a placeholder itself passes unchanged."""
    start = head(content)
    if placeholder.decode(start):
        output.write(start)
        return
    with Staging(store) as staging:
        writer = Writer(staging)
        block = start
        while block:
            writer.write(block)
            block = content.read(BLOCK)
        sha = writer.finish()
    if shared and not shared.complete(sha) and (meta := store.complete(sha)):
        shared.link(meta, store)
    output.write(placeholder.encode(sha))


def smudge(store: Store, shared: Store | None, content: IO[bytes], output: IO[bytes]) -> Sha | None:
    """Write the content that a placeholder stands for; anything else passes unchanged.

    Returns the sha of a binary that is not here whole and sound; its placeholder was written then.
    """
    start = head(content)
    sha = placeholder.decode(start)
    if sha is None:
        while start:
            output.write(start)
            start = content.read(BLOCK)
        return None
    for place in (store, shared):
        meta = place.complete(sha) if place else None
        if place and meta and place.sound(meta):
            try:
                for block in place.read(meta):
                    output.write(block)
            except Damaged:
                raise  # changed since it was hashed: git drops what it got, because we fail
            return None
    output.write(start)
    return sha
