"""Webhooks as defined by Standard Webhooks: signed, and retried until they are delivered."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import Sequence

from sqlalchemy import RowMapping

from pero_worker.gateway.core import Gateway
from pero_worker.gateway.outbound import Outbound, OutboundError
from pero_worker.gateway.store.deliveries import add_secret, note_attempt, secrets_of, take_due

logger = logging.getLogger(__name__)
POLL_SECONDS = 1.0
_SECRET_BYTES = 32
_PREFIX = "whsec_"


def make_secret(random_bytes: bytes) -> str:
    return _PREFIX + base64.b64encode(random_bytes).decode()


def signature_of(secrets: Sequence[str], message: str, timestamp: int, body: str) -> str:
    """Returns one signature per secret, separated by spaces."""
    content = f"{message}.{timestamp}.{body}".encode()
    found = []
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix(_PREFIX))
        found.append(f"v1,{base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()}")
    return " ".join(found)


class WebhookSender:
    """Delivers webhooks. Several gateways may share the work."""

    def __init__(self, gateway: Gateway, outbound: Outbound) -> None:
        self._gateway = gateway
        self._outbound = outbound

    def deliver_next(self) -> bool:
        """Attempts the next delivery, and returns whether one was due."""
        with self._gateway.database.write() as connection:
            row = take_due(connection, self._gateway.now())
            if row is None:
                return False
            secrets = secrets_of(connection, row["owner"])
            if not secrets:
                secrets = [make_secret(self._gateway.random_bytes(_SECRET_BYTES))]
                add_secret(connection, row["owner"], secrets[0])
        status, error = self._send(row, secrets)
        with self._gateway.database.write() as connection:
            note_attempt(connection, row, status, error, self._gateway.now())
        return True

    def _send(self, row: RowMapping, secrets: Sequence[str]) -> tuple[int | None, str]:
        timestamp = int(self._gateway.now())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "pero-worker",
            "webhook-id": row["id"],
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature_of(secrets, row["id"], timestamp, row["body"]),
        }
        try:
            status = self._outbound.post(row["url"], row["body"].encode(), headers)
        except OutboundError as error:
            return error.status, str(error)
        return status, "" if 200 <= status < 300 else f"it was answered with status {status}"
