"""The placeholder's 49 bytes."""

import pytest

from gitlob_rsync import placeholder
from tests.support.handmade import sha_of

pytestmark = pytest.mark.smoke


def test_a_placeholder_is_49_bytes_and_comes_back() -> None:
    sha = sha_of(b"x")
    content = placeholder.encode(placeholder.Sha(sha))
    assert content == b"git-lob: 11f6ad8ec52a2984abaafd7c3b516503785c2072"
    assert len(content) == placeholder.SIZE == 49
    assert placeholder.decode(content) == sha


def test_upper_case_digits_are_read() -> None:
    assert placeholder.decode(b"git-lob: 11F6AD8EC52A2984ABAAFD7C3B516503785C2072") == sha_of(b"x")


def test_anything_else_is_content() -> None:
    good = b"git-lob: " + b"a" * 40
    for other in (
        good + b"\n", good[:-1], b" " + good[1:], b"Git-lob: " + b"a" * 40, b"git-lob: " + b"g" * 40, b"", good + b"more",
        b"git-lob:\t" + b"a" * 40, b"git-lob: " + b"a" * 39 + b"\n", b"git-lob: " + "٣".encode() * 20,
    ):  # fmt: skip
        assert placeholder.decode(other) is None, other
