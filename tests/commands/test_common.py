"""A signal ends whatever is going on, at whatever moment it comes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gitlob_rsync.errors import GitlobError, Interrupted
from tests.support.processes import program, wait_until
from tests.support.work import Work

LINE = "interrupted (run it again: it goes on where it stopped)"


def test_it_is_no_error_that_one_may_live_with() -> None:
    assert not issubclass(Interrupted, Exception) and not issubclass(GitlobError, KeyboardInterrupt)


@pytest.mark.parametrize(
    "argv",
    [
        ("gitlob-setup", "--check"),
        ("gitlob-sync", "--push"),
        ("gitlob-fsck", "--remote"),
        ("gitlob-purge", "--remote-store"),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_ssh_that_hangs(work: Work, tmp_path: Path, argv: tuple[str, ...], number: signal.Signals) -> None:
    work.commit(a__bin="one")
    (tmp_path / "hang").mkdir()
    program(tmp_path / "hang" / "ssh", f"touch {tmp_path}/begun; exec sleep 60")
    work.run("gitlob-setup", "-q", "origin", "ssh://host.invalid/x")
    env = {**os.environ, "GIT_SSH_COMMAND": f"{tmp_path}/hang/ssh"}
    process = subprocess.Popen(argv, cwd=work.path, env=env, stderr=subprocess.PIPE, text=True)
    wait_until((tmp_path / "begun").exists, "ssh runs", process=process)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number
    assert said.splitlines()[-1] == f"{argv[0]}: {LINE}"


IN_A_CALLBACK = """
import os, signal, sys, time
from gitlob_rsync.commands.common import guard
def main(argv):
    os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), int(sys.argv[1])))
    if not os.fork():
        os._exit(0)
    time.sleep(20)
    return 0
sys.exit(guard("test", main))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_one_that_falls_into_a_callback_is_not_lost(number: signal.Signals) -> None:
    argv = [sys.executable, "-c", IN_A_CALLBACK, str(int(number))]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (128 + number, f"test: {LINE}\n")
