"""Payloads that all travel inside messages: for a single machine, and for tests."""

from __future__ import annotations

from collections.abc import Iterable

from pero_worker.request import Payload, Request


class InlinePayloads:
    """`ports.Payloads` without a store."""

    def bring(self, payload: Payload) -> Payload:
        return payload

    def pack(self, request: Request, queue: str) -> Request:
        return request

    def is_packed(self, request: Request, queue: str) -> bool:
        return True

    def whole(self, request: Request) -> Request:
        return request

    def release(self, references: Iterable[str]) -> None:
        """Does nothing: no content is stored elsewhere."""
