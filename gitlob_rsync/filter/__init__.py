"""git's long-running filter process, and what clean and smudge do."""
