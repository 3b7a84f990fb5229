"""Installs and removes git hooks: beside existing ones, never over them, and wherever core.hooksPath says.

Other programs write hooks too, at any time: git-lfs and lefthook overwrite ours or move it aside, pre-commit moves it to
NAME.legacy and calls it there, husky sets core.hooksPath. So our hook does not rely on its own name, and where it is now is
looked up each time.
"""

import os
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from gitlob_rsync import plain_files
from gitlob_rsync.errors import UsageError
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.jobs.hook_files import (
    KEPT,
    LEGACY,
    NOTE,
    OLD,
    SCRIPTS,
    called_by_pre_commit,
    check_folder,
    in_working_tree,
    is_ours,
    left_alone,
    path_of,
    replaces,
    text_of,
)
from gitlob_rsync.state import files

_SHELLS = ("sh", "bash", "dash", "ksh")
_SOURCED = re.compile(r'^\s*(?:\.|source) "?(?:\$\(dirname (?:-- )?"?\$0"?\)|\$\{0%/\*\})/([^"\s]+)"?', re.MULTILINE)
_OWN_NAME = re.compile(r"basename\b[^\n]*\$\{?0|\$\{0##")
_ITSELF = re.compile(r'\b(?:sh|bash|exec)\b[^\n]*"\$0" "\$@"')

Step = tuple[str, Callable[[], object]]
"""A description, and the function that does it."""


def installation(repo: Repo, name: str, program: str) -> Step:
    """The step that installs our hook where git looks for it, next to an existing one, which it calls first. `program`:
    gitlob-sync as the shell has to call it.

    Raises UsageError if git looks in no folder, or in one that cannot be written, and if there is another program's hook
    and another one is kept already.
    """
    path = path_of(repo, name)
    check_folder(repo, os.path.dirname(path))
    kept = path + KEPT
    if called_by_pre_commit(path):
        at = path + LEGACY

        def renew() -> None:
            _write(at, kept, name, program)
            _expect(repo)

        return f"{at}, which pre-commit calls", renew
    theirs = os.path.lexists(path) and not is_ours(path)
    if theirs and os.path.lexists(kept) and not replaces(path, kept):
        raise UsageError(
            f"{path} is another program's hook, and so is the older {kept}",
            "find out which of the two is needed, delete the other, and run it again",
        )

    def put() -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _write(path, kept, name, program, moving=theirs)
        _expect(repo)
        if is_ours(path + OLD):
            os.unlink(path + OLD)

    words = path
    if theirs or os.path.lexists(kept):
        words += f"; {kept} is called first"
    if left_alone(path, path if theirs else kept):
        words += f"; {path}{LEGACY}, left by pre-commit, is not called"
    if in_working_tree(repo, path):
        words += "; core.hooksPath puts it in the working tree"
    return words, put


def _write(path: str, kept: str, name: str, program: str, *, moving: bool = False) -> None:
    """Write our hook to `path`; `moving`: move the existing one to `kept` first. A run that is killed leaves one of the two
    at `path`, or only the old one at `kept`, which the next run finds and calls."""
    theirs = _call_of(path if moving else kept, name)

    def make(new: str) -> None:
        # executable for all who may read it; without chmod, which some file systems refuse
        opener = partial(os.open, mode=0o777)
        with open(new, "x", encoding="utf-8", errors="surrogateescape", opener=opener) as file:
            file.write(SCRIPTS[name].replace("THEIRS", theirs).replace("NAME", name).replace("PROGRAM", program))
        if moving:
            os.replace(path, kept)

    plain_files.replace(path, make)


def _call_of(hook: str, name: str) -> str:
    """The shell words with which our hook calls a kept one. A hook that looks at its own name (husky's do) must see its
    original one: it is sourced by a shell that runs under that name. A hook that starts itself again must be executed."""
    text = text_of(hook)
    words = shlex.split(text.partition("\n")[0].removeprefix("#!"), comments=False) if text.startswith("#!") else []
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if word != "-S"]
    beside = os.path.dirname(hook)
    text += "".join(text_of(os.path.join(beside, other)) for other in _SOURCED.findall(text))
    by_name = _OWN_NAME.search(text) and not _ITSELF.search(text)
    if not words or os.path.basename(words[0]) not in _SHELLS or not by_name:
        return '"$before"'
    return f"""{shlex.join(words)} -c '. "$0{KEPT}"' "$(dirname "$0")/{name}\""""


def removals(repo: Repo, name: str) -> Iterator[Step]:
    """The steps that remove our hook, wherever it is, and put back the one that was there before."""
    for path in dict.fromkeys((path_of(repo, name), os.path.join(repo.common_dir, "hooks", name))):
        kept = path + KEPT
        aside = os.path.lexists(kept)
        if is_ours(path) or (aside and not os.path.lexists(path)):
            words = f"{path} restored" if aside else f"{path} removed"
            yield words, partial(os.replace, kept, path) if aside else partial(os.unlink, path)
            aside = False
        elif is_ours(path + LEGACY):
            needed = aside and not replaces(path, kept)
            put_back = partial(os.replace, kept, path + LEGACY)
            yield f"{path}{LEGACY} removed", put_back if needed else partial(os.unlink, path + LEGACY)
            aside = aside and not needed
        if is_ours(path + OLD):
            yield f"{path}{OLD} removed", partial(os.unlink, path + OLD)
        if aside and replaces(path, kept):
            yield f"{kept} removed: {path} is newer", partial(os.unlink, kept)
        elif aside:
            yield f"{kept} left alone: {path} is now another program's hook", partial(os.path.lexists, kept)


def _expect(repo: Repo) -> None:
    files.write(files.path(repo, NOTE), {"installed": True})


def forget(repo: Repo) -> None:
    """Forget that our hooks were installed, so that none are expected any more."""
    with suppress(FileNotFoundError):
        os.unlink(files.path(repo, NOTE))
