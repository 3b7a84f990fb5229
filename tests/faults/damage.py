"""How a healthy store is spoilt, for tests that choose at random: what is done to the files of one binary, and what of it
can still be had."""

import json
import os
import random
import shutil
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from tests.support.handmade import CHUNK, chunk, files_of, meta, put, sha_of


class Left(Enum):
    """What is left of a binary for who reads the store."""

    NOTHING = "it cannot be had any more"
    LOOKS_WHOLE = "it cannot be had, and sizes do not show that"
    PERHAPS = "it can be had by some ways and not by others"
    ALL = "it can be had"


Spoil = Callable[[Path, Path, bytes, random.Random], None]
"""What is done to a file, with a free place elsewhere, the binary's content, and dice."""


def flip(at: Path, _: Path, __: bytes, rng: random.Random) -> None:
    """Into a new file: others may have links to the old one."""
    data = bytearray(at.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    at.unlink()
    at.write_bytes(data)


def foreign(at: Path, _: Path, __: bytes, rng: random.Random) -> None:
    size = at.stat().st_size
    at.unlink()
    at.write_bytes(rng.randbytes(min(size, 4096)).ljust(size, b"\1"))


def cut(at: Path, _: Path, __: bytes, rng: random.Random) -> None:
    os.truncate(at, rng.randrange(at.stat().st_size))


def lengthen(at: Path, _: Path, __: bytes, rng: random.Random) -> None:
    with at.open("ab") as file:
        file.write(b"x" + rng.randbytes(rng.randrange(5000)))


def huge(at: Path, _: Path, __: bytes, rng: random.Random) -> None:
    """Sparse: the disk has no more of it than before."""
    os.truncate(at, CHUNK * rng.randrange(2, 1 << 10) + 1)


def remove(at: Path, _: Path, __: bytes, ___: random.Random) -> None:
    at.unlink()


def link_away(at: Path, elsewhere: Path, _: bytes, __: random.Random) -> None:
    """To the very bytes that belong there."""
    at.rename(elsewhere)
    at.symlink_to(elsewhere)


def dangle(at: Path, elsewhere: Path, _: bytes, __: random.Random) -> None:
    at.unlink()
    at.symlink_to(elsewhere)


def link_to_folder(at: Path, _: Path, __: bytes, ___: random.Random) -> None:
    at.unlink()
    at.symlink_to("..")


def loop(at: Path, _: Path, __: bytes, ___: random.Random) -> None:
    at.unlink()
    at.symlink_to(at.name)


def folder(at: Path, _: Path, __: bytes, rng: random.Random) -> None:
    at.unlink()
    at.mkdir()
    if rng.random() < 0.5:
        (at / "file").write_bytes(b"x")


def fifo(at: Path, _: Path, __: bytes, ___: random.Random) -> None:
    at.unlink()
    os.mkfifo(at)


def lie(at: Path, _: Path, content: bytes, rng: random.Random) -> None:
    """A meta that is absurd in one field, or is none."""
    said: dict[str, object] = {"SHA": sha_of(content), "Size": len(content), "NumChunks": -(-len(content) // CHUNK)}
    key = rng.choice(sorted(said))
    number = len(content) if key == "Size" else said["NumChunks"]
    deep: object = []
    for _level in range(rng.randrange(1, 300)):
        deep = [deep] if rng.random() < 0.5 else {"Size": deep}
    absurd = [
        None, True, -1, f"{number}", -(1 << rng.randrange(1, 70)), 1 << rng.randrange(40, 200), rng.random() * 1e9, float("nan"),
        float("inf"), [number], {key: number}, deep, rng.randbytes(20).hex(), "../" * rng.randrange(1, 14), "\0", "\ud800", sha_of(content).upper(),
    ]  # fmt: skip
    text = json.dumps({**said, key: rng.choice(absurd)}, ensure_ascii=rng.random() < 0.5).encode(errors="surrogatepass")
    broken = [
        text[: rng.randrange(len(text) - 1)],
        b"[" * rng.randrange(1, 1 << 20),
        b'{"a":' * 5000,
        b"null",
        rng.randbytes(60),
        text * 2,
    ]
    at.unlink()
    at.write_bytes(text if rng.random() < 0.7 else rng.choice(broken))


def respell(at: Path, _: Path, content: bytes, __: random.Random) -> None:
    said = {"More": [1], "NumChunks": -(-len(content) // CHUNK), "Size": len(content), "SHA": sha_of(content)}
    at.unlink()
    at.write_text(json.dumps(said, indent=1))


def other_time(at: Path, _: Path, __: bytes, rng: random.Random) -> None:
    then = rng.choice([0, 1, 1 << 31, 1 << 33, -(1 << 31)])
    os.utime(at, (then, then))


def hard_link(at: Path, elsewhere: Path, _: bytes, __: random.Random) -> None:
    os.link(at, elsewhere)


def add_strangers(at: Path, _: Path, content: bytes, __: random.Random) -> None:
    """Names that are none of a store's."""
    sha = sha_of(content)
    for name in ("README", f"{sha}", f"{sha}_x", f"{sha}_00", f".{sha}_0.Ab12Cd", f"{sha}_meta~", ".rsync-filter"):
        (at.parent / name).write_bytes(b"- *\n")


def link_folder(at: Path, elsewhere: Path, _: bytes, rng: random.Random) -> None:
    above = rng.choice([at.parent, at.parent.parent])
    above.rename(elsewhere)
    above.symlink_to(elsewhere)


def link_folder_nowhere(at: Path, elsewhere: Path, _: bytes, rng: random.Random) -> None:
    above = rng.choice([at.parent, at.parent.parent])
    shutil.rmtree(above)
    above.symlink_to(rng.choice([elsewhere, Path(above.name)]))


def file_for_folder(at: Path, _: Path, __: bytes, rng: random.Random) -> None:
    above = rng.choice([at.parent, at.parent.parent])
    shutil.rmtree(above)
    above.write_bytes(b"x")


RESPELT = "meta: respell"
"""Nothing is wrong with it, so it may stay as it is, and travel."""
OF_CHUNKS: list[Spoil] = [
    flip, foreign, cut, lengthen, huge, remove, link_away, dangle, link_to_folder, loop, folder, fifo,
]  # fmt: skip
OF_METAS: list[Spoil] = [lie, lie, lie, cut, lengthen, huge, remove, link_away, dangle, loop, folder, fifo]
OF_FOLDERS: list[Spoil] = [link_folder, link_folder_nowhere, file_for_folder]
HARMLESS: list[Spoil] = [other_time, hard_link, add_strangers]


def spoil(root: Path, content: bytes, rng: random.Random, elsewhere: Path) -> tuple[str, Left]:
    """Do one thing to a binary that is not empty. Returns what was done, and what a reader by chunks can have of it: the
    meta of a lone chunk is not needed for that."""
    kinds, weights = (OF_CHUNKS, OF_METAS, OF_FOLDERS, HARMLESS, [respell]), (8, 6, 2, 2, 1)
    (among,) = rng.choices(kinds, weights)
    what = rng.choice(among)
    lone = len(content) < CHUNK
    elsewhere.mkdir(exist_ok=True)
    free = elsewhere / f"{rng.getrandbits(64):x}"
    of_meta = among is OF_METAS or what is respell
    at = meta(root, content) if of_meta else chunk(root, content, rng.randrange(-(-len(content) // CHUNK)))
    what(at, free, content, rng)
    name = f"{'meta' if of_meta else 'chunk'}: {what.__name__}"
    if among is HARMLESS or what is respell or (of_meta and lone):
        return name, Left.ALL
    if what in (flip, foreign):
        return name, Left.LOOKS_WHOLE
    return name, Left.PERHAPS if what is link_folder else Left.NOTHING


def mend(root: Path, content: bytes) -> None:
    """Put a binary there anew, whatever stands in its place."""
    for name in files_of(content):
        for at in (root / name[:3], root / name[:7], root / name):
            if at.is_symlink() or (os.path.lexists(at) and not at.is_dir()):
                at.unlink()
        if (root / name).is_dir():
            shutil.rmtree(root / name)
    put(root, content)


def whole(root: Path, content: bytes) -> bool:
    """Whether a binary's files are there, each one a plain file with its bytes."""

    def right(at: Path, data: bytes) -> bool:
        plain = at.is_file() and not at.is_symlink()
        return plain and at.stat().st_size == len(data) and at.read_bytes() == data

    return all(right(root / name, data) for name, data in files_of(content).items())
