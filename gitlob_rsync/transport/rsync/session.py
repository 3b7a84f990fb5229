"""A session with one remote store: consecutive runs of rsync, and what they have learnt about the remote's rsync."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable

from gitlob_rsync import process
from gitlob_rsync.errors import GitlobError
from gitlob_rsync.location import Kind, Location
from gitlob_rsync.progress import Meter
from gitlob_rsync.transport.base import BrokenOff, Options
from gitlob_rsync.transport.rsync import flags
from gitlob_rsync.transport.rsync.meaning import (
    failure,
    hung_up_on,
    spoke_first,
    unclean,
    why_broken,
)
from gitlob_rsync.transport.rsync.run import Ended, run
from gitlob_rsync.transport.rsync.ssh import Ssh


class Session:
    """Runs of rsync with the store at one location; they share an ssh connection and what they have learnt, until
    `close`."""

    def __init__(self, location: Location, options: Options, meter: Meter) -> None:
        self.location = location
        self._options = options
        self._meter = meter
        self._version = flags.local_version()
        self._lacking: set[str] = set()  # options that the remote's rsync turned out not to know
        self._answered = False  # whether the remote ever answered
        self._mode: int | None = None  # the permissions of the store's root, once look() has read them
        self._tried_without = False  # whether it is settled that the remote knows the newer options, or does not
        self._scratch = tempfile.mkdtemp(prefix="gitlob-")
        # without a password in the environment rsync would ask for one, and take our list of names for the answer
        self._env = {"RSYNC_PASSWORD": "", **process.clean_env(TZ="UTC0")}
        self._ssh: Ssh | None = None
        if location.kind is Kind.SSH:
            ask = options.askpass and bool(os.environ.get("SSH_ASKPASS"))
            try:
                self._ssh = Ssh(location, options.ssh_command, options.timeout, self._scratch, ask=ask)
            except BaseException:
                shutil.rmtree(self._scratch, ignore_errors=True)
                raise
            self._env |= self._ssh.env | {"TZ": "UTC0"}

    def close(self) -> None:
        """Close the shared ssh connection, and remove temporary files."""
        if self._ssh:
            self._ssh.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _failure(self, ended: Ended, into: str = "", *, moved: bool = False) -> GitlobError:
        """The error to raise for a run that failed. `moved`: the files that it named were transferred."""
        if self._ssh and unclean(self.location, ended) and (said := self._ssh.first_words()):
            return spoke_first(self.location, said)
        error = failure(self.location, ended, into, worked=self._answered)
        if isinstance(error, BrokenOff):
            error.why = why_broken(self.location, ended.stderr)
            error.answered = self._answered
            error.done = ended.sizes() if moved else {}
        return error

    def _root(self, below: str = "") -> str:
        return self.location.rsync_argument() + below

    def _run(
        self, args: Callable[[], list[str]], source: str, target: str, names: Iterable[str],
        *, steady: bool = False, umask: int | None = None, arrived: Callable[[str], None] | None = None,
    ) -> Ended:  # fmt: skip
        """Run rsync; if needed, again without the options that the remote does not know, or may not know."""
        ended = self._run_compatibly(args, source, target, list(names), steady, umask, arrived)
        # 3 and 11: it answered that the folder does not exist yet
        self._answered |= ended.moved > 0 or bool(ended.items) or ended.code in (0, 3, 11, 23, 24)
        return ended

    def _run_compatibly(
        self, args: Callable[[], list[str]], source: str, target: str, names: Iterable[str],
        steady: bool, umask: int | None, arrived: Callable[[str], None] | None,
    ) -> Ended:  # fmt: skip
        while True:
            ended = self._run_exactly(args(), source, target, names, steady, umask, arrived)
            refused = flags.refused(args(), ended.stderr) if ended.code else set()
            if not refused:
                break
            self._lacking |= refused
        new = flags.for_both(args())
        if not new or self._tried_without or not hung_up_on(self.location, ended):
            self._tried_without |= bool(new) and (ended.code in (0, 23, 24) or ended.moved > 0)
            return ended
        self._tried_without = True
        self._lacking |= new
        without = self._run_exactly(args(), source, target, names, steady, umask, arrived)
        if not hung_up_on(self.location, without):
            return without
        self._lacking -= new  # the options were not the reason
        return ended

    def _run_exactly(
        self, given: list[str], source: str, target: str, names: Iterable[str],
        steady: bool, umask: int | None, arrived: Callable[[str], None] | None,
    ) -> Ended:  # fmt: skip
        own = self._options
        limit = [f"--bwlimit={own.bwlimit}"] if own.bwlimit else []
        ssh = self._ssh.argument if self._ssh else None
        reach = flags.transport(self.location, self._version, own.timeout, ssh, own.rsync_path)
        return run(
            [*given, *limit, *reach, "--", source, target], names, self._meter, env=self._env,
            patience=own.timeout, steady=steady, umask=umask, arrived=arrived,
        )  # fmt: skip
