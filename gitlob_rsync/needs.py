"""What the whole of history needs, counted once and remembered: the next count looks at new commits alone.

Exact, not a guess: what is remembered is void as soon as a commit that was counted can no longer be reached.
"""

from contextlib import suppress
from dataclasses import replace

from gitlob_rsync import history, partial, state
from gitlob_rsync.errors import ToolError
from gitlob_rsync.git import Repo
from gitlob_rsync.history import Committed
from gitlob_rsync.placeholder import Sha, is_sha

_LENGTH = 40


def everything(repo: Repo) -> set[Sha]:
    """The binaries of history.Committed(). Raises ToolError as history.references."""
    if repo.shallow or partial.is_partial(repo):
        # with the same commits, there can be more of it the next time
        return set(history.references(repo, Committed()))
    # as history.references has it: a replacement must not hide what is needed without it
    repo = replace(repo, env=repo.env | {"GIT_NO_REPLACE_OBJECTS": "1"})
    path = state.path(repo, "needed.json")
    tips = sorted(set(history.tips(repo, Committed())))
    known, shas = _remembered(state.read(path))
    if not known or not _reached(repo, known, tips):
        known, shas = [], set()
    if known == tips:
        return shas
    shas.update(history.references(repo, Committed(known=tuple(known))))
    with suppress(OSError):
        state.write(path, {"tips": tips, "binaries": "".join(sorted(shas))})
    return shas


def _remembered(said: dict[str, object]) -> tuple[list[str], set[Sha]]:
    tips, text = said.get("tips"), said.get("binaries")
    if not isinstance(tips, list) or not all(isinstance(tip, str) and tip.isalnum() for tip in tips):
        return [], set()
    if not isinstance(text, str) or len(text) % _LENGTH:
        return [], set()
    shas = [text[at : at + _LENGTH] for at in range(0, len(text), _LENGTH)]
    return (tips, set(map(Sha, shas))) if all(map(is_sha, shas)) else ([], set())


def _reached(repo: Repo, known: list[str], tips: list[str]) -> bool:
    """Whether the history of `tips` still holds all of `known`."""
    if known == tips:
        return True
    revisions = [*known, *(f"^{tip}" for tip in tips)]
    try:
        return not repo.run("rev-list", "--max-count=1", "--stdin", input="\n".join(revisions).encode() + b"\n")
    except ToolError:  # one is gone
        return False
