"""Which binaries a part of git's history needs."""
