"""Arrows go one way: the import table of the package, held against the code."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "gitlob_rsync"

FLOORS = [
    {"errors", "placeholder", "layout", "age", "location", "pktline", "report"},
    {
        "process",
        "git",
        "gitconfig",
        "remotes",
        "history",
        "identity",
        "config",
        "store",
        "stores",
        "staging",
        "writer",
        "rsync",
        "progress",
        "index",
        "lock",
        "record",
        "published",
        "roots",
        "tracking",
        "partial",
        "state",
        "journal",
        "census",
        "branches",
        "needs",
        "holders",
        "survey",
        "hashing",
        "quarantine",
        "ahead",
    },
    {
        "purge",
        "remote_purge",
        "tree",
        "worktree",
        "connection",
        "pull",
        "push",
        "filter",
        "serve",
        "install",
        "status",
        "background",
        "hooks",
        "track",
        "fsck",
        "repair",
        "compare",
    },
    {"commands"},
]
SAME_FLOOR = {
    "layout": {"placeholder"},
    "location": {"errors"},
    "report": {"placeholder"},
    "pktline": {"errors"},
    "serve": {"filter"},
    "git": {"process"},
    "history": {"git", "partial", "process", "roots", "tracking"},
    "roots": {"git", "process"},
    "tracking": {"git", "remotes"},
    "partial": {"git", "process"},
    "config": {"git", "gitconfig", "history", "lock", "remotes"},
    "lock": {"store"},
    "stores": {"git", "gitconfig", "process", "staging", "store"},
    "staging": {"store"},
    "writer": {"staging", "store"},
    "rsync": {"process", "progress", "store"},
    "index": {"git"},
    "state": {"git"},
    "identity": {"config", "git", "journal", "state"},
    "record": {"config", "git", "identity", "state"},
    "remotes": {"gitconfig"},
    "journal": {"git", "state"},
    "published": {"config", "git", "history", "identity", "lock", "rsync", "state", "store"},
    "census": {"store"},
    "branches": {"git", "process", "roots"},
    "needs": {"git", "history", "partial", "state"},
    "holders": {"git", "history", "partial", "process", "roots"},
    "survey": {"store"},
    "hashing": {"progress", "store"},
    "quarantine": {"store"},
    "pull": {"connection"},
    "push": {"connection"},
    "purge": {"connection", "remote_purge"},
    "status": {"hooks", "install", "worktree"},
    "track": {"install"},
    "worktree": {"tree"},
    "repair": {"connection", "fsck", "pull"},
    "compare": {"connection"},
    "commands": {"commands"},
}
ONLY_USERS = {
    "subprocess": {"process"},
    "sh": {"rsync"},
    "rich": {"progress"},
    "argparse": {"commands"},
    "asyncio": set(),
}


def imports() -> list[tuple[str, str, bool]]:
    """(module, what it imports, whether of our own package), with the modules of a folder under its name."""
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        relative = file.relative_to(PACKAGE)
        module = relative.parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.module and not node.level
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                parts = name.split(".")
                if parts[0] != "gitlob_rsync":
                    found.append((module, parts[0], False))
                elif parts[1] != "__version__":
                    found.append((module, parts[1], True))
    return found


def floor(module: str) -> int:
    return next(number for number, names in enumerate(FLOORS) if module in names)


def test_every_module_has_its_floor() -> None:
    modules = {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in PACKAGE.rglob("*.py")} - {"__init__"}
    assert modules == set().union(*FLOORS)


def test_imports_go_down() -> None:
    wrong = [
        f"{module} -> {other}"
        for module, other, own in imports()
        if own and other != module and floor(other) >= floor(module) and other not in SAME_FLOOR.get(module, set())
    ]
    assert wrong == []


@pytest.mark.parametrize("library", ONLY_USERS)
def test_each_outside_thing_has_one_user(library: str) -> None:
    assert {module for module, other, own in imports() if not own and other == library} <= ONLY_USERS[library]
