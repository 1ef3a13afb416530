"""Which of a key's pages is next: by priority, by deadline, by age; and that finding it does not take longer with more."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from gateway.conftest import PostgreSQL, new_database

from pero_worker.gateway.states import Api, Backend, PageState
from pero_worker.gateway.store.closing import give_up_late_job, retry_pages
from pero_worker.gateway.store.creation import NewJob, NewPage, create_job
from pero_worker.gateway.store.database import Database
from pero_worker.gateway.store.dispatch import claim_pages
from pero_worker.gateway.store.jobs import find_job, pages_of
from pero_worker.gateway.store.leases import LeaseTerms, lease_job
from pero_worker.gateway.store.schema import NEVER, pages

JOBS: Sequence[tuple[str, int, float | None]] = (
    ("old", 0, None),
    ("late", 0, 900.0),
    ("soon", 0, 500.0),
    ("low", -1, 100.0),
    ("high", 1, None),
    ("older soon", 0, 500.0),
)
ORDER = ["high", "soon", "older soon", "late", "old", "low"]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'gateway.sqlite'}"
    else:
        server: PostgreSQL = request.getfixturevalue("postgresql")
        url = new_database(server)
    made = Database(url)
    made.create()
    request.addfinalizer(made.close)
    return made


def fill(database: Database, backend: Backend) -> dict[str, str]:
    """Jobs of one owner, a page each that waits; ids by name."""
    made = {}
    with database.write() as connection:
        for name, priority, deadline in JOBS:
            new = NewJob(
                api=Api.V1,
                owner="o",
                engine="e",
                backend=backend,
                pages=[NewPage(name=name, position=0, url="https://x.org")],
                extras={"priority": priority, "deadline": deadline},
            )
            made[name] = create_job(connection, new, 1.0)
        connection.execute(pages.update().values(image_uploaded=True))
    return made


def test_the_most_urgent_page_is_next(database: Database) -> None:
    fill(database, Backend.FARM)
    with database.write() as connection:
        taken = [claim_pages(connection, "o", ["e"], 1, "i", 2.0)[0]["name"] for _ in JOBS]
        assert claim_pages(connection, "o", ["e"], 1, "i", 2.0) == []
    assert taken == ORDER


def test_the_most_urgent_job_is_leased(database: Database) -> None:
    names = {job: name for name, job in fill(database, Backend.LEASE).items()}
    terms = LeaseTerms(seconds=300, grace=10, max_attempts=3)
    taken = []
    with database.write() as connection:
        while (job := lease_job(connection, "w", terms, 2.0)) is not None:
            taken.append(names[job["id"]])
    assert taken == ORDER


def test_what_is_tried_again_after_its_deadline_has_none(database: Database) -> None:
    job = fill(database, Backend.FARM)["soon"]
    with database.write() as connection:
        row = find_job(connection, job, locked=True)
        assert row is not None
        give_up_late_job(connection, row, 600.0)
        again = find_job(connection, job, locked=True)
        assert again is not None
        assert retry_pages(connection, again, None, 601.0) == 1
        assert [page["due"] for page in pages_of(connection, job)] == [NEVER]


def test_the_next_page_is_found_without_sorting_those_that_wait(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sqlite"
    Database(f"sqlite:///{path}").create()
    query = (
        "SELECT * FROM pages WHERE backend = 'farm' AND state = ? AND engine IN ('e') AND image_uploaded IS 1 "
        "AND owner = 'o' ORDER BY priority DESC, due, number LIMIT 1"
    )
    with closing(sqlite3.connect(path)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", (PageState.WAITING.value,))]
    assert any("pages_in_turn" in step for step in plan)
    assert not any("TEMP B-TREE" in step for step in plan)
