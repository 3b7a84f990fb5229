"""What the fault tests share: how often they try, what must be true after each fault, and the count of faults.

A fault test does harm in `with fault("what was done"):`, and asserts there, by `sound`, `intact` and `ended`, what no fault
may break. `make torture` writes its table from that count: what, how often, and how often one of the assertions failed.
"""

import functools
import json
import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis

from tests.support.handmade import check, placeholder
from tests.support.work import Work

TORTURE = os.environ.get("GITLOB_TORTURE") == "1"
"""Try for long, and anew at each run; else a little, and always the same."""
SEED = int.from_bytes(os.urandom(4), "big") if TORTURE else 1
CODES = frozenset({0, 1, 2, 3, 4, 5, 130, 129, 143})
"""The documented exit codes (README, "Exit codes"). 70, a bug, is none that a fault may cause."""

_count: dict[str, list[int]] = {}


@contextmanager
def fault(what: str) -> Iterator[None]:
    """Count a fault, and whether what follows it in the block found something lost."""
    entry = _count.setdefault(what, [0, 0])
    entry[0] += 1
    try:
        yield
    except BaseException:
        entry[1] += 1
        raise


def given(*strategies: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """hypothesis.given, with each example counted as a fault."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def counted(*args: Any, **kwargs: Any) -> None:
            with fault("foreign bytes, made up by hypothesis"):
                test(*args, **kwargs)

        drawn: Callable[..., None] = hypothesis.given(*strategies)(counted)  # type: ignore[no-untyped-call]
        return drawn

    return decorate


def write_count(to: Path) -> None:
    """Add the faults of this process to a file: a line of JSON for each kind, {what, times, lost}."""
    with to.open("a") as file:
        for what, (times, lost) in _count.items():
            file.write(json.dumps({"what": what, "times": times, "lost": lost}) + "\n")


def times(usual: int, torture: int) -> int:
    return torture if TORTURE else usual


def dice(what: str) -> random.Random:
    """Random numbers of a test's own. The seed is printed, so that a failure shows it: GITLOB_SEED=N gives them again."""
    seed = f"{os.environ.get('GITLOB_SEED', SEED)}"
    print(f"GITLOB_SEED={seed} ({what})")
    return random.Random(f"{seed} {what}")


def sound(*stores: Path) -> None:
    """Every binary of a store hashes to its name. Chunks whose meta has not come yet are none."""
    for store in stores:
        check(store, whole=False)


def intact(work: Work, files: Mapping[str, bytes], edited: Mapping[str, bytes] | None = None) -> None:
    """Each file of the working tree is its placeholder or its whole content; what the user edited is as it was."""
    edited = edited or {}
    for path, content in edited.items():
        assert work.read(path) == content, f"{path} was edited, and is not as it was"
    for path, content in files.items():
        if path not in edited:
            assert work.read(path) in (placeholder(content), content), f"{path} is neither placeholder nor content"


def ended(code: int, stderr: str, *codes: int) -> None:
    """A command ended as documented: by one of `codes`, or of all; with a line that says so if it is not well."""
    assert code in (codes or CODES), f"exit code {code}\n{stderr}"
    assert "Traceback" not in stderr, stderr
    assert code in (0, 3) or stderr.strip(), f"exit code {code}, and not a word"
