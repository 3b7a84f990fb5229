"""What rsync's exit codes and words mean: which of our errors, with which way out."""

import errno
import os
import re

from gitlob_rsync.errors import GitlobError, RemoteError, ToolError, UsageError
from gitlob_rsync.location import Kind, Location
from gitlob_rsync.transport.base import BrokenOff, Busy, NotAStore
from gitlob_rsync.transport.rsync.run import Ended
from gitlob_rsync.transport.rsync.words import Words, errno_of, tells

AGAIN = "run it again: it resumes"
_FULL = (errno.ENOSPC, 122, 69)
"""A full disk, and a full quota: Linux's number and that of BSD and macOS."""
_DENIED = (errno.EACCES, errno.EPERM)
_WHOLE = (1, 2, 3, 4, 5, 6, 11, 13, 14, 22, 25, 127)
"""Exit codes with which an rsync ends for a reason of its own, while the line is well (rsync(1), "EXIT VALUES")."""
_OPENS = re.compile(r"rsync: .*(?:change_dir|cannot stat destination|opendir |\bmkdir )")
"""What rsync says that cannot enter the folder of a store."""
_ENDS_IT = re.compile(r"rsync: .*(?:write failed on |change_dir#\d|cannot stat destination)")
"""Failures that end an rsync at once: where the far one has them, it is not the line that is broken."""


def no_room(ended: Ended) -> bool:
    """Whether a disk is full."""
    return Words(ended.stderr).refused_by_the_system(*_FULL)


def lacks_modes_alone(ended: Ended) -> bool:
    """Whether all that went wrong is that a file system refused to change modes: what was sent may be whole all the same."""
    refused = r"failed to set permissions on |default_perms_for_dir"
    lines = telling(ended.stderr)
    return ended.code == 23 and bool(lines) and all(re.search(refused, line) for line in lines)


def failure(location: Location, ended: Ended, into: str = "", *, worked: bool = False) -> GitlobError:
    """What an exit code and rsync's own words mean (rsync(1), "EXIT VALUES", and experiment). `into`: the folder of ours
    that was written into; `worked`: the same location answered before, so that ssh gets through and rsync is there."""
    words = Words(ended.stderr)
    where = str(location)
    if not words.received and (error := _never_began(location, ended.code, words, worked)):
        return error
    code = ended.code
    if code < 0:  # somebody killed it: nothing is wrong with what it was asked
        return _broken(location, words)
    if code not in (*_WHOLE, 23, 24):
        # the far end may have said why it ended; what else was said is no reason why a line breaks
        code = next((told for told in words.codes if told in _WHOLE), code)
        its_own = location.kind is Kind.PATH or any(_ENDS_IT.match(line) for line in words.telling)
        reasons = (line for line in words.telling if line not in words.of_the_line)
        if code not in _WHOLE and not (its_own and any(map(errno_of, reasons))):
            return _broken(location, words)
    if words.refused_by_the_system(*_FULL):
        return ToolError(f"{into or where}: no space left: {words.gist()}", f"make room there, and {AGAIN}")
    return _daemon_refused(location, code, words) or _of_rsync(location, code, words)


def _broken(location: Location, words: Words) -> BrokenOff:
    said = _of_the_line(location, words)
    hint = AGAIN
    if location.kind is Kind.DAEMON and re.search(r"reset by peer|Broken pipe", said) and not words.received:
        hint = f"{AGAIN}, or the daemon's log says why it refuses"
    if re.match("ssh: Could not resolve hostname", said) or "getaddrinfo: " in said:
        hint = "see how the host is written, and whether there is a network"
    return BrokenOff(f"{location} cannot be reached or broke off: {said}", hint)


def _never_began(location: Location, code: int, words: Words, worked: bool) -> GitlobError | None:
    """What is to blame where not one byte came from a far rsync, as far as it is known."""
    where = str(location)
    if re.match(r".*/gitlob-[^/]+/ssh: ", words.last):
        return UsageError(
            f"{where}: the ssh command does not run: {words.last.rpartition('/ssh: ')[2]}",
            "see GIT_SSH_COMMAND and git config core.sshCommand",
        )
    ended_by_it = code in (1, 2, 10, 12, 127, 255)  # with any other, a far rsync has answered
    if words.openrsync and ended_by_it and not worked:
        return UsageError(
            f"{where}: the rsync there is openrsync, which cannot do this: {words.openrsync}",
            "install rsync from rsync.samba.org there; git-lob.rsync-path says where it is",
        )
    if words.rrsync and ended_by_it:
        return _rrsync_refused(where, words.rrsync)
    if code == 127 or (code == 12 and words.no_rsync and not worked):
        said = words.no_rsync or words.gist()
        return UsageError(
            f"{where}: no rsync there: {said}",
            "install rsync on the remote machine; git-lob.rsync-path says where it is, if not on its PATH",
        )
    return _ssh_refused(location, words) if code in (1, 2, 12, 255) and not worked else None


def _rrsync_refused(where: str, said: str) -> UsageError:
    if said.endswith("No such file or directory"):  # rrsync opens what is to be read before rsync could say so
        return NotAStore(f"{where} is not there: {said}", "the first push makes it; or correct its location")
    if "read-only server" in said:
        return UsageError(f"{where}: the rrsync there lets nobody write: {said}", "push with another key, or elsewhere")
    return UsageError(
        f"{where}: the rrsync there refused: {said}",
        "see the command= of the key in its authorized_keys, and rrsync(1)",
    )


def _ssh_refused(location: Location, words: Words) -> GitlobError | None:
    """What ssh says that did not get through, and that another try would not change."""
    where, said, host = str(location), words.ssh, location.host
    if "Permission denied (" in said:
        for line in words.lines:
            if re.fullmatch(r"Permissions 0\d{3} for '.*' are too open\.", line):
                return UsageError(f"{where}: ssh does not use a key: {line}", "chmod 600 that file")
        return RemoteError(f"{where}: ssh was not let in: {said}", "load a key into ssh-agent or see ~/.ssh/config")
    if said == "Host key verification failed.":
        for line in words.lines:
            if re.fullmatch(r"Host key for .* has changed and you have requested strict checking\.", line):
                return UsageError(
                    f"{where}: the host's key has changed: {line}",
                    f"ask whoever runs it whether that is right; then ssh-keygen -R {_known_as(location)}",
                )
            if re.fullmatch(r"@ *WARNING: REVOKED HOST KEY DETECTED! *@", line):
                return UsageError(f"{where}: the host's key was revoked", "ask whoever runs it")
        return RemoteError(f"{where}: ssh does not know the host's key", f"run ssh {host} once")
    if said.startswith("Unable to negotiate with"):
        return UsageError(f"{where}: ssh and the host have no method in common: {said}", "see ssh_config(5) and ssh -Q")
    if said.startswith("Cannot execute command-line and remote"):
        return UsageError(
            f"{where}: ssh's configuration has a command of its own: {said}", "RemoteCommand none for this host"
        )
    if re.match(r"command-line|.*bad configuration options|Can't open user config|Bad owner or permissions", said):
        first = next((line for line in words.lines if re.match(r"\S.*:? line \d+: ", line)), said)
        return UsageError(
            f"{where}: ssh's configuration is wrong: {first}", "correct it; ssh -G HOST shows what it holds"
        )
    if said.startswith("This service allows sftp"):
        return only_sftp(location, said)
    if re.match(r"(?:exec|shell) request failed", said):
        return UsageError(f"{where}: the account there may not run rsync: {said}", "use one that may")
    if said.startswith("FATAL ERROR: Cannot confirm a host key"):
        return RemoteError(f"{where}: {said}", f"run plink {host} once")
    return None


def _known_as(location: Location) -> str:
    """How a host is written in known_hosts."""
    name = re.sub(r".*@|[\[\]]", "", location.host)
    return name if location.port in (None, 22) else f"'[{name}]:{location.port}'"


def only_sftp(location: Location, said: str) -> UsageError:
    return UsageError(f"{location}: the account there is for sftp alone: {said}", "use one that may run rsync")


def unclean(location: Location, ended: Ended) -> bool:
    """Whether something spoke before the far rsync did, so that this one could make nothing of it."""
    greeted = any("is your shell clean" in line for line in Words(ended.stderr).rsync)
    return location.kind is Kind.SSH and ended.code == 2 and greeted


def hung_up_on(location: Location, ended: Ended) -> bool:
    """Whether the other side may have refused an option, and we cannot know which. A daemon of version 3.1.3 resets the
    connection before what it has to say is read, and an old rrsync does not say what it does not like."""
    words = Words(ended.stderr)
    if ended.code not in (10, 12) or ended.moved or ended.items or words.received:
        return False
    if location.kind is Kind.SSH:
        return "invalid rsync-command syntax" in words.rrsync
    reset = r"rsync: .*(?:reset by peer|Broken pipe|unexpectedly closed)"
    return location.kind is Kind.DAEMON and any(re.match(reset, line) for line in words.rsync)


def spoke_first(location: Location, said: str) -> GitlobError:
    """What it means that a far machine greets with this where rsync should."""
    if said.startswith("This service allows sftp connections only"):
        return only_sftp(location, said)
    if "account is currently not available" in said or "account is not available" in said:
        return UsageError(f"{location}: the account there has no shell: {said}", "use one that may run rsync")
    return ToolError(
        f"{location}: is your shell clean? The far machine says {said!r} before rsync can",
        "the start files of the shell there must print nothing unless they have a terminal",
    )


def _daemon_refused(location: Location, code: int, words: Words) -> GitlobError | None:
    where, said = str(location), words.gist()
    told = next((line for line in words.rsync if line.startswith("@ERROR") and location.kind is Kind.DAEMON), "")
    if re.match("@ERROR: max connections .*try again later", told):
        return Busy(f"{where}: the rsync daemon is busy: {told}", "run it again later")
    if "auth failed" in told:
        has = bool(os.environ.get("RSYNC_PASSWORD"))
        what = "does not accept this name with RSYNC_PASSWORD" if has else "wants a password"
        way = "see the module's auth users and secrets file" if has else "put it into RSYNC_PASSWORD"
        user = "" if "@" in location.host else "; a name is written rsync://NAME@HOST/MODULE"
        return UsageError(f"{where}: the rsync daemon {what}: {told}", way + user)
    if found := re.search(r"configured to refuse (\S+)", said):
        option = found[1] if found[1].startswith("-") else f"--{found[1]}"
        return UsageError(
            f"{where}: the rsync daemon refuses {option}, which this needs: {said}",
            "take it out of the module's refuse options",
        )
    # what a daemon says that ends before it let us in, or did not: rsync has one code for both
    hung_up = any(re.search("did not see server greeting|didn't get server startup line", line) for line in words.rsync)
    if code == 5 and hung_up and not told:
        return _broken(location, words)
    if code == 5 or told:
        return UsageError(
            f"{where}: the rsync daemon refused: {told or said}", "correct the module's name or its settings"
        )
    return None


def _of_rsync(location: Location, code: int, words: Words) -> GitlobError:
    """What rsync itself says, at either end."""
    where = str(location)
    opening = [line for line in words.telling if _OPENS.match(line)]
    said = _quoted(location, words, [])
    if words.refused_by_the_system(*_DENIED):
        return ToolError(f"{where}: permission denied: {said}", "change the permissions there, and run it again")
    if words.refused_by_the_system(errno.ENOTDIR):
        return UsageError(f"{where} is not a store: {said}", "correct its location")
    if any("change_dir" in line and errno_of(line) == errno.ENOENT for line in opening):
        return NotAStore(f"{where} is not there: {said}", "the first push makes it; or correct its location")
    for line in opening:
        if errno_of(line) not in (None, errno.ENOENT):
            return ToolError(f"{where} cannot be opened: {line}", "see whether its disk is mounted and well")
    if code in (1, 4):
        read_only = re.search("module is (read|write) only", said)
        hint = f"its settings say {read_only[1]} only = yes" if read_only else "the rsync at one end may be too old"
        return UsageError(f"{where}: rsync refused: {said}", hint)
    return ToolError(f"{where}: rsync failed (exit code {code}): {said}")


def _quoted(location: Location, words: Words, prefer: list[str]) -> str:
    """The line to quote. Between this rsync and a disk or a daemon nobody else speaks."""
    if not prefer and not words.telling and location.kind is not Kind.SSH:
        prefer = [line for line in words.lines if tells(line)]
    return words.gist(prefer)


def lacks_root(location: Location, ended: Ended) -> bool:
    """Whether a daemon said that the store's folder is not in its module: for rsync only some files did not come."""
    folder = location.path.partition("/")[2]
    # rsync writes bytes that are no ASCII as \\#303; under `use chroot` the folder begins with a slash
    told = "".join(chr(byte) if 32 <= byte < 127 else f"\\#{byte:03o}" for byte in os.fsencode(folder))
    return (
        location.kind is Kind.DAEMON
        and bool(folder)
        and (f'change_dir "{told}"' in ended.stderr or f'change_dir "/{told}"' in ended.stderr)
    )


def telling(stderr: str) -> list[str]:
    """The lines of rsync's words that say what went wrong, and are no mere consequence."""
    return Words(stderr).telling


def gist(location: Location, stderr: str) -> str:
    """The line to quote of a run that goes on."""
    return _quoted(location, Words(stderr), [])


def why_broken(location: Location, stderr: str) -> str:
    """The line to quote of a connection that broke, or would not come about."""
    return _of_the_line(location, Words(stderr))


def _of_the_line(location: Location, words: Words) -> str:
    # where nobody was let in, that was told before; a start file may have called another machine
    login = re.search(r"Permission denied \(|Host key verification", words.ssh)
    return _quoted(location, words, words.of_the_line if login or not words.ssh else [words.ssh])
