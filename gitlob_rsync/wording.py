"""Numbers with their nouns."""

import re


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`, `3 binaries`, `4 days`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if re.search("[^aeiou]y$", noun) else f"{number} {noun}s"
