"""The repository, found once, and small verbs over git's plumbing. All output that holds paths is read NUL-separated."""

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from gitlob_rsync import process
from gitlob_rsync.errors import ToolError, ToolKilled, UsageError

OLDEST = (2, 30)
"""The oldest git that has everything used here."""

STUMBLES = (2, 38)
"""Since this version a merge that is not a fast-forward fails if the file of an empty binary is in the working tree: git
takes an empty file, whose blob is not, for a change, and then does not find the change to put away."""

_FRUGAL = (
    "-c", "core.deltaBaseCacheLimit=16m", "-c", "core.packedGitLimit=32m", "-c", "core.packedGitWindowSize=4m",
)  # fmt: skip
"""To save memory: on a history of 20,000 commits git takes 80 MB instead of 210, in the same time."""


_OBJECT = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")


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
        if up:  # empty in a bare repository; from outside the working tree an absolute path
            work_tree = env["GIT_WORK_TREE"] = os.path.normpath(os.path.join(cwd, up[0]))
            cwd = work_tree if os.path.isabs(up[0]) else cwd
        if "GIT_INDEX_FILE" in env:  # a relative one is relative to the top (git(1))
            env["GIT_INDEX_FILE"] = os.path.join(work_tree or cwd, env["GIT_INDEX_FILE"])
        return cls(git_dir, common_dir, work_tree, cwd, object_format, shallow == "true", env)

    @property
    def folder(self) -> str:
        """Our private folder in the repository, shared by all its worktrees."""
        return folder_in(self.common_dir)

    @property
    def index(self) -> str:
        return self.env.get("GIT_INDEX_FILE") or os.path.join(self.git_dir, "index")

    def home(self) -> str:
        """What a relative path in the configuration is relative to, the same for all worktrees, wherever git is started: the
        main worktree, which is the folder with .git in it, or what core.worktree names (a submodule's); for a repository
        not called .git, itself."""
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
        """Whether nothing may be fetched from a remote, not even what is missing in a partial clone."""
        return "GIT_NO_LAZY_FETCH" in self.env

    def kept_offline(self) -> "Repo":
        """The same repository for a job that must not use the network: git before 2.45 knows the second variable only."""
        return replace(self, env=self.env | {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"})

    def without_replacements(self) -> "Repo":
        """The same repository as other clones have it, without the replacements of git replace."""
        return replace(self, env=self.env | {"GIT_NO_REPLACE_OBJECTS": "1"})

    def argv(self, *args: str) -> list[str]:
        return [process.tool("git"), *_FRUGAL, *args]

    def run(self, *args: str, input: bytes = b"", ok: tuple[int, ...] = (0,)) -> bytes:
        """Run git in the user's folder (pathspecs count from there); returns its stdout. Raises ToolError."""
        return process.run(self.argv(*args), env=self.env, cwd=self.cwd, input=input, ok=ok)

    def resolve(self, revisions: Collection[str]) -> list[str | None]:
        """The commits that revisions name, in order, tags peeled; None for what names none. One process, however many
        there are. Raises ToolError also for a revision that makes git die: an entry that a reflog does not have."""
        # a name with a line end in it would be two questions
        asked = b"".join(os.fsencode(f"{name}^{{commit}}\n" if "\n" not in name else "\n") for name in revisions)
        # for what names nothing it repeats the name, whatever is in it
        said = self.run("cat-file", "--batch-check=%(objectname)", input=asked) if revisions else b""
        answers = said.split(b"\n")[:-1]
        return [answer.decode() if _OBJECT.fullmatch(answer) else None for answer in answers]

    def existing(self, names: Iterable[str]) -> list[str]:
        """Those of the named objects that exist here, by their full names, in order."""
        asked = "".join(f"{name}\n" for name in names).encode()
        said = self.run("cat-file", "--batch-check=%(objectname)", input=asked)
        return [line.decode() for line in said.splitlines() if b" " not in line]


def folder_in(common_dir: str) -> str:
    """Our private folder in a repository."""
    return os.path.join(common_dir, "git-lob")


def check_version() -> tuple[int, int]:
    """The version of the system's git. Raises UsageError where it is older than OLDEST."""
    said = process.run([process.tool("git"), "version"], env=process.clean_env()).decode(errors="replace")
    found = re.search(r"(\d+)\.(\d+)", said)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise UsageError(f"git is too old: {said.strip()}", f"install git {wanted} or later")
    return version
