"""rsync's options, and which versions know them. Pure functions, except for asking the rsync on PATH its version."""

import os
import re
from collections.abc import Iterable

from gitlob_rsync import process
from gitlob_rsync.errors import UsageError
from gitlob_rsync.location import Kind, Location
from gitlob_rsync.store.aside import ASIDE
from gitlob_rsync.store.layout import CHUNK, GLOBS, LEVEL_GLOB
from gitlob_rsync.transport.base import is_shared
from gitlob_rsync.transport.rsync.reports import FORMAT
from gitlob_rsync.transport.rsync.ssh import CONNECT_SECONDS

OLDEST = (3, 1, 3)
_VERSION = r"rsync +version v?([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})"
_NOT_EVERYWHERE = {"--mkpath": (3, 2, 3), "--fsync": (3, 2, 4), "--trust-sender": (3, 2, 5)}
"""Options, and the version that introduced them. The remote's rsync must know the first two as well."""


def local_version() -> tuple[int, ...]:
    """The version of the rsync on PATH. Raises UsageError if it cannot be used."""
    # an openrsync prints its version, or that it does not know the option, on stderr
    argv = [process.tool("rsync"), "--version"]
    return version_in(process.run(argv, env=process.clean_env(), ok=(0, 1), merged=True))


def version_in(said: bytes) -> tuple[int, ...]:
    """The version in the output of `rsync --version`. Raises as local_version."""
    lines = said.decode(errors="replace").splitlines() or [""]
    for line in lines:
        if re.match(r"openrsync|usage: openrsync|(\S*/)?rsync: (unrecognized|unknown) option", line):
            raise UsageError(
                f"the rsync on PATH is openrsync: {line}",
                "it cannot read file lists: install rsync from rsync.samba.org, and put its folder first on PATH",
            )
    found = next(filter(None, (re.match(_VERSION, line) for line in lines)), None)
    version = tuple(map(int, found.groups())) if found else ()
    if version < OLDEST:
        raise UsageError(f"rsync is too old: {lines[0]}", f"install rsync {'.'.join(map(str, OLDEST))} or later")
    return version


def transport(
    location: Location, version: tuple[int, ...], timeout: int, ssh: str | None, rsync_path: str | None = None
) -> list[str]:
    """The options for reaching a location; `ssh`: the value of -e; `rsync_path`: the remote rsync, as a word of its
    shell."""
    if location.kind is Kind.DAEMON:
        return [f"--timeout={timeout}", f"--contimeout={min(timeout, CONNECT_SECONDS)}", "--no-motd"]
    args = [f"--timeout={timeout}"]
    if location.kind is Kind.SSH:
        assert ssh
        args += ["-e", ssh]
        if rsync_path:
            args.append(f"--rsync-path={rsync_path}")
        # the remote shell sees the path: newer versions escape what it would interpret, except for this one character
        path = re.sub(r"\A~[\w.-]*(?=/|\Z)", "", location.path)  # the shell is to expand a home folder
        if re.search(r"[^\w@%+=:,./-]" if version < (3, 2, 4) else "`", path):
            args.append("--protect-args")
    return args


def _known(version: tuple[int, ...], lacking: Iterable[str], *flags: str) -> list[str]:
    """Those of these flags that both sides know."""
    return [flag for flag in flags if version >= _NOT_EVERYWHERE[flag] and flag not in lacking]


_PARTIAL = ".rsync-partial-"
"""The beginning of the name of the folder in which a part of a file is kept, beside the file's place; the client's name
follows."""
_FILES = ("--files-from=-", "--from0", "--no-dirs", "--no-h", FORMAT)
_PLAIN = ("--no-perms", "--chmod=ugo=rwX")
"""Leaves permissions to the receiving side's umask."""


def permissions(root: int | None) -> tuple[str, ...]:
    """The options for the permissions of sent files, given those of the store's root: if a group may write to the root and
    files in it inherit that group (setgid), the group may write below it too, whatever the sender's umask is."""
    if root is None or not is_shared(root):
        return _PLAIN
    folder = root & 0o777 | 0o2700
    return "--perms", f"--chmod=D{folder:o},F{folder & 0o666:o}"


def for_both(given: Iterable[str]) -> set[str]:
    """Those of the given flags that both sides must know and some versions of rsync do not."""
    return {flag for flag in ("--mkpath", "--fsync") if flag in given}


_RESUMES = "--no-whole-file"
"""Without it, rsync does not resume between two folders of one machine."""


def refused(given: Iterable[str], said: str) -> set[str]:
    """Those of the given flags that one side reported as unknown or not allowed."""
    return {
        flag
        for flag in _NOT_EVERYWHERE
        if flag in given
        and re.search(rf"^rsync: .*(?:{flag}: unknown option|refuse (?:--)?{flag[2:]}\b)", said, re.MULTILINE)
    }


def fetch_args(version: tuple[int, ...], lacking: Iterable[str], partial: str) -> list[str]:
    # nothing in a store is larger than a chunk
    return [*_FILES, *_PLAIN, _RESUMES, f"--max-size={CHUNK}", "--size-only", "--ignore-missing-args", "--info=progress2",
            f"--partial-dir={partial}", *_known(version, lacking, "--trust-sender")]  # fmt: skip


def send_args(
    version: tuple[int, ...], lacking: Iterable[str], client: str, fsync: bool, root: int | None = None,
    overwrite: bool = False,
) -> list[str]:  # fmt: skip
    durable = ["--fsync"] if fsync else []
    # nothing in a store is larger than a chunk
    which = ["--ignore-times"] if overwrite else [f"--max-size={CHUNK}", "--size-only"]
    return [*_FILES, *permissions(root), _RESUMES, *which, "--info=progress2", f"--partial-dir={_PARTIAL}{client}",
            *_known(version, lacking, "--mkpath", *durable)]  # fmt: skip


def look_args(version: tuple[int, ...], lacking: Iterable[str]) -> list[str]:
    return ["--dry-run", *_FILES, *_PLAIN, "--ignore-missing-args", *_known(version, lacking, "--trust-sender")]


def list_args(left_over: bool = False) -> list[str]:
    kept = [f"/{glob}" for glob in GLOBS]
    if left_over:
        kept += [f"/{ASIDE}/", f"/{ASIDE}/*/"]
        for folder in (f"{LEVEL_GLOB}/{LEVEL_GLOB}", f"{ASIDE}/*"):
            kept += [f"/{folder}/.[0-9a-f]*.??????", f"/{folder}/{_PARTIAL}*/", f"/{folder}/{_PARTIAL}*/[0-9a-f]*"]
    return ["--dry-run", "--recursive", "--no-h", FORMAT, *(f"--include={kind}" for kind in kept), "--exclude=*"]


MOST_READ = 4096
"""Bytes: our small files are no larger; what is larger is ignored."""
SHARED_ROOT = 0o2775
"""The permissions of a store's root that the accounts of a group share, as with `git init --shared=group`."""
LEFT_OVER = re.compile(
    r"(...)/(...)/(\.\1\2[0-9a-f]{34}_(meta|\d+)\.\w{6}|" + re.escape(_PARTIAL) + r"[^/]+/\1\2[0-9a-f]{34}_(meta|\d+))|"
    rf"{ASIDE}/[a-z]+/(\.[0-9a-f]+(\.edition)?\.\w{{6}}|{re.escape(_PARTIAL)}[^/]+/[0-9a-f]+(\.edition)?)"
)
"""rsync's names for a file that it is writing, and for a partial file (--partial-dir). If rsync is killed, the former is
never used again, and the latter only by the clone that sent it."""


def is_partial(name: str) -> bool:
    """Whether an unfinished file is a partial one (--partial-dir)."""
    return f"/{_PARTIAL}" in name


def aside_args(folder: str, file: str = "**") -> list[str]:
    kept = [f"/{ASIDE}/", *(f"/{ASIDE}/{folder}/" for folder in _above(folder)), f"/{ASIDE}/{folder}/{file}"]
    return ["--recursive", "--no-h", FORMAT, *(f"--include={kind}" for kind in kept), "--exclude=*"]


def root_args(files: Iterable[str]) -> list[str]:
    """Fetch small files below ASIDE, and show the root's own permissions, which rsync reports if the target does not exist
    yet."""
    kept = [f"/{ASIDE}/"]
    for file in files:
        kept += [*(f"/{ASIDE}/{folder}/" for folder in _above(os.path.dirname(file)) if folder), f"/{ASIDE}/{file}"]
    return [
        "--recursive",
        f"--max-size={MOST_READ}",
        "--no-h",
        FORMAT,
        *(f"--include={kind}" for kind in kept),
        "--exclude=*",
    ]


def content_args() -> list[str]:
    """List what only a store has at its root."""
    kept = (f"/{LEVEL_GLOB}/", f"/{ASIDE}/", f"/{ASIDE}/*/")
    return ["--dry-run", "--recursive", "--no-h", FORMAT, *(f"--include={kind}" for kind in kept), "--exclude=*"]


def shared_root_args(version: tuple[int, ...], lacking: Iterable[str]) -> list[str]:
    return ["--dirs", "--perms", f"--chmod=D{SHARED_ROOT:o}", *_known(version, lacking, "--mkpath")]


def _above(folder: str) -> list[str]:
    """A folder and its parents: a/b/c -> a, a/b, a/b/c."""
    parts = folder.split("/")
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def delete_args() -> list[str]:
    # needs rsync 3.1.0 or later on both sides
    return ["--files-from=-", "--from0", "--no-perms", "--chmod=ugo=rwX", "--delete-missing-args"]


def move_args(into: str) -> list[str]:
    return [*delete_args(), "--backup", f"--backup-dir={into}"]


def empty_args(folder: str) -> list[str]:
    """Delete a folder and its subfolders where they hold no files (filter rules P: protect, R: risk, see rsync(1))."""
    return ["--recursive", "--delete", f"--filter=R /{folder}/", f"--filter=R /{folder}/**/", "--filter=P *"]
