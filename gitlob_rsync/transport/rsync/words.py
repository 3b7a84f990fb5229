"""Sorts the lines on rsync's stderr by who printed them.

rsync, the remote rsync, ssh, a banner, and programs in the remote shell's start files all write to the same stream. A line
counts as rsync's or ssh's only in the exact form that they print; all others are never a cause, and never quoted.
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
"""A shell's message if it finds no rsync."""
_BROKEN_PIPE = re.compile(rf"rsync: (?:{_WHO})?write(?: error|fd_unbuffered failed).*: Broken pipe \(32\)")
"""Precedes the line that matters, at either end."""
_CONSEQUENCE = re.compile(
    rf"rsync (?:error|warning): |rsync: (?:{_WHO})?connection unexpectedly closed|(?:file|directory) has vanished: |"
    rf"\(see the rsync man|{_BROKEN_PIPE.pattern}"
)
_CONNECTION = re.compile(
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
"""ssh's final messages, in their exact form (and those of plink, which git runs too)."""
_ASIDE = re.compile(r"debug[1-3]: |Transferred: sent |Bytes per second: |Disconnected from ")
"""Lines that ssh may print after its reason."""
_RRSYNC = re.compile(r"(?:\S*/)?rrsync(?:\.\w+)?(?: error)?: .+")
_OPENRSYNC = re.compile(
    r"(?:\S*/)?(?:openrsync: .+|rsync: (?:unrecognized|unknown|illegal|invalid) option.+)|usage: openrsync .+"
)
_ERRNO = re.compile(r": [^:]+ \((\d{1,5})\)\Z")


@dataclass(frozen=True)
class Words:
    """The lines of one run, sorted by who printed them."""

    text: str

    @cached_property
    def lines(self) -> list[str]:
        return [line for line in map(str.strip, self.text.splitlines()) if line]

    @cached_property
    def rsync(self) -> list[str]:
        """rsync's lines, from either end."""
        return [line for line in self.lines if _RSYNC.match(line) and not _foreign(line)]

    @cached_property
    def causes(self) -> list[str]:
        """Those of rsync's lines that say what went wrong, without mere consequences."""
        return [line for line in self.rsync if is_cause(line)]

    @cached_property
    def about_connection(self) -> list[str]:
        """Those of rsync's lines that are about the connection."""
        return [line for line in self.rsync if _CONNECTION.match(line) and not _BROKEN_PIPE.match(line)]

    @cached_property
    def last(self) -> str:
        """The last line that is not rsync's: if ssh fails, its reason follows all other output."""
        others = [line for line in self.lines if line not in self.rsync and not _ASIDE.match(line)]
        return others[-1] if others else ""

    @property
    def ssh(self) -> str:
        """ssh's reason, or an empty string."""
        return self.last if _SSH.fullmatch(self.last) else ""

    @property
    def no_rsync(self) -> str:
        """The remote shell's message that it finds no rsync, or an empty string."""
        return self.last if _SHELL.fullmatch(self.last) else ""

    @property
    def rrsync(self) -> str:
        """Why an rrsync refuses, or an empty string. If it refuses, its message is the last line."""
        return self.last if _RRSYNC.fullmatch(self.last) else ""

    @property
    def openrsync(self) -> str:
        """An openrsync's message about options that it does not know, or an empty string; its usage may follow."""
        return next((line for line in self.lines if _OPENRSYNC.fullmatch(line)), "")

    @cached_property
    def received(self) -> int | None:
        """How many bytes had been received when the connection broke; None if rsync does not say."""
        found = [re.search(r"unexpectedly closed \((\d+) bytes received so far\)", line) for line in self.rsync]
        return max((int(match[1]) for match in found if match), default=None)

    @cached_property
    def codes(self) -> list[int]:
        """The exit codes that either end reported."""
        found = (re.match(r"rsync error: .*\(code (\d{1,3})\) at ", line) for line in self.rsync)
        return [int(match[1]) for match in found if match]

    def refused_by_the_system(self, *numbers: int) -> bool:
        """Whether a system call of rsync failed with one of these errors, at either end."""
        return any(errno_of(line) in numbers for line in self.causes)

    def quote(self, prefer: Iterable[str] = ()) -> str:
        """The line to quote: the first of `prefer`, otherwise of rsync's or ssh's."""
        rest = (line for line in self.rsync if not _BROKEN_PIPE.match(line))
        return next(iter([*prefer, *self.causes, *filter(None, [self.ssh]), *rest]), "no error message")


def is_cause(line: str) -> bool:
    """Whether a line says what went wrong, and is not a mere consequence."""
    return not _CONSEQUENCE.match(line)


def _foreign(line: str) -> bool:
    return bool(_SHELL.fullmatch(line) or _OPENRSYNC.fullmatch(line))


def errno_of(line: str) -> int | None:
    """The errno at the end of one of rsync's lines."""
    found = _ERRNO.search(line)
    return int(found[1]) if found else None
