"""What purges of the local store are asked, and what they say."""

import json
import os
from pathlib import Path

from tests.support.handmade import sha_of, shas_in
from tests.support.words import WORDS, ago
from tests.support.work import Work

KEYS = {"purged", "kept", "reasons", "binaries"}
Reasons = dict[str, str]


def age(root: Path, days: float = 3, word: str | None = None) -> None:
    """Make the files of a store, or of one binary in it, this old."""
    for at in root.glob("???/???/*"):
        if word is None or at.name.startswith(sha_of(word.encode())):
            os.utime(at, (ago(days), ago(days)), follow_symlinks=False)


def pushed(repo: Work, commit: str = "HEAD", remote: str = "origin", branch: str = "main") -> None:
    """Have git know that a commit is at the remote."""
    repo.fetches(remote)
    repo.git("update-ref", f"refs/remotes/{remote}/{branch}", commit)


def told(repo: Work, *args: str, code: int = 0, env: dict[str, str] | None = None, cwd: str = ".") -> Reasons:
    """A purge; returns the reason for each binary. What it says went is gone, and the rest is here."""
    before = shas_in(repo.content)
    done = repo.run("gitlob-purge", "--json", *args, code=code, env=env, cwd=cwd)
    said = json.loads(done.stdout)
    assert said.keys() == KEYS
    gone = {one["sha"] for one in said["binaries"] if one["goes"]}
    after = before if {"-n", "--dry-run"} & set(args) else before - gone
    assert shas_in(repo.content) == after
    return {WORDS.get(one["sha"], one["sha"]): one["reason"] for one in said["binaries"]}
