"""Work on a second processor, in a copy of this process: threads of Python share one."""

import os
import pickle
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from gitlob_rsync.errors import GitlobError, ToolError, line_of

T = TypeVar("T")


class Forked(Generic[T]):
    """Runs a function in a fork of this process. Use it in a `with` block, and before any thread is started. What the
    function returns comes back through a pipe (pickle)."""

    def __init__(self, work: Callable[[], T]) -> None:
        reader, writer = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            code = 1
            with suppress(BaseException):
                os.close(reader)
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_DFL)
                with open(writer, "wb") as answer:
                    pickle.dump(_outcome(work), answer, pickle.HIGHEST_PROTOCOL)
                code = 0
            os._exit(code)
        os.close(writer)
        self._answer = open(reader, "rb")
        self._done = False

    def __enter__(self) -> "Forked[T]":
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.close()
        if not self._done:
            os.kill(self._pid, signal.SIGTERM)
        os.waitpid(self._pid, 0)

    def result(self) -> T:
        """Wait for the result. Raises what the function raised, an OSError as GitlobError."""
        try:
            value, wrong, trace = pickle.load(self._answer)  # noqa: S301 - our own words
            self._done = True
        except (EOFError, pickle.UnpicklingError):
            raise ToolError("a part of this program was killed") from None
        if trace:
            raise RuntimeError(trace)
        if wrong:
            raise GitlobError(wrong)
        result: T = value
        return result


def _outcome(work: Callable[[], T]) -> tuple[T | None, str, str]:
    """(the result, an expected error's line, an unexpected one's traceback)."""
    try:
        return work(), "", ""
    except (GitlobError, OSError) as error:
        return None, line_of(error), ""
    except Exception:
        import traceback

        return None, "", traceback.format_exc()
