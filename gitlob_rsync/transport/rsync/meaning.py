"""What rsync's exit codes and messages mean: maps each to one of our errors, with a hint."""

import errno
import os
import re

from gitlob_rsync.errors import GitlobError, RemoteError, ToolError, UsageError
from gitlob_rsync.location import Kind, Location
from gitlob_rsync.transport.base import BrokenOff, NotAStore, RemoteBusy
from gitlob_rsync.transport.rsync.run import Ended
from gitlob_rsync.transport.rsync.words import Words, errno_of, is_cause

AGAIN = "run it again: it resumes"
_CREATE = "the first push creates it; otherwise correct the location"
_FULL = (errno.ENOSPC, 122, 69)
"""A full disk, and an exceeded quota: its number on Linux, and on BSD and macOS."""
_DENIED = (errno.EACCES, errno.EPERM)
_OWN_REASONS = (1, 2, 3, 4, 5, 6, 11, 13, 14, 22, 25, 127)
"""Exit codes with which rsync ends for a reason other than the connection (rsync(1), "EXIT VALUES")."""
_OPENS = re.compile(r"rsync: .*(?:change_dir|cannot stat destination|opendir |\bmkdir )")
"""rsync's messages if it cannot enter a store's folder."""
_ENDS_IT = re.compile(r"rsync: .*(?:write failed on |change_dir#\d|cannot stat destination)")
"""Failures that end an rsync at once: if the remote one reports them, the connection is not the cause."""


def no_room(ended: Ended) -> bool:
    """Whether a disk or a quota is full."""
    return Words(ended.stderr).refused_by_the_system(*_FULL)


def only_modes_failed(ended: Ended) -> bool:
    """Whether the only failure is that a file system refused to change modes: the files themselves may be complete."""
    refused = r"failed to set permissions on |default_perms_for_dir"
    lines = causes(ended.stderr)
    return ended.code == 23 and bool(lines) and all(re.search(refused, line) for line in lines)


def failure(location: Location, ended: Ended, into: str = "", *, worked: bool = False) -> GitlobError:
    """The error for a failed run, from its exit code and rsync's messages (rsync(1), "EXIT VALUES", and experiments).
    `into`: the local folder that was written to; `worked`: the location answered before, so ssh and the remote rsync
    work."""
    words = Words(ended.stderr)
    where = str(location)
    if not words.received and (error := _never_began(location, ended.code, words, worked)):
        return error
    code = ended.code
    if code < 0:  # a signal ended it: nothing is wrong with the request
        return _broken(location, words)
    if code not in (*_OWN_REASONS, 23, 24):
        # the remote end may have reported why it ended; its other messages do not explain a broken connection
        code = next((reported for reported in words.codes if reported in _OWN_REASONS), code)
        fatal = location.kind is Kind.PATH or any(_ENDS_IT.match(line) for line in words.causes)
        reasons = (line for line in words.causes if line not in words.about_connection)
        if code not in _OWN_REASONS and not (fatal and any(map(errno_of, reasons))):
            return _broken(location, words)
    if words.refused_by_the_system(*_FULL):
        return ToolError(f"{into or where}: no space left: {words.quote()}", f"make room there, and {AGAIN}")
    return _daemon_refused(location, code, words) or _of_rsync(location, code, words)


def _broken(location: Location, words: Words) -> BrokenOff:
    said = _quote_connection(location, words)
    hint = AGAIN
    if location.kind is Kind.DAEMON and re.search(r"reset by peer|Broken pipe", said) and not words.received:
        hint = f"{AGAIN}; if it fails again, see the daemon's log"
    if re.match("ssh: Could not resolve hostname", said) or "getaddrinfo: " in said:
        hint = "check the host's name and the network"
    return BrokenOff(f"{location} cannot be reached, or the connection broke: {said}", hint)


def _never_began(location: Location, code: int, words: Words, worked: bool) -> GitlobError | None:
    """The error if not one byte came from a remote rsync, and the reason is known."""
    where = str(location)
    if re.match(r".*/gitlob-[^/]+/ssh: ", words.last):
        return UsageError(
            f"{where}: the ssh command cannot be run: {words.last.rpartition('/ssh: ')[2]}",
            "check GIT_SSH_COMMAND and git config core.sshCommand",
        )
    ended_by_it = code in (1, 2, 10, 12, 127, 255)  # with any other code, a remote rsync has answered
    if words.openrsync and ended_by_it and not worked:
        return UsageError(
            f"{where}: the remote rsync is openrsync, which is not supported: {words.openrsync}",
            "install rsync from rsync.samba.org on the remote machine, and set git-lob.rsync-path to its path",
        )
    if words.rrsync and ended_by_it:
        return _rrsync_refused(where, words.rrsync)
    if code == 127 or (code == 12 and words.no_rsync and not worked):
        said = words.no_rsync or words.quote()
        return UsageError(
            f"{where}: rsync not found on the remote machine: {said}",
            "install rsync on the remote machine, or set git-lob.rsync-path to its path",
        )
    return _ssh_refused(location, words) if code in (1, 2, 12, 255) and not worked else None


def _rrsync_refused(where: str, said: str) -> UsageError:
    if said.endswith(
        "No such file or directory"
    ):  # rrsync opens the folder before rsync could report that it is missing
        return NotAStore(f"{where} does not exist: {said}", _CREATE)
    if "read-only server" in said:
        return UsageError(
            f"{where}: the remote rrsync is read-only: {said}", "push with another key, or to another location"
        )
    return UsageError(
        f"{where}: the remote rrsync refused: {said}",
        "check the command= of the key in the remote authorized_keys, and see rrsync(1)",
    )


def _ssh_refused(location: Location, words: Words) -> GitlobError | None:
    """The error for a refusal that ssh reports and that a retry would not change."""
    where, said, host = str(location), words.ssh, location.host
    if "Permission denied (" in said:
        for line in words.lines:
            if re.fullmatch(r"Permissions 0\d{3} for '.*' are too open\.", line):
                return UsageError(f"{where}: ssh ignores a key: {line}", "chmod 600 that file")
        return RemoteError(f"{where}: ssh login refused: {said}", "load a key into ssh-agent, or check ~/.ssh/config")
    if said == "Host key verification failed.":
        for line in words.lines:
            if re.fullmatch(r"Host key for .* has changed and you have requested strict checking\.", line):
                return UsageError(
                    f"{where}: the host's key has changed: {line}",
                    f"ask its administrator whether that is right; then run ssh-keygen -R {_known_as(location)}",
                )
            if re.fullmatch(r"@ *WARNING: REVOKED HOST KEY DETECTED! *@", line):
                return UsageError(f"{where}: the host's key has been revoked", "ask its administrator")
        return RemoteError(f"{where}: ssh does not know the host's key", f"run ssh {host} once")
    if said.startswith("Unable to negotiate with"):
        return UsageError(
            f"{where}: ssh and the host have no algorithm in common: {said}", "see ssh_config(5) and ssh -Q"
        )
    if said.startswith("Cannot execute command-line and remote"):
        return UsageError(
            f"{where}: ssh's configuration sets a RemoteCommand: {said}", "set RemoteCommand none for this host"
        )
    if re.match(r"command-line|.*bad configuration options|Can't open user config|Bad owner or permissions", said):
        first = next((line for line in words.lines if re.match(r"\S.*:? line \d+: ", line)), said)
        return UsageError(
            f"{where}: ssh's configuration has an error: {first}", "correct it; ssh -G HOST shows the settings"
        )
    if said.startswith("This service allows sftp"):
        return only_sftp(location, said)
    if re.match(r"(?:exec|shell) request failed", said):
        return UsageError(f"{where}: the remote account may not run rsync: {said}", "use another account")
    if said.startswith("FATAL ERROR: Cannot confirm a host key"):
        return RemoteError(f"{where}: {said}", f"run plink {host} once")
    return None


def _known_as(location: Location) -> str:
    """How known_hosts names a host."""
    name = re.sub(r".*@|[\[\]]", "", location.host)
    return name if location.port in (None, 22) else f"'[{name}]:{location.port}'"


def only_sftp(location: Location, said: str) -> UsageError:
    return UsageError(f"{location}: the remote account allows only sftp: {said}", "use one that may run rsync")


def unclean(location: Location, ended: Ended) -> bool:
    """Whether something was printed before the remote rsync answered, so that the local one could not understand it."""
    greeted = any("is your shell clean" in line for line in Words(ended.stderr).rsync)
    return location.kind is Kind.SSH and ended.code == 2 and greeted


def hung_up_on(location: Location, ended: Ended) -> bool:
    """Whether the remote may have refused an option without saying which: a daemon of version 3.1.3 resets the connection
    before its message is read, and an old rrsync does not name the option."""
    words = Words(ended.stderr)
    if ended.code not in (10, 12) or ended.moved or ended.items or words.received:
        return False
    if location.kind is Kind.SSH:
        return "invalid rsync-command syntax" in words.rrsync
    reset = r"rsync: .*(?:reset by peer|Broken pipe|unexpectedly closed)"
    return location.kind is Kind.DAEMON and any(re.match(reset, line) for line in words.rsync)


def spoke_first(location: Location, said: str) -> GitlobError:
    """The error if a remote machine printed this before rsync answered."""
    if said.startswith("This service allows sftp connections only"):
        return only_sftp(location, said)
    if "account is currently not available" in said or "account is not available" in said:
        return UsageError(f"{location}: the remote account has no shell: {said}", "use one that may run rsync")
    return ToolError(
        f"{location}: the remote machine printed {said!r} before rsync answered",
        "the remote shell's start files must print nothing without a terminal",
    )


def _daemon_refused(location: Location, code: int, words: Words) -> GitlobError | None:
    where, said = str(location), words.quote()
    refusal = next((line for line in words.rsync if line.startswith("@ERROR") and location.kind is Kind.DAEMON), "")
    if re.match("@ERROR: max connections .*try again later", refusal):
        return RemoteBusy(f"{where}: the rsync daemon is busy: {refusal}", "run it again later")
    if "auth failed" in refusal:
        has = bool(os.environ.get("RSYNC_PASSWORD"))
        what = "rejects this user with RSYNC_PASSWORD" if has else "requires a password"
        way = "check the module's auth users and secrets file" if has else "set RSYNC_PASSWORD"
        user = "" if "@" in location.host else "; a user is given as rsync://USER@HOST/MODULE"
        return UsageError(f"{where}: the rsync daemon {what}: {refusal}", way + user)
    if found := re.search(r"configured to refuse (\S+)", said):
        option = found[1] if found[1].startswith("-") else f"--{found[1]}"
        return UsageError(
            f"{where}: the rsync daemon refuses {option}, which is needed: {said}",
            "remove it from the module's refuse options",
        )
    # rsync has one code for a daemon that refused us, and one that hung up before it answered
    hung_up = any(re.search("did not see server greeting|didn't get server startup line", line) for line in words.rsync)
    if code == 5 and hung_up and not refusal:
        return _broken(location, words)
    if code == 5 or refusal:
        return UsageError(
            f"{where}: the rsync daemon refused: {refusal or said}", "correct the module's name or its settings"
        )
    return None


def _of_rsync(location: Location, code: int, words: Words) -> GitlobError:
    """The error for what rsync itself reports, at either end."""
    where = str(location)
    opening = [line for line in words.causes if _OPENS.match(line)]
    said = _quote(location, words, [])
    if words.refused_by_the_system(*_DENIED):
        return ToolError(f"{where}: permission denied: {said}", "correct the permissions, and run it again")
    if words.refused_by_the_system(errno.ENOTDIR):
        return UsageError(f"{where} is not a store: {said}", "correct its location")
    if any("change_dir" in line and errno_of(line) == errno.ENOENT for line in opening):
        return NotAStore(f"{where} does not exist: {said}", _CREATE)
    for line in opening:
        if errno_of(line) not in (None, errno.ENOENT):
            return ToolError(f"{where} cannot be opened: {line}", "check that its disk is mounted and intact")
    if code in (1, 4):
        read_only = re.search("module is (read|write) only", said)
        hint = f"the module is set to {read_only[1]} only = yes" if read_only else "the rsync at one end may be too old"
        return UsageError(f"{where}: rsync refused: {said}", hint)
    return ToolError(f"{where}: rsync failed (exit code {code}): {said}")


def _quote(location: Location, words: Words, prefer: list[str]) -> str:
    """The line to quote. With a path or a daemon, every line comes from rsync."""
    if not prefer and not words.causes and location.kind is not Kind.SSH:
        prefer = [line for line in words.lines if is_cause(line)]
    return words.quote(prefer)


def lacks_root(location: Location, ended: Ended) -> bool:
    """Whether a daemon reported that its module lacks the store's folder; to rsync, that is only a partial transfer."""
    folder = location.path.partition("/")[2]
    # rsync prints non-ASCII bytes as \\#303; under `use chroot` the folder begins with a slash
    printed = "".join(chr(byte) if 32 <= byte < 127 else f"\\#{byte:03o}" for byte in os.fsencode(folder))
    return (
        location.kind is Kind.DAEMON
        and bool(folder)
        and (f'change_dir "{printed}"' in ended.stderr or f'change_dir "/{printed}"' in ended.stderr)
    )


def causes(stderr: str) -> list[str]:
    """The lines in which rsync says what went wrong, without mere consequences."""
    return Words(stderr).causes


def quote(location: Location, stderr: str) -> str:
    """The line to quote from a run that did not fail as a whole."""
    return _quote(location, Words(stderr), [])


def why_broken(location: Location, stderr: str) -> str:
    """The line to quote for a connection that broke or was never made."""
    return _quote_connection(location, Words(stderr))


def _quote_connection(location: Location, words: Words) -> str:
    # a refused login of ours is reported elsewhere (_ssh_refused); this one may be of a start file's own ssh
    login = re.search(r"Permission denied \(|Host key verification", words.ssh)
    return _quote(location, words, words.about_connection if login or not words.ssh else [words.ssh])
