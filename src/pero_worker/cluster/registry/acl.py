"""Who may use the nodes in ZooKeeper: the user who created them, or everybody if there was no login."""

from __future__ import annotations

from contextlib import suppress

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from kazoo.security import OPEN_ACL_UNSAFE, make_acl

from pero_worker.errors import UsageError
from pero_worker.wire.tree import TREE


def protect(client: KazooClient, user: str, *, open_to_all: bool = False) -> int:
    """Gives all nodes of the cluster, existing ones included, to `user` or to everybody. Returns how many there are."""
    if not user and not open_to_all:
        raise UsageError("nodes belong to a user: log in with --user and a password, or say --open")
    acl = OPEN_ACL_UNSAFE if open_to_all else [make_acl("sasl", user, all=True)]
    number = 0
    waiting = [TREE.root]
    while waiting:
        path = waiting.pop()
        with suppress(NoNodeError):
            # List the children first: we may not be allowed to once the node is no longer ours.
            waiting += [f"{path}/{name}" for name in client.get_children(path)]
            client.set_acls(path, acl)
            number += 1
    return number
