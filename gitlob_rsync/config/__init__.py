"""What is configured for moving binaries."""

from gitlob_rsync.config.settings import Settings
from gitlob_rsync.config.team_file import TEAM_FILE
from gitlob_rsync.config.values import bwlimit

__all__ = ["TEAM_FILE", "Settings", "bwlimit"]
