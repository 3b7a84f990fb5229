"""git's core.sharedRepository (git-config(1)): who else may read and write what is created in a repository."""

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass, replace

from gitlob_rsync.git.gitconfig import Value


@dataclass(frozen=True, slots=True)
class Sharing:
    """Permission bits that files get in addition to (or, `exact`, instead of) those that the umask leaves them."""

    bits: int = 0
    exact: bool = False

    @classmethod
    def of(cls, value: Value | None) -> "Sharing":
        """Read core.sharedRepository. Raises UsageError for a value that git does not know."""
        text = value.text.lower() if value else "false"
        if text in ("umask", "false", "no", "off", "0", ""):
            return cls()
        if text in ("group", "true", "yes", "on", "1"):
            return cls(0o660)
        if text in ("all", "world", "everybody", "2", "3"):
            return cls(0o664)
        assert value
        if re.fullmatch(r"0[0-7]{3}", text) and int(text, 8) & 0o600 == 0o600:
            return cls(int(text, 8) & 0o666, exact=True)
        raise value.wrong("git knows umask, group, all or 0xxx here")

    def with_those_of(self, folder: str) -> "Sharing":
        """The same, and for everyone who may use `folder`, if it is there."""
        with suppress(OSError):
            return replace(self, bits=self.bits | os.stat(folder).st_mode & 0o066)
        return self

    def mode(self, mode: int) -> int:
        """The permissions for a file or folder whose mode the umask made `mode`."""
        bits = self.bits
        if stat.S_ISDIR(mode):
            bits |= (bits & 0o444) >> 2
            if bits & 0o060:
                bits |= stat.S_ISGID
        kept = stat.S_IMODE(mode)
        return (kept & ~0o777 | bits) if self.exact else kept | bits

    def apply(self, path: str) -> None:
        """Set the permissions of a file, where that is allowed: some file systems (CIFS, some of FUSE) take them from how
        they are mounted, and refuse."""
        if self.bits:
            mode = os.lstat(path).st_mode
            if self.mode(mode) != stat.S_IMODE(mode):
                with suppress(OSError):
                    os.chmod(path, self.mode(mode), follow_symlinks=True)


UMASK = Sharing()
"""What a new file gets where the repository is not shared."""
