"""Records are made with the names of their fields: whoever reads a call knows what each value is."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src/pero_worker"


SELF_EVIDENT = {"left", "top", "right", "bottom", "start", "end"}
"""Names of edges."""


@cache
def records() -> list[tuple[str, ast.ClassDef, ast.expr]]:
    """Where, class, its decorator `dataclass`."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                for decorator in node.decorator_list:
                    if ast.unparse(decorator).startswith("dataclass"):
                        found.append((f"{path.relative_to(SOURCE)}: {node.name}", node, decorator))
    return found


def test_records_are_keyword_only() -> None:
    found = records()
    assert len(found) > 100
    assert not [where for where, _, decorator in found if "kw_only=True" not in ast.unparse(decorator)]


def test_every_field_of_a_public_record_is_told_of() -> None:
    """In a line below it, or by its name in the class's own."""
    silent = []
    for where, node, _ in records():
        told = ast.get_docstring(node) or ""
        for index, field in enumerate(node.body):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            if node.name.startswith("_") or field.target.id.startswith("_"):
                continue
            below = node.body[index + 1] if index + 1 < len(node.body) else None
            has_line = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            if not has_line and f"`{field.target.id}`" not in told and field.target.id not in SELF_EVIDENT:
                silent.append(f"{where}.{field.target.id}")
    assert not silent
