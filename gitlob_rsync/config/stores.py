"""The remote stores that are configured, each with its git remote."""

import re

from gitlob_rsync import location
from gitlob_rsync.config.values import Values
from gitlob_rsync.errors import UsageError
from gitlob_rsync.git.gitconfig import Value
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.location import IDENTITY, Remote

_KEY = re.compile(r"remote\.(.+)\.git-lob-(path|provider|identity)\Z", re.DOTALL)
_RSYNC_PATH_KEY = re.compile(r"remote\.(.+)\.git-lob-rsync-path\Z", re.DOTALL)
"""The other machine runs what it says, so it is not for the team's file."""


def remotes(repo: Repo, values: Values) -> tuple[dict[str, Remote], dict[str, UsageError]]:
    """By name, and what is wrong with the others: that matters only to a run that uses one of these."""
    right: dict[str, Remote] = {}
    wrong: dict[str, UsageError] = {}
    for key, value in values.by_key.items():
        if not (found := _KEY.match(key)):
            continue
        name, what = found.groups()
        if what == "path":
            try:
                right[name] = _remote(repo, name, value, values)
            except UsageError as error:
                wrong[name] = error
        elif f"remote.{name}.git-lob-path" not in values.by_key:
            alone = value.wrong(f"there is no remote.{name}.git-lob-path beside it")
            wrong[name] = (what == "provider" and _wrong_provider(value)) or alone
    return right, wrong


def _remote(repo: Repo, name: str, path: Value, values: Values) -> Remote:
    provider, identity = (values.by_key.get(f"remote.{name}.git-lob-{what}") for what in ("provider", "identity"))
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


def _wrong_provider(provider: Value) -> UsageError | None:
    if provider.text in ("rsync", "filesystem"):
        return None
    return provider.wrong("this provider is not supported; it can be rsync or filesystem")


def rsync_paths(values: Values) -> dict[str | None, str]:
    """The rsync of each remote's machine, by the name of the remote; that of all others by None. Raises UsageError for one
    that a shell does not take as one line."""
    given: dict[str | None, Value | None] = {None: values.by_key.get("git-lob.rsync-path")}
    given |= {named[1]: value for key, value in values.by_key.items() if (named := _RSYNC_PATH_KEY.match(key))}
    found = {name: value for name, value in given.items() if value and value.text.strip()}
    for value in found.values():
        if re.search(r"[\x00-\x1f\x7f]", value.text):
            raise value.wrong("it has control characters in it")
    return {name: value.text for name, value in found.items()}
