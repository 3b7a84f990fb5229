"""What every job works with, passed as one value."""

from dataclasses import dataclass

from gitlob_rsync.config import Settings
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.progress import Meter
from gitlob_rsync.store.local import Stores


@dataclass(frozen=True, slots=True)
class Context:
    """A repository, its stores, its settings (with the command line's on top), and the progress meter."""

    repo: Repo
    stores: Stores
    settings: Settings
    meter: Meter
