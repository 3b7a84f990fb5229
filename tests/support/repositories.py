"""Small repositories, made quickly."""

import subprocess
import time
from pathlib import Path

from tests.support.handmade import placeholder, put
from tests.support.work import Work


def repository(path: Path, location: object, files: dict[str, bytes], *, have: bool = True, config: str = "") -> Work:
    """A repository in which main names binaries (path -> content), and a remote origin whose store is at `location`.

    `have`: they are in its store. The working tree and the index are empty.
    """
    subprocess.run(["git", "init", "-q", "-b", "main", path], check=True)
    work = Work(path)
    with (path / ".git" / "config").open("a") as file:
        file.write('[filter "lob"]\n\tclean = gitlob-filter clean -- %f\n\tsmudge = gitlob-filter smudge -- %f\n')
        if location is not None:
            file.write(f'[remote "origin"]\n\tgit-lob-path = {location}\n')
        file.write(config)
    commit(work, files)
    if have:
        for content in files.values():
            put(work.content, content)
    return work


def commit(work: Work, files: dict[str, bytes], branch: str = "main") -> None:
    """A commit of placeholders on top of a branch, past the working tree and the filter."""
    lines = [f"commit refs/heads/{branch}\ncommitter C <c@example.org> {int(time.time())} +0000\ndata 1\nx\n".encode()]
    if work.git("for-each-ref", f"refs/heads/{branch}"):
        lines.append(f"from refs/heads/{branch}^0\n".encode())
    lines += [b"M 100644 inline %s\ndata 49\n%s\n" % (name.encode(), placeholder(files[name])) for name in files]
    work.git("fast-import", "--quiet", input=b"".join(lines))


def records(work: Work) -> list[Path]:
    """The files in which it is noted what was pushed where."""
    return sorted((work.content.parent / "state" / "pushed").glob("*"))


def sharing(store: Path) -> str:
    return f"[git-lob]\n\tsharedstore = {store}\n"
