"""The short form of `make chaos`: every fault once."""

from __future__ import annotations

from pathlib import Path

from faults.chaos import Chaos

PAGES = 900


def test_no_page_is_lost_or_doubled_whatever_fails(tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, seed=20261124)
    try:
        outcome = chaos.run(PAGES, len(chaos.faults))
    finally:
        chaos.close()
    assert (outcome.lost, outcome.changed, outcome.leftovers) == ([], [], {}), chaos.logs()
    assert {name: one.times for name, one in outcome.injected.items()} == dict.fromkeys(chaos.faults, 1)
    assert all("died" in reason for _, reason in outcome.failed), "only deaths may be charged to a page"
