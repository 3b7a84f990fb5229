"""Python imports this at its start where this folder is on PYTHONPATH: kill -9 of one of our programs from within, just
before the n-th thing that it does to a file. From outside nobody can meet the moment between two renames.

GITLOB_KILLED is PROGRAM:N:MARK; the file MARK tells that it was done.
"""

import os
import signal
import sys

_program, _, _rest = os.environ.get("GITLOB_KILLED", "").partition(":")
_left, _, _mark = _rest.partition(":")
_countdown = int(_left or 0)
_KINDS = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.utime", "os.truncate"}


def _count(event: str, args: tuple[object, ...]) -> None:
    global _countdown
    writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
    if (event in _KINDS or writes) and _countdown >= 0:
        _countdown -= 1
        if _countdown < 0:
            os.close(os.open(_mark, os.O_WRONLY | os.O_CREAT))
            os.kill(os.getpid(), signal.SIGKILL)


if _program and any(os.path.basename(word) == _program for word in sys.orig_argv[:3]):
    sys.addaudithook(_count)
