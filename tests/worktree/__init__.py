"""Placeholders become content."""
