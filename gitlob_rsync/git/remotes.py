"""git's own remotes: which of them a URL means, and of which a ref is a tracking branch.

All of it is derived from one listing of the configuration, as git does (git-config(1), "remote", "url"; git-fetch(1),
"CONFIGURED REMOTE-TRACKING BRANCHES"): no git process is started for it.
"""

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from gitlob_rsync.git.gitconfig import Value

_REMOTE = re.compile(r"remote\.(.+)\.(url|pushurl|fetch)\Z", re.DOTALL)
_BRANCH = re.compile(r"branch\.(.+)\.(remote|merge)\Z", re.DOTALL)
_INSTEAD = re.compile(r"url\.(.*)\.(insteadof|pushinsteadof)\Z", re.DOTALL)
_WEB_USER = re.compile(r"(https?://)[^/@]*@", re.IGNORECASE)

Lists = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Remotes:
    """By name of the remote or branch, or by the text that a URL is rewritten to; in the order of the configuration.
    `base`: what relative paths are relative to."""

    urls: Lists = field(default_factory=dict)
    push_urls: Lists = field(default_factory=dict)
    fetch: Lists = field(default_factory=dict)
    instead: Lists = field(default_factory=dict)
    push_instead: Lists = field(default_factory=dict)
    branch_remotes: Lists = field(default_factory=dict)
    branch_merges: Lists = field(default_factory=dict)
    base: str = "/"

    @classmethod
    def of(cls, values: Iterable[Value], base: str) -> "Remotes":
        """From git's configuration, in which some keys occur several times."""
        found: dict[str, dict[str, list[str]]] = {}
        for value in values:
            if match := _REMOTE.match(value.key) or _BRANCH.match(value.key) or _INSTEAD.match(value.key):
                texts = found.setdefault(match[2], {}).setdefault(match[1], [])
                if match[2] in ("url", "pushurl") and not value.text:
                    texts.clear()  # an empty one cancels those before it
                else:
                    texts.append(value.text)

        def lists(kind: str) -> Lists:
            return {name: tuple(texts) for name, texts in found.get(kind, {}).items()}

        return cls(
            urls=lists("url"), push_urls=lists("pushurl"), fetch=lists("fetch"),
            instead=lists("insteadof"), push_instead=lists("pushinsteadof"),
            branch_remotes=lists("remote"), branch_merges=lists("merge"), base=base,
        )  # fmt: skip

    def named(self, word: str, preferred: Collection[str]) -> str | None:
        """The remote that git means by a name or a URL: of several with one URL, whatever their names, one of the
        `preferred`; None where no remote has that URL."""
        if word in preferred or word in ("", "."):
            return word or None
        known = {**self.urls, **self.push_urls}
        asked = {self._plain(word), self._plain(_rewritten(word, self.instead)), self._plain(self._pushed_to(word))}
        if word in known:
            asked = self._places(word)
        same = [name for name in known if asked & self._places(name)]
        return next((name for name in same if name in preferred), word if word in known else same[0] if same else None)

    @property
    def every_url(self) -> list[str]:
        """Where remotes are fetched from."""
        return [_rewritten(url, self.instead) for urls in self.urls.values() for url in urls]

    def remote_of(self, branch: str) -> str | None:
        """branch.NAME.remote: a name, or a URL."""
        return self.branch_remotes.get(branch, (None,))[-1]

    def upstream(self, branch: str, remote: str | None) -> str | None:
        """The ref here that a branch tracks, `remote` being the name of its remote."""
        merge = self.branch_merges.get(branch, (None,))[-1]
        if merge is None or self.remote_of(branch) == ".":
            return merge
        return self.tracking(remote, merge) if remote else None

    def tracking(self, remote: str, ref: str) -> str | None:
        """The ref here that a remote's ref is fetched to."""
        for spec in self.fetch.get(remote, ()):
            there, _, here = spec.removeprefix("+").partition(":")
            if here and (middle := starred(there, ref)) is not None:
                return here.replace("*", middle, 1)
        return None

    def tracked_by(self, ref: str) -> list[str]:
        """The remotes that fetch to a ref here."""
        kept = {name: [spec.partition(":")[2] for spec in specs] for name, specs in self.fetch.items()}
        return [name for name, refs in kept.items() if any(starred(here, ref) is not None for here in refs if here)]

    def _places(self, name: str) -> set[str]:
        """Where a remote is fetched from and pushed to."""
        urls = self.urls.get(name, ())
        pushed = [_rewritten(url, self.instead) for url in self.push_urls.get(name, ())]
        pushed = pushed or [self._pushed_to(url) for url in urls]
        return {self._plain(url) for url in (*urls, *(_rewritten(url, self.instead) for url in urls), *pushed)}

    def _pushed_to(self, url: str) -> str:
        """Where git pushes to for a URL that is not a pushurl. What pushInsteadOf rewrites, insteadOf does not."""
        again = _rewritten(url, self.push_instead)
        return again if again != url else _rewritten(url, self.instead)

    def _plain(self, url: str) -> str:
        """One text for each repository: without what does not matter for which one it is."""
        url = _WEB_USER.sub(r"\1", url).removeprefix("file://")
        if "://" not in url and ":" not in url.partition("/")[0]:
            url = os.path.join(self.base, os.path.expanduser(url))
            url = os.path.realpath(url if os.path.exists(url) else f"{url.rstrip('/')}.git")
        return url.rstrip("/").removesuffix(".git").rstrip("/")


def _rewritten(url: str, rules: Lists) -> str:
    """As git rewrites it: the longest match wins."""
    fitting = [(len(start), base, start) for base, starts in rules.items() for start in starts if url.startswith(start)]
    if not fitting:
        return url
    _, base, start = max(fitting, key=lambda rule: rule[0])
    return base + url[len(start) :]


def starred(pattern: str, ref: str) -> str | None:
    """What the star in a side of a refspec stands for, "" where it has none; None where the ref does not match."""
    start, star, end = pattern.partition("*")
    if not star:
        return "" if pattern == ref else None
    fits = len(ref) >= len(start) + len(end) and ref.startswith(start) and ref.endswith(end)
    return ref[len(start) : len(ref) - len(end)] if fits else None
