"""Records are made with the names of their fields: whoever reads a call knows what each value is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src/pero_worker"


def records() -> Iterator[tuple[str, ast.ClassDef, ast.expr]]:
    """Where, class, its decorator `dataclass`."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                for decorator in node.decorator_list:
                    if ast.unparse(decorator).startswith("dataclass"):
                        yield f"{path.relative_to(SOURCE)}: {node.name}", node, decorator


def test_records_are_keyword_only() -> None:
    found = list(records())
    assert len(found) > 100
    assert not [where for where, _, decorator in found if "kw_only=True" not in ast.unparse(decorator)]
