"""Databases of earlier versions are brought up to date, and those of later ones left alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from gateway.conftest import V1, PostgreSQL, RunningGateway, new_database, picture, running
from sqlalchemy import create_engine, inspect, text

from pero_worker.errors import UsageError
from pero_worker.gateway.store.database import Database
from pero_worker.gateway.store.migrations import VERSION
from pero_worker.gateway.store.schema import schema_version

DUMPS = Path(__file__).with_name("dumps")


def restore(url: str, dump: Path) -> None:
    """Fills an empty database as its own tools would."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as new:
            new.executescript(dump.read_text())
        return
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.connection.cursor().execute(dump.read_text())  # type: ignore[attr-defined,unused-ignore]
    engine.dispose()


def shape(url: str) -> dict[str, Any]:
    """Tables with their columns and indexes."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    found = inspect(engine)
    tables = {}
    for table in found.get_table_names():
        columns = sorted((one["name"], str(one["type"]), one["nullable"]) for one in found.get_columns(table))
        indexes = sorted(
            (str(one["name"]), tuple(one["column_names"]), one["unique"]) for one in found.get_indexes(table)
        )
        tables[table] = (columns, [one for one in indexes if not one[0].startswith("sqlite_autoindex")])
    engine.dispose()
    return tables


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """An empty one, and one of 0.1.0."""
    if request.param == "sqlite":
        urls = (f"sqlite:///{tmp_path / 'new.sqlite'}", f"sqlite:///{tmp_path / 'old.sqlite'}")
    else:
        server: PostgreSQL = request.getfixturevalue("postgresql")
        urls = (new_database(server), new_database(server))
    restore(urls[1], DUMPS / f"{request.param}-0.1.0.sql")
    yield urls


def test_an_older_database_becomes_one_of_today(databases: tuple[str, str]) -> None:
    for url in databases:
        database = Database(url)
        database.create()
        database.create()  # The second time there is nothing to do.
        with database.read() as connection:
            assert connection.execute(text("SELECT version FROM schema_version")).scalars().all() == [VERSION]
        database.close()
    new, old = map(shape, databases)
    assert new == old


def test_a_newer_database_is_left_alone(databases: tuple[str, str]) -> None:
    database = Database(databases[1])
    database.create()
    with database.write() as connection:
        connection.execute(schema_version.update().values(version=VERSION + 1))
    with pytest.raises(UsageError, match=f"has version {VERSION + 1}, and this program knows versions up to {VERSION}"):
        database.create()
    with database.read() as connection:
        assert connection.execute(text("SELECT version FROM schema_version")).scalar() == VERSION + 1
    database.close()


def test_a_gateway_goes_on_with_an_older_database(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    restore(f"sqlite:///{data / 'gateway.sqlite'}", DUMPS / "sqlite-0.1.0.sql")
    admin = RunningGateway(data, []).keys("add", "new-admin", "--role", "admin")
    with running(data, "--lease-only") as gateway:
        client = V1(gateway.url, admin)
        old = client.data("GET", "/jobs", expect="JOBS_RETRIEVED", params={"limit": 10})["items"]
        assert [(job["state"], job["pages"], job["pages_failed"]) for job in old] == [
            ("new", 1, 0),
            ("new", 1, 0),
            ("done", 2, 1),
        ]
        assert (old[2]["name"], old[2]["labels"]) == ("Box 7", {"shelf": "7"})
        items = client.data("GET", f"/jobs/{old[2]['id']}/pages", expect="PAGES_RETRIEVED")["items"]
        assert [(page["name"], page["state"]) for page in items] == [("a.jpg", "done"), ("fail.jpg", "failed")]
        new = client.create("a.jpg", engine_name="theirs")
        assert client.upload(new, "a.jpg", picture()).status_code == 201
        assert client.job(new)["state"] == "queued"
