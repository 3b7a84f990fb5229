"""Scripts that stand in for rsync on PATH, for what the real one cannot be made to do at a set moment."""

import os
import shutil
from pathlib import Path

import pytest


def put_rsync(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have programs find `script` (sh, with REAL where the real rsync is called) in a new folder, which is returned."""
    folder.mkdir()
    at = folder / "rsync"
    at.write_text(f"#!/bin/sh\n{script}".replace("REAL", str(shutil.which("rsync"))))
    at.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder
