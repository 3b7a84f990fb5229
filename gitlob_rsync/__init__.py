"""Large binaries in git, kept on any machine that has nothing but rsync."""

__version__ = "0.1.0"
