"""The repository, found once, and small verbs over git's plumbing. All output that holds paths is read NUL-separated."""

import os
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TypeVar

from gitlob_rsync import placeholder, process
from gitlob_rsync.errors import ToolError, ToolKilled, UsageError
from gitlob_rsync.placeholder import Sha

OLDEST = (2, 30)
"""The oldest git that has all that is used here."""

STUMBLES = (2, 38)
"""Since then a merge that is no fast-forward fails where the file of an empty binary is in the working tree: git takes a
file of no bytes, whose blob has some, for a change, and then does not find the change to put away."""

EMPTY_TREE = {
    "sha1": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    "sha256": "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}
_FRUGAL = (
    "-c", "core.deltaBaseCacheLimit=16m", "-c", "core.packedGitLimit=32m", "-c", "core.packedGitWindowSize=4m",
)  # fmt: skip
"""Against git's appetite for memory: on a history of 20,000 commits 80 MB in the place of 210, in the same time."""
REGULAR = (b"100644", b"100755")
"""The modes of a blob that can be a placeholder: a symbolic link of 49 bytes is none."""

_UNSAFE = re.compile(rb"(?:|\.|\.\.|(?:\.git|git~1)[ .]*(?:[:\\].*)?)\Z", re.IGNORECASE | re.DOTALL)
"""NTFS drops dots and spaces at the end, and knows .git by a short name as well."""
_IGNORED = re.compile(b"\xe2\x80[\x8c-\x8f\xaa-\xae]|\xe2\x81[\xaa-\xaf]|\xef\xbb\xbf")
"""Characters that HFS+ passes over, in UTF-8."""

_OBJECT = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Repo:
    """A repository as seen from one folder of it. Paths are absolute; `work_tree` is None in a bare one."""

    git_dir: str
    common_dir: str
    work_tree: str | None
    cwd: str
    object_format: str
    shallow: bool
    env: dict[str, str] = field(repr=False)

    @classmethod
    def discover(cls) -> "Repo":
        """Find the repository of the current folder as git does. Raises UsageError where there is none."""
        git, env = process.tool("git"), process.clean_env()
        try:
            said = process.run(
                [git, "rev-parse", "--is-shallow-repository", "--show-object-format", "--absolute-git-dir",
                 "--git-common-dir", "--show-cdup"],
                env=env,
            )  # fmt: skip
        except ToolKilled:
            raise
        except ToolError as error:
            text = str(error)
            if "not a git repository" in text:
                raise UsageError(f"{os.getcwd()} is not in a git repository", "cd into one") from None
            check_version()
            hint = "see safe.directory in git help config" if "dubious ownership" in text else ""
            raise UsageError(f"git cannot open the repository: {text}", hint) from None
        lines = os.fsdecode(said).split("\n")[:-1]
        if len(lines) not in (4, 5):
            raise UsageError(f"{os.getcwd()}: a repository whose folder has a newline in its name cannot be used")
        shallow, object_format, git_dir, common_dir, *up = lines
        cwd, common_dir = os.getcwd(), os.path.abspath(common_dir)
        env["GIT_DIR"] = git_dir
        work_tree = None
        if up:  # a bare repository has no way up; from outside the working tree it is an absolute path
            work_tree = env["GIT_WORK_TREE"] = os.path.normpath(os.path.join(cwd, up[0]))
            cwd = work_tree if os.path.isabs(up[0]) else cwd
        if "GIT_INDEX_FILE" in env:  # a relative one counts from the top (git(1))
            env["GIT_INDEX_FILE"] = os.path.join(work_tree or cwd, env["GIT_INDEX_FILE"])
        return cls(git_dir, common_dir, work_tree, cwd, object_format, shallow == "true", env)

    @property
    def folder(self) -> str:
        """Ours in the repository: `<git common dir>/git-lob`, shared by all its worktrees."""
        return os.path.join(self.common_dir, "git-lob")

    @property
    def index(self) -> str:
        return self.env.get("GIT_INDEX_FILE") or os.path.join(self.git_dir, "index")

    def home(self) -> str:
        """What a relative path in the configuration counts from, one place for all worktrees, wherever git is started: the
        main worktree, so the folder that has .git in it, or what core.worktree names (a submodule's); of a repository
        that is in no folder .git, itself."""
        holder, name = os.path.split(self.common_dir)
        if name == ".git" and holder == self.work_tree:
            return holder
        argv = self.argv("config", "--get", "core.worktree")  # as the main worktree has it, not a linked one
        said = process.run(argv, env=self.env | {"GIT_DIR": self.common_dir}, cwd=self.common_dir, ok=(0, 1))
        if path := os.fsdecode(said).removesuffix("\n"):
            return os.path.normpath(os.path.join(self.common_dir, path))
        return holder if name == ".git" else self.common_dir

    @property
    def offline(self) -> bool:
        """Whether nothing may be fetched from a remote, not even what a partial clone lacks."""
        return "GIT_NO_LAZY_FETCH" in self.env

    def kept_offline(self) -> "Repo":
        """The same repository for a job that must not call anybody: git older than 2.45 knows the second variable only."""
        return replace(self, env=self.env | {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"})

    def without_replacements(self) -> "Repo":
        """The same repository as other clones have it, which know nothing of the objects that git replace hides here."""
        return replace(self, env=self.env | {"GIT_NO_REPLACE_OBJECTS": "1"})

    def argv(self, *args: str) -> list[str]:
        return [process.tool("git"), *_FRUGAL, *args]

    def run(self, *args: str, input: bytes = b"", ok: tuple[int, ...] = (0,)) -> bytes:
        """Run git in the user's folder (pathspecs count from there); returns its stdout. Raises ToolError."""
        return process.run(self.argv(*args), env=self.env, cwd=self.cwd, input=input, ok=ok)

    def resolve(self, revisions: Collection[str]) -> list[str | None]:
        """The commits that revisions name, in order, tags peeled; None for what names none. One process, however many
        they are. Raises ToolError also for a revision that git dies of: an entry that a reflog does not have."""
        # one that holds the end of a line would be two questions
        asked = b"".join(os.fsencode(f"{name}^{{commit}}\n" if "\n" not in name else "\n") for name in revisions)
        # for what names nothing it says the name again, whatever that holds
        said = self.run("cat-file", "--batch-check=%(objectname)", input=asked) if revisions else b""
        answers = said.split(b"\n")[:-1]
        return [answer.decode() if _OBJECT.fullmatch(answer) else None for answer in answers]

    def existing(self, names: Iterable[str]) -> list[str]:
        """Of objects by name, those that are here, as full object names, in order."""
        asked = "".join(f"{name}\n" for name in names).encode()
        said = self.run("cat-file", "--batch-check=%(objectname)", input=asked)
        return [line.decode() for line in said.splitlines() if b" " not in line]


def check_version() -> tuple[int, int]:
    """The version of the system's git. Raises UsageError where it is older than OLDEST."""
    said = process.run([process.tool("git"), "version"], env=process.clean_env()).decode(errors="replace")
    found = re.search(r"(\d+)\.(\d+)", said)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise UsageError(f"git is too old: {said.strip()}", f"install git {wanted} or later")
    return version


def quote(path: bytes) -> str:
    """A path as git prints it: as it is where that is one plain line, else in double quotes with C's escapes."""
    try:
        text = path.decode()
    except UnicodeDecodeError:
        text = ""
    if text and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    named = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}
    return '"' + "".join(
        f"\\{named[c]}" if c in named else chr(c) if 32 <= c < 127 else f"\\{c:03o}" for c in path
    ) + '"'  # fmt: skip


def is_unsafe(path: bytes) -> bool:
    """Whether git refuses a path because it leads into a .git or out of the tree: in its own spelling, or in one that the
    file systems of other machines take for it (read-cache.c, verify_path, with all its protections on)."""
    return any(_UNSAFE.match(_IGNORED.sub(b"", part)) for part in path.split(b"/"))


def pathspecs(include: Iterable[str], exclude: Iterable[str], *, top: bool = False) -> list[str]:
    """git's pathspecs for "these, without those", empty for "everything". `top`: counted from the top, as in a file.

    Raises UsageError for one that already excludes.
    """

    def with_magic(spec: str, *words: str) -> str:
        if spec.startswith((":!", ":^")):
            raise UsageError(f"pathspec {spec!r} excludes already", "write it with --exclude and without the mark")
        if spec.startswith(":("):
            own, closed, rest = spec[2:].partition(")")
            if not closed:
                raise UsageError(f"pathspec {spec!r}: its magic is not closed by a parenthesis")
            return f":({','.join([*words, own] if own else words)}){rest}"
        if spec.startswith(":/"):
            spec, words = spec[2:], tuple(dict.fromkeys([*words, "top"]))
        return f":({','.join(words)}){spec}" if words else spec

    always = ["top"] if top else []
    included = [with_magic(spec, *always) for spec in include]
    excluded = [with_magic(spec, *always, "exclude") for spec in exclude]
    if excluded and not included:
        included = [":(top)"]
    return included + excluded


def placeholders(repo: Repo, entries: Iterable[tuple[str, T]]) -> Iterator[tuple[Sha, str, T]]:
    """Of (blob, anything) pairs, those whose blob is a placeholder, as (the binary's sha, blob, anything), in order.

    Only blobs of a placeholder's size are read. Raises ToolError where a blob is missing: the answer would lack
    something.
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
