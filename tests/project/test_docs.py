"""What the documentation names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pero_worker.wire.queues import MAX_MESSAGE_BYTES, MAX_PAGE_MILLISECONDS

HOME = Path(__file__).parents[2]
NAMED = re.findall(
    r"`((?:unit|cluster|faults|local|fuzz)/test_[a-z_]+\.py)(?:::(test_[a-z0-9_]+))?`",
    (HOME / "docs/wire.md").read_text(),
)


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_the_contracts_tests_exist(file: str, test: str) -> None:
    assert re.search(rf"^def {test or 'test_'}", (HOME / "tests" / file).read_text(), re.MULTILINE)


def test_compose_lets_large_scans_through_and_slow_pages_finish() -> None:
    rabbitmq = yaml.safe_load((HOME / "compose.yaml").read_text())["services"]["rabbitmq"]
    words = rabbitmq["environment"]["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"].split()
    settings = dict(zip(words[1::2], words[2::2], strict=True))
    assert settings["max_message_size"] == str(MAX_MESSAGE_BYTES)
    assert settings["consumer_timeout"] == str(MAX_PAGE_MILLISECONDS)


def test_every_point_of_the_contract_names_its_test() -> None:
    table = (HOME / "docs/wire.md").read_text().partition("| point of the contract | test |")[2]
    rows = [row for row in table.splitlines() if row.startswith("| ") and not row.startswith(("| ---", "| **"))]
    assert len(rows) > 30
    assert all(".py" in row.rpartition(" | ")[2] for row in rows)
