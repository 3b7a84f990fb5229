"""`make matrix`: one small job with the rsync and the git that it is pointed at, over every way there; a line for each.

The job: push, kill and resume a push, pull, kill and resume a pull, purge, purge the remote store, fsck.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.handmade import check, files_of, put, sha_of
from tests.support.places import Place
from tests.support.processes import processes, wait_until
from tests.support.repositories import repository
from tests.support.servers import serve_rsync, serve_ssh
from tests.support.work import DAY, Work, own_environment

WAYS = ("path", "ssh", "daemon", "daemon folder")
LARGE = os.urandom(1 << 20) * 48
"""Two chunks, of which a kill cuts off the first."""
RATE = "24m"


@dataclass
class Job:
    """The steps, in the order in which they are taken. Each raises AssertionError where it went wrong."""

    top: Path
    place: Place
    config: str

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        return [
            ("push", self.push), ("resume", self.resume_a_push), ("pull", self.pull), ("resume pull", self.resume_a_pull),
            ("purge", self.purge), ("remote purge", self.remote_purge), ("fsck", self.fsck),
        ]  # fmt: skip

    def _work(self, name: str, files: dict[str, bytes], *, have: bool) -> Work:
        if not (self.top / name).exists():
            repository(self.top / name, self.place.location, files, have=have, config=self.config)
        return Work(self.top / name)

    def _sender(self) -> Work:
        return self._work(
            "one", {"a.bin": b"abc", "b.bin": b"def" * 9999, "empty.bin": b"", "large.bin": LARGE}, have=True
        )

    def _receiver(self) -> Work:
        return self._work("other", {"a.bin": b"abc", "large.bin": LARGE}, have=False)

    def push(self) -> None:
        self._sender().sync("--push", "--exclude", "large.bin")
        assert check(self.place.folder) == {sha_of(b"abc"), sha_of(b"def" * 9999), sha_of(b"")}

    def resume_a_push(self) -> None:
        self._cut_off(self._sender(), "--push", self.place.folder)
        self._sender().sync("--push")
        assert sha_of(LARGE) in check(self.place.folder)
        assert not [*self.place.folder.rglob(".rsync-partial-*")], "what was cut off is used up"

    def pull(self) -> None:
        self._receiver().sync("--pull", "--exclude", "large.bin")
        assert check(self._receiver().content) == {sha_of(b"abc")}

    def resume_a_pull(self) -> None:
        self._cut_off(self._receiver(), "--pull", self._receiver().content.parent / "staging")
        self._receiver().sync("--pull")
        assert check(self._receiver().content) == {sha_of(b"abc"), sha_of(LARGE)}

    def _cut_off(self, work: Work, direction: str, lands: Path) -> None:
        """Kill a transfer amid a chunk, and wait until nothing of it is left."""
        process = subprocess.Popen(
            ["gitlob-sync", direction, "--bwlimit", RATE], cwd=work.path, stderr=subprocess.DEVNULL
        )

        def half() -> bool:
            return any(at.stat().st_size > 8 << 20 for at in lands.rglob(".*_0.*"))

        wait_until(half, "half of a chunk comes", process=process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_until(lambda: not processes(self.top), "nothing of it is left")

    def purge(self) -> None:
        work = self._sender()
        needed = check(work.content)
        _strew(work.content, b"a stray")
        work.run("gitlob-purge")
        assert check(work.content) == needed

    def remote_purge(self) -> None:
        """A stray goes into the trash, and what a clone needs comes back from there."""
        root = self.place.folder
        needed = check(root)
        _strew(root, b"a stray")
        self._sender().run("gitlob-purge", "--remote-store", "--grace", "2d")
        assert check(root) == needed
        (trash,) = (root / "gitlob" / "trash").iterdir()
        assert check(trash) == {sha_of(b"a stray")}
        for name in files_of(b"abc"):
            (trash / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).rename(trash / name)
        self._sender().run("gitlob-purge", "--remote-store", "--grace", "2d")
        assert check(root) == needed

    def fsck(self) -> None:
        for work in (self._sender(), self._receiver()):
            work.run("gitlob-fsck")
            work.run("gitlob-fsck", "--remote", "--fast")


def _strew(root: Path, content: bytes) -> None:
    """A binary that nobody needs, and that has long been there."""
    put(root, content)
    then = time.time() - 9 * DAY
    for name in files_of(content):
        os.utime(root / name, (then, then))


@contextmanager
def served(way: str, top: Path, remote_rsync: str) -> Iterator[tuple[Place, str]]:
    """Where the remote store is to be, and what has to be configured for it."""
    if way == "path":
        yield Place(str(top / "remote" / "store"), top / "remote" / "store"), ""
    elif way == "ssh":
        (top / "sshd").mkdir()
        with serve_ssh(top / "sshd") as server:
            folder = top / "remote" / "store"
            config = f"[core]\n\tsshCommand = {server.command}\n[git-lob]\n\trsync-path = {remote_rsync}\n"
            yield Place(server.location(folder), folder), config
    else:
        with serve_rsync(top, remote_rsync) as daemon:
            below = "deep/er" if way == "daemon folder" else ""
            yield Place(daemon.location(below), daemon.folder / below), ""


def version_of(program: str) -> str:
    """The number that a program says."""
    words = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()
    return next((word for word in words if word[0].isdigit()), "?")


def run(way: str, remote_rsync: str) -> list[str]:
    """Do the job over one way there; returns what went wrong."""
    wrong = []
    with tempfile.TemporaryDirectory(prefix="gitlob-matrix-") as folder:
        with served(way, Path(folder), remote_rsync) as (place, config):
            job = Job(Path(folder), place, config)
            for name, step in job.steps():
                try:
                    step()
                except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as error:
                    said = [line for line in str(error).splitlines() if line.strip()]
                    why = next((line for line in said if line.startswith("gitlob-")), said[0] if said else repr(error))
                    wrong.append(f"{name}: {why}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="make matrix", description=__doc__)
    parser.add_argument("--rsync", metavar="PATH", help="the rsync of this side (default: that on PATH)")
    parser.add_argument("--remote-rsync", metavar="PATH", help="that of the far side, over ssh and as a daemon")
    parser.add_argument("--git", metavar="PATH", help="the git (default: that on PATH)")
    parser.add_argument("--way", choices=WAYS, action="append", help="only this way there; may be given again")
    args = parser.parse_args()
    rsync, git = (
        os.path.abspath(given) if given else shutil.which(name) or parser.error(f"there is no {name} on PATH")
        for given, name in ((args.rsync, "rsync"), (args.git, "git"))
    )
    remote_rsync = os.path.abspath(args.remote_rsync) if args.remote_rsync else rsync
    with tempfile.TemporaryDirectory(prefix="gitlob-matrix-") as folder:
        for name in [name for name in os.environ if name.startswith(("GIT_", "RSYNC_", "XDG_"))]:
            del os.environ[name]
        os.environ.update(own_environment(Path(folder)))
        programs = Path(folder, "programs")
        programs.mkdir()
        (programs / "rsync").symlink_to(rsync)
        (programs / "git").symlink_to(git)
        os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
        versions = version_of(rsync), version_of(remote_rsync), version_of(git)
        failed = 0
        for way in args.way or WAYS:
            begun = time.monotonic()
            wrong = run(way, remote_rsync)
            far = versions[0] if way == "path" else versions[1]
            what = f"rsync {versions[0]:7} to {far:7} git {versions[2]:8} {way:14} {time.monotonic() - begun:5.1f} s"
            print(f"FAILED {what}: {'; '.join(wrong)}" if wrong else f"ok     {what}", flush=True)
            failed += bool(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
