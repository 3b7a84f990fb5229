"""The way to a remote store."""
