"""Placeholders of the working tree become content, and nothing is written outside of it."""
