"""All settings, read once from git's configuration and a team's tracked `.gitlobconfig`."""

import os
import shlex
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gitlob_rsync import location
from gitlob_rsync.age import DAY
from gitlob_rsync.config import stores, team_file
from gitlob_rsync.config.values import Values
from gitlob_rsync.errors import UsageError
from gitlob_rsync.git.gitconfig import Value, parse
from gitlob_rsync.git.paths import to_pathspecs
from gitlob_rsync.git.remotes import Remotes
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.location import Remote
from gitlob_rsync.selection.scopes import Recent, Window
from gitlob_rsync.store import locks


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked. `include` and `exclude` are pathspecs relative to the top; `warnings` are for the user."""

    remotes: dict[str, Remote] = field(default_factory=dict)
    wrong_remotes: dict[str, UsageError] = field(default_factory=dict)
    tracked_remote: str | None = None
    git_remotes: Remotes = field(default_factory=Remotes)
    window: Window = field(default_factory=lambda: Window(30 * DAY, 7 * DAY, 0))
    retention: Window = field(default_factory=lambda: Window(30 * DAY, 7 * DAY, 0))
    prune_remote: Value | None = None
    prune_safe: bool = True
    prune_grace: float = DAY
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    autofetch: bool = True
    must_have: bool = False
    timeout: int = 120
    bwlimit: str | None = None
    retries: int = 3
    lock_wait: float = locks.WAIT
    fsync: bool = True
    allow_incomplete: bool = False
    ssh_command: str | None = None
    askpass: bool = False
    rsync_paths: dict[str | None, str] = field(default_factory=dict)
    has_filter: bool = False
    warnings: tuple[str, ...] = ()

    @classmethod
    def load(cls, repo: Repo, *treeishes: str) -> "Settings":
        """`treeishes`: commits or trees that are being checked out or pushed. Raises UsageError for a value out of range,
        naming key, value and file."""
        own = list(parse(repo.run("config", "-z", "--list", "--show-origin"), None))
        git_remotes = Remotes.of(own, repo.work_tree or repo.git_dir)
        head = repo.run("symbolic-ref", "-q", "HEAD", ok=(0, 1)).decode(errors="surrogateescape").strip()
        branch = head.removeprefix("refs/heads/")
        shared, warnings = team_file.read(repo, git_remotes, branch, treeishes)
        return cls.of(repo, {value.key: value for value in [*shared, *own]}, branch, warnings, git_remotes)

    @classmethod
    def of(
        cls, repo: Repo, by_key: Mapping[str, Value], branch: str = "", warnings: Iterable[str] = (),
        git_remotes: Remotes | None = None,
    ) -> "Settings":  # fmt: skip
        """Check values, by key; `branch` is the current one. Raises UsageError as load."""
        values = Values(by_key)
        git_remotes = git_remotes or Remotes()
        remotes, wrong = stores.remotes(repo, values)
        return cls(
            remotes=remotes,
            wrong_remotes=wrong,
            tracked_remote=git_remotes.named(values.text(f"branch.{branch}.remote") or "", {*remotes, *wrong}),
            git_remotes=git_remotes,
            window=_window(values, "git-lob.fetch-refs", "git-lob.fetch-commits-head", "git-lob.fetch-commits-other"),
            retention=_window(
                values,
                "git-lob.retention-period-refs",
                "git-lob.retention-period-head",
                "git-lob.retention-period-other",
            ),
            prune_remote=by_key.get("git-lob.prune-check-remote"),
            prune_safe=values.boolean("git-lob.prune-safe", True),
            prune_grace=values.age("git-lob.prune-grace", DAY),
            include=values.pathspecs("git-lob.fetch-include"),
            exclude=values.pathspecs("git-lob.fetch-exclude"),
            autofetch=values.boolean("git-lob.autofetch", True),
            must_have=values.choice("git-lob.on-missing", "placeholder", "fail") == "fail",
            timeout=values.seconds("git-lob.timeout", 120, least=1),
            retries=values.number("git-lob.retries", 3, 0, 100, "tries"),
            lock_wait=values.seconds("git-lob.lock-wait", round(locks.WAIT), least=0),
            bwlimit=values.bwlimit("git-lob.bwlimit"),
            fsync=values.boolean("git-lob.fsync", True),
            allow_incomplete=values.boolean("git-lob.allow-incomplete-push", False),
            ssh_command=_ssh_command(values.text("core.sshcommand")),
            askpass=values.boolean("git-lob.askpass", False),
            rsync_paths=stores.rsync_paths(values),
            has_filter=bool(values.text("filter.lob.clean") or values.text("filter.lob.process")),
            warnings=tuple(warnings),
        )

    def recent(self, remote: Remote | None) -> Recent:
        """The window as configured, from now back, for a remote to sync with."""
        paths = to_pathspecs(self.include, self.exclude, top=True)
        return Recent(self.window, time.time(), remote.name if remote else None, pathspecs=tuple(paths))

    def rsync_path(self, remote: Remote) -> str | None:
        """The rsync on the machine of this remote, as its shell takes it; None: the one on its PATH."""
        return self.rsync_paths.get(remote.name) or self.rsync_paths.get(None)

    def named(self, word: str) -> str | None:
        """The name of the remote that git means by a name or a URL, if a store is configured for it, rightly or wrongly;
        None otherwise."""
        stores = {*self.remotes, *self.wrong_remotes}
        name = self.git_remotes.named(word, stores)
        return name if name in stores else None

    def purge_remotes(self, word: str | None) -> list[Remote]:
        """The remotes one of which must have what a purge deletes, in the order in which to ask them: the one that the user
        named, or else git-lob.prune-check-remote (`*`: all that have a store), or else the default one; none where no
        remote has a store. Raises UsageError as `remote`."""
        if word is None and self.prune_remote and self.prune_remote.text == "*":
            if self.wrong_remotes:
                raise next(iter(self.wrong_remotes.values()))
            first = [name for name in (self.tracked_remote, "origin") if name in self.remotes]
            return [self.remotes[name] for name in dict.fromkeys([*first, *self.remotes]) if name]
        if word is None and self.prune_remote:
            try:
                return [self.remote(self.prune_remote.text)]
            except UsageError as error:
                raise self.prune_remote.wrong(error.line()) from None
        return [self.remote(word)] if word or self.remotes or self.wrong_remotes else []

    def remote(self, word: str | None) -> Remote:
        """The remote that the user named, or else the default one: the tracked one, origin, or the only one with a store.
        Raises UsageError where there is none."""
        if word is None:
            for name in (self.tracked_remote, "origin", *(self.remotes if len(self.remotes) == 1 else ())):
                if name in self.wrong_remotes:
                    raise self.wrong_remotes[name]
                if name in self.remotes:
                    return self.remotes[name]
            if self.wrong_remotes:
                raise next(iter(self.wrong_remotes.values()))
            names = ", ".join(self.remotes)
            raise UsageError(
                f"name one of the remotes that have a store: {names}" if names else "no remote has a store",
                "" if names else "gitlob-setup origin LOCATION configures one; or name a location",
            )
        if word in self.wrong_remotes:
            raise self.wrong_remotes[word]
        if word in self.remotes:
            return self.remotes[word]
        if not location.looks_like_location(word) and not word.startswith("-") and not os.path.isdir(word):
            raise UsageError(
                f"{word!r} is neither a remote with a store nor a location",
                f"gitlob-setup {word} LOCATION gives a remote a store; a location is {location.FORMS}",
            )
        place = location.parse(word)
        named = [remote for remote in self.remotes.values() if remote.location == place]
        return named[0] if named else Remote(None, place)


def _window(values: Values, refs: str, head: str, other: str) -> Window:
    """The window that three keys configure; those for fetching and for keeping have the same defaults."""
    return Window(values.age(refs, 30 * DAY), values.age(head, 7 * DAY), values.age(other, 0))


def _ssh_command(configured: str | None) -> str | None:
    """The ssh that git uses, as a shell command (git(1), GIT_SSH_COMMAND)."""
    program = os.environ.get("GIT_SSH")
    return os.environ.get("GIT_SSH_COMMAND") or configured or (shlex.quote(program) if program else None)
