"""What the documentation names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
NAMED = re.findall(
    r"`((?:unit|cluster|faults|local|fuzz)/test_[a-z_]+\.py)(?:::(test_[a-z0-9_]+))?`",
    (HOME / "docs/wire.md").read_text(),
)


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_the_contracts_tests_exist(file: str, test: str) -> None:
    assert re.search(rf"^def {test or 'test_'}", (HOME / "tests" / file).read_text(), re.MULTILINE)


def test_every_point_of_the_contract_names_its_test() -> None:
    table = (HOME / "docs/wire.md").read_text().partition("| point of the contract | test |")[2]
    rows = [row for row in table.splitlines() if row.startswith("| ") and not row.startswith(("| ---", "| **"))]
    assert len(rows) > 30
    assert all(".py" in row.rpartition(" | ")[2] for row in rows)
