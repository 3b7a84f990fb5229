"""The work itself, through the commands that order it."""
