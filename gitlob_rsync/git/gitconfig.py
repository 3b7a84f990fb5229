"""git's configuration as `git config -z --list --show-origin` prints it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from gitlob_rsync.errors import UsageError


@dataclass(frozen=True, slots=True)
class Value:
    """One setting; `origin` is the file it comes from."""

    key: str
    text: str
    origin: str

    def wrong(self, why: str) -> UsageError:
        return UsageError(f"{self.key} = {self.text!r} in {self.origin}: {why}")


def parse(listing: bytes, origin: str | None) -> Iterator[Value]:
    """Of `git config -z --list [--show-origin]`: ORIGIN NUL KEY LF VALUE NUL; a key alone means true. `origin`: the file
    that all of it comes from, for a listing that does not say so."""
    fields = iter(os.fsdecode(listing).split("\0")[:-1])
    for part in fields:
        where = origin or part.removeprefix("file:")
        key, newline, text = (part if origin else next(fields)).partition("\n")
        yield Value(key, text if newline else "true", where)
