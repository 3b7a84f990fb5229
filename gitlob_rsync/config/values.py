"""How one value of the configuration is read, and what is said of a wrong one."""

import re
from collections.abc import Callable, Mapping
from fractions import Fraction

from gitlob_rsync import age
from gitlob_rsync.errors import UsageError
from gitlob_rsync.git.gitconfig import Value

_BWLIMIT = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,9})?)(?:(b)|([kmgtp]?)(b|ib)?)\Z", re.IGNORECASE | re.ASCII)


class Values:
    """The configuration by key. Each method returns what it is given as `default` where the key is not set, and raises
    UsageError, which names key, value and file, for a value out of range."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self.by_key = values

    def text(self, key: str) -> str | None:
        return self.by_key[key].text if key in self.by_key else None

    def pathspecs(self, key: str) -> tuple[str, ...]:
        """git-lob separates them by commas."""
        return tuple(part.strip() for part in (self.text(key) or "").split(",") if part.strip())

    def age(self, key: str, default: float) -> float:
        """Seconds."""
        if key not in self.by_key:
            return default
        try:
            return age.parse(self.by_key[key].text)
        except ValueError as error:
            raise self.by_key[key].wrong(str(error)) from None

    def seconds(self, key: str, default: int, *, least: int) -> int:
        return self.number(key, default, least, 86400, "seconds")

    def number(self, key: str, default: int, least: int, most: int, of: str) -> int:
        value = self.by_key.get(key)
        if value is None:
            return default
        if not re.fullmatch(r"[0-9]{1,5}", value.text) or not least <= int(value.text) <= most:
            raise value.wrong(f"it must be a number of {of} from {least} to {most}")
        return int(value.text)

    def boolean(self, key: str, default: bool) -> bool:
        """As git reads one (git-config(1), "Values")."""
        value = self.by_key.get(key)
        if value is None:
            return default
        text = value.text.lower()
        if text in ("true", "yes", "on", "1"):
            return True
        if text in ("false", "no", "off", "0", ""):
            return False
        raise value.wrong("it must be true or false")

    def choice(self, key: str, default: str, *others: str) -> str:
        value = self.by_key.get(key)
        if value is None:
            return default
        if value.text not in (default, *others):
            raise value.wrong(f"it must be {' or '.join((default, *others))}")
        return value.text

    def bwlimit(self, key: str) -> str | None:
        value = self.by_key.get(key)
        return bwlimit(value.text, value.wrong) if value else None


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
