"""Running other programs: one at a time, joined by kernel pipes, or asked questions one after the other.

Every exit code of every process is checked: a scan whose first process died still prints plausible results. Only rsync
is run elsewhere (transport/rsync/run.py).
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

from gitlob_rsync.errors import ToolError, ToolKilled, UsageError, writing

_SCRUBBED = (
    "GIT_EXTERNAL_DIFF",
    "GIT_DIFF_OPTS",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "GIT_PREFIX",
    "GIT_PAGER",
    "RSYNC_ICONV",
    "RSYNC_OLD_ARGS",
    "RSYNC_PROTECT_ARGS",
    "RSYNC_PARTIAL_DIR",
)


_UNTRACED = {"GIT_TRACE": "0", "GIT_TRACE2": "0", "GIT_TRACE2_EVENT": "0", "GIT_TRACE2_PERF": "0"}
"""A trace on stderr would be taken for git's message."""


def folders_of_tools() -> list[str]:
    """The folders on PATH, without those that are relative to the current one."""
    return [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(folder)]


def tool(name: str) -> str:
    """The absolute path of a program on PATH. Raises UsageError where there is none."""
    for folder in folders_of_tools():
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise UsageError(f"{name} is not installed", f"install {name} or put its folder on PATH")


def own_folder() -> str | None:
    """The folder of our programs, by the path of this one, or else of what that links to; None where it is not known."""
    with suppress(OSError):  # called by a relative path, from a folder that was deleted
        called = os.path.abspath(sys.argv[0])
        for at in (called, os.path.realpath(called)):
            folder = os.path.dirname(at)
            if os.access(os.path.join(folder, "gitlob-filter"), os.X_OK):
                return folder
    return None


def clean_env(**own: str) -> dict[str, str]:
    """Our environment, without what would change the meaning of a command, in the C locale, never prompting; a shell that
    runs the user's ssh command does not look into the current folder either.

    PATH ends with the folder of our programs where it lacks it, as under cron and systemd: git starts the filter by its bare
    name."""
    env = {name: value for name, value in os.environ.items() if name not in _SCRUBBED}
    folders = folders_of_tools()
    if (ours := own_folder()) and ours not in folders and os.pathsep not in ours:
        folders.append(ours)
    env["PATH"] = os.pathsep.join(folders)
    return (
        env
        | {"LC_ALL": "C", "LANGUAGE": "C", "GIT_TERMINAL_PROMPT": "0", "SSH_ASKPASS_REQUIRE": "never"}
        | _UNTRACED
        | own
    )


def asking_env() -> dict[str, str]:
    """What makes ssh ask by SSH_ASKPASS: rsync starts it without a terminal."""
    own = os.environ.get("SSH_ASKPASS_REQUIRE")
    return {"SSH_ASKPASS_REQUIRE": own if own in ("prefer", "force") else "force"}


def _describe(argv: Sequence[str], code: int, stderr: bytes) -> ToolError:
    said = stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
    told = [line for line in said if line.startswith(("fatal: ", "error: "))] or said  # what follows is git's advice
    verb = next((word for word in argv[1:] if word[:1] != "-" and "=" not in word), "")
    ended = f"signal {-code}" if code < 0 else f"exit code {code}"
    kind = ToolKilled if code < 0 else ToolError
    return kind(f"{os.path.basename(argv[0])} {verb} failed ({ended}): {told[-1]}")


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | None = None,
    input: bytes = b"",
    ok: Sequence[int] = (0,),
    seconds: float | None = None,
    merged: bool = False,
    unheard: bytes = b"",
) -> bytes:
    """Run to the end and return what it wrote to stdout, `merged` with stderr. Raises ToolError for an exit code that is
    not in `ok`, where it took longer than `seconds`, and where stderr has `unheard` in it: some programs leave out what
    they cannot read, warn, and exit with 0."""
    errors = subprocess.STDOUT if merged else subprocess.PIPE
    try:
        done = subprocess.run(
            argv, env=env, cwd=cwd, input=input, stdout=subprocess.PIPE, stderr=errors, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"{os.path.basename(argv[0])} took longer than {seconds} seconds") from None
    said = done.stdout if merged else done.stderr
    if done.returncode not in ok or (unheard and unheard in said):
        raise _describe(argv, done.returncode, said)
    return done.stdout


@contextmanager
def scratch() -> Iterator[IO[bytes]]:
    """A temporary file, to write, rewind and read."""
    with writing(tempfile.gettempdir()), tempfile.TemporaryFile() as file:
        yield file


@contextmanager
def pipeline(
    *argvs: Sequence[str], env: Mapping[str, str], cwd: str | None = None, stdin: IO[bytes] | None = None
) -> Iterator[IO[bytes]]:
    """Join processes by kernel pipes and yield the last one's stdout. `stdin` is a real file, read from its position.

    Leaving the block waits for all of them; raises ToolError where one failed. An exception in the block ends them.
    """
    processes: list[subprocess.Popen[bytes]] = []
    errors: list[IO[bytes]] = []
    feed: Any = stdin if stdin is not None else subprocess.DEVNULL
    try:
        for argv in argvs:
            errors.append(tempfile.TemporaryFile())
            processes.append(
                subprocess.Popen(argv, env=env, cwd=cwd, stdin=feed, stdout=subprocess.PIPE, stderr=errors[-1])
            )
            if len(processes) > 1:
                feed.close()  # so that the writer sees the end of its reader
            feed = processes[-1].stdout
        yield feed
        feed.close()
        failed = [number for number, process in enumerate(processes) if process.wait()]
        # one whose reader died is a consequence, not the cause
        failed.sort(key=lambda number: processes[number].returncode == -signal.SIGPIPE)
        for number in failed:
            errors[number].seek(0)
            raise _describe(argvs[number], processes[number].returncode, errors[number].read())
    finally:
        for process in processes:
            if process.stdout:
                process.stdout.close()
            if process.poll() is None:
                process.kill()
                process.wait()
        for stderr in errors:
            stderr.close()


def end_with_parent() -> None:
    """Have this process receive SIGTERM when the one that started it is killed: Linux's prctl(2), PR_SET_PDEATHSIG.
    Elsewhere it notices when it next writes to a pipe that nobody reads."""
    import ctypes

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def bytes_read(leader: int) -> int | None:
    """How many bytes a process, and those of its children that are forks of it, have read so far, from files and
    connections, as Linux counts them (proc(5), rchar). None where that is not known."""

    def of(pid: str, what: str) -> str:
        with open(f"/proc/{pid}/{what}", encoding="utf-8") as file:
            return file.read()

    found = []
    with suppress(OSError):
        program = of(str(leader), "comm")
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                parent = int(of(pid, "stat").rpartition(")")[2].split()[1])
                if of(pid, "comm") == program and leader in (int(pid), parent):
                    found.append(int(of(pid, "io").split()[1]))
    return sum(found) if found else None


class Conversation:
    """A process that answers lines with lines, in order. Use it in a `with` block.

    Nobody may say more than a pipe holds (64 KiB) before listening: `ask` takes care of neither side getting stuck only
    while questions and answers of one call stay below that.
    """

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: str | None = None) -> None:
        self._argv = argv
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._process.kill()
        assert self._process.stdin and self._process.stdout
        # what is still buffered is sent here; how the process ended says more than a failure of that
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        code = self._process.wait()
        if kind is None and code:
            raise self._failed()
        self._errors.close()

    def _failed(self) -> ToolError:
        self._errors.seek(0)
        return _describe(self._argv, self._process.wait(), self._errors.read())

    def ask(self, questions: bytes) -> IO[bytes]:
        """Send whole lines; returns where their answers are read."""
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(questions)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failed() from None
        return self._process.stdout

    def broke_off(self) -> ToolError:
        """What to raise where an answer ended early."""
        return self._failed()
