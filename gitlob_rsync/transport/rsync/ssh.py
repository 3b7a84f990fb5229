"""The ssh that rsync starts: the user's own, as configured, with options that make it usable without a terminal."""

import os
import re
import shlex
import socket
from contextlib import suppress
from pathlib import Path

from gitlob_rsync import process
from gitlob_rsync.errors import ToolError, writing
from gitlob_rsync.location import Location

CONNECT_SECONDS = 20
_ROOM_FOR_SOCKET = 103 - len("/cm-") - 40 - 17
"""Bytes of the longest folder for ssh's socket: a socket's path may have 103 (macOS; 107 on Linux), of which %C takes 40,
and ssh appends 17 while it creates it."""
_RESETS = {
    "remotecommand": ("none", "RemoteCommand=none"),
    "stdinnull": ("no", "StdinNull=no"),
    "forkafterauthentication": ("no", "ForkAfterAuthentication=no"),
    "sessiontype": ("default", "SessionType=default"),
    "permitlocalcommand": ("no", "PermitLocalCommand=no"),
}
"""Settings for interactive use that would keep rsync from its stream: a harmless value as `ssh -G` prints it, and the
option that resets it. Only settings that -G prints are reset: an older ssh would refuse an option that it does not know."""


class Ssh:
    """The ssh command for one location. `command`: a shell command as git takes it, None for the ssh on PATH; `scratch`: a
    temporary folder that must outlive this object; `ask`: whether it may ask through SSH_ASKPASS. Raises UsageError if
    there is no ssh."""

    def __init__(self, location: Location, command: str | None, timeout: int, scratch: str, *, ask: bool) -> None:
        self.env = process.clean_env(**process.asking_env()) if ask else process.clean_env()
        self._host = re.sub(r"[\[\]]", "", location.host)
        self._scratch = scratch
        port = ["-p", str(location.port)] if location.port is not None else []
        if command is None:
            self._argv = [process.tool("ssh")]
        else:
            script = Path(scratch, "ssh")
            with writing(scratch):
                script.write_bytes(os.fsencode(f'{command} "$@"\n'))
            self._argv = ["/bin/sh", str(script)]
        if command is None or any(os.path.basename(word) == "ssh" for word in command.split()):
            configured = self._configured(port)
            self._argv += [
                "-T",
                *([] if ask else ["-oBatchMode=yes"]),
                f"-oConnectTimeout={min(timeout, CONNECT_SECONDS)}",
                "-oServerAliveInterval=15",
                "-oServerAliveCountMax=4",
                "-oClearAllForwardings=yes",  # as scp does: a port that another ssh already forwards could end this one
                *(f"-o{reset}" for key, (well, reset) in _RESETS.items() if configured.get(key, well) != well),
            ]
            if configured.get("controlpath", "none") == "none" and takes_sockets(scratch):
                # in a quoted value, ssh takes a % as the beginning of a token
                at = f"{scratch}/cm-".replace("%", "%%") + "%C"
                self._argv += ["-oControlMaster=auto", f'-oControlPath="{at}"', "-oControlPersist=60"]
        self._argv += port

    @property
    def argument(self) -> str:
        """The value of rsync's -e."""
        return shlex.join(self._argv)

    def close(self) -> None:
        """Close the shared connection, if it is our own."""
        with suppress(ToolError, OSError):
            if any(name.startswith("cm-") for name in os.listdir(self._scratch)):
                process.run([*self._argv, "-O", "exit", self._host], env=self.env)

    def first_words(self) -> str:
        """The first line that the remote machine prints for a command that prints nothing; empty if there is none."""
        with suppress(ToolError, OSError):
            said = process.run([*self._argv, self._host, "exit"], env=self.env, ok=range(256), seconds=60)
            return next((line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()), "")
        return ""

    def _configured(self, port: list[str]) -> dict[str, str]:
        """ssh's configuration for this host, by key; empty if this ssh cannot print it (-G came with OpenSSH 6.8). Takes
        some milliseconds, plus the time of any `Match exec` in the user's configuration."""
        with suppress(ToolError, OSError):
            # -N: without it and without a command, it would not print where it is to fork; SessionType is then always none,
            # and reset
            argv = [*self._argv, "-G", "-N", *port, self._host]
            said = process.run(argv, env=self.env, seconds=CONNECT_SECONDS).decode(errors="replace")
            pairs = (line.partition(" ") for line in said.splitlines())
            found = {key: value for key, _, value in pairs}
            return found if "hostname" in found else {}
        return {}


def takes_sockets(folder: str) -> bool:
    """Whether ssh can create a socket in a folder: its name is short enough and can be written in ssh's configuration, and
    the file system has sockets and hard links (ssh renames its socket by a hard link)."""
    if len(os.fsencode(folder)) > _ROOM_FOR_SOCKET or re.search(r'["\\$\n]', folder):
        return False
    at = os.path.join(folder, "probe")
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(at)
        os.link(at, f"{at}.link")
    except OSError:
        return False
    finally:
        for made in (at, f"{at}.link"):
            with suppress(OSError):
                os.unlink(made)
    return True
