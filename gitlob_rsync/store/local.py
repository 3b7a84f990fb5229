"""The stores on this machine: all that the filter has to know while nothing is missing. It starts with each git command, so
this loads little."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from gitlob_rsync import process
from gitlob_rsync.errors import GitlobError, writing
from gitlob_rsync.git.gitconfig import Value, parse
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.store.layout import Meta
from gitlob_rsync.store.staging import Staging
from gitlob_rsync.store.store import Sharing, Store, on_one_disk

_DEEPEST = 5
"""How many alternates of alternates git goes along."""
_ESCAPED = re.compile(rb'\\([abtnvfr"\\]|[0-7]{3})')
_NAMED = dict(zip(b'abtnvfr"\\', b'\a\b\t\n\v\f\r"\\', strict=True))


@dataclass(frozen=True, slots=True)
class Stores:
    """The repository's own, common to its worktrees, the one that several repositories share, where one is configured, and
    those of the repositories whose objects this one uses (git clone --shared, --reference), which are only read."""

    own: Store
    shared: Store | None
    lenders: tuple[Store, ...] = ()

    @classmethod
    def load(cls, repo: Repo) -> "Stores":
        """From git's own configuration alone: no tracked file has a say in where git add writes."""
        asked = r"^(git-lob\.sharedstore|core\.sharedrepository)$"
        listing = repo.run("config", "-z", "--show-origin", "--get-regexp", asked, ok=(0, 1))
        return cls.of(repo, {value.key: value for value in parse(listing, None)})

    @classmethod
    def of(cls, repo: Repo, values: dict[str, Value]) -> "Stores":
        """Check values, by key. Raises UsageError for one out of range."""
        sharing = _sharing(values.get("core.sharedrepository"))
        shared = None
        if (value := values.get("git-lob.sharedstore")) and value.text:
            at = os.path.expanduser(value.text)
            at = at if os.path.isabs(at) else os.path.join(repo.home(), at)
            shared = Store.open_to_others(os.path.normpath(at), sharing)
        lenders = tuple(map(_lent, dict.fromkeys(_alternates(os.path.join(repo.common_dir, "objects")))))
        return cls(Store(os.path.join(repo.folder, "content"), sharing), shared, lenders)

    def with_origins(self, urls: Iterable[str]) -> "Stores":
        """The same, with those of the repositories on this machine that remotes are at, by their `urls` (git clone of a
        folder, which shares objects by hard links and notes nothing of it). For who has no remote store: else binaries come
        from that."""
        paths = (url.removeprefix("file://") for url in urls)
        places = dict.fromkeys(filter(None, map(_common_dir, filter(os.path.isabs, paths))))
        return replace(self, lenders=self.lenders + tuple(_lent(os.path.join(place, "objects")) for place in places))

    @property
    def others(self) -> tuple[Store, ...]:
        """Where this machine may have what the repository's own store has not."""
        return (*((self.shared,) if self.shared else ()), *self.lenders)

    def find(self, sha: Sha) -> Meta | None:
        """The meta of a binary that any of them has whole. Nothing is changed."""
        return self.own.complete(sha) or next(filter(None, (_look(sha, other) for other in self.others)), None)

    def obtain(self, sha: Sha) -> Meta | None:
        """The meta of a binary that the own store has whole, brought from another of them where only that has it."""
        return self.own.complete(sha) or self.bring(sha)

    def bring(self, sha: Sha) -> Meta | None:
        """Have the own store hold what another one of this machine has whole and sound, in the place of what is there; None
        where there is nothing of the kind. It is linked where that can be, else copied."""
        for other in self.others:
            if (meta := _look(sha, other)) and ((self._may_link(meta, other) and self.own.link(meta, other)) or
                                                _copy(meta, self.own, other)):  # fmt: skip
                return meta
        return None

    def _may_link(self, meta: Meta, origin: Store) -> bool:
        """A shared store takes the number of links to a file for that of the repositories that need it: one of ours to a
        file that is in another repository's shared store, or one of ours and of a lender, would never go."""
        if not origin.lent:
            return True
        if self.shared:
            return False
        with suppress(OSError):
            if all(os.lstat(origin.path(meta.sha, number)).st_nlink == 1 for number in range(meta.chunks)):
                return True
        config = os.path.join(os.path.dirname(os.path.dirname(origin.root)), "config")
        argv = [process.tool("git"), "config", "--file", config, "--get", "git-lob.sharedstore"]
        with suppress(GitlobError):
            return not process.run(argv, env=process.clean_env(), ok=(0, 1)).strip()
        return False


def _lent(objects: str) -> Store:
    """The store of the repository that an object folder belongs to."""
    return Store(os.path.join(os.path.dirname(objects), "git-lob", "content"), of_others=True, lent=True)


def _common_dir(place: str) -> str | None:
    """Where git keeps the repository that is at a folder; None where none is, or git does not trust whose it is."""
    env = {name: value for name, value in process.clean_env().items() if not name.startswith("GIT_")}
    try:
        said = process.run([process.tool("git"), "-C", place, "rev-parse", "--git-common-dir"], env=env)
    except GitlobError:
        return None
    return os.path.realpath(os.path.join(place, os.fsdecode(said).rstrip("\n")))


def _alternates(objects: str, depth: int = 1) -> Iterator[str]:
    """The object folders that a repository uses beside its own (gitrepository-layout(5), objects/info/alternates)."""
    try:
        with open(os.path.join(objects, "info", "alternates"), "rb") as file:
            lines = file.read().split(b"\n")
    except OSError:
        return
    for line in lines:
        if line.startswith(b'"') and line.endswith(b'"') and len(line) > 1:
            line = _ESCAPED.sub(
                lambda e: bytes([_NAMED[e[1][0]] if len(e[1]) == 1 else int(e[1], 8) & 255]), line[1:-1]
            )
        if line and not line.startswith(b"#"):
            other = os.path.realpath(os.path.join(objects, os.fsdecode(line)))
            yield other
            if depth < _DEEPEST:
                yield from _alternates(other, depth + 1)


def _look(sha: Sha, store: Store) -> Meta | None:
    """The meta of a binary that a store has whole. What is lent and cannot be read, is not there."""
    try:
        return store.complete(sha)
    except OSError:
        if store.lent:
            return None
        raise


def _copy(meta: Meta, own: Store, origin: Store) -> bool:
    """Have the own store hold a copy; False where the other's is damaged, or just gone."""
    with Staging(own) as staging:
        try:
            for part in meta.parts():
                with writing(staging.path):
                    shutil.copyfile(origin.path(meta.sha, part), staging.at(meta.sha, part), follow_symlinks=False)
        except (FileNotFoundError, PermissionError):
            return False
        if staging.prepare(meta.sha) != meta:
            return False
        staging.admit(meta)
    return True


def _sharing(value: Value | None) -> Sharing:
    """core.sharedRepository (git-config(1))."""
    text = value.text.lower() if value else "false"
    if text in ("umask", "false", "no", "off", "0", ""):
        return Sharing()
    if text in ("group", "true", "yes", "on", "1"):
        return Sharing(0o660)
    if text in ("all", "world", "everybody", "2", "3"):
        return Sharing(0o664)
    assert value
    if re.fullmatch(r"0[0-7]{3}", text) and int(text, 8) & 0o600 == 0o600:
        return Sharing(int(text, 8) & 0o666, exact=True)
    raise value.wrong("git knows umask, group, all or 0xxx here")


def share(meta: Meta, own: Store, shared: Store | None) -> None:
    """Have the shared store hold a binary of our own store too, and not twice, where there is one and it lets us: others
    profit, we do not depend on it. Where both have a copy of their own, ours gives way to a link to the shared one."""
    if shared:
        with suppress(OSError, GitlobError):
            there = shared.complete(meta.sha)
            if there and (
                _linked(meta, own, shared) or own.link(there, shared) or not on_one_disk(own.root, shared.root)
            ):
                return
            if not there or not shared.sound(there):
                shared.link(meta, own)


def _linked(meta: Meta, one: Store, other: Store) -> bool:
    """Whether two stores have a binary in common, not merely both."""
    return all(os.path.samefile(one.path(meta.sha, part), other.path(meta.sha, part)) for part in meta.parts())
