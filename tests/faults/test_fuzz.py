"""Arbitrary bytes for everything that reads foreign ones: what is right is read as what it is, all else is refused.

Wherever it can be had, the other opinion is that of real git or rsync; else it is a few lines here that are not the code
under test. How many examples a property looks at, conftest.py says.
"""

import io
import json
import math
import os
import re
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example
from hypothesis import strategies as st

from gitlob_rsync import age, config, location, placeholder
from gitlob_rsync.commands import pre_push
from gitlob_rsync.errors import GitlobError, ToolError, UsageError
from gitlob_rsync.filter import pktline
from gitlob_rsync.filter.convert import Filter, split_placeholder
from gitlob_rsync.filter.pktline import ProtocolError
from gitlob_rsync.filter.server import Server
from gitlob_rsync.filter.supply import Source, Supply
from gitlob_rsync.git import gitconfig, index, paths
from gitlob_rsync.git.diff import differences
from gitlob_rsync.git.output import zsplit
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.jobs import setup
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.progress import Meter
from gitlob_rsync.state import clone, needs_list
from gitlob_rsync.store.layout import MOST_CHUNKS, Meta
from gitlob_rsync.store.local import Stores
from gitlob_rsync.store.store import Store
from gitlob_rsync.transport.base import Item
from gitlob_rsync.transport.rsync import flags, meaning, reports, run
from gitlob_rsync.worktree import index_stat
from tests.faults.kit import given
from tests.support import gitclient
from tests.support.handmade import CHUNK, check, put, sha_of
from tests.support.handmade import placeholder as placeholder_of
from tests.support.locations import check_place

SHAS = st.binary(min_size=20, max_size=20).map(bytes.hex)
WORDS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
ANY_TEXT = st.one_of(WORDS.map(str.encode), st.binary(max_size=20)).map(
    lambda text: os.fsdecode(text.replace(b"\0", b""))
)
"""What an argument, a path or a value of the configuration can be: bytes that are no UTF-8 come as surrogates, too."""


@st.composite
def spoilt(draw: st.DrawFn, right: st.SearchStrategy[bytes], most: int = 3) -> bytes:
    """Bytes that were right, and a few changes."""
    content = bytearray(draw(right))
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, len(content)))
        what = draw(st.sampled_from(["replace", "replace", "insert", "drop", "cut"]))
        behind = {"insert": at, "replace": at + 1, "drop": at + draw(st.integers(1, 4)), "cut": len(content)}[what]
        content[at:behind] = draw(st.binary(min_size=1, max_size=4)) if what in ("insert", "replace") else b""
    return bytes(content)


def near(right: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Something right, something nearly right, or anything."""
    return st.one_of(right, spoilt(right), st.binary(max_size=200))


def one_line(error: GitlobError) -> str:
    line = error.line()
    assert line and len(line.splitlines()) == 1 and line.isprintable(), line
    return line


# Placeholders

PLACEHOLDERS = SHAS.map(lambda sha: b"git-lob: " + sha.encode())


@given(SHAS)
def test_a_placeholder_comes_back(sha: str) -> None:
    text = placeholder.encode(Sha(sha))
    assert len(text) == placeholder.SIZE == 49
    assert placeholder.decode(text) == sha
    assert placeholder.decode(text[:9] + text[9:].upper()) == sha


ODD_DIGITS = st.builds(
    lambda text, at, odd: text[:at] + odd + text[at + 1 :],
    PLACEHOLDERS,
    st.integers(0, 48),
    st.sampled_from([b"g", b"G", b"/", b":", b"@", b"`", b"\n", b" ", b"\xd9"]),
)


@given(st.one_of(near(PLACEHOLDERS), ODD_DIGITS))
def test_nothing_else_is_a_placeholder(content: bytes) -> None:
    head, digits = content[:9], content[9:]
    is_one = head == b"git-lob: " and len(digits) == 40 and not digits.strip(b"0123456789abcdefABCDEF")
    assert placeholder.decode(content) == (digits.decode().lower() if is_one else None)


@given(near(PLACEHOLDERS), st.lists(st.integers(0, 60), max_size=6))
def test_a_placeholder_is_known_however_a_pipe_cuts_it(content: bytes, cuts: list[int]) -> None:
    edges = sorted({0, *(min(cut, len(content)) for cut in cuts), len(content)})
    pieces = [content[a:b] for a, b in pairwise(edges)]
    sha, start, rest = split_placeholder(pieces)
    assert sha == placeholder.decode(content)
    assert start + b"".join(rest) == content


# Metas

SIZES = st.one_of(
    st.integers(0, 3 * CHUNK),
    st.sampled_from([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK << 20, (CHUNK << 20) + 1, 1 << 62, 1 << 64, -1, -CHUNK]),
)
ODD_VALUES = st.one_of(
    SIZES,
    st.booleans(),
    st.none(),
    st.floats(),
    st.sampled_from([0.0, 3.0, 1e400, 10**4000, "3", "", [3], {}, [[[[]]]]]),
    WORDS,
)
SPACE = st.text(" \t\r\n", max_size=3)


def spelled(draw: st.DrawFn, value: object) -> str:
    """A value as JSON, strings in one of their many spellings."""
    if isinstance(value, str) and draw(st.booleans()):
        return '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in value) + '"'
    return json.dumps(value)


@st.composite
def objects(draw: st.DrawFn) -> tuple[str, dict[str, object], bytes]:
    """A sha, what a meta says, and one way to write that: in any order, with other keys, and keys that come twice."""
    sha, size = draw(SHAS), draw(SIZES)
    said = [("SHA", sha), ("Size", size), ("NumChunks", -(-size // CHUNK))]
    for at in draw(st.lists(st.integers(0, 2), max_size=2)):
        said[at] = (said[at][0], draw(ODD_VALUES))
    said += draw(st.lists(st.tuples(st.sampled_from(["SHA", "Size", "size", "sha", "X", ""]), ODD_VALUES), max_size=2))
    said = draw(st.permutations(said))[draw(st.sampled_from([0, 0, 0, 0, 1])) :]
    pairs = [
        f"{draw(SPACE)}{spelled(draw, key)}{draw(SPACE)}:{draw(SPACE)}{spelled(draw, value)}{draw(SPACE)}"
        for key, value in said
    ]
    return sha, dict(said), (draw(SPACE) + "{" + ",".join(pairs) + "}" + draw(SPACE)).encode(errors="surrogatepass")


def whole_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


AB = "ab" * 20


def said_of_ab(size: Any, chunks: Any, space: str = "") -> tuple[str, dict[str, Any], bytes]:
    said = {"SHA": AB, "Size": size, "NumChunks": chunks}
    return AB, said, (json.dumps(said) + space).encode()


@given(objects())
@example(said_of_ab(True, 1))
@example(said_of_ab(0, False))
@example(said_of_ab(3.0, 1))
@example(said_of_ab(3, 1, " " * 4000))
@example(said_of_ab(3, 1, " " * 5000))
def test_a_meta_is_believed_only_if_it_adds_up(meta: tuple[str, dict[str, Any], bytes]) -> None:
    sha, said, text = meta
    size: Any = said.get("Size")
    chunks: Any = said.get("NumChunks")
    right = said.get("SHA") == sha and whole_number(size) and whole_number(chunks) and 0 <= size <= CHUNK << 20
    right = right and chunks == math.ceil(size / CHUNK) and len(text) < 4096
    found = Meta.decode(text, Sha(sha))
    assert found == (Meta(Sha(sha), size) if right else None)


METAS = st.builds(lambda sha, size: Meta(Sha(sha), size).encode(), st.just("ab" * 20), SIZES)


@given(st.one_of(near(METAS), METAS.map(lambda text: text.decode().encode("utf-16"))))
@example(b"[" * 4000)
@example(b"9" * 4000)
def test_a_torn_meta_is_none(content: bytes) -> None:
    found = Meta.decode(content, Sha("ab" * 20))
    if found is None:
        said = re.fullmatch(rb'\{"SHA":"(?:ab){20}","Size":(0|[1-9]\d{0,12}),"NumChunks":(\d{1,7})\}', content)
        assert not said or int(said[2]) != math.ceil(int(said[1]) / CHUNK) or int(said[2]) > MOST_CHUNKS
        return
    content.decode("utf-8")
    assert found.sha == "ab" * 20 and 0 <= found.size <= MOST_CHUNKS * CHUNK
    assert str(found.size).encode() in content and str(found.chunks).encode() in content
    assert found.encode() == b'{"SHA":"%s","Size":%d,"NumChunks":%d}' % (
        b"ab" * 20, found.size, math.ceil(found.size / CHUNK))  # fmt: skip
    assert Meta.decode(found.encode(), found.sha) == found


@given(st.integers(0, 5 * CHUNK))
def test_chunks_are_as_large_as_the_whole(size: int) -> None:
    meta = Meta(Sha("ab" * 20), size)
    sizes = [meta.chunk_size(number) for number in range(meta.chunks)]
    assert sum(sizes) == size
    assert all(one == CHUNK for one in sizes[:-1]) and all(0 < one <= CHUNK for one in sizes)


# Packets

ODD_HEADS = [b"0x1f", b"0X10", b"+123", b"-001", b"00_4", b" 004", b"0001", b"0002", b"0003", b"fff5", b"FFFF", b"004\n", b"\xef\xbc\x94\x30"]  # fmt: skip
PACKETS = st.one_of(
    st.binary(max_size=40).map(gitclient.packet),
    st.just(b"0000"),
    st.binary(min_size=4, max_size=300).map(lambda data: b"%04X" % (len(data) + 4) + data),
)
STREAMS = st.lists(st.one_of(PACKETS, PACKETS, PACKETS, st.sampled_from(ODD_HEADS), st.binary(max_size=6))).map(
    b"".join
)


@given(near(STREAMS))
@example(b"0x1f" + b"-" * 40)
def test_packets_are_what_git_means_by_them(stream: bytes) -> None:
    """gitprotocol-common(5): four hexadecimal digits; 0 flushes, 1 to 3 are no packets, and none is larger than 65520."""
    source, rest = io.BytesIO(stream), stream
    while True:
        head = re.match(rb"[0-9a-fA-F]{4}", rest)
        size = int(head[0], 16) if head else -1
        try:
            packet = pktline.read_packet(source)
        except EOFError:
            assert rest == b""
            return
        except ProtocolError as error:
            one_line(error)
            assert size in (-1, 1, 2, 3) or size > 65520 or len(rest) < size
            assert rest
            return
        if packet is None:
            assert size == 0
            rest = rest[4:]
        else:
            assert packet == rest[4:size] and len(packet) == size - 4
            rest = rest[size:]


@given(st.lists(st.binary(max_size=60)), st.binary(max_size=20))
def test_a_list_of_packets_comes_back(contents: list[bytes], behind: bytes) -> None:
    stream = io.BytesIO()
    for content in contents:
        pktline.write_packet(stream, content)
    stream.write(pktline.FLUSH + behind)
    stream.seek(0)
    assert list(pktline.read_list(stream)) == contents
    assert stream.read() == behind


@given(st.lists(st.one_of(st.binary(max_size=60), st.integers(0, 200_000).map(bytes))))
def test_content_of_any_size_comes_back(blocks: list[bytes]) -> None:
    stream = io.BytesIO()
    pktline.write_content(stream, blocks)
    stream.seek(0)
    packets = list(pktline.read_list(stream))
    assert b"".join(packets) == b"".join(blocks)
    assert all(0 < len(packet) <= pktline.MOST for packet in packets)
    assert stream.read() == b""


# The filter, in conversation

HERE, DAMAGED, THERE, GONE = b"is here", b"is damaged here", b"is at the remote", b"is nowhere"


@dataclass(frozen=True)
class Request:
    """What git asks. `cuts`: where the content is cut into packets."""

    command: str
    path: bytes = b""
    content: bytes = b""
    can_delay: bool = False
    cuts: tuple[int, ...] = ()

    def packets(self) -> bytes:
        head = [f"command={self.command}".encode()]
        if self.command != "list_available_blobs":
            head.append(b"pathname=" + self.path)
        if self.can_delay:
            head.append(b"can-delay=1")
        edges = sorted({0, *(min(cut, len(self.content)) for cut in self.cuts), len(self.content)})
        pieces = [self.content[a:b] for a, b in pairwise(edges)]
        sent = b"".join(map(gitclient.packet, pieces)) + b"0000"
        return gitclient.lines(*head) + (b"" if self.command == "list_available_blobs" else sent)


CONTENTS = st.one_of(
    st.sampled_from([HERE, DAMAGED, THERE, GONE]).map(placeholder_of),
    st.sampled_from([HERE, DAMAGED, THERE, GONE]).map(lambda content: placeholder_of(content)[:49].upper().replace(b"GIT-LOB", b"git-lob")),
    st.sampled_from([HERE, DAMAGED, THERE, GONE, b"", placeholder_of(HERE) + b"\n"]),
    st.binary(max_size=60),
)  # fmt: skip
FILES = st.sampled_from([b"a", b"b", b"c=d", b"\xff", b"-x", b" "])
CUTS = st.lists(st.integers(0, 60), max_size=2).map(tuple)
REQUESTS = st.one_of(
    st.builds(Request, st.just("clean"), FILES, CONTENTS, cuts=CUTS),
    st.builds(Request, st.just("smudge"), FILES, CONTENTS, st.booleans(), CUTS),
    st.builds(Request, st.just("smudge"), FILES, CONTENTS, st.booleans(), CUTS),
    st.builds(Request, st.just("smudge"), FILES),
    st.just(Request("list_available_blobs")),
)
HANDSHAKE = gitclient.lines("git-filter-client", "version=2") + gitclient.lines(
    "capability=clean", "capability=smudge", "capability=delay"
)


@dataclass
class Remote:
    """The remote, as the filter's Source: what is there, and whether it can be reached."""

    into: Path
    reachable: bool
    calls: int = 0

    def download(self, shas: Collection[Sha]) -> str:
        self.calls += 1
        if not self.reachable:
            raise GitlobError("nobody\nanswers")
        for content in (THERE, DAMAGED):
            if sha_of(content) in shas:
                put(self.into, content)
        return ""


@dataclass
class Model:
    """What the filter has to answer, told by gitattributes(5) and the house's own rules."""

    reachable: bool
    must_have: bool
    here: dict[str, bytes] = field(default_factory=lambda: {sha_of(HERE): HERE})
    delayed: dict[bytes, bytes] = field(default_factory=dict)
    announced: set[bytes] = field(default_factory=set)
    failed: bool = False

    def bring(self, texts: Iterable[bytes]) -> None:
        shas = {text[9:].decode().lower() for text in texts}
        if self.failed or not shas:
            return
        self.failed = not self.reachable
        if self.reachable:
            self.here |= {sha_of(content): content for content in (THERE, DAMAGED) if sha_of(content) in shas}

    def hand_over(self, text: bytes) -> tuple[str, bytes]:
        content = self.here.get(text[9:].decode().lower())
        if content is None and self.must_have:
            return "error", b""
        return "success", text if content is None else content

    def answer(self, asked: Request) -> tuple[str, bytes]:
        is_placeholder = re.fullmatch(rb"git-lob: [0-9a-fA-F]{40}", asked.content)
        if asked.command == "list_available_blobs":
            fresh = [path for path in self.delayed if path not in self.announced]
            if fresh:
                self.bring(self.delayed.values())
            self.announced |= set(fresh)
            return "success", b"".join(b"pathname=%s\n" % path for path in fresh)
        if asked.command == "clean":
            if is_placeholder:
                return "success", asked.content
            if re.fullmatch(rb"(\xef\xbb\xbf)?\s*git-lob: [0-9a-fA-F]{40}\s*", asked.content):
                return "error", b""
            self.here[sha_of(asked.content)] = asked.content
            return "success", placeholder_of(asked.content)
        if asked.path in self.delayed and not asked.content:
            self.announced.discard(asked.path)
            return self.hand_over(self.delayed.pop(asked.path))
        if not is_placeholder:
            return "success", asked.content
        if asked.content[9:].decode().lower() in self.here:
            return self.hand_over(asked.content)
        if asked.can_delay and not self.failed:
            self.delayed[asked.path] = asked.content
            self.announced.discard(asked.path)
            return "delayed", b""
        self.bring([asked.content])
        return self.hand_over(asked.content)


def packets_of(output: bytes) -> list[bytes | None]:
    """None stands for a flush. Fails where the output is not made of packets."""
    found: list[bytes | None] = []
    while output:
        size = int(output[:4].decode("ascii"), 16)
        assert size == 0 or 4 <= size <= min(len(output), 65520)
        found.append(output[4:size] if size else None)
        output = output[max(size, 4) :]
    return found


def serve(folder: Path, conversation: bytes, reachable: bool, must_have: bool) -> tuple[bytes, Exception | None]:
    """What the filter answered, and what it raised in the end; its store stays right, whatever was said."""
    with tempfile.TemporaryDirectory(dir=folder) as top:
        root = Path(top, "content")
        put(root, HERE)
        sha = put(root, DAMAGED)
        (root / sha[:3] / sha[3:6] / f"{sha}_0").write_bytes(DAMAGED[::-1])
        remote = Remote(root, reachable)
        output, raised = io.BytesIO(), None
        with Filter(Stores(Store(str(root)), None)) as filter:
            source = Source(remote.download, must_have=must_have)
            server = Server(Supply(filter, lambda _: source), io.BytesIO(conversation), output)
            try:
                server.serve()
            except GitlobError as error:
                raised = error
                one_line(error)
        chunk = root / sha[:3] / sha[3:6] / f"{sha}_0"
        if chunk.read_bytes() == DAMAGED[::-1]:
            chunk.write_bytes(DAMAGED)  # nobody mended it; all else is right by itself
        check(root)
        assert not list(Path(top).glob("staging/*")), "nothing is left of what was stored"
        assert remote.calls <= 1 or reachable, "a remote that cannot be reached is asked once"
        return output.getvalue(), raised


def test_the_filter_answers_what_it_has_to(tmp_path: Path) -> None:
    again = [Request("smudge", b"a", placeholder_of(GONE), True), Request("list_available_blobs")]

    @given(st.lists(REQUESTS, max_size=8), st.booleans(), st.booleans())
    @example([*again, *again, Request("smudge", b"a")], True, False)
    @example([Request("clean", b"a", DAMAGED), Request("smudge", b"a", placeholder_of(DAMAGED))], False, False)
    def converse(requests: list[Request], reachable: bool, must_have: bool) -> None:
        sent = HANDSHAKE + b"".join(request.packets() for request in requests)
        output, raised = serve(tmp_path, sent, reachable, must_have)
        assert raised is None
        packets = packets_of(output)
        said = [b"git-filter-server\n", b"version=2\n", None]
        said += [b"capability=clean\n", b"capability=smudge\n", b"capability=delay\n", None]
        assert packets[: len(said)] == said
        del packets[: len(said)]

        def until_flush() -> list[bytes]:
            at = packets.index(None)
            taken = [packet for packet in packets[:at] if packet is not None]
            del packets[: at + 1]
            return taken

        model = Model(reachable, must_have)
        for request in requests:
            status, content = model.answer(request)
            if request.command == "list_available_blobs":
                assert b"".join(until_flush()) == content
                assert until_flush() == [b"status=success\n"]
                continue
            assert until_flush() == [f"status={status}\n".encode()], request
            if status == "success":
                assert b"".join(until_flush()) == content, request
                assert until_flush() == []
        assert packets == []

    converse()


def test_a_spoilt_conversation_ends_in_one_line_and_spoils_nothing(tmp_path: Path) -> None:
    whole = st.lists(REQUESTS, min_size=1, max_size=5).map(lambda all: HANDSHAKE + b"".join(r.packets() for r in all))

    @given(st.one_of(spoilt(whole), spoilt(whole), STREAMS.map(lambda rest: HANDSHAKE + rest), near(STREAMS)))
    @example(HANDSHAKE + gitclient.lines("command=smudge", "pathname=a") + gitclient.packet(b"x" * 60) + b"zzzz")
    @example(
        HANDSHAKE + b"".join(map(gitclient.packet, (b"command=smudge", b"pathname=" + b"x" * 65507, b"can-delay=1")))
        + b"0000" + gitclient.packet(placeholder_of(THERE)) + b"0000" + gitclient.lines("command=list_available_blobs")
    )  # fmt: skip
    def converse(conversation: bytes) -> None:
        output, raised = serve(tmp_path, conversation, True, False)
        packets_of(output)
        # a conversation that ends in the middle of something was not understood, whatever git asked for
        rest = conversation
        while head := re.match(rb"[0-9a-fA-F]{4}", rest):
            size = int(head[0], 16)
            if size in (1, 2, 3) or size > len(rest) or size > 65520:
                break
            rest = rest[max(size, 4) :]
        assert raised or not rest

    converse()


# What git's hook is given

REF_NAMES = st.text(
    st.characters(blacklist_characters=" \0\n~^:?*[\\\x7f", blacklist_categories=["Cs"], min_codepoint=33), min_size=1, max_size=12
)  # fmt: skip


@given(st.lists(st.tuples(REF_NAMES, SHAS, REF_NAMES, SHAS), max_size=5))
def test_every_ref_of_a_push_is_seen(refs: list[tuple[str, str, str, str]]) -> None:
    """githooks(5): `LOCAL-REF COMMIT REMOTE-REF COMMIT` for each; a name holds whatever UTF-8 calls a space or a line end."""
    told = b"".join(b"refs/heads/%s %s refs/heads/%s %s\n" % tuple(word.encode() for word in ref) for ref in refs)
    assert pre_push.pushed(told) == ([ref[1] for ref in refs], [ref[3] for ref in refs])


@given(near(st.just(b"refs/heads/\xe2\x80\xa8\xff %s refs/heads/main %s\n" % (b"ab" * 20, b"cd" * 32))))
def test_what_git_cannot_have_said_of_a_push_names_no_object(told: bytes) -> None:
    for names in pre_push.pushed(told):
        assert all(re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name) for name in names)


# rsync's output


class Counting(Meter):
    def __init__(self) -> None:
        super().__init__("test")
        self.seen: list[int] = []

    def reached(self, done: int) -> None:
        self.seen.append(done)


NAS = location.parse("nas::module/größe")


def listen(said: bytes) -> tuple[list[Item], list[int], list[str]]:
    """What is read of an output, through a pipe; the progress that was told, and the files that had arrived."""
    meter, heard, files = Counting(), reports.Heard(), list[str]()
    read_end, write_end = os.pipe()

    def write() -> None:
        with open(write_end, "wb", buffering=0) as pipe:
            pipe.write(said)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with open(read_end, "rb", buffering=0) as output:
            assert reports.listen(output, lambda: True, reports.Patience(5), files.append, heard, meter)
    finally:
        writer.join()
    assert heard.moved == (meter.seen or [0])[-1]
    return heard.items, meter.seen, files


LINE_BYTES = st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"").replace(b"\r", b""))
STAMPS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1)).map(
    lambda time: f"{time:%Y/%m/%d-%H:%M:%S}".zfill(19)
)
ODD_STAMPS = st.sampled_from(
    ["0000/00/00-00:00:00", "9999/99/99-99:99:99", "2020/02/30-00:00:00", "2020/01/01-23:59:60"]
)
FILE_LINES = st.tuples(
    st.sampled_from([b">f", b"<f"]), LINE_BYTES, st.integers(0, 1 << 62), st.one_of(STAMPS, ODD_STAMPS)
)
PROGRESS = st.integers(0, 1 << 62)
NOISE = LINE_BYTES.filter(lambda line: not re.match(rb"[<>]f| *\d", line))


@given(st.lists(st.one_of(FILE_LINES, PROGRESS, NOISE), max_size=12), st.booleans())
def test_what_rsync_reports_is_read(lines: list[Any], ended: bool) -> None:
    said, items, seen = b"", [], []
    for report in lines:
        if isinstance(report, int):
            said += b"\r%15d  42%%    1.00MB/s    0:00:01" % report + b"\r"
            seen.append(report)
        elif isinstance(report, tuple):
            kind, name, size, stamp = report
            said += b"%s+++++++++|%d|%s|rw-r--r--|%s\n" % (kind, size, stamp.encode(), name)
            items.append(Item(name.decode(errors="replace"), size, stamp))
        else:
            said += report + b"\n"
    said += b"" if ended else b">f+++++++++|1|2020/01/01-00:00:00|rw-r--r--|cut off"
    assert listen(said) == (items, seen, [item.name for item in items[:-1]])


@given(STAMPS)
def test_a_time_that_rsync_prints_is_read(stamp: str) -> None:
    assert f"{datetime.fromtimestamp(Item('x', 1, stamp).changed, UTC):%Y/%m/%d-%H:%M:%S}".zfill(19) == stamp


REPORTS = st.lists(
    st.sampled_from(
        [b">f+++++++++|3|2020/01/01-00:00:00|rw-r--r--|abc/def/x", b"<f.st......|12|9999/99/99-99:99:99|rwxr-xr-x|y", b"\r          1,234  10%", b"\r   99 100% x",
         b"|", b"9" * 30, b"\n", b">f"]
    )
).map(b"".join)  # fmt: skip


@given(near(REPORTS))
@example(b">f+++++++++|" + b"9" * 5000 + b"|2020/01/01-00:00:00|rw-r--r--|x\n")
@example(b"9" * 5000 + b" 50%\n")
def test_nothing_that_rsync_reports_is_believed_beyond_its_form(said: bytes) -> None:
    """Its lines may be those of the far machine: the daemon's messages stand among them."""
    items, seen, _ = listen(said)
    expected = []
    for line in said.replace(b"\r", b"\n").split(b"\n")[:-1]:
        code, size, stamp, mode, name, *_ = [*line.split(b"|", 4), b"", b"", b"", b""]
        if line.count(b"|") >= 4 and len(mode) == 9 and len(code) == 11 and code[:2] in (b">f", b"<f"):
            if size.isdigit() and len(size) < 20 and re.fullmatch(rb"\d{4}/\d\d/\d\d-\d\d:\d\d:\d\d", stamp):
                expected.append((name.decode(errors="replace"), int(size)))
    assert [(item.name, item.size) for item in items] == expected
    assert all(0 <= number < 10**19 for number in [*seen, *(item.size for item in items)])
    assert all(item.changed >= -62135596800 for item in items), "no time is earlier than there are years"


TELLING = ["No space left", "Permission denied", "Permission denied (publickey)", "@ERROR", "change_dir", "No such file", "\x1b[31m", "\u2028",
           "rsync error: x", "Not a directory", "rsync: not found", "Host key verification failed", "Warning:", "\n", "\r", " "]  # fmt: skip
SAID = st.lists(st.one_of(st.sampled_from(TELLING), WORDS), max_size=8).map("".join)


@given(st.integers(-64, 300), SAID)
def test_whatever_rsync_ends_with_is_told_in_one_line(code: int, said: str) -> None:
    line = meaning.quote(NAS, said)
    assert line and len(line.splitlines()) == 1
    error = meaning.failure(NAS, run.Ended(code, [], said, 0))
    assert isinstance(error, GitlobError) and error.exit_code in (1, 2, 4)
    assert "nas/module/größe" in one_line(error)
    meaning.lacks_root(NAS, run.Ended(code, [], said, 0))


VERSIONS = st.builds("{}.{}.{}{}".format, st.integers(0, 20), st.integers(0, 20), st.integers(0, 99), WORDS)


@given(
    st.one_of(
        VERSIONS.map(lambda version: f"rsync  version {version}"),
        VERSIONS.map(lambda version: f"rsync  version v{version}"),
        WORDS.map(lambda text: f"rsync  version {text}"),
        WORDS.map(lambda text: f"openrsync: {text}"),
        WORDS,
    )
)
@example(f"rsync  version {'9' * 5000}.1.3")
@example("rsync  version ٣.٣.٣")
def test_the_version_of_an_rsync_is_read_or_refused(first: str) -> None:
    found = re.match(r"rsync  version v?([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})", first.partition("\n")[0])
    try:
        version = flags.version_in(f"{first}\nCopyright\n".encode())
    except UsageError as error:
        one_line(error)
        assert not found or tuple(map(int, found.groups())) < (3, 1, 3)
    else:
        assert found and version == tuple(map(int, found.groups())) >= (3, 1, 3)


# Lists of what clones need, at a remote store


@given(st.sets(SHAS, max_size=6), st.integers(0, 400), st.sampled_from(["0" * 12, "x\n\x1b[2J"]))
def test_a_list_is_whole_or_refused(
    tmp_path_factory: pytest.TempPathFactory, shas: set[str], cut: int, name: str
) -> None:
    """A purge goes by it: what is cut off must not pass for a list of fewer binaries."""
    home = f"{tmp_path_factory.getbasetemp()}/\n\udcff.git"
    repo = Repo(home, home, None, home, "sha1", False, {})
    whole = needs_list.encode({Sha(sha) for sha in shas}, "0" * 24, clone.place_of(repo), "0" * 16)
    assert needs_list.decode(whole, name) == shas
    for torn in (whole[:cut], whole[cut:], whole[:cut] + whole[cut + 41 :], whole + whole[-1:], whole + b"x"):
        try:
            assert needs_list.decode(torn, name) == shas
        except GitlobError as error:
            one_line(error)
        else:
            first, last = whole.index(b"\n") + 1, -sum(map(len, whole.splitlines(True)[2:]))
            assert torn[:first] == whole[:first] and torn[last:] == whole[last:], "whose it is does not matter"


LISTS = st.lists(SHAS, max_size=4).map(
    lambda shas: "\n".join(
        ["gitlob-rsync list of needed binaries 1", "clone x", *shas, f"end {len(shas)}", ""]
    ).encode()
)


@given(near(LISTS))
def test_what_is_no_list_names_no_binary(content: bytes) -> None:
    try:
        shas = needs_list.decode(content, "x")
    except GitlobError as error:
        one_line(error)
    else:
        assert all(re.fullmatch("[0-9a-f]{40}", sha) and sha.encode() in content for sha in shas)
        assert content.count(b"\n") == len(shas) + 3 and content.endswith(b"\nend %d\n" % len(shas))


# git's output


class Trickle(io.BytesIO):
    """A stream that gives a few bytes at a time."""

    def __init__(self, content: bytes, step: int) -> None:
        super().__init__(content)
        self.step = step

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self.step)


FIELDS = st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"\0", b"")))


@given(FIELDS, st.binary(max_size=5).map(lambda data: data.replace(b"\0", b"")), st.integers(1, 20))
def test_fields_come_back_whatever_the_pipe_gives_at_once(fields: list[bytes], behind: bytes, step: int) -> None:
    stream = b"".join(field + b"\0" for field in fields) + behind
    assert list(zsplit(Trickle(stream, step))) == fields


MODES = st.sampled_from([b"100644", b"100755", b"120000", b"160000", b"040000", b"000000"])
BLOBS = st.one_of(SHAS, st.binary(min_size=32, max_size=32).map(bytes.hex)).map(str.encode)
PATHS = st.binary(min_size=1, max_size=20).map(lambda data: data.replace(b"\0", b"x"))
SIDES = st.tuples(MODES, MODES, BLOBS, BLOBS, st.sampled_from([b"A", b"M", b"D", b"T"]), PATHS, st.booleans())


def raw_differences(sides: list[tuple[bytes, bytes, bytes, bytes, bytes, bytes, bool]]) -> bytes:
    """As diff-tree --stdin -z writes them; before the first of a pair of trees stands a line that names these."""
    return b"".join(
        (b"%s %s\n" % (old, new) if first else b"")
        + b":%s %s %s %s %s\0%s\0" % (old_mode, mode, old, new, status, path)
        for old_mode, mode, old, new, status, path, first in sides
    )


@given(st.lists(SIDES, max_size=6))
def test_the_new_sides_of_differences_are_read(sides: list[Any]) -> None:
    expected = [(mode, new.decode(), path) for _, mode, _, new, _, path, _ in sides]
    assert [side for _, *side in differences(io.BytesIO(raw_differences(sides)))] == list(map(list, expected))


@given(near(st.lists(SIDES, min_size=1, max_size=4).map(raw_differences)))
def test_differences_that_are_none_are_refused(said: bytes) -> None:
    try:
        found = [(blob, path) for _, _, blob, path in differences(io.BytesIO(said))]
    except ToolError as error:
        one_line(error)
    else:
        assert all(re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", blob) for blob, _ in found)
        assert all(path in said for _, path in found)


ENTRIES = st.tuples(st.sampled_from(b"HSMRCK?hs"), MODES, BLOBS, st.integers(0, 3), PATHS)


def ls_files(entries: list[tuple[int, bytes, bytes, int, bytes]]) -> bytes:
    return b"".join(b"%c %s %s %d\t%s\0" % entry for entry in entries)


@given(st.lists(ENTRIES, max_size=6))
def test_entries_of_the_index_are_read(entries: list[tuple[int, bytes, bytes, int, bytes]]) -> None:
    found = list(index.parse_entries(io.BytesIO(ls_files(entries))))
    regular = [entry for entry in entries if entry[1].startswith(b"100")]
    assert [(e.skipped, e.mode, e.blob, e.stage, e.path) for e in found] == [
        (tag in b"Ss", int(mode, 8), blob.decode(), stage, path) for tag, mode, blob, stage, path in regular
    ]


@given(near(st.lists(ENTRIES, min_size=1, max_size=4).map(ls_files)))
def test_entries_that_are_none_are_refused(said: bytes) -> None:
    try:
        found = list(index.parse_entries(io.BytesIO(said)))
    except ToolError as error:
        one_line(error)
    else:
        assert all(re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", entry.blob) for entry in found)
        assert all(entry.path in said and entry.stage in range(4) for entry in found)


NAMES = st.one_of(
    st.binary(min_size=1, max_size=12),
    st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=8).map(str.encode),
    st.text("a \"\\\t\n\a\x7f-é\u00a0'", min_size=1, max_size=6).map(str.encode),
).map(lambda name: name.replace(b"\0", b"x").replace(b"/", b"x"))


def test_paths_are_quoted_as_git_quotes_them(tmp_path: Path) -> None:
    """What is one plain line stays as it is, which is git's core.quotePath=false; for the rest both agree to the byte."""
    subprocess.run(["git", "init", "-q", tmp_path / "repo"], check=True)

    def run(*args: str, said: bytes = b"") -> bytes:
        return subprocess.run(["git", *args], cwd=tmp_path / "repo", input=said, capture_output=True, check=True).stdout

    @given(st.sets(NAMES, min_size=1, max_size=12))
    def agree(names: set[bytes]) -> None:
        lines = b"".join(b"100644 blob %s\t%s\0" % (b"ab" * 20, name) for name in names)
        tree = run("mktree", "-z", "--missing", said=lines).decode().strip()
        raw = run("ls-tree", "-z", tree).split(b"\0")[:-1]
        quoted = run("-c", "core.quotePath=true", "ls-tree", tree).decode("ascii").split("\n")[:-1]
        assert {entry.partition(b"\t")[2] for entry in raw} == names
        for entry, line in zip(raw, quoted, strict=True):
            name, theirs = entry.partition(b"\t")[2], line.partition("\t")[2]
            ours = paths.quote(name)
            assert ours.isprintable()
            assert ours == (theirs if ours.startswith('"') else name.decode())
            assert ours.startswith('"') or not theirs.startswith('"') or not name.isascii()

    agree()


# The index

STAT = struct.Struct(">10I")


@dataclass(frozen=True)
class Entry:
    """An entry of an index: where it begins, and what it names."""

    offset: int
    path: bytes
    blob: bytes
    mode: int
    stage: int


def entries_of(content: bytes, oid_size: int) -> list[Entry] | None:
    """After gitformat-index(5), name lengths and all; None where it is not so."""
    end = len(content) - oid_size
    if end < 12 or content[:4] != b"DIRC":
        return None
    version, count = struct.unpack_from(">2I", content, 4)
    if version not in (2, 3, 4) or count > len(content):
        return None
    found: list[Entry] = []
    at, path = 12, b""
    for _ in range(count):
        offset, at = at, at + 42 + oid_size
        if at > end:
            return None
        flags = int.from_bytes(content[at - 2 : at])
        if flags & 0x4000:
            if version == 2:
                return None
            at += 2
        if version == 4:
            strip, shift = 0, 0
            while True:
                if at >= end:
                    return None
                byte, at = content[at], at + 1
                strip = (strip + 1 << 7 if shift else 0) + (byte & 127)
                shift = 1
                if not byte & 128:
                    break
            if strip > len(path):
                return None
            kept = path[: len(path) - strip]
        else:
            kept = b""
        behind = content.find(b"\0", at, end)
        if behind < 0:
            return None
        path = kept + content[at:behind]
        at = behind + 1
        if version != 4:
            while (at - offset) % 8:
                if at >= end or content[at]:
                    return None
                at += 1
        if at > end or flags & 0xFFF != min(len(path), 0xFFF) or not path:
            return None
        blob = content[offset + 40 : offset + 40 + oid_size]
        found.append(Entry(offset, path, blob, int.from_bytes(content[offset + 24 : offset + 28]), flags >> 12 & 3))
    if [(e.path, e.stage) for e in found] != sorted({(e.path, e.stage) for e in found}):
        return None
    while at < end:  # extensions: a name, a size, and as many bytes
        if at + 8 > end or not (content[at : at + 1].isupper() or content[at : at + 4] == b"sdir"):
            return None
        at += 8 + int.from_bytes(content[at + 4 : at + 8])
    return found if at == end else None


def real_indexes(folder: Path) -> list[tuple[bytes, int]]:
    """Indexes that git wrote, of every version and with every extension that it writes, each with the size of a name in it."""
    found = []
    for kind, version in (("sha1", 2), ("sha1", 3), ("sha1", 4), ("sha256", 2), ("sha256", 4)):
        repo = folder / f"{kind}{version}"
        subprocess.run(["git", "init", "-q", f"--object-format={kind}", repo], check=True)

        def run(*args: str, said: bytes = b"", repo: Path = repo) -> bytes:
            done = subprocess.run(["git", *args], cwd=repo, input=said, capture_output=True)
            return done.stdout

        blob = run("hash-object", "-w", "--stdin", said=b"git-lob: " + b"ab" * 20).strip()
        paths = [b"a.bin", b"d/b.bin", b"d/b.bin.more", b"d/e/\xff\n", b"l" * 140, b"z"]
        paths += [b"m" * 4200] if kind == "sha256" else []
        lines = [b"100644 %s 0\t%s\0" % (blob, path) for path in paths]
        lines += [b"100755 %s %d\tconflict\0" % (blob, stage) for stage in (1, 2, 3)]
        run("update-index", "-z", "--index-info", said=b"".join(lines))
        if version == 3:
            (repo / "later").write_text("x")
            run("add", "-N", "later")
        run("update-index", "--index-version", str(version))
        for setting in ([], ["core.untrackedCache", "true"], ["index.threads", "2"]):
            if setting:
                run("config", *setting)
                run("update-index", "--force-write-index", "--untracked-cache", "--skip-worktree", "z")
                run("status")
            found.append(((repo / ".git" / "index").read_bytes(), 20 if kind == "sha1" else 32))
        run("update-index", "--split-index")
        found.append(((repo / ".git" / "index").read_bytes(), 20 if kind == "sha1" else 32))
    return found


@st.composite
def index_changes(draw: st.DrawFn) -> list[tuple[float, str, bytes]]:
    """Changes to an index: where (a part of its length), how, and bytes."""
    kinds = st.sampled_from(["replace", "replace", "insert", "drop", "cut", "flip"])
    where = st.one_of(st.floats(0, 1), st.floats(0, 0.05), st.floats(0.9, 1))
    few = st.one_of(
        st.binary(min_size=1, max_size=8), st.sampled_from([b"\0" * 8, b"\xff" * 8, b"\0\0\0\4", b"link", b"xxxx"])
    )
    return draw(st.lists(st.tuples(where, kinds, few), max_size=3))  # fmt: skip


def change(content: bytes, changes: list[tuple[float, str, bytes]]) -> bytes:
    spoilt = bytearray(content)
    for where, kind, data in changes:
        at = int(where * len(spoilt))
        if kind == "flip":
            if at < len(spoilt):
                spoilt[at] ^= 1 << data[0] % 8
        else:
            behind = {"replace": at + len(data), "insert": at, "drop": at + len(data), "cut": len(spoilt)}[kind]
            spoilt[at:behind] = data if kind in ("replace", "insert") else b""
    return bytes(spoilt)


def test_an_index_gets_new_notes_or_is_left_as_it_is(tmp_path: Path) -> None:
    """Whatever is in it: nothing changes but the notes of the files that are meant."""
    originals = real_indexes(tmp_path)
    noted = os.stat(tmp_path)

    @given(st.sampled_from(originals), index_changes(), st.lists(st.integers(0, 9)), st.booleans(), st.booleans())
    def patch(original: tuple[bytes, int], changes: Any, chosen: list[int], forget: bool, wrong: bool) -> None:
        content, oid_size = original
        whole = entries_of(content, oid_size)
        before = change(content, changes)
        entries = entries_of(before, oid_size)
        known = whole or []
        files: dict[bytes, tuple[str, os.stat_result | None]] = {
            entry.path: (entry.blob.hex(), None if forget else noted) for entry in (known[n % len(known)] for n in chosen if known)
        }  # fmt: skip
        if wrong:
            files[b"not/there"] = ("ab" * oid_size, noted)
            files |= {path: ("cd" * oid_size, noted) for path in list(files)[:1]}
        after = bytearray(before)
        if not index_stat._patch(after, oid_size, files):
            assert after == before
            assert entries is None or changes or whole is None, "git wrote it, and it is not split"
            return
        assert entries is not None, "it was written into, and is none"
        expected = bytearray(before)
        for entry in entries:
            blob, found = files.get(entry.path, ("", None))
            if blob == entry.blob.hex() and entry.stage == 0:
                values = [0] * 10
                if found:
                    times = [*divmod(found.st_ctime_ns, 10**9), *divmod(found.st_mtime_ns, 10**9)]
                    values = [*times, found.st_dev, found.st_ino, 0, found.st_uid, found.st_gid, found.st_size]
                values[6] = entry.mode
                STAT.pack_into(expected, entry.offset, *(value % (1 << 32) for value in values))
        assert after == expected

    patch()


# Configuration

TIMEOUTS = st.one_of(
    st.integers(-1, 100_000).map(str), st.sampled_from(["86400", "86401", "٣٠", "1e3", "0x10", " 5", "5 ", "9" * 5000])
)
RATES = st.one_of(
    st.tuples(st.integers(0, 10**7), st.sampled_from(["", "b", "k", "M", "kb", "KiB", "mib", "g", "t", "p", "x", "\u212a"])).map(lambda v: f"{v[0]}{v[1]}"),
    st.floats(0, 2, allow_nan=False).map(lambda v: f"{v:.3f}"), st.integers(0, 10**20).map(str),
    st.sampled_from(["0.4", "0.5", "511b", "0.5kb", "0.512kb", "9223372036854775kb", "9223372036854776kb", "512b", "9007199254740991", "9007199254740992", "8796093022207m", "8796093022208m", "٣", "1.5.5", "1m-1", "9" * 5000]),
)  # fmt: skip
BOOLEANS = st.sampled_from(["true", "FALSE", "yes", "no", "on", "Off", "0", "1", "", "perhaps"])
AGES = st.one_of(
    st.tuples(st.integers(0, 10**10), st.sampled_from(["", "h", "d", "w", "mo", "y", "m", "D"])).map(lambda v: f"{v[0]}{v[1]}"),
    st.sampled_from(["all", "ALL", "٣d", "1.5", "-1", " 1", "1 ", "9" * 5000]),
    st.text("0123456789hdwmoyal ٣", max_size=6),
)  # fmt: skip
PLACES = st.one_of(
    st.sampled_from(["nas:/srv", "/srv", "../x", "rsync://nas/m", "-e/bin/sh", "nas:", "a\nb", "ssh://-x/y", ""]),
    ANY_TEXT,
)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "git-lob.timeout": TIMEOUTS,
    "git-lob.bwlimit": RATES,
    "git-lob.fsync": BOOLEANS,
    "git-lob.retries": st.sampled_from(["0", "100", "101", "-1", "\u0663", "9" * 5000]),
    "git-lob.lock-wait": TIMEOUTS,
    "git-lob.prune-safe": BOOLEANS,
    "git-lob.prune-grace": AGES,
    "git-lob.prune-check-remote": st.sampled_from(["origin", "-x"]),
    "git-lob.retention-period-refs": AGES,
    "git-lob.retention-period-head": AGES,
    "git-lob.retention-period-other": AGES,
    "git-lob.autofetch": BOOLEANS,
    "git-lob.on-missing": st.sampled_from(["placeholder", "fail", "Fail", ""]),
    "git-lob.fetch-refs": AGES,
    "git-lob.fetch-commits-head": AGES,
    "git-lob.fetch-commits-other": AGES,
    "git-lob.fetch-include": st.sampled_from(["*.bin, d/", ",,", "--output=x"]),
    "git-lob.fetch-exclude": st.sampled_from(["*.bin", "-x"]),
    "git-lob.sharedstore": st.sampled_from(["~/shared", "shared", "~nobody-of-that-name/x"]),
    "core.sharedrepository": st.sampled_from(
        ["group", "all", "0640", "0111", "perhaps", "umask", "0\u0666\u0664\u0660"]
    ),
    "core.sshcommand": st.sampled_from(["ssh -x", 'ssh "', ""]),
    "remote.origin.git-lob-path": PLACES,
    "remote.origin.git-lob-provider": st.sampled_from(["rsync", "filesystem", "s3", ""]),
}
ACCEPTED: dict[str, Callable[[str], bool]] = {
    "git-lob.timeout": lambda text: bool(re.fullmatch("[0-9]{1,5}", text)) and 1 <= int(text) <= 86400,
    "git-lob.lock-wait": lambda text: bool(re.fullmatch("[0-9]{1,5}", text)) and int(text) <= 86400,
    "git-lob.retries": lambda text: bool(re.fullmatch("[0-9]{1,5}", text)) and int(text) <= 100,
    "git-lob.fsync": lambda text: text.lower() in ("true", "false", "yes", "no", "on", "off", "0", "1", ""),
    "git-lob.on-missing": lambda text: text in ("placeholder", "fail"),
    "git-lob.fetch-refs": lambda text: bool(re.fullmatch(r"[0-9]{1,9}(h|d|w|mo|y)?|all", text)),
    "core.sharedrepository": lambda text: bool(
        re.fullmatch("umask|group|all|world|everybody|true|false|yes|no|on|off|[0-3]|0[67][0-7]{2}|", text.lower())
    ),
    "remote.origin.git-lob-provider": lambda text: text in ("rsync", "filesystem"),
}
ACCEPTED |= {f"git-lob.{key}": ACCEPTED["git-lob.fsync"] for key in ("autofetch", "prune-safe")}
ACCEPTED |= {key: ACCEPTED["git-lob.fetch-refs"] for key, values in VALUES.items() if values is AGES}
"""Where a key is not among these, any text is accepted, or real rsync or the tests of locations say what is."""


def config_file(values: dict[str, str]) -> bytes:
    """A configuration in git's syntax (git-config(1), "Syntax"), each value in quotes."""
    lines = []
    for key, text in values.items():
        section, _, name = key.rpartition(".")
        section, _, subsection = section.partition(".")
        for what, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t"), ("\b", "\\b")):
            text = text.replace(what, escaped)
        head = f'{section} "{subsection}"' if subsection else section
        lines.append(f'[{head}]\n\t{name} = "{text}"\n')
    return os.fsencode("".join(lines))


def test_every_value_of_the_configuration_is_in_range_or_refused(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path / "work"], check=True)
    os.chdir(tmp_path / "work")
    repo = Repo.discover()
    at = tmp_path / "given"

    @given(st.fixed_dictionaries({key: st.one_of(usual, usual, ANY_TEXT) for key, usual in VALUES.items()}))
    def load(values: dict[str, str]) -> None:
        at.write_bytes(config_file(values))
        listing = subprocess.run(
            ["git", "config", "-z", "--list", "--show-origin", "--file", at], capture_output=True, check=True
        ).stdout
        parsed = {value.key: value for value in gitconfig.parse(listing, None)}
        # git itself leaves a carriage return before a line end out, and takes one for white space
        assert {k: v.text for k, v in parsed.items()} == values
        for key, value in parsed.items():
            try:
                if key in ("git-lob.sharedstore", "core.sharedrepository"):
                    stores = Stores.of(repo, {key: value})
                    assert os.path.isabs(stores.own.root) and (not stores.shared or os.path.isabs(stores.shared.root))
                    settings = None
                else:
                    settings = config.Settings.of(repo, {key: value})
                    if key.startswith("remote."):
                        assert settings.remotes or settings.wrong_remotes
                        settings.remote("origin")
            except UsageError as error:
                line = one_line(error)
                assert key in line and str(at) in line and " ".join(repr(value.text).split()) in line
                assert key not in ACCEPTED or not ACCEPTED[key](value.text) or key == "remote.origin.git-lob-provider"
                continue
            assert key not in ACCEPTED or ACCEPTED[key](value.text), f"{key} = {value.text!r} was accepted"
            if settings:
                assert 1 <= settings.timeout <= 86400
                assert all(
                    seconds >= 0 for seconds in (settings.window.refs, settings.window.head, settings.window.other)
                )
                assert all(
                    spec and spec == spec.strip() and "," not in spec for spec in settings.include + settings.exclude
                )
                for remote in settings.remotes.values():
                    assert not remote.location.rsync_argument().startswith("-")

    load()


TEAM_VALUES = {key: st.one_of(usual, usual, ANY_TEXT) for key, usual in VALUES.items()} | {
    "remote.-oProxyCommand=x.git-lob-path": PLACES,
    "filter.lob.clean": ANY_TEXT,
    "include.path": st.just("../given"),
    "includeif.gitdir:/.path": st.just("../given"),
}
TEAM_FILES = st.sets(st.sampled_from(sorted(TEAM_VALUES))).flatmap(
    lambda keys: st.fixed_dictionaries({key: TEAM_VALUES[key] for key in sorted(keys)}).map(config_file)
)


def test_a_tracked_file_gives_locations_and_windows_and_nothing_else(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path / "work"], check=True)
    os.chdir(tmp_path / "work")
    (tmp_path / "given").write_text("[git-lob]\n\tfetch-refs = 1d\n\ttimeout = 1\n")
    repo = Repo.discover()
    usual = config.Settings.load(repo)
    allowed = ("window", "include", "exclude", "remotes", "wrong_remotes", "warnings")

    @given(st.one_of(TEAM_FILES, TEAM_FILES, spoilt(TEAM_FILES), st.binary(max_size=60)))
    def load(content: bytes) -> None:
        Path(".gitlobconfig").write_bytes(content)
        try:
            settings = config.Settings.load(repo)
        except UsageError as error:
            assert ".gitlobconfig" in one_line(error)
            return
        for name in config.Settings.__slots__:
            assert name in allowed or getattr(settings, name) == getattr(usual, name), name
        assert all(remote.location.rsync_argument()[0] != "-" for remote in settings.remotes.values())
        assert settings.window.refs != 86400 or b"fetch-refs" in content, "what it includes does not count"
        assert Stores.load(repo).shared is None

    load()


@given(st.one_of(RATES, RATES, ANY_TEXT))
def test_a_rate_is_accepted_if_rsync_accepts_it(text: str) -> None:
    """Not the other way round: it knows odder forms."""
    try:
        config.bwlimit(text, lambda why: UsageError(f"{text!r}: {why}"))
    except UsageError as error:
        one_line(error)
        if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,9})?([kmgt]?b?|[kmgt]ib)", text, re.IGNORECASE | re.ASCII):
            assert not rsync_takes(text), text
    else:
        assert rsync_takes(text), text


def rsync_takes(rate: str) -> bool:
    return not subprocess.run(["rsync", f"--bwlimit={rate}", "--version"], capture_output=True).returncode


@given(AGES)
def test_an_age_is_read_as_it_is_meant(text: str) -> None:
    hours = {"h": 1, "d": 24, "": 24, "w": 168, "mo": 720, "y": 8760}
    digits = text.rstrip("hdwmoy")
    unit = text[len(digits) :]
    is_age = text == "all" or (digits.isascii() and digits.isdigit() and len(digits) <= 9 and unit in hours)
    assert age.is_age(text) == is_age
    if is_age:
        assert age.parse(text) == (math.inf if text == "all" else int(digits) * hours[unit] * 3600)
    else:
        with pytest.raises(ValueError):
            age.parse(text)


# Locations

FORMS = [
    "/srv/store",
    "nas:/srv",
    "me@nas:~/x",
    "ssh://me@nas:22/srv",
    "rsync://nas:873/m/x",
    "nas::m/x",
    "[::1]:/x",
    "file:///x",
    "../x",
]


ODD_WORDS = st.text("-x@:/~[]. %$`;|'\"\\\n", max_size=4)


@given(
    st.one_of(
        ANY_TEXT,
        st.builds("{}{}".format, st.sampled_from(["nas:", "ssh://", "ssh://nas/", "rsync://", "nas::", "ssh://nas/~/"]), ANY_TEXT),
        st.builds("{}{}".format, ANY_TEXT, st.sampled_from([":/x", "::m/x", "/x"])),
        st.builds(lambda form, at, odd: form[:at] + odd + form[at:], st.sampled_from(FORMS), st.integers(0, 20), ODD_WORDS),
    )
)  # fmt: skip
def test_no_location_is_anything_but_a_place(text: str) -> None:
    check_place(text)


# .gitattributes

PATTERNS = st.one_of(
    st.sampled_from(["*.png", "a b", '"q"', "#x", "[attr]x", "[a]*", "\\#x", "a\\", "d/*.bin", "/x", "\ufeffx", "x" * 500, "x" * 2100, "é*", "a\rb", "\u2028"]),
    ANY_TEXT, st.text("ab*?[]!-\\\"#/ \t\r\n\x0b\u2028\ufeff", max_size=8),
)  # fmt: skip
CANDIDATES = ["a", "b", "ab", "a b", "x", "#x", "ax", "tx", "x.png", "d/x.bin", "é", '"q"', "a\rb", "\u2028", "a\\"]


def test_a_pattern_is_what_git_makes_of_it(tmp_path: Path) -> None:
    """The other opinion: the same pattern, each of its bytes written as a number."""
    subprocess.run(["git", "init", "-q", tmp_path / "repo"], check=True)
    repo = tmp_path / "repo"

    @given(st.lists(PATTERNS, min_size=1, max_size=8, unique=True))
    def compare(patterns: list[str]) -> None:
        asked: list[bytes] = []
        for number, pattern in enumerate(patterns):
            folder = repo / f"{number}"
            folder.mkdir(exist_ok=True)
            at = folder / ".gitattributes"
            at.unlink(missing_ok=True)
            try:
                line = setup.attribute_line(pattern)
            except UsageError as error:
                one_line(error)
                continue
            octal = "".join(f"\\{byte:03o}" for byte in os.fsencode(pattern))
            setup.add_lines(str(at), [line])
            with at.open("ab") as file:
                file.write(f'"{octal}" other\n'.encode())
            literal = [pattern.lstrip("/"), pattern.replace("\\", "").replace("*", "xx")]
            asked += [
                b"%d/%s" % (number, os.fsencode(name)) for name in [*CANDIDATES, *literal]
                if name and not {"", ".", ".."} & set(name.split("/"))
            ]  # fmt: skip
        done = subprocess.run(
            ["git", "check-attr", "-z", "--stdin", "filter", "text", "merge", "other"],
            cwd=repo, input=b"".join(path + b"\0" for path in asked), capture_output=True, check=True,
        )  # fmt: skip
        assert done.stderr == b""
        words = done.stdout.split(b"\0")[:-1]
        for path, values in zip(words[::12], zip(*(words[n::12] for n in (2, 5, 8, 11)), strict=True), strict=True):
            assert values in ((b"lob", b"unset", b"unset", b"set"), (b"unspecified",) * 4), path

    compare()


def test_tracking_twice_adds_nothing(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path / "work"], check=True)
    os.chdir(tmp_path / "work")
    repo = Repo.discover()

    @given(st.lists(PATTERNS, min_size=1, max_size=4), st.sampled_from([b"", b"*.txt text", b"\xff x\r\n", b"a\n"]))
    def track(patterns: list[str], before: bytes) -> None:
        Path(".gitattributes").write_bytes(before)
        try:
            path, lines = setup.untracked(repo, patterns)
        except UsageError as error:
            one_line(error)
            return
        setup.add_lines(path, lines)
        content = Path(path).read_bytes()
        assert content.startswith(before) and content.count(b" filter=lob -text -merge\n") == len(set(patterns))
        assert setup.untracked(repo, patterns) == (path, [])

    track()
