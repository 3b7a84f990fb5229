"""git's side of the long-running filter protocol (gitattributes(5)), to speak to the filter without git."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

MOST = 65516


def packet(content: bytes) -> bytes:
    return b"%04x" % (len(content) + 4) + content


def lines(*texts: str | bytes) -> bytes:
    """A packet for each line, and a flush."""
    return b"".join(packet((t.encode() if isinstance(t, str) else t) + b"\n") for t in texts) + b"0000"


def content(data: bytes) -> bytes:
    """Packets of content, and a flush."""
    return b"".join(packet(data[at : at + MOST]) for at in range(0, len(data), MOST)) + b"0000"


@dataclass(frozen=True)
class Answer:
    status: str
    content: bytes
    final: str


class GitClient:
    """A conversation with `gitlob-filter process`, begun with a handshake."""

    def __init__(
        self, folder: Path, *capabilities: str, program: tuple[str, ...] = ("gitlob-filter", "process")
    ) -> None:
        self.process = subprocess.Popen(
            program, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.capabilities: list[str] = []
        if capabilities:
            self.send(lines("git-filter-client", "version=2"))
            assert self.read_lines() == ["git-filter-server", "version=2"]
            self.send(lines(*(f"capability={name}" for name in capabilities)))
            self.capabilities = [line.removeprefix("capability=") for line in self.read_lines()]

    def send(self, data: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def read_packet(self) -> bytes | None:
        assert self.process.stdout
        size = int(self.process.stdout.read(4), 16)
        if size == 0:
            return None
        data = self.process.stdout.read(size - 4)
        assert len(data) == size - 4
        return data

    def read_lines(self) -> list[str]:
        found = []
        while (data := self.read_packet()) is not None:
            found.append(data.decode(errors="surrogateescape").rstrip("\n"))
        return found

    def ask(self, command: str, path: str | bytes, data: bytes, *more: str) -> Answer:
        """One request with content, and its answer."""
        name = path.encode() if isinstance(path, str) else path
        self.send(lines(f"command={command}", b"pathname=" + name, *more) + content(data))
        return self.answer()

    def answer(self) -> Answer:
        status = dict(line.split("=") for line in self.read_lines())["status"]
        if status != "success":
            return Answer(status, b"", status)
        packets = []
        while (data := self.read_packet()) is not None:
            packets.append(data)
        final = dict(line.split("=") for line in self.read_lines()).get("status", "success")
        return Answer(status, b"".join(packets), final)

    def available(self) -> list[str]:
        self.send(lines("command=list_available_blobs"))
        paths = [line.removeprefix("pathname=") for line in self.read_lines()]
        assert self.read_lines() == ["status=success"]
        return paths

    def end(self) -> tuple[int, str]:
        """Close our side; the exit code and what was said on stderr."""
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors.decode()
