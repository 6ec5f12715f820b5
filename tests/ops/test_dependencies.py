"""What the rooms import is declared: nothing of ours leans on what another package happens to bring along."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

REPO = Path(__file__).parents[2]
ROOMS = ("ipc", "rules", "gateway", "brain", "simex", "scripts")


def imported(path: Path) -> Iterator[str]:
    """Top-level names of all imports of a file, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_package_imported_by_a_room_is_a_declared_dependency() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {plain(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]) for line in project["dependencies"]}
    sources = packages_distributions()
    undeclared: dict[str, str] = {}
    used: set[str] = set()
    for room in ROOMS:
        for path in sorted((REPO / room).rglob("*.py")):
            for name in set(imported(path)) - set(sys.stdlib_module_names) - set(ROOMS):
                found = {plain(source) for source in sources.get(name, [name])}
                used |= found & declared
                if not found & declared:
                    undeclared[name] = str(path.relative_to(REPO))
    assert undeclared == {}
    assert len(used) > 10
