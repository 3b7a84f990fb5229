"""git's hooks: ours are put beside those that are there, never over them, and core.hooksPath counts."""

import os
from contextlib import suppress

from gitlob_rsync.errors import UsageError
from gitlob_rsync.git import Repo

_KEPT = ".before-gitlob"
_MARK = "written by gitlob-setup"
_HEAD = f"""\
#!/bin/sh
# {_MARK} --hooks; gitlob-setup --uninstall takes it away.
"""
_SETTING = "git-lob.prefetch"
_PREFETCH = f"""\
if [ -x "$0{_KEPT}" ]; then
    "$0{_KEPT}" "$@" || exit
fi
[ "$(git config --type=bool --get {_SETTING})" = true ] || exit 0
"""
_START = "PROGRAM --pull --window --background </dev/null >/dev/null 2>&1 || :\n"
SCRIPTS = {
    "pre-push": f"""\
{_HEAD}# Sends the binaries that the pushed commits need before git sends the commits.
pushed=$(cat; echo .)
if [ -x "$0{_KEPT}" ]; then
    printf %s "${{pushed%.}}" | "$0{_KEPT}" "$@" || exit
fi
printf %s "${{pushed%.}}" | PROGRAM --pre-push -- "$1"
""",
    "post-checkout": f"""\
{_HEAD}# With git-lob.prefetch, brings what recent states need in the background.
{_PREFETCH}[ "$3" = 1 ] || exit 0 # files, and no other commit
{_START}""",
    "post-merge": f"""\
{_HEAD}# With git-lob.prefetch, brings what recent states need in the background.
{_PREFETCH}{_START}""",
}
"""By name; PROGRAM stands for gitlob-sync as git has to call it."""


def path_of(repo: Repo, name: str) -> str:
    """Where git looks for a hook."""
    path = os.fsdecode(repo.run("rev-parse", "--git-path", f"hooks/{name}")).rstrip("\n")
    return os.path.join(repo.cwd, path)


def check(repo: Repo, name: str) -> str:
    """Where our hook goes. Raises UsageError where another stands there and a third is kept aside already."""
    path = path_of(repo, name)
    if os.path.lexists(path) and not is_ours(path) and os.path.lexists(path + _KEPT):
        raise UsageError(f"{path}{_KEPT} exists already", "one of the two hooks has to go first")
    return path


def install(repo: Repo, name: str, program: str) -> str:
    """Put our hook into git's folder for hooks, beside one that stands there, which is called first. `program` is
    gitlob-sync as the shell has to call it. Returns the hook's path. Raises UsageError as check: nothing is overwritten."""
    path = check(repo, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path) and not is_ours(path):
        os.rename(path, path + _KEPT)
    beside = f"{path}.{os.getpid()}"
    # to be run by who may read it; no chmod: some file systems refuse that
    with open(beside, "x", encoding="utf-8", opener=lambda at, flags: os.open(at, flags, 0o777)) as file:
        file.write(SCRIPTS[name].replace("PROGRAM", program))
    os.rename(beside, path)
    return path


def remove(repo: Repo, name: str) -> bool:
    """Take our hook away and put back what stood there; whether there was one."""
    path = path_of(repo, name)
    if not is_ours(path):
        return False
    if os.path.lexists(path + _KEPT):
        os.rename(path + _KEPT, path)
    else:
        os.unlink(path)
    return True


def runs(repo: Repo, name: str) -> bool:
    """Whether git runs our hook."""
    path = path_of(repo, name)
    return is_ours(path) and os.access(path, os.X_OK)


def is_ours(path: str) -> bool:
    """Whether a hook is the one that we wrote."""
    with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return _MARK in file.read(4096)
    return False
