"""Arrows go one way: the rooms of the package in their order, held against the imports in the code."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

pytestmark = pytest.mark.smoke

PACKAGE = Path(__file__).resolve().parent.parent / "gitlob_rsync"
TESTS = Path(__file__).resolve().parent

ROOMS = (
    ("commands",),
    ("jobs",),
    ("worktree", "config"),
    ("selection",),
    ("state", "transport", "filter"),
    ("store",),
    ("git",),
    ("process", "fork", "location", "progress", "plain_files"),
    ("errors", "age", "placeholder"),
    ("wording",),
)
"""From the top. What is in a room imports from its own room, and from those below."""

ONLY_USERS = {
    "subprocess": {"process"},
    "sh": {"transport"},
    "rich": {"progress"},
    "argparse": {"commands"},
    "asyncio": set(),
}
"""Things from outside, and the rooms that may use them."""


def modules() -> dict[str, ast.Module]:
    """The syntax tree of each module, by its name below the package: `store.layout`, `config`."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",):
            found[".".join(part for part in parts if part != "__init__")] = ast.parse(file.read_text())
    return found


def imported(tree: ast.Module) -> set[str]:
    """What a module imports, wherever in it that stands: full names, of modules or of what is in them."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def arrows() -> dict[str, set[str]]:
    """Each module, and the modules of ours that it imports."""
    trees = modules()
    found: dict[str, set[str]] = {}
    for module, tree in trees.items():
        found[module] = set()
        for name in imported(tree):
            own = name.removeprefix("gitlob_rsync.")
            if own != name and own != "__version__":
                found[module].add(own if own in trees else own.rpartition(".")[0])
        assert found[module] <= trees.keys()
    return found


def room(module: str) -> str:
    return module.partition(".")[0]


def floor(module: str) -> int:
    return next(number for number, rooms in enumerate(ROOMS) if room(module) in rooms)


def test_every_module_has_its_room() -> None:
    assert {room(module) for module in modules()} == {room for rooms in ROOMS for room in rooms}


def test_imports_go_down() -> None:
    wrong = [
        f"{module} -> {other}"
        for module, others in arrows().items()
        for other in others
        if room(other) != room(module) and floor(other) <= floor(module)
    ]
    assert wrong == []


def test_no_module_imports_itself_by_a_detour() -> None:
    tuple(TopologicalSorter(arrows()).static_order())


@pytest.mark.parametrize("library", ONLY_USERS)
def test_each_outside_thing_has_one_user(library: str) -> None:
    users = {
        room(module)
        for module, tree in modules().items()
        if any(name.partition(".")[0] == library for name in imported(tree))
    }
    assert users == ONLY_USERS[library]


def test_no_module_of_tests_imports_another() -> None:
    """What several of them use is in tests/support, or a fixture."""
    wrong = [
        f"{file.relative_to(TESTS)} -> {name}"
        for file in sorted(TESTS.rglob("*.py"))
        for name in imported(ast.parse(file.read_text()))
        if name.startswith("tests.") and any(part.startswith(("test_", "conftest")) for part in name.split(".")[:-1])
    ]
    assert wrong == []
