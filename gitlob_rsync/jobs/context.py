"""What a job works with: what would otherwise travel through every function side by side."""

from dataclasses import dataclass

from gitlob_rsync.config import Settings
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.progress import Meter
from gitlob_rsync.store.local import Stores


@dataclass(frozen=True, slots=True)
class Context:
    """A repository, its stores, its settings with those of the command line on top, and where progress is shown."""

    repo: Repo
    stores: Stores
    settings: Settings
    meter: Meter
