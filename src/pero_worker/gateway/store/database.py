"""SQLite or PostgreSQL behind two entry points, `read` and `write`; each is one transaction."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from pero_worker.errors import TransientError, UsageError
from pero_worker.gateway.store.migrations import bring_up_to_date

_BUSY_SECONDS = 30


class Database:
    """A thread-safe database. Raises `TransientError` when the database does not answer."""

    def __init__(self, url: str) -> None:
        self.is_sqlite = url.startswith("sqlite")
        # Writers of this process queue here: SQLite would make them poll.
        self._turn: Any = threading.Lock() if self.is_sqlite else nullcontext()
        try:
            self._engine = _sqlite(url) if self.is_sqlite else _postgresql(url)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise UsageError(
                "--database wants sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/NAME"
            ) from error

    def create(self) -> None:
        """Creates the tables, or brings those of an earlier version up to date.

        Raises `UsageError` if they are of a later version.
        """
        with self.write() as connection:
            bring_up_to_date(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._trouble(), self._engine.connect() as connection, connection.begin():
            if self.is_sqlite:
                _begin(connection, "BEGIN")
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Commits at the end of the block, or rolls back if it raises. SQLite admits one writer at a time."""
        with self._trouble(), self._turn, self._engine.connect() as connection, connection.begin():
            if self.is_sqlite:
                _begin(connection, "BEGIN IMMEDIATE")
            yield connection

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise TransientError("the gateway's database does not answer") from error
        except DBAPIError as error:
            if error.connection_invalidated or type(error).__name__ in {"OperationalError", "InterfaceError"}:
                raise TransientError("the gateway's database does not answer") from error
            raise
        except SQLAlchemyError as error:
            if type(error).__name__ == "TimeoutError":
                raise TransientError("the gateway's database is overloaded") from error
            raise


def _sqlite(url: str) -> Engine:
    engine = create_engine(
        url, connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False}, pool_size=8, max_overflow=64
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # We begin transactions ourselves.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 30000", "cache_size = -8000"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _begin(connection: Connection, statement: str) -> None:
    """Bypasses SQLAlchemy: its event hooks for this would slow down every other statement as well."""
    driver: Any = connection.connection.driver_connection
    driver.execute(statement)


def _postgresql(url: str) -> Engine:
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    return create_engine(
        url, pool_size=8, max_overflow=24, pool_timeout=20, pool_pre_ping=True, connect_args={"connect_timeout": 5}
    )
