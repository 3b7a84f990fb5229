"""The placeholders of the whole history, found once and remembered: the next run examines new commits only.

Exact, not a guess: what is remembered is void as soon as a commit that was examined can no longer be reached.
"""

import re
from contextlib import suppress

from gitlob_rsync.errors import ToolError
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.selection import placeholders, references
from gitlob_rsync.selection.commits import tips_of
from gitlob_rsync.selection.scopes import Committed
from gitlob_rsync.state import files

_LISTING = re.compile(r"(?:[0-9a-f]{40,64} [0-9a-f]{40}\n)*")
"""What is remembered: a blob and a binary on each line."""


def everything(repo: Repo) -> dict[str, Sha]:
    """The placeholders of Committed(), by their blobs. Raises ToolError as references.needed_by."""
    if repo.shallow or placeholders.is_partial(repo):
        # with the same commits, more of it may be here the next time
        return references.by_blob(repo, Committed())
    repo = repo.without_replacements()
    path = files.path(repo, "placeholders.json")
    tips = sorted(set(tips_of(repo, Committed())))
    known, found = _remembered(files.read(path))
    if not _reached(repo, known, tips):
        known, found = [], {}
    if known != tips:
        found |= references.by_blob(repo, Committed(known=tuple(known)))
        listing = "".join(f"{blob} {sha}\n" for blob, sha in found.items())
        with suppress(OSError):
            files.write(path, {"tips": tips, "placeholders": listing})
    return found


def _remembered(said: dict[str, object]) -> tuple[list[str], dict[str, Sha]]:
    tips, listing = said.get("tips"), said.get("placeholders")
    if not isinstance(tips, list) or not all(isinstance(tip, str) and tip.isalnum() for tip in tips):
        return [], {}
    if not isinstance(listing, str) or not _LISTING.fullmatch(listing):
        return [], {}
    words = listing.split()
    return tips, dict(zip(words[0::2], map(Sha, words[1::2]), strict=True))


def _reached(repo: Repo, known: list[str], tips: list[str]) -> bool:
    """Whether all of `known` are still in the history of `tips`."""
    if known == tips:
        return True
    revisions = [*known, *(f"^{tip}" for tip in tips)]
    try:
        return not repo.run("rev-list", "--max-count=1", "--stdin", input="\n".join(revisions).encode() + b"\n")
    except ToolError:  # one is gone
        return False
