"""Binaries that are called by words, and what the command line selects of them."""

import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from tests.support.handmade import placeholder, sha_of
from tests.support.work import DAY, Work

NOW = int(time.time())
WORDS: dict[str, str] = {}


def lob(word: str) -> bytes:
    """A placeholder, that of the binary that `said` calls by this word."""
    WORDS[sha_of(word.encode())] = word
    return placeholder(word.encode())


def said(listed: Iterable[str]) -> set[str]:
    return {WORDS.get(sha, sha) for sha in listed}


def ago(days: float) -> int:
    return NOW - int(days * DAY)


def make(path: Path, *args: str) -> Work:
    """A repository without filter and store: what is selected needs neither."""
    subprocess.run(["git", "init", "-q", *args, path], check=True)
    return Work(path)


def committed(repo: Work, *args: str, cwd: str = ".") -> set[str]:
    return said(repo.listed("--committed", *args, cwd=cwd))
