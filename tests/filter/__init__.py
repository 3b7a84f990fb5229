"""git's filter."""
