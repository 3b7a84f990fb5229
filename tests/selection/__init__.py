"""Which binaries a part of history needs."""
