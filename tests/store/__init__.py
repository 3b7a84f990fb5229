"""Stores on this machine."""
