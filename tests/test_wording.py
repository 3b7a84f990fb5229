"""Numbers with their nouns, as English has them."""

import pytest

from gitlob_rsync.wording import counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(0, "file", "0 files"), (1, "file", "1 file"), (2, "file", "2 files"), (1, "binary", "1 binary"),
     (2, "binary", "2 binaries"), (1, "day", "1 day"), (2, "day", "2 days")],
)  # fmt: skip
def test_a_noun_follows_its_number(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text
