"""A team's tracked `.gitlobconfig`: where it is found, and which settings it may have."""

import os
import re
from collections.abc import Iterable

from gitlob_rsync.errors import ToolError, ToolKilled, UsageError
from gitlob_rsync.git.gitconfig import Value, parse
from gitlob_rsync.git.remotes import Remotes
from gitlob_rsync.git.repo import Repo

TEAM_FILE = ".gitlobconfig"
_KEYS = re.compile(
    r"remote\..+\.git-lob-(path|provider|identity)\Z|git-lob\.fetch-(include|exclude|refs|commits-head|commits-other)\Z",
    re.DOTALL,
)
_OBJECT = re.compile(rb"[0-9a-f]{40,64}\Z")


def read(repo: Repo, git_remotes: Remotes, branch: str, treeishes: Iterable[str]) -> tuple[list[Value], list[str]]:
    """What the file sets, and warnings about what it must not set. `branch` is the current one; `treeishes`: commits or
    trees that are being checked out or pushed, where the file is looked for first, after the working tree. Raises
    UsageError for a file that git cannot parse."""
    values, warnings = [], []
    for value in _values(repo, _places(repo, git_remotes, branch, treeishes)):
        if _KEYS.match(value.key):
            values.append(value)
        else:
            warnings.append(f"{value.key} in {value.origin} is ignored: a tracked file may not set it")
    return values, warnings


def _places(repo: Repo, git_remotes: Remotes, branch: str, treeishes: Iterable[str]) -> list[str]:
    """Where git has the file if the working tree does not, as beginnings of object names: what is being checked out or
    pushed, the index, HEAD, the upstream of the current branch, the branch of its name at the remote, and the remote's own
    HEAD. The last three matter before the first commit, and at a commit that is older than the file."""
    tracked = git_remotes.named(git_remotes.remote_of(branch) or "", ())
    tips = [git_remotes.upstream(branch, tracked)]
    for name in (tracked, "origin", *(git_remotes.urls if len(git_remotes.urls) == 1 else ())):
        if name and name != ".":
            same = git_remotes.tracking(name, f"refs/heads/{branch}") if branch else None
            tips += [same, f"refs/remotes/{name}/HEAD"]
    here = [*treeishes, *([""] if repo.work_tree else []), "HEAD"]
    return list(dict.fromkeys([*here, *(tip for tip in tips if tip)]))


def _values(repo: Repo, places: list[str]) -> list[Value]:
    """What is in the file of the working tree, or else the first one that is in one of `places`. No include is followed,
    and no link: anything but a regular file counts as empty."""
    path = os.path.join(repo.work_tree, TEAM_FILE) if repo.work_tree else None
    if path and os.path.lexists(path):
        if os.path.islink(path) or not os.path.isfile(path):
            return []
        where, origin = ("--file", path), TEAM_FILE
    else:
        found = _first_with_file(repo, places)
        if not found or not _is_file(repo, found[0]):
            return []
        where, origin = ("--blob", found[1]), f"{found[0]}:{TEAM_FILE}"
    try:
        return list(parse(repo.run("config", "-z", "--list", "--no-includes", *where), origin))
    except ToolKilled:
        raise
    except ToolError as error:
        raise UsageError(f"{TEAM_FILE} cannot be read: {error}", "fix the file") from None


def _first_with_file(repo: Repo, places: list[str]) -> tuple[str, str] | None:
    """The first of `places` that has the file, and its blob: one git process, however many there are."""
    asked = "".join(f"{place}:{TEAM_FILE}\n" for place in places).encode(errors="surrogateescape")
    try:
        said = repo.run("cat-file", "--batch-check=%(objectname)", input=asked).split(b"\n")
    except ToolKilled:
        raise
    except ToolError:
        if "" not in places:
            raise
        return _first_with_file(repo, [place for place in places if place])  # the index is damaged
    blobs = zip(places, said, strict=False)
    return next(((place, blob.decode()) for place, blob in blobs if _OBJECT.match(blob)), None)


def _is_file(repo: Repo, place: str) -> bool:
    """Whether the file is a regular one in a tree or ("") in the index."""
    if not place:
        return repo.run("ls-files", "-s", "--", f":(top){TEAM_FILE}").startswith(b"100")
    return repo.run("ls-tree", "--full-tree", place, "--", TEAM_FILE).startswith(b"100")
