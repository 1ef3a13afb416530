"""`pero-worker keys`: manages who may use the gateway."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pero_worker.cli.examples import examples
from pero_worker.cli.gateway import DATA, DATABASE, DEFAULT_DATA, needs_extra
from pero_worker.cli.say import say
from pero_worker.errors import UsageError

if TYPE_CHECKING:
    from pero_worker.gateway.core import Gateway

app = typer.Typer(help="Keys of the gateway: add, list, revoke, import.", no_args_is_help=True)
_LABEL = Annotated[str, typer.Argument(help="The key's label, such as its owner's name.")]
_ROLE = Annotated[str, typer.Option(help="readonly, user, worker or admin.")]


@app.command(epilog=examples("pero-worker keys add reading-room", "pero-worker keys add gpu-node-1 --role worker"))
def add(
    label: _LABEL,
    role: _ROLE = "user",
    share: Annotated[float, typer.Option(min=0.001, help="Share of the workers' time, relative to other keys.")] = 1.0,
    pages_per_day: Annotated[int | None, typer.Option(min=1, help="Most pages a day.")] = None,
    pages_waiting: Annotated[int | None, typer.Option(min=1, help="Most unfinished pages.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="Most requests a minute.")] = None,
    expires_in_days: Annotated[float | None, typer.Option(min=0, help="Days until the key expires.")] = None,
    data: DATA = DEFAULT_DATA,
    database: DATABASE = "",
) -> None:
    """Create a key and print it, only this once: just its hash is kept."""
    with _opened(data, database) as gateway:
        from pero_worker.gateway.keys import make_key

        text, secret = make_key(gateway.settings.key_prefix, secrets.token_bytes, gateway.server_secret)
        limits = {
            "share": share,
            "pages_per_day": pages_per_day,
            "pages_waiting": pages_waiting,
            "requests_per_minute": requests_per_minute,
            "expires": None if expires_in_days is None else time.time() + 86_400 * expires_in_days,
        }
        _add(gateway, label, role, secret, limits)
    say(text)


@app.command("import", epilog=examples("pero-worker keys import old-client < key.txt"))
def import_key(label: _LABEL, role: _ROLE = "user", data: DATA = DEFAULT_DATA, database: DATABASE = "") -> None:
    """Import a key of another server from standard input, so that its client need not be changed."""
    text = sys.stdin.readline().strip()
    if not 1 <= len(text) <= 512 or not text.isprintable() or not text.isascii():
        raise UsageError("pipe the key in, a line of 1 to 512 printable ASCII characters")
    with _opened(data, database) as gateway:
        from pero_worker.gateway.keys import keep_whole

        _add(gateway, label, role, keep_whole(text, secrets.token_bytes, gateway.server_secret), {})


@app.command("list", epilog=examples("pero-worker keys list"))
def list_keys(data: DATA = DEFAULT_DATA, database: DATABASE = "") -> None:
    """List keys by their labels."""
    with _opened(data, database) as gateway:
        from pero_worker.gateway.store.keys import all_keys

        with gateway.database.read() as connection:
            found = all_keys(connection)
    for key in found:
        used = f"last used {_day(key.last_used)}" if key.last_used else "never used"
        say(f"{key.label}  {key.role}  {'active' if key.active else 'revoked'}  made {_day(key.created)}  {used}")


@app.command(epilog=examples("pero-worker keys revoke reading-room"))
def revoke(label: _LABEL, data: DATA = DEFAULT_DATA, database: DATABASE = "") -> None:
    """Revoke a key, which stops working at once. Its jobs are kept."""
    with _opened(data, database) as gateway:
        from pero_worker.gateway.store.keys import change_key, key_by_label

        with gateway.database.write() as connection:
            key = key_by_label(connection, label)
            if key is None:
                raise UsageError(f"there is no key called {label!r}: see pero-worker keys list")
            change_key(connection, key, {"active": False})


def _add(gateway: Gateway, label: str, role: str, secret: object, limits: Mapping[str, object]) -> None:
    from pero_worker.gateway.keys import Role, Secret
    from pero_worker.gateway.names import text_fault
    from pero_worker.gateway.store.keys import add_key

    if role not in set(Role):
        raise UsageError(f"--role {role}: choose {', '.join(Role)}")
    if not label or len(label) > 255 or text_fault(label):
        raise UsageError("a label has 1 to 255 printable characters")
    assert isinstance(secret, Secret)  # noqa: S101
    with gateway.database.write() as connection:
        if add_key(connection, label, Role(role), secret, time.time(), **limits) is None:
            raise UsageError(f"there is a key called {label!r} already, or with this text")


@contextmanager
def _opened(data: object, database: str) -> Iterator[Gateway]:
    needs_extra()
    from pathlib import Path

    from pero_worker.gateway.core import open_gateway
    from pero_worker.gateway.settings import GatewaySettings

    gateway = open_gateway(GatewaySettings(data=Path(str(data)), database=database))
    try:
        yield gateway
    finally:
        gateway.database.close()


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
