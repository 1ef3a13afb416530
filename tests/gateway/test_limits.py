"""How much keys may ask, of one gateway and of several."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from gateway.conftest import new_database

from pero_worker.gateway.limits import Buckets, OwnBuckets, SharedBuckets
from pero_worker.gateway.store.database import Database


@pytest.fixture(params=["own", "shared"])
def buckets(request: pytest.FixtureRequest) -> Iterator[list[Buckets]]:
    """Of two gateways; of one that is alone twice the same."""
    if request.param == "own":
        yield [OwnBuckets()] * 2
        return
    url = new_database(request.getfixturevalue("postgresql"))
    databases = [Database(url) for _ in range(2)]
    databases[0].create()
    yield [SharedBuckets(database) for database in databases]
    for database in databases:
        database.close()


def test_a_limit_holds_over_all_gateways(buckets: list[Buckets]) -> None:
    with ThreadPoolExecutor(8) as pool:
        asked = list(pool.map(lambda number: buckets[number % 2].spend("k", 10, 100.0)[0], range(40)))
    assert sum(asked) == 10
    assert buckets[0].spend("other", 10, 100.0) == (True, 9.0)
    # A token comes every six seconds, and never more than ten.
    assert [buckets[n % 2].spend("k", 10, 106.0)[0] for n in range(3)] == [True, False, False]
    later = [buckets[n % 2].spend("k", 10, 10_000.0)[0] for n in range(12)]
    assert later == [True] * 10 + [False] * 2


def test_clocks_that_differ_fill_nothing_twice(buckets: list[Buckets]) -> None:
    for _ in range(10):
        assert buckets[0].spend("k", 10, 200.0)[0]
    assert not buckets[1].spend("k", 10, 170.0)[0]
    assert not buckets[0].spend("k", 10, 203.0)[0]
