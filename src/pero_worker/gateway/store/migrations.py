"""Upgrades databases of earlier versions step by step; each step is SQL that stays as it was written."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import Connection, inspect, text

from pero_worker.errors import UsageError
from pero_worker.gateway.store.schema import metadata, schema_version

logger = logging.getLogger(__name__)
_LOCK = 7_345_002

_DEADLINES_AND_COSTS = (
    "ALTER TABLE jobs ADD COLUMN deadline FLOAT",
    "ALTER TABLE jobs ADD COLUMN document JSON",
    "ALTER TABLE jobs ADD COLUMN document_unread BOOLEAN NOT NULL DEFAULT FALSE",
    "ALTER TABLE pages ADD COLUMN stage VARCHAR(255)",
    "ALTER TABLE pages ADD COLUMN sends INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE pages ADD COLUMN energy_joules FLOAT",
    "CREATE INDEX jobs_by_deadline ON jobs (state, deadline)",
    "CREATE INDEX jobs_with_documents ON jobs (document_unread, number)",
    "CREATE TABLE rates (owner VARCHAR(36) NOT NULL PRIMARY KEY, tokens FLOAT NOT NULL, filled FLOAT NOT NULL)",
)
_LISTED_PICTURES = ("ALTER TABLE pages ADD COLUMN picture JSON",)
_DUE_PAGES = (
    "ALTER TABLE pages ADD COLUMN due FLOAT NOT NULL DEFAULT 1e18",
    "UPDATE pages SET due = (SELECT deadline FROM jobs WHERE jobs.id = pages.job) "
    "WHERE job IN (SELECT id FROM jobs WHERE deadline IS NOT NULL)",
    "DROP INDEX pages_to_do",
    "CREATE INDEX pages_in_turn ON pages (backend, state, owner, priority DESC, due, number)",
)
STEPS: Sequence[Sequence[str]] = ((), _DEADLINES_AND_COSTS, _LISTED_PICTURES, _DUE_PAGES)
"""The statements that lead to version 1, 2 and so on; SQLite and PostgreSQL accept all of them. A database of 0.1.0,
which records no version, has version 1."""
VERSION = len(STEPS)


def bring_up_to_date(connection: Connection) -> None:
    """Creates the tables of an empty database, or applies the steps an older one lacks, in the caller's transaction.

    Raises `UsageError` if a newer program wrote the database.
    """
    if connection.dialect.name == "postgresql":  # If two gateways start, one does it.
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    present = _version(connection)
    if present is None:
        metadata.create_all(connection)
        connection.execute(schema_version.insert().values(version=VERSION))
        return
    if present > VERSION:
        raise UsageError(
            f"the gateway's database has version {present}, and this program knows versions up to {VERSION}: "
            "start the newer pero-worker that wrote it, or give --database or --data another place"
        )
    for number in range(present + 1, VERSION + 1):
        logger.warning("the gateway's database is brought from version %d to %d", number - 1, number)
        for statement in STEPS[number - 1]:
            connection.execute(text(statement))
    if present < VERSION:
        connection.execute(schema_version.update().values(version=VERSION))


def _version(connection: Connection) -> int | None:
    """Returns the database's version; None if the database is empty."""
    tables = set(inspect(connection).get_table_names())
    if schema_version.name in tables:
        return int(connection.execute(schema_version.select()).scalar_one())
    if "jobs" not in tables:
        return None
    schema_version.create(connection)
    connection.execute(schema_version.insert().values(version=1))
    return 1
