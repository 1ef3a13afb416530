"""Notes in ZooKeeper on pages that may have killed a worker: RabbitMQ does not count deaths.

A page that somebody had before is noted while it is tried. A note that is still there when the page comes again is
one death more.
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
    """Notes that `page` is tried; how many workers died on it before."""
    path = f"{TREE.suspects}/{page}"
    for _ in range(_TRIES):
        try:
            wait_for(client, lambda: client.create_async(path, b"1", makepath=True))
        except NodeExistsError:
            # The death that made it a suspect was not noted yet: those that were, and this one.
            with suppress(NoNodeError, BadVersionError):
                return _change(client, path, 1)
        else:
            return 0
    raise TransientError("other workers keep changing what is known of this page")


def end(client: KazooClient, page: str, *, survived: bool) -> None:
    """As `ports.Coordinator.end_suspect`. Another worker that had the page, too, may have taken the note away."""
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
    """Changes the number of deaths on a page, and returns it. BadVersionError: another worker was quicker."""
    value, stat = wait_for(client, lambda: client.get_async(path))
    number = (int(value) if value.isdigit() else 0) + by
    wait_for(client, lambda: client.set_async(path, b"%d" % max(number, 0), stat.version))
    return number
