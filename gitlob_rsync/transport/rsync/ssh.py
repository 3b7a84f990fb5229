"""The ssh that rsync starts: the user's own, as it is configured, with what a stream needs and no terminal can give."""

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
"""Bytes of a folder for ssh's socket: its path has 103 (macOS; Linux has 107), of which %C takes 40, and ssh appends 17 of
its own while it makes it."""
_RESETS = {
    "remotecommand": ("none", "RemoteCommand=none"),
    "stdinnull": ("no", "StdinNull=no"),
    "forkafterauthentication": ("no", "ForkAfterAuthentication=no"),
    "sessiontype": ("default", "SessionType=default"),
    "permitlocalcommand": ("no", "PermitLocalCommand=no"),
}
"""What is set for work at a terminal, and would keep rsync from its stream: how `ssh -G` writes a harmless value, and the
option that resets it. A setting that -G names is one that this ssh knows; an older one would stop at the option."""


class Ssh:
    """The ssh to one location, for as long as `scratch`, a folder of ours, lives. `command` as git has it, a shell
    command, None for the ssh on PATH; `ask`: it may ask by SSH_ASKPASS. Raises UsageError where there is no ssh."""

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
                "-oClearAllForwardings=yes",  # as for scp: one that another ssh of the user's has already may end it
                *(f"-o{reset}" for key, (well, reset) in _RESETS.items() if configured.get(key, well) != well),
            ]
            if configured.get("controlpath", "none") == "none" and takes_sockets(scratch):
                # ssh reads a value in quotes up to the next one, and a % in a path as the beginning of a token
                at = f"{scratch}/cm-".replace("%", "%%") + "%C"
                self._argv += ["-oControlMaster=auto", f'-oControlPath="{at}"', "-oControlPersist=60"]
        self._argv += port

    @property
    def argument(self) -> str:
        """The value of rsync's -e."""
        return shlex.join(self._argv)

    def close(self) -> None:
        """End the connection that the runs share, where it is our own."""
        with suppress(ToolError, OSError):
            if any(name.startswith("cm-") for name in os.listdir(self._scratch)):
                process.run([*self._argv, "-O", "exit", self._host], env=self.env)

    def first_words(self) -> str:
        """The first line that the far machine prints where nothing was to be printed, or nothing."""
        with suppress(ToolError, OSError):
            said = process.run([*self._argv, self._host, "exit"], env=self.env, ok=range(256), seconds=60)
            return next((line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()), "")
        return ""

    def _configured(self, port: list[str]) -> dict[str, str]:
        """What ssh's configuration says for this host, key by key; nothing where this ssh does not tell (-G came with
        OpenSSH 6.8). It costs some milliseconds, and what a `Match exec` of the user's takes."""
        with suppress(ToolError, OSError):
            # -N: without a command it would not say where it is to fork; so SessionType is none in any case, and reset
            argv = [*self._argv, "-G", "-N", *port, self._host]
            said = process.run(argv, env=self.env, seconds=CONNECT_SECONDS).decode(errors="replace")
            pairs = (line.partition(" ") for line in said.splitlines())
            found = {key: value for key, _, value in pairs}
            return found if "hostname" in found else {}
        return {}


def takes_sockets(folder: str) -> bool:
    """Whether ssh can have a socket in a folder: its name is short enough and can be written in ssh's configuration, and
    the file system has sockets, and hard links, by which ssh gives it its name."""
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
