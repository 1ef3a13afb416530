"""Model archives, which several stages may share: who uses one, what changes with it, and its removal."""

from __future__ import annotations

from collections.abc import Sequence

from kazoo.client import KazooClient

from pero_worker.cluster.registry.stages import read_record, stage_names
from pero_worker.errors import PeroWorkerError, StageError, TransientError, UsageError, joined
from pero_worker.stores.location import StoreAccess, is_url
from pero_worker.stores.remote import remove
from pero_worker.wire import tree as wire
from pero_worker.wire.tree import TREE


def users_of(client: KazooClient, path: str) -> tuple[str, ...]:
    """Returns the stages whose archive is `path`."""
    return tuple(name for name in stage_names(client) if read_record(client, name).archive == path)


def renew_digest(client: KazooClient, path: str, digest: str) -> None:
    """Records the digest of a new archive at `path`; stages that check their digest would otherwise refuse it."""
    for name in users_of(client, path):
        if read_record(client, name).archive_digest:
            client.set(TREE.stage(name, "archive_digest"), wire.encode_text(digest))


def remove_archive(servers: Sequence[str], path: str, access: StoreAccess) -> None:
    """Removes the archive from every registered server, as it was uploaded to every one; a URL names its own.

    Raises `StageError` or `TransientError` if a server still has it, or never had it; it is removed from the others.
    """
    if is_url(path):
        remove("", path, access)
        return
    if not servers:
        raise UsageError("no model store is registered: pero-worker servers add ftp HOST[:PORT]")
    failures: list[PeroWorkerError] = []
    for server in servers:
        try:
            remove(server, path, access)
        except (StageError, TransientError) as error:
            failures.append(error)
    if failures:
        raise joined(failures)
