"""Stores made by hand after spec/store-format.md, without the code under test; and what every store must be."""

import hashlib
import json
import re
from pathlib import Path

CHUNK = 33_554_432


def sha_of(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def placeholder(content: bytes) -> bytes:
    return b"git-lob: " + sha_of(content).encode()


def files_of(content: bytes) -> dict[str, bytes]:
    """The files of a binary, relative to the root of its store."""
    sha = sha_of(content)
    chunks = [content[at : at + CHUNK] for at in range(0, len(content), CHUNK)]
    files = {f"{sha[:3]}/{sha[3:6]}/{sha}_{n}": chunk for n, chunk in enumerate(chunks)}
    files[f"{sha[:3]}/{sha[3:6]}/{sha}_meta"] = b'{"SHA":"%s","Size":%d,"NumChunks":%d}' % (
        sha.encode(),
        len(content),
        len(chunks),
    )
    return files


def put(root: Path, content: bytes) -> str:
    """Write a binary into a store; returns its sha."""
    for name, data in files_of(content).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return sha_of(content)


def drop(root: Path, content: bytes) -> None:
    """Take a binary out of a store."""
    for name in files_of(content):
        (root / name).unlink()


def shas_in(root: Path) -> set[str]:
    """The binaries that have a meta in a store."""
    return {at.name[:40] for at in root.glob("???/???/*_meta")}


def check(root: Path, *, whole: bool = True) -> set[str]:
    """Assert that every file under a final name of a store is right; returns the binaries that have a meta.

    `whole`: nothing but whole binaries is there, else a push that was cut off may have left chunks without their meta.
    """
    found = set()
    parts: dict[str, set[str]] = {}
    for at in root.glob("???/???/*"):
        if re.fullmatch(r"[0-9a-f]{40}_(meta|0|[1-9]\d*)", at.name):
            sha, _, part = at.name.partition("_")
            assert at.parent == root / sha[:3] / sha[3:6], at
            parts.setdefault(sha, set()).add(part)
    for sha, names in parts.items():
        folder = root / sha[:3] / sha[3:6]
        if "meta" not in names:
            assert not whole, f"{sha} has no meta"
            continue
        meta = json.loads((folder / f"{sha}_meta").read_bytes())
        digest, size = hashlib.sha1(), 0
        for number in range(meta["NumChunks"]):
            chunk = (folder / f"{sha}_{number}").read_bytes()
            assert len(chunk) == CHUNK or number == meta["NumChunks"] - 1
            digest.update(chunk)
            size += len(chunk)
        assert digest.hexdigest() == sha == meta["SHA"] and size == meta["Size"], sha
        assert names == {"meta", *map(str, range(meta["NumChunks"]))}
        found.add(sha)
    return found
