"""What rsync's exit codes and words mean: which of our errors, with which way out."""

import os
import re

from gitlob_rsync.errors import GitlobError, RemoteError, ToolError, UsageError
from gitlob_rsync.location import Kind, Location
from gitlob_rsync.rsync.run import Ended


class NotAStore(UsageError):
    """There is no such folder at the remote."""


class BrokenOff(RemoteError):
    """The remote cannot be reached, or was and is not any more: the same again may go well."""


def no_room(ended: Ended) -> bool:
    """Whether a disk is full."""
    return bool(re.search("No space left|Disk quota exceeded", ended.stderr))


def failure(location: Location, ended: Ended, into: str = "") -> GitlobError:
    """What an exit code and rsync's own words mean (rsync(1), "EXIT VALUES", and experiment). `into`: the folder of ours
    that was written into."""
    said = gist(ended.stderr)
    text = ended.stderr
    where = str(location)
    again = "run it again: it resumes"
    if no_room(ended):
        return ToolError(f"{into or where}: no space left: {said}", f"make room there, and {again}")
    if re.search(r"Permission denied \([a-z,-]+\)", text):
        return RemoteError(f"{where}: ssh was not let in: {said}", "load a key into ssh-agent or see ~/.ssh/config")
    if "Host key verification failed" in text:
        return RemoteError(f"{where}: ssh does not know the host's key", f"run ssh {location.host} once")
    if "Permission denied" in text or "Operation not permitted" in text:
        return ToolError(f"{where}: permission denied: {said}", "mend the permissions and run it again")
    if "Not a directory" in text:
        return UsageError(f"{where} is not a store: {said}", "mend its location")
    if ended.code == 3 or ("change_dir" in text and "No such file" in text):
        return NotAStore(f"{where} is not there: {said}", "the first push makes it; or mend its location")
    if ended.code == 127 or re.search("command not found|rsync: not found", text):
        return UsageError(f"{where}: no rsync there: {said}", "install rsync on the remote machine")
    # what a daemon says that ends before it let us in, or did not: rsync has one code for both
    hung_up = re.search("did not see server greeting|didn't get server startup line", text)
    if (ended.code == 5 and not hung_up) or "@ERROR" in text:
        return UsageError(f"{where}: the rsync daemon refused: {said}", "mend the module's name or its settings")
    if ended.code in (1, 4):
        return UsageError(f"{where}: rsync refused: {said}", "see whether the module is read only or rsync too old")
    if ended.code in (2, 6, 11, 13, 14, 22, 23, 24, 25):
        return ToolError(f"{where}: rsync failed (exit code {ended.code}): {said}")
    return BrokenOff(f"{where} cannot be reached or broke off: {said}", again)


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
    """The lines of rsync's or ssh's words that say what went wrong, and are no mere consequence."""
    lines = (line.strip() for line in stderr.splitlines())
    consequence = r"rsync error:|rsync: connection unexpectedly closed|file has vanished:|Warning:"
    return [line for line in lines if line and not re.match(consequence, line)]


def gist(stderr: str) -> str:
    """The first of these, or whatever else was said."""
    return (telling(stderr) or [line.strip() for line in stderr.splitlines() if line.strip()] or ["it said nothing"])[0]
