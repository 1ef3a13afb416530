"""The payload settings in ZooKeeper: where the cluster's payload store is, and which queues take references."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, NoNodeError
from kazoo.recipe.watchers import DataWatch

from pero_worker.coordinators.session import wait_for
from pero_worker.request import Request
from pero_worker.wire import tree as wire
from pero_worker.wire.references import store_mark
from pero_worker.wire.tree import TREE

DEFAULT_MIN_BYTES = 64_000
"""Smaller payloads travel in the message, as fetching them would take longer."""
DEFAULT_KEEP_DAYS = 30.0
MIN_KEEP_DAYS = 0.05
_OWN_PREFIX = "job."
_OWN_QUEUES = frozenset({"gateway.results"})
_MOST = 1000
"""Limit on the names in a list."""
_MOST_EARLIER = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadSettings:
    """How payloads travel in the cluster."""

    url: str = ""
    """URL of the folder that new payloads are stored in; '': all travel in messages."""
    min_bytes: int = DEFAULT_MIN_BYTES
    """Smaller payloads always travel in messages."""
    keep_days: float = DEFAULT_KEEP_DAYS
    """Older payloads are removed, even if somebody still waits for them."""
    inline: tuple[str, ...] = ()
    """Stages served by other programs, whose messages contain everything."""
    outputs: tuple[str, ...] = ()
    """Output queues that only our own programs read, whose messages contain references."""
    earlier: tuple[str, ...] = ()
    """Former stores, from which payloads are still read."""

    @property
    def keep(self) -> timedelta:
        return timedelta(days=self.keep_days)

    @property
    def stores(self) -> dict[str, str]:
        """All stores that payloads are read from: mark -> URL."""
        return {store_mark(url): url for url in (*self.earlier, self.url) if url}

    def takes_references(self, request: Request, queue: str) -> bool:
        """Returns whether the readers of `queue` follow references. The readers of output queues are unknown, except
        for queues that our own programs create for themselves, and for listed ones."""
        if not self.url:
            return False
        if queue == request.output_queue:
            return queue.startswith(_OWN_PREFIX) or queue in _OWN_QUEUES or queue in self.outputs
        return queue not in self.inline


def decode_settings(value: bytes | None) -> PayloadSettings:
    """Decodes the settings; values that make no sense count as unset."""
    found = wire.decode_info(value or b"")
    usual = PayloadSettings()
    if _like(MIN_KEEP_DAYS, found.get("keep_days")) < MIN_KEEP_DAYS:
        # Nobody can want everything to be removed at once.
        del found["keep_days"]
    return PayloadSettings(**{one.name: _like(getattr(usual, one.name), found.get(one.name)) for one in fields(usual)})


def encode_settings(settings: PayloadSettings) -> bytes:
    return json.dumps(asdict(settings), sort_keys=True).encode()


def read_settings(client: KazooClient) -> PayloadSettings:
    """Returns the present settings. Raises `TransientError` if ZooKeeper is away."""
    try:
        value, _ = wait_for(client, lambda: client.get_async(TREE.payloads))
    except NoNodeError:
        return PayloadSettings()
    return decode_settings(value)


def save_settings(client: KazooClient, settings: PayloadSettings) -> None:
    """Writes the settings. Former stores are remembered, so that payloads on their way are still found."""
    before = read_settings(client)
    old = [url for url in (*before.earlier, before.url) if url and url != settings.url]
    earlier = tuple(dict.fromkeys(reversed(old)))[:_MOST_EARLIER]
    client.ensure_path(TREE.payloads)
    client.set(TREE.payloads, encode_settings(_with_earlier(settings, earlier)))


def follow_settings(client: KazooClient, told: Callable[[PayloadSettings], object]) -> None:
    """Calls `told` with the settings, now and at every change, until it returns False."""

    def look(value: bytes | None, _stat: object) -> bool:
        return told(decode_settings(value)) is not False

    DataWatch(client, TREE.payloads, look)


def sweeps(client: KazooClient) -> int:
    """Returns how often old payloads have been removed so far."""
    client.ensure_path(TREE.payloads_swept)
    return int(client.exists(TREE.payloads_swept).version)


def claim_sweep(client: KazooClient, number: int) -> bool:
    """Returns whether the caller should remove old payloads: True for just one of those that saw `number`."""
    try:
        client.set(TREE.payloads_swept, b"", version=number)
    except (BadVersionError, NoNodeError):
        return False
    return True


def _with_earlier(settings: PayloadSettings, earlier: tuple[str, ...]) -> PayloadSettings:
    return PayloadSettings(**{**asdict(settings), "earlier": earlier})


def _like(usual: Any, found: Any) -> Any:
    """Returns `found` if it is of the same type as `usual`, otherwise `usual`."""
    if isinstance(usual, tuple):
        names = found[:_MOST] if isinstance(found, list) else []
        return tuple(name for name in names if isinstance(name, str))
    if isinstance(usual, str):
        return found if isinstance(found, str) else usual
    fits = isinstance(found, (int, float)) and not isinstance(found, bool) and found >= 0
    return type(usual)(found) if fits else usual
