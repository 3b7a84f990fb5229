"""A repository with a few short verbs, and the environment in which tests run."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import programs

ROOT = Path(__file__).resolve().parents[2]
DAY = 86400


def own_environment(folder: Path) -> dict[str, str]:
    """A home, a configuration and an identity below a folder; our programs first on PATH."""
    home = folder / "home"
    home.mkdir()
    path = [
        str(ROOT / "bin"),
        str(Path(sys.executable).parent),
        "/usr/local/bin",
        "/usr/bin",
        "/bin",
        "/usr/sbin",
        "/sbin",
    ]
    (home / ".gitconfig").write_text('[init]\n\tdefaultBranch = main\n[protocol "file"]\n\tallow = always\n')
    return {
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CEILING_DIRECTORIES": str(folder),
        "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "C", "GIT_COMMITTER_EMAIL": "c@example.org",
        "PATH": os.pathsep.join(path),
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(folder),
        "LC_ALL": "C.UTF-8",
    }  # fmt: skip


@dataclass(frozen=True)
class Work:
    """A repository with a few short verbs. Contents and paths may be bytes."""

    path: Path

    def git(self, *args: str, input: bytes = b"", date: int | None = None, code: int = 0) -> bytes:
        env = dict(os.environ)
        if date is not None:
            env["GIT_AUTHOR_DATE"] = env["GIT_COMMITTER_DATE"] = f"{date} +0000"
        done = subprocess.run(["git", *args], cwd=self.path, input=input, env=env, capture_output=True)
        assert done.returncode == code, f"git {args}: {done.returncode}\n{done.stderr.decode(errors='replace')}"
        return done.stdout

    def write(self, path: str | bytes, content: bytes | str) -> None:
        at = os.path.join(os.fsencode(self.path), os.fsencode(path))
        os.makedirs(os.path.dirname(at), exist_ok=True)
        with open(at, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)

    def read(self, path: str | bytes) -> bytes:
        with open(os.path.join(os.fsencode(self.path), os.fsencode(path)), "rb") as file:
            return file.read()

    def commit(self, message: str = "change", date: int | None = None, **files: Any) -> str:
        """Write files (`a__bin` stands for a.bin; contents are bytes or text), add everything, commit; returns the commit."""
        for name, content in files.items():
            self.write(name.replace("__", "."), content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message, date=date)
        return self.git("rev-parse", "HEAD").decode().strip()

    def fetches(self, *remotes: str) -> None:
        """Have remotes be fetched as git configures it; else no ref is known to be a branch of theirs."""
        for remote in remotes:
            self.git("config", f"remote.{remote}.fetch", f"+refs/heads/*:refs/remotes/{remote}/*")

    def run(
        self, *argv: str, code: int | None = 0, env: dict[str, str] | None = None, cwd: str = "."
    ) -> subprocess.CompletedProcess[str]:
        """One of our commands, which must end with `code` (None: whatever)."""
        done = programs.run(argv, cwd=self.path / cwd, env={**os.environ, **(env or {})}, timeout=300)
        assert code is None or done.returncode == code, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def sync(
        self, *args: str, code: int | None = 0, env: dict[str, str] | None = None, cwd: str = "."
    ) -> subprocess.CompletedProcess[str]:
        return self.run("gitlob-sync", *args, code=code, env=env, cwd=cwd)

    def json(self, *args: str, code: int | None = 0, env: dict[str, str] | None = None) -> dict:
        return json.loads(self.sync(*args, "--json", code=code, env=env).stdout)

    def listed(self, *args: str, cwd: str = ".") -> dict[str, bytes]:
        """What --list -z prints: sha -> path."""
        out = os.fsencode(self.sync("--list", "-z", *args, cwd=cwd).stdout)
        rows = [row.split(b" ", 2) for row in out.split(b"\0")[:-1]]
        return {sha.decode(): path for sha, _, path in rows}

    @property
    def content(self) -> Path:
        if (self.path / ".git").is_dir():
            return self.path / ".git" / "git-lob" / "content"
        common = self.git("rev-parse", "--git-common-dir").decode().strip()  # relative to us, or absolute
        return Path(os.path.abspath(self.path / common)) / "git-lob" / "content"

    @property
    def staging(self) -> list[Path]:
        folder = self.content.parent / "staging"
        return sorted(folder.iterdir()) if folder.exists() else []


def init(path: Path, *args: str, attributes: str = "*.bin filter=lob -text\n", location: object = None) -> Work:
    """A repository in which *.bin are binaries; `location`: where the store of its remote origin is."""
    subprocess.run(["git", "init", "-q", "-b", "main", *args, path], check=True)
    work = Work(path)
    work.run("gitlob-setup", "-q", *(["origin", str(location)] if location else []))
    if attributes:
        work.write(".gitattributes", attributes)
    return work


def clone(origin: Work, path: Path, *args: str, location: object = None) -> Work:
    """A clone whose placeholders wait to be filled in."""
    subprocess.run(["git", "clone", "-q", *args, str(origin.path), str(path)], check=True)
    work = Work(path)
    work.run("gitlob-setup", "-q", *(["origin", str(location)] if location else []))
    return work
