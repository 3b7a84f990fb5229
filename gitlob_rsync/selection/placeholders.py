"""Which blobs are placeholders, also in a partial clone, whose blobs may still be at the git remote.

There, git would fetch each missing blob by a connection of its own when it is first read. So what a selection needs is
fetched at once, as git does for a checkout; and not at all if the filter of the clone says that missing blobs are too
large to be placeholders.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import TypeVar

from gitlob_rsync import placeholder, process
from gitlob_rsync.errors import ToolError
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.placeholder import Sha

T = TypeVar("T")

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def is_partial(repo: Repo) -> bool:
    return bool(_promisors(_configured(repo)))


def _configured(repo: Repo) -> str:
    return repo.run("config", "--get-regexp", r"^remote\..*\.(promisor|partialclonefilter)$", ok=(0, 1)).decode()


def _promisors(listing: str) -> list[str]:
    return re.findall(r"^remote\.(.*)\.promisor true$", listing, re.MULTILINE)


def readable(repo: Repo, entries: Iterable[tuple[str, T]]) -> Iterable[tuple[str, T]]:
    """(blob, anything) pairs, without those whose blobs are missing here and are not placeholders; other missing ones are
    fetched, or left out, too, if `repo` is offline. Unchanged, if this is not a partial clone. Raises ToolError if the
    fetch failed."""
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


def among(repo: Repo, entries: Iterable[tuple[str, T]]) -> Iterator[tuple[Sha, str, T]]:
    """Of (blob, anything) pairs, those whose blob is a placeholder, as (the binary's sha, blob, anything), in order.

    Only blobs of a placeholder's size are read. Raises ToolError if a blob is missing: the answer would be
    incomplete.
    """
    with ExitStack() as stack:

        def converse(how: str) -> process.Conversation:
            return stack.enter_context(process.Conversation(repo.argv("cat-file", how), env=repo.env, cwd=repo.cwd))

        sizes = contents = None  # started when there is something to ask: often there is not
        for batch in _batches(entries):
            sizes = sizes or converse("--batch-check=%(objectsize)")
            answers = sizes.ask("".join([f"{blob}\n" for blob, _ in batch]).encode())
            small = [entry for entry in batch if _size(answers.readline(), entry[0], sizes) == placeholder.SIZE]
            if not small:
                continue
            contents = contents or converse("--batch")
            answers = contents.ask("".join([f"{blob}\n" for blob, _ in small]).encode())
            for blob, extra in small:
                answers.readline()
                sha = placeholder.decode(answers.read(placeholder.SIZE + 1)[:-1])
                if sha:
                    yield sha, blob, extra


def _size(answer: bytes, blob: str, asked: process.Conversation) -> int:
    if not answer:
        raise asked.broke_off()
    if not answer.strip().isdigit():
        raise ToolError(f"git object {blob} is missing: the repository is damaged", "git fsck says more")
    return int(answer)


def _batches(entries: Iterable[tuple[str, T]]) -> Iterator[list[tuple[str, T]]]:
    """Few enough at a time that the answers to all fit into a pipe, even with contents (64 KiB; Conversation)."""
    batch: list[tuple[str, T]] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == 300:
            yield batch
            batch = []
    if batch:
        yield batch
