"""What is configured for moving binaries, read once from git's configuration and from a team's tracked `.gitlobconfig`."""

import os
import re
import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from gitlob_rsync import age, location
from gitlob_rsync.age import DAY
from gitlob_rsync.errors import ToolError, ToolKilled, UsageError
from gitlob_rsync.git.gitconfig import Value, parse
from gitlob_rsync.git.paths import to_pathspecs
from gitlob_rsync.git.remotes import Remotes
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.location import IDENTITY, Remote
from gitlob_rsync.selection.scopes import Recent, Window
from gitlob_rsync.store import locks

TEAM_FILE = ".gitlobconfig"
_TEAM_KEYS = re.compile(
    r"remote\..+\.git-lob-(path|provider|identity)\Z|git-lob\.fetch-(include|exclude|refs|commits-head|commits-other)\Z",
    re.DOTALL,
)
_REMOTE_KEY = re.compile(r"remote\.(.+)\.git-lob-(path|provider|identity)\Z", re.DOTALL)
_RSYNC_PATH_KEY = re.compile(r"remote\.(.+)\.git-lob-rsync-path\Z", re.DOTALL)
"""The far machine runs what it says, so it is not for the team's file."""
_OBJECT = re.compile(rb"[0-9a-f]{40,64}\Z")
_BWLIMIT = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,9})?)(?:(b)|([kmgtp]?)(b|ib)?)\Z", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it, checked. `include` and `exclude` are pathspecs counted from the top; `warnings` are for the user."""

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
        """`treeishes`: commits or trees that are being checked out, or pushed. Raises UsageError for a value out of range,
        naming key, value and file."""
        own = list(parse(repo.run("config", "-z", "--list", "--show-origin"), None))
        git_remotes = Remotes.of(own, repo.work_tree or repo.git_dir)
        head = repo.run("symbolic-ref", "-q", "HEAD", ok=(0, 1)).decode(errors="surrogateescape").strip()
        branch = head.removeprefix("refs/heads/")
        values: dict[str, Value] = {}
        warnings: list[str] = []
        for value in _team_values(repo, _team_places(repo, git_remotes, branch, treeishes)):
            if _TEAM_KEYS.match(value.key):
                values[value.key] = value
            else:
                warnings.append(f"{value.key} in {value.origin} is ignored: a tracked file may not set it")
        for value in own:
            values[value.key] = value
        return cls.of(repo, values, branch, warnings, git_remotes)

    @classmethod
    def of(
        cls, repo: Repo, values: dict[str, Value], branch: str = "", warnings: Iterable[str] = (),
        git_remotes: Remotes | None = None,
    ) -> "Settings":  # fmt: skip
        """Check values, by key; `branch` is the current one. Raises UsageError as load."""
        git_remotes = git_remotes or Remotes()
        remotes: dict[str, Remote] = {}
        wrong: dict[str, UsageError] = {}
        for key, value in values.items():
            if (found := _REMOTE_KEY.match(key)) and found[2] == "path":
                try:
                    remotes[found[1]] = _remote(repo, found[1], values)
                except UsageError as error:
                    wrong[found[1]] = error  # matters only to who uses this remote
            elif found and f"remote.{found[1]}.git-lob-path" not in values:
                lone = (found[2] == "provider" and _wrong_provider(value)) or value.wrong(
                    f"there is no remote.{found[1]}.git-lob-path beside it"
                )
                wrong[found[1]] = lone

        def text(key: str) -> str | None:
            return values[key].text if key in values else None

        def window_age(key: str, default: float) -> float:
            if key not in values:
                return default
            try:
                return age.parse(values[key].text)
            except ValueError as error:
                raise values[key].wrong(str(error)) from None

        return cls(
            remotes=remotes,
            wrong_remotes=wrong,
            tracked_remote=git_remotes.named(text(f"branch.{branch}.remote") or "", {*remotes, *wrong}),
            git_remotes=git_remotes,
            window=Window(
                window_age("git-lob.fetch-refs", 30 * DAY),
                window_age("git-lob.fetch-commits-head", 7 * DAY),
                window_age("git-lob.fetch-commits-other", 0),
            ),
            retention=Window(
                window_age("git-lob.retention-period-refs", 30 * DAY),
                window_age("git-lob.retention-period-head", 7 * DAY),
                window_age("git-lob.retention-period-other", 0),
            ),
            prune_remote=values.get("git-lob.prune-check-remote"),
            prune_safe=_boolean(values.get("git-lob.prune-safe"), True),
            prune_grace=window_age("git-lob.prune-grace", DAY),
            include=_split(text("git-lob.fetch-include")),
            exclude=_split(text("git-lob.fetch-exclude")),
            autofetch=_boolean(values.get("git-lob.autofetch"), True),
            must_have=_choice(values.get("git-lob.on-missing"), "placeholder", "fail") == "fail",
            timeout=_seconds(values.get("git-lob.timeout"), 120, least=1),
            retries=_number(values.get("git-lob.retries"), 3, 0, 100, "tries"),
            lock_wait=_seconds(values.get("git-lob.lock-wait"), round(locks.WAIT), least=0),
            bwlimit=bwlimit(values["git-lob.bwlimit"].text, values["git-lob.bwlimit"].wrong)
            if "git-lob.bwlimit" in values
            else None,
            fsync=_boolean(values.get("git-lob.fsync"), True),
            allow_incomplete=_boolean(values.get("git-lob.allow-incomplete-push"), False),
            ssh_command=_ssh_command(text("core.sshcommand")),
            askpass=_boolean(values.get("git-lob.askpass"), False),
            rsync_paths=_rsync_paths(values),
            has_filter=bool(text("filter.lob.clean") or text("filter.lob.process")),
            warnings=tuple(warnings),
        )

    def recent(self, remote: Remote | None) -> Recent:
        """The window as configured, counted from now, for a remote that is synced."""
        paths = to_pathspecs(self.include, self.exclude, top=True)
        return Recent(self.window, time.time(), remote.name if remote else None, pathspecs=tuple(paths))

    def rsync_path(self, remote: Remote) -> str | None:
        """The rsync of the machine that this remote is on, as its shell takes it; None: the one on its PATH."""
        return self.rsync_paths.get(remote.name) or self.rsync_paths.get(None)

    def named(self, word: str) -> str | None:
        """The name of the remote with a store, be it a right one or not, that git means by a name or a URL; None where it
        is another remote, or none."""
        stores = {*self.remotes, *self.wrong_remotes}
        name = self.git_remotes.named(word, stores)
        return name if name in stores else None

    def purge_remotes(self, word: str | None) -> list[Remote]:
        """The remotes of which one has to have what a purge deletes, the one to ask first at the head: the one that the user
        named, or else git-lob.prune-check-remote (`*`: all that have a store), or else the default one; none where there
        is none at all. Raises UsageError as `remote`."""
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
        """The remote that the user named, or else the default one: the tracked one, origin, or the only one that has a
        store. Raises UsageError where there is none."""
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


def _team_places(repo: Repo, git_remotes: Remotes, branch: str, treeishes: Iterable[str]) -> list[str]:
    """Where git has the tracked file when the working tree has not, as beginnings of names of objects: what is being
    checked out or pushed, the index, HEAD, what the current branch tracks, its like at the remote, and the remote's own
    HEAD. The last three count while there is no commit yet, and at one that is older than the file."""
    tracked = git_remotes.named(git_remotes.remote_of(branch) or "", ())
    tips = [git_remotes.upstream(branch, tracked)]
    for name in (tracked, "origin", *(git_remotes.urls if len(git_remotes.urls) == 1 else ())):
        if name and name != ".":
            same = git_remotes.tracking(name, f"refs/heads/{branch}") if branch else None
            tips += [same, f"refs/remotes/{name}/HEAD"]
    here = [*treeishes, *([""] if repo.work_tree else []), "HEAD"]
    return list(dict.fromkeys([*here, *(tip for tip in tips if tip)]))


def _team_values(repo: Repo, places: list[str]) -> list[Value]:
    """The tracked file: that of the working tree, or else the first that is in one of `places`. It is never followed into
    what it includes, or through a link: what is no file says nothing."""
    path = os.path.join(repo.work_tree, TEAM_FILE) if repo.work_tree else None
    if path and os.path.lexists(path):
        if os.path.islink(path) or not os.path.isfile(path):
            return []
        where, origin = ("--file", path), TEAM_FILE
    else:
        found = _first_with_team_file(repo, places)
        if not found or not _is_file(repo, found[0]):
            return []
        where, origin = ("--blob", found[1]), f"{found[0]}:{TEAM_FILE}"
    try:
        return list(parse(repo.run("config", "-z", "--list", "--no-includes", *where), origin))
    except ToolKilled:
        raise
    except ToolError as error:
        raise UsageError(f"{TEAM_FILE} cannot be read: {error}", "mend the file") from None


def _first_with_team_file(repo: Repo, places: list[str]) -> tuple[str, str] | None:
    """The first of `places` that has the tracked file, and its blob: one git process, however many there are."""
    asked = "".join(f"{place}:{TEAM_FILE}\n" for place in places).encode(errors="surrogateescape")
    try:
        said = repo.run("cat-file", "--batch-check=%(objectname)", input=asked).split(b"\n")
    except ToolKilled:
        raise
    except ToolError:
        if "" not in places:
            raise
        return _first_with_team_file(repo, [place for place in places if place])  # the index is damaged
    blobs = zip(places, said, strict=False)
    return next(((place, blob.decode()) for place, blob in blobs if _OBJECT.match(blob)), None)


def _is_file(repo: Repo, place: str) -> bool:
    """Whether the tracked file is no link, and no folder, in a tree or ("") in the index."""
    if not place:
        return repo.run("ls-files", "-s", "--", f":(top){TEAM_FILE}").startswith(b"100")
    return repo.run("ls-tree", "--full-tree", place, "--", TEAM_FILE).startswith(b"100")


def _wrong_provider(provider: Value) -> UsageError | None:
    if provider.text in ("rsync", "filesystem"):
        return None
    return provider.wrong("this provider is not supported; it can be rsync or filesystem")


def _remote(repo: Repo, name: str, values: Mapping[str, Value]) -> Remote:
    path, provider, identity = (
        values.get(f"remote.{name}.git-lob-{what}") for what in ("path", "provider", "identity")
    )
    assert path
    if provider and (unsupported := _wrong_provider(provider)):
        raise unsupported
    if identity and not IDENTITY.fullmatch(identity.text):
        raise identity.wrong("an identity is 32 hexadecimal digits; gitlob-setup --check shows that of a store")
    try:
        base = repo.home() if location.is_relative(path.text) else None
        if not (provider and provider.text == "filesystem"):
            location.ask_about(path.text, base)
        place = location.parse(path.text, base)
    except UsageError as error:
        raise path.wrong(error.line()) from None
    return Remote(name, place, identity.text if identity else None)


def _ssh_command(configured: str | None) -> str | None:
    """git's own choice of ssh, as a shell command (git(1), GIT_SSH_COMMAND)."""
    program = os.environ.get("GIT_SSH")
    return os.environ.get("GIT_SSH_COMMAND") or configured or (shlex.quote(program) if program else None)


def _rsync_paths(values: dict[str, Value]) -> dict[str | None, str]:
    """By the name of a remote, and for all others by None. Raises UsageError for what no shell takes as one line."""
    given: dict[str | None, Value | None] = {None: values.get("git-lob.rsync-path")}
    given |= {named[1]: value for key, value in values.items() if (named := _RSYNC_PATH_KEY.match(key))}
    found = {name: value for name, value in given.items() if value and value.text.strip()}
    for value in found.values():
        if re.search(r"[\x00-\x1f\x7f]", value.text):
            raise value.wrong("it has control characters in it")
    return {name: value.text for name, value in found.items()}


def _split(text: str | None) -> tuple[str, ...]:
    """git-lob separates pathspecs by commas."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def bwlimit(text: str, wrong: Callable[[str], UsageError]) -> str:
    """Check a rate as rsync takes it (KiB a second, or with a suffix; rsync(1), --bwlimit). `wrong` makes the error to
    raise."""
    found = _BWLIMIT.match(text)
    if not found:
        raise wrong("a rate is a number of KiB a second, or with a suffix like 500k or 1.5m")
    number, single, unit, multiple = found.groups()
    step = 1000 if multiple and multiple.lower() == "b" else 1024
    rate = Fraction(number) * (1 if single else step ** " kmgtp".index(unit.lower() or "k"))
    if rate and not 512 <= rate < 1 << 62:
        raise wrong("the least rate is 512 bytes a second; 0 is no limit" if rate < 512 else "no rsync counts that far")
    return text


def _seconds(value: Value | None, default: int, *, least: int) -> int:
    return _number(value, default, least, 86400, "seconds")


def _number(value: Value | None, default: int, least: int, most: int, of: str) -> int:
    if value is None:
        return default
    if not re.fullmatch(r"[0-9]{1,5}", value.text) or not least <= int(value.text) <= most:
        raise value.wrong(f"it must be a number of {of} from {least} to {most}")
    return int(value.text)


def _boolean(value: Value | None, default: bool) -> bool:
    """As git reads one (git-config(1), "Values")."""
    if value is None:
        return default
    text = value.text.lower()
    if text in ("true", "yes", "on", "1"):
        return True
    if text in ("false", "no", "off", "0", ""):
        return False
    raise value.wrong("it must be true or false")


def _choice(value: Value | None, default: str, *others: str) -> str:
    if value is None:
        return default
    if value.text not in (default, *others):
        raise value.wrong(f"it must be {' or '.join((default, *others))}")
    return value.text
