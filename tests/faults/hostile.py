"""The server's side of rsync, as a liar would write it: `hostile.py PLAN HOST COMMAND...` in the place of ssh.

It speaks protocol 29, which every rsync since 2.6.4 does, and only sends. PLAN is a JSON file, a Plan; what the client
asked for is left in the file PLAN.asked. rsync's own sources, flist.c, io.c, and receiver.c, are what it was written after.
"""

import dataclasses
import itertools
import json
import os
import stat
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

DATA, ERROR_XFER, INFO, ERROR, NO_OP = 0, 1, 2, 3, 42
_SEED = 12345
_TRANSFER = 1 << 15


@dataclass
class Entry:
    """A file that the list has. `name` as it is sent, or, of a file that was asked for, what its name ends with; with
    `exact` it is sent as it is in any case. `length`: what the list says of it; the content decides what is sent."""

    name: str
    content: str = ""
    mode: int = stat.S_IFREG | 0o644
    length: int | None = None
    exact: bool = False


@dataclass
class Plan:
    """`messages` of rsync's own kinds, and words on `stderr`, come before the list; `then` is what is done after that:
    "send", "hang" with signs of life, or "garbage"."""

    entries: list[Entry] = field(default_factory=list)
    messages: list[tuple[int, str]] = field(default_factory=list)
    stderr: str = ""
    then: str = "send"
    code: int = 0

    def write(self, at: Path) -> None:
        at.write_text(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def read(cls, at: Path) -> "Plan":
        said = json.loads(at.read_text())
        return cls(**{**said, "entries": [Entry(**entry) for entry in said["entries"]]})


def md4(data: bytes) -> bytes:
    """RFC 1320; of the libraries here none has it any more."""
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    padded = data + b"\x80" + bytes((55 - len(data)) % 64) + struct.pack("<Q", 8 * len(data))
    rounds: tuple[tuple[Callable[[int, int, int], int], int, Sequence[int], tuple[int, ...]], ...] = (
        (lambda x, y, z: (x & y) | (~x & z), 0, range(16), (3, 7, 11, 19)),
        (lambda x, y, z: (x & y) | (x & z) | (y & z), 0x5A827999, [n % 4 * 4 + n // 4 for n in range(16)], (3, 5, 9, 13)),
        (lambda x, y, z: x ^ y ^ z, 0x6ED9EBA1, [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15], (3, 9, 11, 15)),
    )  # fmt: skip
    for at in range(0, len(padded), 64):
        block = struct.unpack_from("<16I", padded, at)
        a, b, c, d = state
        for mix, constant, order, shifts in rounds:
            for number, shift in zip(order, itertools.cycle(shifts)):
                total = a + mix(b, c, d) + block[number] + constant & 0xFFFFFFFF
                a, b, c, d = d, (total << shift | total >> 32 - shift) & 0xFFFFFFFF, b, c
        state = [one + other & 0xFFFFFFFF for one, other in zip(state, (a, b, c, d), strict=True)]
    return struct.pack("<4I", *state)


def read(size: int) -> bytes:
    data = sys.stdin.buffer.read(size)
    if len(data) < size:
        sys.exit(12)
    return data


def number() -> int:
    return int(struct.unpack("<i", read(4))[0])


def send(data: bytes, kind: int = DATA) -> None:
    for at in range(0, len(data) or 1, 4000):
        piece = data[at : at + 4000]
        sys.stdout.buffer.write(struct.pack("<I", (7 + kind) << 24 | len(piece)) + piece)
    sys.stdout.buffer.flush()


def length(size: int) -> bytes:
    return struct.pack("<i", size) if -(1 << 31) <= size < 1 << 31 else struct.pack("<iq", -1, size)


def order(entry: Entry) -> list[tuple[int, bytes]]:
    """How rsync sorts a list: in a folder files come before folders."""
    parts = os.fsencode(entry.name).strip(b"/").split(b"/")
    folders = parts if stat.S_ISDIR(entry.mode) else parts[:-1]
    return [(1, part + b"/") for part in folders] + [(0, part) for part in parts[len(folders) :]]


def sent_name(entry: Entry, asked: list[str]) -> str:
    """What is asked for as A/./B is called B."""
    found = [] if entry.exact else [name for name in asked if name.endswith(entry.name)]
    return found[0].rpartition("/./")[2] if found else entry.name


def main() -> None:
    plan_file = Path(sys.argv[1])
    plan = Plan.read(plan_file)
    sys.stderr.write(plan.stderr)
    sys.stderr.flush()
    sys.stdout.buffer.write(struct.pack("<i", 29))
    sys.stdout.buffer.flush()
    number()
    sys.stdout.buffer.write(struct.pack("<i", _SEED))
    sys.stdout.buffer.flush()
    for kind, text in plan.messages:
        send(text.encode(), kind)
    if plan.then == "garbage":
        sys.stdout.buffer.write(os.urandom(1 << 16))
        sys.stdout.buffer.flush()
        sys.exit(plan.code)
    while size := number():  # filter rules
        read(size)
    listing = not any("--files-from" in word for word in sys.argv)
    names = b"\0\0" if listing else b""
    while not names.endswith(b"\0\0"):
        names += read(1)
    asked = [os.fsdecode(name) for name in names.split(b"\0") if name]
    with Path(f"{plan_file}.asked").open("a") as log:
        log.writelines(f"{name}\n" for name in asked)
    while plan.then == "hang":
        send(b"", NO_OP)
        time.sleep(0.1)

    entries = [dataclasses.replace(entry, name=sent_name(entry, asked)) for entry in plan.entries]
    if listing:  # a look at the root of the store: there is nothing yet that says which it is
        entries = [Entry(".", mode=stat.S_IFDIR | 0o755, exact=True)]
    known = {entry.name for entry in entries}
    for entry in list(entries):  # the folders above what was asked for are sent, too
        above = "" if entry.exact else entry.name.rpartition("/")[0]
        while above and above not in known:
            entries.append(Entry(above, mode=stat.S_IFDIR | 0o755))
            known.add(above)
            above = above.rpartition("/")[0]
    entries.sort(key=order)
    for entry in entries:
        name = os.fsencode(entry.name)
        size = len(entry.content) if entry.length is None else entry.length
        send(b"\x40" + struct.pack("<i", len(name)) + name + length(size) + struct.pack("<iI", 0, entry.mode))
    send(b"\0" + struct.pack("<i", 0))

    phase = 0
    while True:
        index = number()
        if index == -1:
            phase += 1
            send(struct.pack("<i", -1))
            if phase > 2:
                break
            continue
        (flags,) = struct.unpack("<H", read(2))
        if not flags & _TRANSFER:
            send(struct.pack("<iH", index, flags))
            continue
        count, block, digest, rest = (number() for _ in range(4))
        read(count * (4 + digest))
        content = entries[index].content.encode("latin-1")
        send(struct.pack("<iH4i", index, flags, 0, block, digest, rest * 0))
        for at in range(0, len(content), 32768):
            send(struct.pack("<i", len(content[at : at + 32768])) + content[at : at + 32768])
        send(struct.pack("<i", 0) + md4(struct.pack("<i", _SEED) + content))
    send(struct.pack("<5i", 1, 1, 1, 1, 1))
    number()
    sys.exit(plan.code)


if __name__ == "__main__":
    main()
