"""Whose words the lines on rsync's stderr are.

rsync, the far rsync, ssh, a banner, and what a far shell's start files run all write to the same place. A line counts as
rsync's or ssh's only in the form that these print it; all others are never a cause, and never quoted.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

_WHO = r"\[(?i:sender|receiver|generator|server|client)\w*(?:=[\w.]+)?\] "
_RSYNC = re.compile(
    r"rsync: |rsync (?:error|warning): |@ERROR\b|it sent nothing for \d+ seconds|"
    r"ERROR: (?:module is|auth failed|rejecting |buffer overflow|out of memory|\S+ is not a supported)|"
    rf"{_WHO}|io timeout after |protocol version mismatch -- |\(see the rsync man|"
    r"(?:file|directory) has vanished: |unexpected tag |out of memory|IO error encountered|"
    r"ABORTING due to |WARNING: .* failed verification|skipping (?:non-regular|unsafe)|(?:cannot|could not) (?:delete|make) "
)
_SHELL = re.compile(
    r"(?:\S+: )?(?:line )?(?:\d+: )?(?:\S*/)?rsync\S*: "
    r"(?:inaccessible or )?(?:(?i:command )?not found|No such file or directory)\.?"
    r"|zsh:(?:\d+:)? (?:command not found|no such file or directory): \S*rsync\S*"
    r"|fish: Unknown command:? '?\S*rsync\S*"
)
"""What a shell says that finds no rsync."""
_BROKEN_PIPE = re.compile(rf"rsync: (?:{_WHO})?write(?: error|fd_unbuffered failed).*: Broken pipe \(32\)")
"""It comes before the line that matters, at either end."""
_CONSEQUENCE = re.compile(
    rf"rsync (?:error|warning): |rsync: (?:{_WHO})?connection unexpectedly closed|(?:file|directory) has vanished: |"
    rf"\(see the rsync man|{_BROKEN_PIPE.pattern}"
)
_OF_THE_LINE = re.compile(
    r"it sent nothing for |.*(?:io timeout after |connection unexpectedly closed|safe_(?:read|write) failed|"
    r"failed to connect |"
    r"(?:read|write) error: |getaddrinfo: |did not see server greeting|didn't get server startup line)"
)
_SSH = re.compile(
    r"ssh: (?:connect to host|Could not resolve hostname) .+|(?:kex|ssh)_exchange_identification: .+|banner exchange: .+|"
    r"(?:\S+: )?Permission denied \([a-z][a-z0-9@.,-]*\)\.?|Host key verification failed\.|Unable to negotiate with .+|"
    r"Connection (?:closed|reset) by .+|Connection to \S+ (?:closed|timed out).*|"
    r"Connection timed out during banner exchange|Shared connection to \S+ closed\.|"
    r"Timeout, server \S+ not responding\.|(?:client_loop|packet_write_wait|mux_client_\w+): .+|"
    r"Received disconnect from .+|Disconnected from .+|ssh_dispatch_run_fatal: .+|Bad packet length .+|"
    r"command-line:? line \d+: .+|\S.*: terminating, \d+ bad configuration options|Can't open user config file .+|"
    r"Bad owner or permissions on .+|Cannot execute command-line and remote command\.|"
    r"(?:exec|shell) request failed on channel \d+|This service allows sftp connections only\.|FATAL ERROR: .+"
)
"""ssh's last words, in its exact form (and those of plink, which git calls too)."""
_ASIDE = re.compile(r"debug[1-3]: |Transferred: sent |Bytes per second: |Disconnected from ")
"""What ssh may say behind its reason."""
_RRSYNC = re.compile(r"(?:\S*/)?rrsync(?:\.\w+)?(?: error)?: .+")
_OPENRSYNC = re.compile(
    r"(?:\S*/)?(?:openrsync: .+|rsync: (?:unrecognized|unknown|illegal|invalid) option.+)|usage: openrsync .+"
)
_ERRNO = re.compile(r": [^:]+ \((\d{1,5})\)\Z")


@dataclass(frozen=True)
class Words:
    """The lines of one run, sorted by who said them."""

    text: str

    @cached_property
    def lines(self) -> list[str]:
        return [line for line in map(str.strip, self.text.splitlines()) if line]

    @cached_property
    def rsync(self) -> list[str]:
        """What rsync says, at either end."""
        return [line for line in self.lines if _RSYNC.match(line) and not _foreign(line)]

    @cached_property
    def telling(self) -> list[str]:
        """Of these, the lines that say what went wrong, and are no mere consequence."""
        return [line for line in self.rsync if tells(line)]

    @cached_property
    def of_the_line(self) -> list[str]:
        """Of rsync's, those that speak of the connection."""
        return [line for line in self.rsync if _OF_THE_LINE.match(line) and not _BROKEN_PIPE.match(line)]

    @cached_property
    def last(self) -> str:
        """The last line that is none of rsync's: where ssh fails, its reason comes behind all that others had to say."""
        others = [line for line in self.lines if line not in self.rsync and not _ASIDE.match(line)]
        return others[-1] if others else ""

    @property
    def ssh(self) -> str:
        """ssh's reason, or nothing."""
        return self.last if _SSH.fullmatch(self.last) else ""

    @property
    def no_rsync(self) -> str:
        """What the far shell says where it finds no rsync, or nothing."""
        return self.last if _SHELL.fullmatch(self.last) else ""

    @property
    def rrsync(self) -> str:
        """Why an rrsync refuses, or nothing. Where it does, nobody speaks after it."""
        return self.last if _RRSYNC.fullmatch(self.last) else ""

    @property
    def openrsync(self) -> str:
        """What an openrsync says of options that it does not know, or nothing; how it is called may follow."""
        return next((line for line in self.lines if _OPENRSYNC.fullmatch(line)), "")

    @cached_property
    def received(self) -> int | None:
        """How many bytes had come when the line broke; None where rsync does not say."""
        found = [re.search(r"unexpectedly closed \((\d+) bytes received so far\)", line) for line in self.rsync]
        return max((int(match[1]) for match in found if match), default=None)

    @cached_property
    def codes(self) -> list[int]:
        """The exit codes that either end said it leaves with."""
        found = (re.match(r"rsync error: .*\(code (\d{1,3})\) at ", line) for line in self.rsync)
        return [int(match[1]) for match in found if match]

    def refused_by_the_system(self, *numbers: int) -> bool:
        """Whether the system refused rsync something, with one of these errors, at either end."""
        return any(errno_of(line) in numbers for line in self.telling)

    def gist(self, prefer: Iterable[str] = ()) -> str:
        """The line to quote: the first of `prefer`, else of what rsync says."""
        rest = (line for line in self.rsync if not _BROKEN_PIPE.match(line))
        return next(iter([*prefer, *self.telling, *filter(None, [self.ssh]), *rest]), "it said nothing")


def tells(line: str) -> bool:
    """Whether a line says what went wrong, and is no mere consequence."""
    return not _CONSEQUENCE.match(line)


def _foreign(line: str) -> bool:
    return bool(_SHELL.fullmatch(line) or _OPENRSYNC.fullmatch(line))


def errno_of(line: str) -> int | None:
    """The number of the system's error at the end of a line of rsync's."""
    found = _ERRNO.search(line)
    return int(found[1]) if found else None
