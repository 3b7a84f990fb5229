"""Where scenes are made, and the repositories and files that they are made of."""

import argparse
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import ENV, PROGRAMS

KIB, MIB = 1 << 10, 1 << 20


class Lacking(Exception):
    """A scene cannot be had here."""


@dataclass
class Stage:
    """Where scenes are made, and what with. What `stack` holds ends after the last run."""

    folder: Path
    history: Path
    given: argparse.Namespace
    stack: ExitStack
    with_lfs: bool

    @property
    def kinds(self) -> list[str]:
        return ["lob", "lfs"] if self.with_lfs else ["lob"]

    def count(self, files: int) -> int:
        return max(1, round(files * self.given.scale))


def git(folder: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=folder, env=ENV, check=True, capture_output=True, text=True).stdout


def repository(at: Path, kind: str) -> Path:
    """A new repository in which *.bin go through the filter `kind`; "none": through none."""
    at.mkdir(parents=True)
    git(at, "init", "-q", "-b", "main")
    if kind == "lob":
        subprocess.run([PROGRAMS / "gitlob-setup", "-q", "--track", "*.bin"], cwd=at, env=ENV, check=True)
    elif kind == "lfs":
        git(at, "lfs", "install", "--local", "--skip-repo")
        git(at, "lfs", "track", "*.bin")
    else:
        (at / ".gitattributes").write_text("*.bin -text\n")
    return at


def fill(folder: Path, count: int, size: int, prefix: str = "") -> None:
    """Files of random content, some hundred a folder. In small blocks: our own memory is the least that is measured."""
    for number in range(count):
        at = folder / f"{prefix}{number // 250}" / f"{number}.bin"
        at.parent.mkdir(parents=True, exist_ok=True)
        with at.open("wb") as file:
            for start in range(0, size, MIB):
                file.write(os.urandom(min(MIB, size - start)))


def binaries(folder: Path) -> Iterator[Path]:
    return folder.glob("*/*.bin")


def filled(folder: Path, least: int) -> bool:
    """Whether all files of the last commit are there with content."""
    there = [at.stat().st_size for at in binaries(folder)]
    return len(there) == git(folder, "ls-files").count(".bin\n") and min(there) >= least


def empty(*paths: Path) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


def set_aside(where: Path, *paths: Path) -> None:
    """Have paths be gone, without deleting: ext4 is slow to make files where it just deleted many, and that would be
    measured in the next run."""
    where.mkdir(exist_ok=True)
    for path in paths:
        if path.exists():
            path.rename(where / f"{len(list(where.iterdir()))}")


def store(repo: Path) -> Path:
    return repo / ".git" / ("lfs" if (repo / ".git" / "lfs").exists() else "git-lob")
