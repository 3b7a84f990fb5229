"""AGE, as people type it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitlob_rsync import age

pytestmark = pytest.mark.smoke

HOUR = 3600


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("12h", 12), ("30d", 30 * 24), ("2w", 14 * 24), ("6mo", 180 * 24), ("1y", 365 * 24), ("30", 30 * 24),
        ("0", 0), ("0h", 0), ("007d", 7 * 24), ("999999999y", 999_999_999 * 365 * 24),
    ],
)  # fmt: skip
def test_an_age_in_seconds(text: str, hours: int) -> None:
    assert age.parse(text) == hours * HOUR
    assert age.is_age(text)


def test_all_is_older_than_anything() -> None:
    assert age.parse("all") == age.ALL > age.parse("999999999y")
    assert age.is_age("all")


@pytest.mark.parametrize(
    "text",
    [
        "", "d", "30x", "30m", "30min", "1.5d", "-1", "+1", " 30d", "30d ", "30 d", "30d\n", "30D", "ALL", "all\n", "alle",
        "all 30d", "d30", "1y6mo", "3 0", "0x10", "1e3", "1_000", "1000000000", "origin", "nas:/srv", "²", "\0",
    ],
)  # fmt: skip
def test_anything_else_is_none(text: str) -> None:
    assert not age.is_age(text)
    with pytest.raises(ValueError, match="an age is 12h, 30d, 2w, 6mo, 1y, a number of days, or all"):
        age.parse(text)


@given(st.text("0123456789hdwmoyal \n-.", max_size=6))
def test_what_has_the_form_of_an_age_is_read_and_nothing_else(text: str) -> None:
    try:
        seconds = age.parse(text)
    except ValueError:
        assert not age.is_age(text)
    else:
        assert age.is_age(text)
        assert seconds >= 0


@given(st.integers(0, 10**8), st.sampled_from(["h", "d", "w", "mo", "y", ""]))
def test_more_is_older(number: int, unit: str) -> None:
    assert age.parse(f"{number}{unit}") < age.parse(f"{number + 1}{unit}") < age.ALL
    assert age.parse(f"{number}{unit}") == number * age.parse(f"1{unit}")
