"""API keys in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, insert, select, update

from pero_worker.gateway.keys import Key, Role, Secret, matches, new_id, split, whole_of
from pero_worker.gateway.store.schema import keys

_TOUCH_SECONDS = 60
_NAMED = select(keys).where(keys.c.kid == bindparam("kid"))
_BROUGHT = select(keys).where(keys.c.whole == bindparam("whole"))
_FIELDS = tuple(Key.__dataclass_fields__)


def find_key(connection: Connection, text: str, server_secret: str) -> Key | None:
    """Returns the key that has this text, active or not."""
    parts = split(text)
    rows = connection.execute(_NAMED, {"kid": parts[0]}).mappings().all() if parts else []
    if not rows:
        rows = connection.execute(_BROUGHT, {"whole": whole_of(text, server_secret)}).mappings().all()
    for row in rows:
        secret = Secret(kid=row["kid"], salt=row["salt"], digest=row["digest"], whole=row["whole"])
        if matches(text, secret, server_secret):
            return _key(row)
    return None


def needs_touch(key: Key, now: float) -> bool:
    """Returns whether the time of last use is old enough to be worth updating."""
    return key.last_used is None or now - key.last_used > _TOUCH_SECONDS


def touch(connection: Connection, key: Key, now: float) -> None:
    connection.execute(update(keys).where(keys.c.id == key.id).values(last_used=now))


def add_key(connection: Connection, label: str, role: Role, secret: Secret, now: float, **limits: object) -> Key | None:
    """Adds a key and returns it; None if the label or the text already belongs to a key."""
    taken = (keys.c.label == label) | (keys.c.whole == secret.whole if secret.whole else keys.c.kid == secret.kid)
    if connection.execute(select(keys.c.id).where(taken)).first():
        return None
    values: dict[str, Any] = {
        "id": new_id(),
        "kid": secret.kid,
        "salt": secret.salt,
        "digest": secret.digest,
        "whole": secret.whole,
        "label": label,
        "role": role.value,
        "active": True,
        "created": now,
        **{name: value for name, value in limits.items() if value is not None},
    }
    connection.execute(insert(keys).values(values))
    return key_by_label(connection, label)


def key_by_label(connection: Connection, label: str) -> Key | None:
    row = connection.execute(select(keys).where(keys.c.label == label)).mappings().first()
    return _key(row) if row else None


def key_with_digest(connection: Connection, key: str) -> tuple[Key, str] | None:
    """Returns the key of this id and the stored digest of its text."""
    row = connection.execute(select(keys).where(keys.c.id == key)).mappings().first()
    return (_key(row), row["digest"]) if row else None


def key_by_id(connection: Connection, name: str) -> Key | None:
    row = connection.execute(select(keys).where(keys.c.id == name)).mappings().first()
    return _key(row) if row else None


def replace_secret(connection: Connection, key: Key, secret: Secret) -> None:
    """Gives the key a new text; the old one is worthless from now on."""
    values = {"kid": secret.kid, "salt": secret.salt, "digest": secret.digest, "whole": secret.whole}
    connection.execute(update(keys).where(keys.c.id == key.id).values(values))


def change_key(connection: Connection, key: Key, values: Mapping[str, object]) -> bool:
    """Changes a key; returns False if another key has the new label."""
    label = values.get("label")
    if label is not None and label != key.label and key_by_label(connection, str(label)):
        return False
    connection.execute(update(keys).where(keys.c.id == key.id).values(dict(values)))
    return True


def all_keys(connection: Connection) -> Sequence[Key]:
    return [_key(row) for row in connection.execute(select(keys).order_by(keys.c.label)).mappings()]


def _key(row: RowMapping) -> Key:
    values = {name: row[name] for name in _FIELDS}
    return Key(**{**values, "role": Role(row["role"])})
