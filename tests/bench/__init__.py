"""Measure beside git-lfs, plain git and plain rsync: `make bench`. Not a test."""
