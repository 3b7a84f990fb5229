"""Our programs, run by tests: each in a process of its own, with descriptors, folder, environment and exit code of its own.

A start of Python and of our modules takes longer than most of what the tests have done. So the test process has loaded the
commands once, and forks. What is about the start itself, about processes that are killed, or about PATH, starts programs as
users do: by subprocess, or where `run` sees that the environment is not the usual one.
"""

import gc
import importlib
import io
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
_PRELOADED = sorted(file.stem for file in (ROOT / "gitlob_rsync" / "commands").glob("[!_]*.py"))


def run(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Run a program with nothing on standard input; its output as text (UTF-8, with surrogateescape)."""
    main = _main(argv, env)
    if main is None:
        return subprocess.run(argv, cwd=cwd, env=dict(env), capture_output=True, stdin=subprocess.DEVNULL,
                              encoding="utf-8", errors="surrogateescape", timeout=timeout)  # fmt: skip
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if not pid:
            _become(main, argv, cwd, env, out.fileno(), err.fileno())
        code = _wait(pid, argv, timeout)
        return subprocess.CompletedProcess(argv, code, _text(out), _text(err))


def _main(argv: Sequence[str], env: Mapping[str, str]) -> Callable[[], int] | None:
    """The main function of one of our programs, where it can be forked."""
    if not argv[0].startswith("gitlob-") or env.get("PYTHONPATH") != str(ROOT) or env.get("LC_ALL") != "C.UTF-8":
        return None
    if any(name.startswith("PYTHON") and name != "PYTHONPATH" for name in env):
        return None
    if shutil.which(argv[0], path=env["PATH"]) != str(ROOT / "bin" / argv[0]):
        return None
    for name in ("sh", *(f"gitlob_rsync.commands.{name}" for name in _PRELOADED)):
        importlib.import_module(name)
    main: Callable[[], int] = importlib.import_module(f"gitlob_rsync.commands.{argv[0].removeprefix('gitlob-')}").main
    return main


def _become(
    main: Callable[[], int], argv: Sequence[str], cwd: Path, env: Mapping[str, str], out: int, err: int
) -> NoReturn:  # fmt: skip
    code = 1
    gc.freeze()  # garbage of the parent would close descriptors by numbers that are files of ours by then
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
            stream = open(number, mode, encoding="utf-8", errors="surrogateescape", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        tempfile.tempdir = None
        sys.argv = [str(ROOT / "bin" / argv[0]), *argv[1:]]
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        code = _ended(main)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(code & 0xFF)


def _ended(main: Callable[[], int]) -> int:
    try:
        return int(main())
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return int(ended.code or 0)
        print(ended.code, file=sys.stderr)
        return 1


def _wait(pid: int, argv: Sequence[str], timeout: float) -> int:
    deadline = time.monotonic() + timeout
    process = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([process], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if not ready:
            raise subprocess.TimeoutExpired(argv, timeout)
        return os.waitstatus_to_exitcode(status)
    finally:
        os.close(process)


def _text(file: io.BufferedRandom) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "surrogateescape")
