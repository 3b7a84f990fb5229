"""The layout of a store, git-lob's byte for byte (docs/format.md): `<root>/<sha[0:3]>/<sha[3:6]>/<sha>_meta` and
`<sha>_0`, `<sha>_1`, ...: chunks of CHUNK bytes, the last one shorter. The only file that knows names and metas. Pure."""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gitlob_rsync.placeholder import Sha

CHUNK = 32 * 1024 * 1024
"""Bytes of every chunk but the last."""
MOST_CHUNKS = 1 << 20
"""A meta that says more (32 TiB) is not believed: a hostile one must not make us count for hours."""

FOLDER_NAME = re.compile("[0-9a-f]{3}")
"""A folder of either level: match it as a whole."""
_PART = r"_(meta|0|[1-9][0-9]{0,6})\Z"
NAME = re.compile(r"([0-9a-f]{3})/([0-9a-f]{3})/((?:\1\2)[0-9a-f]{34})" + _PART)
"""A file of a store, relative to its root: group 3 is the sha, group 4 the part."""
FILE_NAME = re.compile(r"([0-9a-f]{40})" + _PART)
"""The same without its folders: group 1 is the sha, group 2 the part."""
META = "meta"
LEVEL_GLOB = "[0-9a-f]" * 3
"""A folder of either level, as a shell pattern."""
GLOBS = (f"{LEVEL_GLOB}/", f"{LEVEL_GLOB}/{LEVEL_GLOB}/", f"{LEVEL_GLOB}/{LEVEL_GLOB}/[0-9a-f]*_meta",
         f"{LEVEL_GLOB}/{LEVEL_GLOB}/[0-9a-f]*_[0-9]*")  # fmt: skip
"""All folders (with a slash at the end) and files of a store, and little else, as shell patterns relative to the root."""
IN_TEXT = r"\b[0-9a-f]{3}/[0-9a-f]{3}(?:/[0-9a-f]{40}_(?:meta|\d+))?"
"""The end of a path of a folder or a file of a store, as part of a regular expression."""
EMPTY = Sha("da39a3ee5e6b4b0d3255bfef95601890afd80709")
"""The binary of 0 bytes, which has no chunk."""

Entry = os.DirEntry[str]


@dataclass(frozen=True, slots=True)
class Meta:
    """What a meta file says: `size` in bytes. The number of chunks follows from it."""

    sha: Sha
    size: int

    @property
    def chunks(self) -> int:
        return -(-self.size // CHUNK)

    def chunk_size(self, number: int) -> int:
        """Bytes of chunk `number`, counted from 0."""
        return min(CHUNK, self.size - number * CHUNK)

    def encode(self) -> bytes:
        return f'{{"SHA":"{self.sha}","Size":{self.size},"NumChunks":{self.chunks}}}'.encode()

    @classmethod
    def decode(cls, content: bytes, sha: Sha) -> "Meta | None":
        """Read the meta of `sha`, whatever its spacing and order; None where it is cut off or inconsistent."""
        try:
            said = json.loads(content.decode()) if len(content) < 4096 else None
        except (ValueError, RecursionError):
            return None
        if not isinstance(said, dict):
            return None
        size, chunks = said.get("Size"), said.get("NumChunks")
        if type(size) is not int or type(chunks) is not int or not 0 <= size <= MOST_CHUNKS * CHUNK:
            return None
        meta = cls(sha, size)
        return meta if said.get("SHA") == sha and chunks == meta.chunks else None

    @classmethod
    def of_chunks(cls, sha: Sha, sizes: Sequence[int]) -> "Meta | None":
        """The meta of a binary whose chunks have these sizes, from chunk 0 on; None where no binary has such chunks."""
        if not sizes:
            return cls(sha, 0) if sha == EMPTY else None
        *full, last = sizes
        right = full.count(CHUNK) == len(full) < MOST_CHUNKS and 0 < last <= CHUNK
        return cls(sha, sum(sizes)) if right else None

    def parts(self) -> list[str]:
        """The parts of its files, in the order in which they are put into a store: the meta last."""
        return [*map(str, range(self.chunks)), META]

    def whole_in(self, listing: Mapping[str, int]) -> bool:
        """Whether a listing of a store's files, by name, has all of its files, each in its size."""
        chunks = all(listing.get(name(self.sha, number)) == self.chunk_size(number) for number in range(self.chunks))
        return chunks and listing.get(name(self.sha, META)) == len(self.encode())


def folder(sha: Sha) -> str:
    """The folder of a binary's files, relative to the root of the store."""
    return f"{sha[0:3]}/{sha[3:6]}"


def file_name(sha: Sha, part: str | int) -> str:
    """The name of one file, without its folders."""
    return f"{sha}_{part}"


def name(sha: Sha, part: str | int) -> str:
    """The name of one file, relative to the root of the store."""
    return f"{sha[0:3]}/{sha[3:6]}/{sha}_{part}"


def by_binary(at: str, entries: Iterable[Entry]) -> dict[Sha, dict[str, Entry]]:
    """Of what is in the folder `at` of a store, relative to its root, the files that belong there, by binary and part."""
    found: dict[Sha, dict[str, Entry]] = {}
    for entry in entries:
        named = FILE_NAME.match(entry.name)
        if named and folder(sha := Sha(named[1])) == at:
            found.setdefault(sha, {})[named[2]] = entry
    return found
