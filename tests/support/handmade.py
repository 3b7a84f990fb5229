"""Stores made by hand after docs/format.md, without the code under test; and what every store must be."""

import hashlib
import json
import os
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


def chunk(root: Path, content: bytes, number: int = 0) -> Path:
    sha = sha_of(content)
    return root / sha[:3] / sha[3:6] / f"{sha}_{number}"


def meta(root: Path, content: bytes) -> Path:
    return chunk(root, content).with_name(f"{sha_of(content)}_meta")


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder, but for what is ours at a remote store beside the content."""
    files = (at for at in root.rglob("*") if at.is_file() and root / "gitlob" not in at.parents)
    return {str(at.relative_to(root)): at.read_bytes() for at in files}


def hostile_metas(sha: str, size: int) -> list[bytes]:
    """Metas of a binary of one chunk that must not be believed."""
    good = f'{{"SHA":"{sha}","Size":{size},"NumChunks":1}}'
    own = f":{size},"
    return [text.encode() for text in (
        good[:-1], good.replace(own, f":{CHUNK << 20},").replace(":1}", f":{1 << 20}}}"), good.replace(sha, "0" * 40),
        good.replace(own, f":-{size},"), good.replace(":1}", ":2}"), "[" * 4000, good.replace(own, f":{1 << 62},"),
        "", "null", "[]", '"meta"', '{"a":' * 700, "9" * 4000, good + " " * 5000,
        good.replace(sha, sha.upper()), good.replace(sha, "../" * 13 + "x"),
        good.replace(own, f":{size + 1},"), good.replace(own, f":{size}.0,"), good.replace(own, ":true,"),
        good.replace(own, f':"{size}",'), good.replace(own, ":1e400,"), good.replace(own, ":NaN,"),
        good.replace(":1}", ":0}"), good.replace(":1}", ":-1}"), good.replace(":1}", ":true}"),
        good.replace(":1}", ":99999999999999999999}"),
    )] + [b"\xff\xfe\x00", b"\x00" * 100]  # fmt: skip


def link_into(root: Path, original: Path) -> None:
    """Have a store hold the content, without the cost of a copy. Nobody may write into its files."""
    for at in original.glob("???/???/*"):
        to = root / at.relative_to(original)
        to.parent.mkdir(parents=True, exist_ok=True)
        os.link(at, to)
