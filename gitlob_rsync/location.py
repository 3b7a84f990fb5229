"""Where a store is: the forms of a location that rsync knows, parsed and formatted.

path, host:path, user@host:path, ssh://user@host:port/path, rsync://user@host:port/module/path, user@host::module/path.
Everything here may come from a tracked file, so nothing that could be taken for an option gets through.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from gitlob_rsync.errors import UsageError

FORMS = "PATH, HOST:PATH, ssh://HOST:PORT/PATH, rsync://HOST:PORT/MODULE/PATH or HOST::MODULE/PATH"

IDENTITY = re.compile(r"[0-9a-f]{32}")
"""What distinguishes one store from others, as `gitlob-setup --check` shows it."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHELL = r"'\"`;&<>|(){}"
"""What ssh has refused in names since 9.6: its configuration may pass them to a shell (CVE-2023-51385)."""
_HOST = (
    rf"(?P<user>(?!-)(?:[^@:/\s{_SHELL}]*[^@:/\s{_SHELL}\\]@)+)?"
    rf"(?P<host>\[[0-9a-fA-F:.]+(?:%[0-9A-Za-z._-]+)?\]|(?!-)[^@:/\s\[\]{_SHELL}$\\]+)"
)
_HOME = re.compile(r"~[^/]+(?=/|\Z)")
"""A home directory at the start of a path."""
_NAME_OF_A_HOST = re.compile(r"(?:[\w.-]+@)*\w[\w.-]*")
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_URL = re.compile(rf"(?P<scheme>ssh|rsync)://{_HOST}(?::(?P<port>[0-9]+))?/(?P<path>.*)\Z")
_REMOTE = re.compile(rf"{_HOST}:(?P<double>:)?(?P<path>.*)\Z")


class Kind(Enum):
    PATH = "path"
    SSH = "ssh"
    DAEMON = "daemon"


@dataclass(frozen=True, slots=True)
class Location:
    """The root of a store. `path` is absolute for a PATH, `module/path` for a DAEMON, as given for SSH."""

    kind: Kind
    path: str
    host: str = ""
    port: int | None = None

    def __str__(self) -> str:
        """For people, and so that it names the same place from every folder."""
        if self.kind is Kind.PATH:
            return self.path
        if self.kind is Kind.DAEMON:
            return self.rsync_argument().rstrip("/")
        if self.port is not None or _DRIVE.match(f"{self.host}:{self.path}"):
            # a ~ at the start of a URL's path is a home; after a second slash it is a folder of that name
            if self.path.startswith("/"):
                path = f"/{self.path}" if self.path.startswith("/~") else self.path
            else:
                path = f"/{self.path}" if _HOME.match(self.path) else f"/~/{self.path}"
            port = f":{self.port}" if self.port is not None else ""
            return f"ssh://{self.host}{port}{path}"
        return f"{self.host}:{self.path}"

    @property
    def account(self) -> str:
        """Who reads and writes there, in words."""
        user, at, host = self.host.rpartition("@")
        if self.kind is Kind.PATH:
            return f"the user with the number {os.geteuid()}"
        return user if at else f"your account at {host}"

    def rsync_argument(self) -> str:
        """The root as rsync's argument, with the trailing slash that means "what is inside"."""
        root = self.path.rstrip("/") + "/"
        if self.kind is Kind.PATH:
            return root
        if self.kind is Kind.SSH:
            return f"{self.host}:{root}"
        port = f":{self.port}" if self.port is not None else ""
        # the remote's rsync must not take a folder called -x for an option
        return f"rsync://{self.host}{port}/{root.replace('/-', '/./-', 1)}"


def looks_like_location(text: str) -> bool:
    """Whether `text` can only be a location: neither a remote nor a ref can have such a name."""
    return ":" in text or text.startswith(("/", "./", "../", "~")) or text in (".", "..")


def is_relative(text: str) -> bool:
    """Whether `text` can only be a relative path."""
    head = text.removeprefix("file://").partition("/")[0]
    return bool(head) and ":" not in head and not head.startswith("~")


def parse(text: str, base: str | None = None) -> Location:
    """Read a location; a relative path is relative to `base` (by default the current folder). Raises UsageError."""

    def refuse(why: str) -> UsageError:
        return UsageError(f"location {text!r}: {why}", f"a location is {FORMS}")

    _check(text, refuse)
    if text.startswith("file://"):
        machine, slash, rest = text.removeprefix("file://").partition("/")
        if not slash or machine not in ("", "localhost"):
            raise refuse("after file:// comes the whole path of a folder on this machine: file:///PATH")
        return _parse_path(text, slash + rest, base)
    if _SCHEME.match(text):
        return _parse_url(text, refuse)
    if ":" in text.partition("/")[0]:
        return _parse_remote(text, refuse)
    return _parse_path(text, text, base)


def _check(text: str, refuse: Callable[[str], UsageError]) -> None:
    """Raise UsageError for what looks like something else than a location."""
    if _CONTROL.search(text):
        raise refuse("it has control characters in it")
    if not text.strip():
        raise refuse("it is empty")
    if text.startswith("-"):
        raise refuse("it begins with a dash; write ./ before the name of a folder")
    if _DRIVE.match(text):
        way = f"write ssh://{text[0]}/PATH for a host, ./{text} for a folder"
        raise UsageError(f"location {text!r}: it looks like a drive of Windows", way)
    if text.startswith("file:/") and not text.startswith("file://"):
        raise UsageError(
            f"location {text!r}: is it a folder, or on a host called file?", f"write {text[5:]}, or ssh://file/PATH"
        )
    if text.startswith("\\"):
        raise UsageError(
            f"location {text!r}: it looks like a share of Windows",
            "name its server as HOST:PATH or rsync://HOST/MODULE/PATH, or the folder where it is mounted; "
            "./ before the name of a folder makes it one",
        )


def _parse_path(text: str, path: str, base: str | None) -> Location:
    path = os.path.expanduser(path)
    if path.startswith("~"):
        raise UsageError(
            f"location {text!r}: there is no user {path[1:].partition('/')[0]!r} here",
            f"./{path} is a folder of that name",
        )
    # POSIX lets two slashes at the start mean something of their own
    path = re.sub("^//+", "/", os.path.normpath(os.path.join(base or os.getcwd(), path)))
    return Location(Kind.PATH, path)


def ask_about(text: str, base: str | None = None) -> None:
    """Raise UsageError for a single word that can be the name of a host, and is not a folder (relative to `base`, by
    default the current one): the user may mean the host, and would not want a folder of that name."""
    if os.path.isdir(os.path.join(base or os.getcwd(), text)):
        return
    word, _, rest = text.partition("/")
    if _NAME_OF_A_HOST.fullmatch(word) and (not rest or "@" in word):
        raise UsageError(f"location {text!r}: is it a host or a folder?", f"write {word}:{rest or 'PATH'}, or ./{text}")
    if re.match(r"//[^/]", text):
        raise UsageError(
            f"location {text!r}: it looks like a share of Windows",
            f"write HOST:PATH for a host, the folder where it is mounted, or {text[1:]} for a folder of that name",
        )


def _parse_url(text: str, refuse: Callable[[str], UsageError]) -> Location:
    found = _URL.match(text)
    if not found:
        raise refuse("it is not a URL that rsync knows (ssh://HOST/PATH or rsync://HOST/MODULE/PATH)")
    port = int(found["port"].lstrip("0")[:6] or 0) if found["port"] else None
    if port is not None and not 0 < port < 65536:
        raise refuse(f"there is no port {found['port'][:12]}")
    host = (found["user"] or "") + found["host"]
    path = found["path"]
    if found["scheme"] == "ssh":
        if path.startswith("~/"):
            path = _tidy(path[2:])
            path = f"./{path}" if path.startswith("~") else path  # a folder of that name, in this home
        else:
            path = _tidy(path if _HOME.match(path) else "/" + path)
        if not path.strip("/"):
            raise refuse("it names no folder")
        return Location(Kind.SSH, path, host, port)
    if not path.strip("/") or path.startswith("/"):
        raise refuse("it names no module")
    return Location(Kind.DAEMON, _tidy(path), host, port)


def _parse_remote(text: str, refuse: Callable[[str], UsageError]) -> Location:
    found = _REMOTE.match(text)
    if not found:
        raise refuse("its host is not one (a folder with a colon in its name is written ./NAME)")
    path, host = _tidy(found["path"]), (found["user"] or "") + found["host"]
    if not path.strip("/"):
        raise refuse("it names no module" if found["double"] else "it names no folder")
    if found["double"]:
        return Location(Kind.DAEMON, _tidy(path.lstrip("/")), host)
    return Location(Kind.SSH, path, host)


def _tidy(path: str) -> str:
    """A path on another machine, so written that one place has one name, and that it is not taken for an option by the
    remote's rsync, or for a module by ours."""
    path = re.sub(r"/(\.?/)*(\.\Z)?", "/", path)
    path = path.rstrip("/") or path
    return f"./{path}" if path.startswith(("-", ":")) else path


@dataclass(frozen=True, slots=True)
class Remote:
    """A remote store. `name` is that of its git remote, None for a location given by hand; `identity` is that of the store
    according to the configuration."""

    name: str | None
    location: Location
    identity: str | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.location})" if self.name else str(self.location)
