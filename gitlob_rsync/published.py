"""Lists of what clones need of a remote store: each clone that pushes keeps one there, a purge of that store goes by them.

A list is text: a line that says what it is, one that says whose, a sha a line, and a last line with their number, so that
one that is cut off is not taken for a short one. What this clone published is kept here as well: the next push only adds
to it, so that it has to look at new commits alone.
"""

import socket
from collections.abc import Collection

from gitlob_rsync import state
from gitlob_rsync.errors import GitlobError
from gitlob_rsync.git import Repo
from gitlob_rsync.location import Location
from gitlob_rsync.placeholder import Sha, is_sha

FOLDER = "lists"
"""Where they are at the remote, below what is ours there. The file of a clone is called as the clone (client_name)."""
_FIRST = "gitlob-rsync list of needed binaries 1"


def encode(repo: Repo, shas: Collection[Sha]) -> bytes:
    whose = f"{socket.gethostname()}:{repo.common_dir}".encode("unicode_escape").decode()
    return "\n".join([_FIRST, f"clone {whose}", *sorted(shas), f"end {len(shas)}", ""]).encode()


def decode(content: bytes, name: str) -> set[Sha]:
    """The binaries that a list names. Raises GitlobError where it is none, or not whole: nothing may be deleted by it."""
    lines = content.decode("ascii", errors="replace").split("\n")
    shas = {Sha(line) for line in lines[2:-2] if is_sha(line)}
    if lines[0] != _FIRST or lines[-2:] != [f"end {len(lines) - 4}", ""] or len(shas) != len(lines) - 4:
        raise GitlobError(
            f"the list {FOLDER}/{name} at the remote is damaged",
            "gitlob-sync --push --recheck from its clone mends it",
        )
    return shas


def _path(repo: Repo, location: Location) -> str:
    return state.path(repo, "lists", state.name_of(location))


def read(repo: Repo, location: Location) -> set[Sha] | None:
    """What this clone published for a location; None where nothing is known of it."""
    shas = state.read(_path(repo, location)).get("shas")
    return {Sha(sha) for sha in shas if isinstance(sha, str) and is_sha(sha)} if isinstance(shas, list) else None


def write(repo: Repo, location: Location, shas: Collection[Sha]) -> None:
    """Keep what was published."""
    state.write(_path(repo, location), {"shas": sorted(shas)})
