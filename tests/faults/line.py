"""A line to a server on loopback that breaks: it falls silent, or closes, after so many bytes."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass
class Line:
    """`port`: where it is to be called; `limits`: how many bytes each connection in turn lets through, both ways taken
    together, before it breaks; those that follow are as good as any. `broken` counts the breaks; `carried`, all bytes."""

    port: int
    limits: list[int]
    closes: bool
    broken: int = 0
    carried: int = 0
    _ends: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def _serve(self, server: socket.socket, target: int) -> None:
        with contextlib.suppress(OSError):  # the end of the block closes the server
            while True:
                here, _ = server.accept()
                there = socket.create_connection(("127.0.0.1", target))
                with self._lock:
                    self._ends += [here, there]
                    room = [self.limits.pop(0)] if self.limits else []
                for one, other in ((here, there), (there, here)):
                    threading.Thread(target=self._carry, args=(one, other, room), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, room: list[int]) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(4096):
                with self._lock:
                    self.carried += len(block)
                    breaks = bool(room) and 0 <= room[0] < len(block)
                    if room and room[0] < 0:
                        continue  # silent: what comes is swallowed
                    if breaks:
                        block = block[: room[0]]
                        self.broken += 1
                    if room:
                        room[0] = -1 if breaks else room[0] - len(block)
                sink.sendall(block)
                if breaks and self.closes:
                    for end in (source, sink):
                        end.shutdown(socket.SHUT_RDWR)
            if not room or room[0] >= 0:
                sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def line(target: int, limits: Sequence[int] = (), *, closes: bool = False) -> Iterator[Line]:
    """A line to a port of this machine, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = Line(server.getsockname()[1], list(limits), closes)
        thread = threading.Thread(target=made._serve, args=(server, target), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for end in made._ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
