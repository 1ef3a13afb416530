"""Engines, which jobs ask for. At most one version of each name is active, and at most one engine is the default."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, RowMapping, bindparam, insert, select, update

from pero_worker.gateway.states import Backend
from pero_worker.gateway.store.schema import engine_numbers, engines

_ENGINE = select(engines).where(engines.c.id == bindparam("engine"))


def find_engines(connection: Connection, **equal: object) -> Sequence[RowMapping]:
    """Returns the engines whose columns have these values; None matches any value."""
    query = select(engines).where(*(engines.c[name] == value for name, value in equal.items() if value is not None))
    return connection.execute(query.order_by(engines.c.created)).mappings().all()


def engine_by_id(connection: Connection, engine: str) -> RowMapping | None:
    return connection.execute(_ENGINE, {"engine": engine}).mappings().first()


def engines_of_name(connection: Connection, name: str) -> Sequence[str]:
    """Returns the ids of all versions of an engine."""
    return connection.execute(select(engines.c.id).where(engines.c.name == name)).scalars().all()


def numbered_engines(connection: Connection) -> Sequence[RowMapping]:
    """Returns the active engines, each with `number`, its id in the legacy API."""
    query = (
        select(engines, engine_numbers.c.number)
        .join(engine_numbers, engine_numbers.c.name == engines.c.name)
        .where(engines.c.active.is_(True))
        .order_by(engine_numbers.c.number)
    )
    return connection.execute(query).mappings().all()


def add_engine(
    connection: Connection,
    *,
    name: str,
    version: str,
    description: str,
    definition: Mapping[str, object],
    backend: Backend,
    default: bool,
    active: bool,
    now: float,
) -> RowMapping | None:
    """Adds an engine and returns it; None if this version already exists."""
    if find_engines(connection, name=name, version=version):
        return None
    _make_room(connection, name, default=default, active=active)
    engine = str(uuid.uuid4())
    connection.execute(
        insert(engines).values(
            id=engine,
            name=name,
            version=version,
            description=description,
            definition=dict(definition),
            backend=backend.value,
            default=default,
            active=active,
            created=now,
        )
    )
    _number(connection, name)
    return engine_by_id(connection, engine)


def change_engine(connection: Connection, engine: RowMapping, values: Mapping[str, object]) -> bool:
    """Changes an engine; returns False if another engine has the new name and version."""
    name, version = values.get("name", engine["name"]), values.get("version", engine["version"])
    if any(other["id"] != engine["id"] for other in find_engines(connection, name=name, version=version)):
        return False
    _make_room(
        connection,
        str(name),
        default=bool(values.get("default")),
        active=bool(values.get("active")),
    )
    if values:
        connection.execute(update(engines).where(engines.c.id == engine["id"]).values(dict(values)))
    _number(connection, str(name))
    return True


def _make_room(connection: Connection, name: str, *, default: bool, active: bool) -> None:
    if default:
        connection.execute(update(engines).where(engines.c.default.is_(True)).values(default=False))
    if active:
        connection.execute(
            update(engines).where(engines.c.name == name, engines.c.active.is_(True)).values(active=False)
        )


def _number(connection: Connection, name: str) -> None:
    if not connection.execute(select(engine_numbers).where(engine_numbers.c.name == name)).first():
        connection.execute(insert(engine_numbers).values(name=name))


def serve_engine(
    connection: Connection,
    *,
    name: str,
    version: str,
    description: str,
    stages: Sequence[str],
    default: bool,
    now: float,
) -> None:
    """Makes one of our engines the active version of its name, without changing which engine was chosen as the default.

    A new version of the default takes its place: otherwise jobs that name no engine would find none.
    """
    definition = {"stages": list(stages)}
    found = find_engines(connection, name=name, version=version)
    chosen = find_engines(connection, default=True)
    default = chosen[0]["name"] == name if chosen else default
    if not found:
        add_engine(
            connection,
            name=name,
            version=version,
            description=description,
            definition=definition,
            backend=Backend.FARM,
            default=default,
            active=True,
            now=now,
        )
        return
    values: dict[str, object] = {"active": True, "definition": definition, "backend": Backend.FARM.value}
    change_engine(connection, found[0], {**values, **({"default": True} if default else {})})


def choose_engine(connection: Connection, name: str | None, version: str | None = None) -> RowMapping | str | None:
    """Returns the engine for a new job: the named version, else the active version of that name, else the default.

    Returns None if there is no default, or an error code: 'ENGINE_NOT_FOUND' or 'ENGINE_INACTIVE'.
    """
    if name is None:
        found = find_engines(connection, default=True, active=True)
        return found[0] if found else None
    found = find_engines(connection, name=name, version=version)
    if not found:
        return "ENGINE_NOT_FOUND"
    if version is not None:
        return found[0]
    active = [engine for engine in found if engine["active"]]
    return active[0] if active else "ENGINE_INACTIVE"
