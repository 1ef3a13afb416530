"""The ephemeral node that says that a worker exists: it ends with the session, and two workers never share a name."""

from __future__ import annotations

import logging

from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError, NoNodeError

from pero_worker.errors import UsageError
from pero_worker.ports import Clock
from pero_worker.wire import tree as wire
from pero_worker.wire.tree import TREE

logger = logging.getLogger(__name__)
_POLL_SECONDS = 0.2


class Presence:
    """The node `connected` of `worker`, across all sessions of this process."""

    def __init__(self, client: KazooClient, worker: str) -> None:
        self._client = client
        self._worker = worker
        self._path = TREE.worker(worker, "status/connected")
        self._sessions: set[int] = set()

    def claim(self, patience: float, clock: Clock) -> None:
        """Claims the name; waits for the session of a worker that was killed or cut off to end.

        Raises `UsageError` if it does not.
        """
        deadline = clock.monotonic() + patience
        while True:
            try:
                self.keep()
            except UsageError:
                if clock.monotonic() >= deadline:
                    raise
                clock.sleep(_POLL_SECONDS)
            else:
                return

    def keep(self) -> None:
        """Creates the node again if the session is a new one. Raises `UsageError` if another worker has the name."""
        try:
            self._create()
        except NodeExistsError:
            stat = self._client.exists(self._path)
            owner = stat.ephemeralOwner if stat else None
            if owner == self._client.client_id[0]:
                return
            if owner is not None and owner not in self._sessions:
                raise UsageError(
                    f"a worker named {self._worker!r} is connected already: choose another --id, or wait "
                    "until its session has ended"
                ) from None
            # Left by an earlier session of this same process.
            self.leave()
            self._create()

    def leave(self) -> None:
        try:
            self._client.delete(self._path)
        except NoNodeError:
            logger.debug("worker %s was not connected", self._worker)

    def _create(self) -> None:
        self._client.create(self._path, wire.encode_flag(True), ephemeral=True)
        self._sessions.add(self._client.client_id[0])
