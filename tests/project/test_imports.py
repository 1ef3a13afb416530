"""The rooms keep to what docs/design.md says they may import."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
SOURCE = HOME / "src/pero_worker"
NOUNS = {
    "errors",
    "page",
    "request",
    "stage",
    "work",
    "ports",
    "clock",
    "geometry",
    "names",
    "messages",
    "text",
    "processes",
    "supervisor",
}
"""Modules at the top that every room may import."""
ALLOWED: dict[str, set[str]] = {
    "wire": set(),
    "brokers": {"wire"},
    "coordinators": {"wire"},
    "tracing": {"brokers", "wire"},
    "stores": {"wire"},
    "models": {"stores", "wire"},
    "engines": set(),
    "formats": {"inputs"},
    "training": {"formats", "inputs", "engines", "models"},
    "inputs": set(),
    "worker": {"wire", "inputs", "formats", "engines"},
    "watchdog": {"wire", "coordinators", "cluster"},
    "servers": {"wire"},
    "jobs": {"formats", "inputs", "worker", "wire"},
    "local": {"jobs", "brokers", "coordinators", "engines", "inputs", "models", "wire", "worker"},
    "ocrd": {"cli", "client", "cluster", "engines", "formats", "inputs", "jobs", "local", "models", "worker"},
    "cluster": {
        "jobs", "brokers", "coordinators", "engines", "formats", "inputs", "models", "servers", "stores",
        "tracing", "wire", "worker",
    },
}  # fmt: skip


def imported_rooms(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module] if node.module != "pero_worker" else [f"pero_worker.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("pero_worker."):
                yield name.split(".")[1]


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    found = {
        (str(path.relative_to(SOURCE)), other)
        for path in (SOURCE / room).rglob("*.py")
        for other in imported_rooms(path)
        if other not in NOUNS | ALLOWED[room] | {room, "__version__"}
    }
    assert not found


def test_every_room_is_told_of_in_the_design() -> None:
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    told = set(re.findall(r"`(\w+)/`", (HOME / "docs/design.md").read_text("utf-8")))
    assert rooms <= told


def test_no_two_files_of_tests_have_one_name() -> None:
    """pytest knows them by that name alone, and would leave one out."""
    names = [path.name for path in (HOME / "tests").rglob("test_*.py") if "golden" not in path.parts]
    assert sorted(set(names)) == sorted(names)
