"""Which refs here are branches of a remote, according to its fetch refspecs (git-fetch(1), "CONFIGURED REMOTE-TRACKING
BRANCHES"), not by the names of the refs: below refs/remotes/NAME there may be branches of another remote, whose name begins
alike, and pull requests, which anybody may have made."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from gitlob_rsync.git.remotes import starred
from gitlob_rsync.git.repo import Repo

_BRANCHES = "refs/heads/"
_LOCAL = (_BRANCHES, "refs/tags/", "refs/stash", "refs/notes/", "refs/bisect/", "refs/worktree/", "refs/rewritten/",
          "refs/replace/")  # fmt: skip
"""What is written here without any remote: in a mirror a fetch writes there, too, but so does a commit."""


@dataclass(frozen=True, slots=True)
class _Refspec:
    """`source` there, `destination` here, each with one `*` or none. Without a destination it is negative: refs of
    that name are not fetched."""

    remote: str
    source: str
    destination: str = ""

    @property
    def folder(self) -> str:
        """The beginning of all destinations, in whole parts, as for-each-ref takes it."""
        before, star, _ = self.destination.partition("*")
        return before.rpartition("/")[0] if star else before

    def source_of(self, ref: str) -> str | None:
        """What is fetched to `ref`, if anything."""
        star = starred(self.destination, ref)
        return None if star is None else self.source.replace("*", star)


def branches(repo: Repo, remote: str | None) -> list[str]:
    """The objects of the refs that are branches of `remote` ("*": of any), and certainly nothing else.

    A ref that another refspec may have written as well, from another source or remote, does not count. Nor does anything
    below refs/heads here, even if a fetch writes there: a mirror has commits there, too, that nobody has pushed yet.
    """
    found = []
    for ref, name, symbolic, claims in _claimed(repo, remote):
        one = remote == "*" or all(claim.remote == remote for claim, _ in claims)
        if claims and one and not symbolic and not ref.startswith(_LOCAL):
            if all(source.startswith(_BRANCHES) for _, source in claims):
                found.append(name)
    return found


def seen(repo: Repo, remote: str | None) -> list[str]:
    """The objects of all refs that may be branches of `remote`, and whatever else its fetches write below refs/remotes; "*":
    of any remote, and of all that is there. For choosing what to fetch, not for what was pushed."""
    found = []
    for ref, name, _, claims in _claimed(repo, remote):
        sources = [source for claim, source in claims if remote in ("*", claim.remote)]
        below = ref.startswith("refs/remotes/")
        if any(below or source.startswith(_BRANCHES) for source in sources) or (below and remote == "*"):
            found.append(name)
    return found


def _claimed(repo: Repo, remote: str | None) -> Iterator[tuple[str, str, bool, list[tuple[_Refspec, str]]]]:
    """(ref, its object, whether it is symbolic, the refspecs that may have written it, each with what it fetches there) of
    each ref that one of the remote's may have written; "*": of all."""
    specs = _configured(repo) if remote else []
    positive = [spec for spec in specs if spec.destination]
    negative = [spec for spec in specs if not spec.destination]
    folders = {spec.folder for spec in positive if remote in ("*", spec.remote)}
    folders |= {"refs/remotes"} if remote == "*" else set()
    if not folders:
        return
    said = repo.run("for-each-ref", "--format=%(objectname) %(symref) %(refname)", *sorted(folders))
    for line in os.fsdecode(said).split("\n")[:-1]:
        name, symref, ref = line.split(" ", 2)
        claims = []
        for spec in positive:
            source = spec.source_of(ref)
            if source is not None and not any(
                no.remote == spec.remote and starred(no.source, source) is not None for no in negative
            ):
                claims.append((spec, source))
        if remote == "*" or any(spec.remote == remote for spec, _ in claims):
            yield ref, name, bool(symref), claims


def _configured(repo: Repo) -> list[_Refspec]:
    """The fetch refspecs of all remotes, without those that git rejects."""
    listing = os.fsdecode(repo.run("config", "-z", "--get-regexp", r"^remote\..*\.fetch$", ok=(0, 1)))
    found = []
    for field in listing.split("\0")[:-1]:
        key, _, value = field.partition("\n")
        remote = key.removeprefix("remote.").removesuffix(".fetch")
        if value.startswith("^"):
            found.append(_Refspec(remote, value[1:]))
            continue
        source, _, destination = value.removeprefix("+").partition(":")
        if destination and destination.count("*") == source.count("*") <= 1:
            found.append(_Refspec(remote, source, _full(destination)))
    return found


def _full(destination: str) -> str:
    """A destination that is not a pattern may be short (git's remote.c, get_local_ref)."""
    if destination.startswith("refs/") or "*" in destination:
        return destination
    return ("refs/" if destination.startswith(("heads/", "tags/", "remotes/")) else _BRANCHES) + destination
