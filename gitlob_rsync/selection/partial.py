"""Partial clones: history whose blobs are still at the git remote.

Git would fetch a missing blob when it is first read, one connection each. So what a selection needs is fetched in one
go, as git does it for a checkout; and where the clone's own filter says that a missing blob is too large to be a
placeholder, not at all.
"""

import re
from collections.abc import Iterable, Iterator

from gitlob_rsync import placeholder, process
from gitlob_rsync.git.git import Repo, T

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def is_partial(repo: Repo) -> bool:
    return bool(_promisors(_configured(repo)))


def _configured(repo: Repo) -> str:
    return repo.run("config", "--get-regexp", r"^remote\..*\.(promisor|partialclonefilter)$", ok=(0, 1)).decode()


def _promisors(listing: str) -> list[str]:
    return re.findall(r"^remote\.(.*)\.promisor true$", listing, re.MULTILINE)


def readable(repo: Repo, entries: Iterable[tuple[str, T]]) -> Iterable[tuple[str, T]]:
    """(blob, anything) pairs less those whose blobs are missing here and no placeholders; other missing ones are
    fetched, or left out too where `repo` is offline. As they are, where this is no partial clone. Raises ToolError where
    the fetch failed."""
    listing = _configured(repo)
    remotes = _promisors(listing)
    if not remotes:
        return entries
    held = list(entries)
    missing = {blob for blob, _ in held}
    every = repo.argv("cat-file", "--batch-check=%(objectname)", "--batch-all-objects", "--unordered")
    with process.pipeline(every, env=repo.env, cwd=repo.cwd) as names:
        for name in names:
            missing.discard(name.decode().strip())
    if not missing:
        return held
    limits = re.findall(r"^remote\..*\.partialclonefilter blob:limit=(\d+)([kmg]?)$", listing, re.MULTILINE)
    too_large = len(limits) == len(remotes) and all(int(n) * _UNITS[unit] > placeholder.SIZE for n, unit in limits)
    if too_large or repo.offline:
        return _without(held, missing)
    argv = repo.argv("-c", "fetch.negotiationAlgorithm=noop", "fetch", "-q", "--no-tags", "--no-write-fetch-head",
                     "--recurse-submodules=no", "--filter=blob:none", "--stdin", remotes[0])  # fmt: skip
    process.run(argv, env=repo.env, cwd=repo.cwd, input="".join(f"{blob}\n" for blob in sorted(missing)).encode())
    return held


def _without(held: list[tuple[str, T]], missing: set[str]) -> Iterator[tuple[str, T]]:
    return ((blob, extra) for blob, extra in held if blob not in missing)
