"""Notes in ZooKeeper about pages that may have killed a worker: RabbitMQ does not count deaths.

A page that a worker had before is noted while it is tried. A note that still exists when the page comes again means
one more death.
"""

from __future__ import annotations

from contextlib import suppress

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError

from pero_worker.coordinators.session import wait_for
from pero_worker.errors import TransientError
from pero_worker.wire.tree import TREE

_TRIES = 5


def begin(client: KazooClient, page: str) -> int:
    """Notes that `page` is being tried; returns how many workers died on it before."""
    path = f"{TREE.suspects}/{page}"
    for _ in range(_TRIES):
        try:
            wait_for(client, lambda: client.create_async(path, b"1", makepath=True))
        except NodeExistsError:
            # The death that made it a suspect is not counted yet: it is added to those that are.
            with suppress(NoNodeError, BadVersionError):
                return _change(client, path, 1)
        else:
            return 0
    raise TransientError("other workers keep changing what is known of this page")


def end(client: KazooClient, page: str, *, survived: bool) -> None:
    """Implements `ports.Suspects.end_suspect`. Another worker that also had the page may have removed the note."""
    path = f"{TREE.suspects}/{page}"
    for _ in range(_TRIES):
        try:
            if survived or _change(client, path, -1) <= 0:
                wait_for(client, lambda: client.delete_async(path))
        except NoNodeError:
            return
        except BadVersionError:
            continue
        return


def _change(client: KazooClient, path: str, by: int) -> int:
    """Changes the number of deaths on a page and returns it. Raises `BadVersionError` if another worker was quicker."""
    value, stat = wait_for(client, lambda: client.get_async(path))
    number = (int(value) if value.isdigit() else 0) + by
    wait_for(client, lambda: client.set_async(path, b"%d" % max(number, 0), stat.version))
    return number
