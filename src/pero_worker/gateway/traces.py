"""What a gateway records in its pages' traces: who brought them, how long they waited, who fetched the results.

A page's root span is sent when the page has ended; its id is known beforehand (`root_of`), so that whatever happens to
the page, here or in another gateway, is attached to it.
"""

from __future__ import annotations

import contextvars
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import RowMapping

from pero_worker.gateway.endings import PageEnd
from pero_worker.request import Request
from pero_worker.tracing import open_sink
from pero_worker.tracing.spans import Kind, Place, Span, SpanSink, root_of, stage_spans, trace_of
from pero_worker.wire.queues import TRACEPARENT, traceparent_of

_MAX_NOTED = 100
"""How many pages of one HTTP request get a span for it."""
noted: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("noted", default=None)
"""Ids of the pages that the current request brings or fetches; None if nobody wants to know."""


def note_page(page: str) -> None:
    """Notes that the current request is about this page."""
    pages = noted.get()
    if pages is not None and len(pages) < _MAX_NOTED and page not in pages:
        pages.append(page)


def open_traces() -> PageTraces | None:
    """Returns the traces; None if nobody wants them."""
    sink = open_sink("pero-gateway")
    return PageTraces(sink) if sink is not None else None


class PageTraces:
    """The traces of one gateway's pages; times are in seconds since 1970."""

    def __init__(self, sink: SpanSink, new_id: Callable[[], str] = lambda: secrets.token_hex(8)) -> None:
        self._sink = sink
        self._new_id = new_id

    def asked(
        self, page: str, *, method: str, path: str, status: int, trace: str, came: bytes, begun: float, now: float
    ) -> None:
        """Records an HTTP request about the page; `trace` is its id in the log, and `came` the client's own
        traceparent."""
        root = self._root(page, 0)
        self._tell(
            "upload" if method in {"PUT", "POST", "PATCH"} else "download",
            root,
            begun,
            now,
            kind=Kind.SERVER,
            attributes={
                "pero.page": page,
                "pero.request_id": trace,
                "http.request.method": method,
                "http.response.status_code": status,
                "url.path": path,
            },
            error=f"HTTP status {status}" if status >= 500 else "",
            link=traceparent_of({TRACEPARENT: came.decode("latin-1")}),
        )

    def sending(self, page: RowMapping, now: float) -> str:
        """Records that the page, given as it was while waiting, goes to workers, and returns the traceparent to give
        them."""
        root = self._root(page["id"], page["attempts"])
        self._tell("wait gateway", root, page["changed"], now, attributes={"pero.page": page["id"]})
        return root.traceparent

    def read_here(self, request: Request, attempts: int) -> None:
        """Records the work of local workers, which record nothing themselves; `attempts` are the page's before it was
        sent."""
        root = self._root(request.page_uuid, attempts)
        if root.sampled:
            spans, _ = stage_spans(request, 0, root, new_id=self._new_id)
            for span in spans:
                self._sink.tell(span)

    def ended(self, page: RowMapping, created: float, end: PageEnd, now: float) -> None:
        """Records that a page has ended; `page` is as it was before, and `created` is when its job was created."""
        root = self._root(page["id"], page["attempts"])
        if not root.sampled:
            return
        known = {
            "pero.page": page["id"],
            "pero.page.name": page["name"],
            "pero.job": page["job"],
            "pero.request_id": page["trace"] or "",
            "pero.worker": end.worker,
            "pero.stage": end.stage,
        }
        self._sink.tell(
            Span(
                name="page",
                place=root,
                kind=Kind.SERVER,
                start=_time(created),
                end=_time(max(created, now)),
                attributes={name: value for name, value in known.items() if value},
                error=(end.error or str(end.failure)) if end.failure else "",
            )
        )

    def close(self) -> None:
        """Closes the sink within two seconds, whether or not everything was sent."""
        self._sink.close()

    def _root(self, page: str, attempts: int) -> Place:
        trace = trace_of(page)
        return Place(trace=trace, span=root_of(page, attempts), sampled=self._sink.keeps(trace))

    def _tell(self, name: str, root: Place, start: float, end: float, **more: Any) -> None:
        if root.sampled:
            own = Place(trace=root.trace, span=self._new_id())
            span = Span(name=name, place=own, parent=root.span, start=_time(start), end=_time(max(start, end)), **more)
            self._sink.tell(span)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
