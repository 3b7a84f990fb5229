"""Placeholders in the working tree are replaced by their content; nothing is written outside of it."""
