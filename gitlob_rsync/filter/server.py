"""git's long-running filter (gitattributes(5), "Long Running Filter Process", version 2): one process for all files of a
git command, and one download for all binaries that a checkout lacks.

A binary that is here streams from the store. A large one is answered `delayed` first, so that it is hashed while git asks
for the next ones. A missing one is answered `delayed`, too; when git asks which of these have become available, all are
downloaded at once, and those that are not available stay placeholders.
"""

import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from gitlob_rsync import placeholder
from gitlob_rsync.errors import GitlobError, line_of, writing
from gitlob_rsync.filter import pktline
from gitlob_rsync.filter.convert import split_placeholder
from gitlob_rsync.filter.lookahead import Ahead
from gitlob_rsync.filter.pktline import ProtocolError
from gitlob_rsync.filter.supply import Origin, Supply
from gitlob_rsync.git.paths import quote
from gitlob_rsync.placeholder import Sha

CAPABILITIES = ("clean", "smudge", "delay")
_SPOOL = 1 << 20
_OBJECT = re.compile(r"[0-9a-f]{40,64}\Z")


@dataclass(frozen=True, slots=True)
class _Request:
    command: str
    path: bytes
    can_delay: bool
    origin: Origin


class Server:
    """One conversation with git. `may_be_near`: see Filter.clean. `told`: messages for the user at the end, about what
    failed."""

    def __init__(
        self, supply: Supply, source: IO[bytes], output: IO[bytes], may_be_near: Callable[[], bool] = lambda: False
    ) -> None:
        self._supply = supply
        self._may_be_near = may_be_near
        self._source = source
        self._output = output
        self._delayed: dict[bytes, tuple[Sha, bytes]] = {}
        self._announced: set[bytes] = set()
        self._ahead = Ahead(supply.filter.is_sound)
        self.told: list[str] = []

    def serve(self) -> None:
        """Answer git until it closes its end. Raises ProtocolError if it does not speak the protocol."""
        try:
            self._shake_hands()
            while True:
                self._answer(self._next_request())
                self._output.flush()
        except EOFError:
            return

    def _shake_hands(self) -> None:
        if pktline.read_packet(self._source) != b"git-filter-client\n":
            raise ProtocolError("this is not git's filter protocol", "gitlob-filter process is started by git")
        if b"version=2\n" not in list(pktline.read_list(self._source)):
            raise ProtocolError("git offers no version of the filter protocol that is known here (2)")
        pktline.write_lines(self._output, b"git-filter-server", b"version=2")
        self._output.flush()
        offered = {line.rstrip(b"\n") for line in pktline.read_list(self._source)}
        common = [b"capability=" + name.encode() for name in CAPABILITIES if b"capability=" + name.encode() in offered]
        pktline.write_lines(self._output, *common)
        self._output.flush()

    def _next_request(self) -> _Request:
        """Raises EOFError when git is done."""
        first = pktline.read_packet(self._source)
        if first is None:
            raise ProtocolError("git sent an empty request")
        pairs = dict(
            line.removesuffix(b"\n").partition(b"=")[::2] for line in [first, *pktline.read_list(self._source)]
        )
        command = pairs.get(b"command", b"").decode(errors="replace")
        if command not in ("clean", "smudge", "list_available_blobs"):
            raise ProtocolError(f"git sent an unknown command ({command!r})")
        ref, treeish = (pairs.get(key, b"").decode(errors="surrogateescape") for key in (b"ref", b"treeish"))
        origin = Origin(ref, treeish if _OBJECT.match(treeish) else "")
        return _Request(command, pairs.get(b"pathname", b""), pairs.get(b"can-delay") == b"1", origin)

    def _answer(self, request: _Request) -> None:
        if request.command == "list_available_blobs":
            self._list_available()
        elif request.command == "clean":
            self._clean(request)
        else:
            self._smudge(request)

    def _clean(self, request: _Request) -> None:
        blocks = pktline.read_list(self._source)
        if placeholder.has_none(request.path):
            self._send(_spooled(b"", blocks))
            return
        try:
            stands_for = self._supply.filter.clean(blocks, quote(request.path), self._may_be_near)
        except ProtocolError:
            raise
        except (GitlobError, OSError) as error:
            for _ in blocks:  # git does not read an answer before it has sent everything
                pass
            self.told.append(line_of(error))
            pktline.write_lines(self._output, b"status=error")
        else:
            self._send([stands_for])

    def _send(self, content: Iterable[bytes]) -> None:
        """A success, its content, and nothing to add."""
        pktline.write_lines(self._output, b"status=success")
        try:
            pktline.write_content(self._output, content)
        except ProtocolError:
            raise
        except (GitlobError, OSError) as error:
            # too late to send something else: git discards what it received
            self._output.write(pktline.FLUSH)
            pktline.write_lines(self._output, b"status=error")
            self.told.append(line_of(error))
            return
        self._output.write(pktline.FLUSH)

    def _smudge(self, request: _Request) -> None:
        self._supply.origin = request.origin
        sha, start, rest = split_placeholder(pktline.read_list(self._source))
        if sha and placeholder.has_none(request.path):
            self._tell_of_wrong(request.path)
            sha = None
        if request.path in self._delayed and not start:
            sha, start = self._delayed.pop(request.path)
            self._announced.discard(request.path)  # one git command may check it out more than once
            self._hand_over(sha, start)
        elif sha is None:
            self._send(_spooled(start, rest))
        elif request.can_delay and self._supply.filter.takes_long(sha):
            self._delay(request.path, sha, start)
            self._ahead.begin(request.path, sha)
        elif (content := self._supply.filter.load(sha)) is not None:
            self._send(content)
        elif request.can_delay and self._supply.can_bring:
            self._delay(request.path, sha, start)
        else:
            self._bring([sha])
            self._hand_over(sha, start)

    def _tell_of_wrong(self, path: bytes) -> None:
        """A placeholder was committed as a file that git has to read: it is checked out as it is, or each checkout would
        leave a file that counts as changed."""
        name = quote(path)
        self.told.append(
            f"{name} was committed as a placeholder, which git cannot read: write its content, and commit it "
            f"(git cat-file blob :{name} | gitlob-filter smudge prints what it was)"
        )

    def _bring(self, shas: Collection[Sha]) -> None:
        if self._supply.can_bring:
            self._ahead.rest()
        self._supply.bring(shas)

    def _delay(self, path: bytes, sha: Sha, start: bytes) -> None:
        self._delayed[path] = (sha, start)
        self._announced.discard(path)
        pktline.write_lines(self._output, b"status=delayed")

    def _list_available(self) -> None:
        """Those of the delayed files that are here, as they are found sound; then all others at once; then none, by which
        git knows that there will be no more."""
        fresh = [path for path in self._ahead.approved() if path in self._delayed and path not in self._announced]
        if not fresh and (fresh := [path for path in self._delayed if path not in self._announced]):
            self._bring({sha for sha, _ in self._delayed.values()})
        self._announced.update(fresh)
        for path in fresh:
            pktline.write_packet(self._output, b"pathname=" + path + b"\n")
        self._output.write(pktline.FLUSH)
        pktline.write_lines(self._output, b"status=success")

    def _hand_over(self, sha: Sha, start: bytes) -> None:
        """The content of a binary that was to be downloaded, or else its placeholder."""
        content = self._supply.load(sha)
        if content is not None:
            self._send(content)
        elif self._supply.must_have:
            pktline.write_lines(self._output, b"status=error")
        else:
            self._send([start])


def _spooled(start: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """Content that is not a placeholder, unchanged: git sends all of it before it reads any."""
    with writing(tempfile.gettempdir()), tempfile.SpooledTemporaryFile(_SPOOL) as spool:
        spool.write(start)
        try:
            for block in rest:
                spool.write(block)
        except OSError:
            for _ in rest:
                pass
            raise
        spool.seek(0)
        while block := spool.read(_SPOOL):
            yield block
