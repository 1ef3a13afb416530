"""A gateway as the workforce of a run: every page is a job of its own, so that pages can be sent as they are found."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pero_worker.client.gateway import GatewayClient, GatewayRefused
from pero_worker.cluster.pages.sending import request_for
from pero_worker.errors import PageError, RequestError, StageError
from pero_worker.jobs.apart import ProcessApart
from pero_worker.jobs.job import OpenWorkforce
from pero_worker.jobs.listener import RunListener
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.plan import PageTask
from pero_worker.jobs.workforce import DeathListener, PageOutcome, Workforce
from pero_worker.ports import Clock
from pero_worker.request import Payload, Request, StageLog, StageStatus

_PAGES_AHEAD = 32
_FINAL = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    job: str
    name: str


def gateway_workforce(client: GatewayClient, clock: Clock, *, engine: str, dpi: int) -> OpenWorkforce:
    """Returns a function that opens the gateway as a workforce; an empty `engine` is the gateway's default.

    Opening it raises `StageError` if the gateway has no such engine.
    """

    @contextmanager
    def opened(folder: OutputFolder, listener: RunListener) -> Iterator[Workforce]:
        known = client.engines()
        found = [one for one in known if (one["name"] == engine if engine else one["default"])]
        if not found:
            names = ", ".join(one["name"] for one in known) or "none"
            raise StageError(f"the gateway has no engine {engine or 'by default'}: name one with --engine ({names})")
        workforce = GatewayWorkforce(client, clock, engine=found[0]["name"], version=found[0]["version"], dpi=dpi)
        try:
            yield workforce
        finally:
            client.close()

    return opened


class GatewayWorkforce:
    """`Workforce` of the gateway behind `client`. Results are PAGE XML; other formats are written here, as always."""

    def __init__(self, client: GatewayClient, clock: Clock, *, engine: str, version: str, dpi: int) -> None:
        self.pipeline = f"gateway:{engine}"
        self.version = version
        self.wants_layout = False
        self._client = client
        self._clock = clock
        self._engine = engine
        self._dpi = dpi
        self._reading = ProcessApart()
        self._sent: dict[str, _Sent] = {}

    def start(self, pages: int, on_death: DeathListener) -> int:
        return 0

    def wants_more(self) -> bool:
        return len(self._sent) < _PAGES_AHEAD

    def hand_in(self, page_id: str, task: PageTask) -> None:
        request = request_for(
            task, (), job="", page_id=page_id, now=self._clock.now(), dpi=self._dpi, apart=self._reading
        )
        image = request.results[0]
        # The original name is in the report; the page is sent under a name that every server accepts.
        name = f"page{Path(image.name).suffix.lower() or '.img'}"
        try:
            made = self._client.create_job([name], engine_name=self._engine, formats=["page"], name=task.name[-200:])
        except GatewayRefused as error:
            raise PageError(str(error), permanent=True) from error
        sent = _Sent(job=made["id"], name=name)
        try:
            with tempfile.NamedTemporaryFile(prefix="pero-page-") as file:
                file.write(image.content)
                file.flush()
                self._client.upload_image(sent.job, name, Path(file.name))
        except GatewayRefused as error:
            self._forget(sent)()
            raise PageError(str(error), permanent=True) from error
        self._sent[page_id] = sent

    def outcomes(self, timeout: float) -> Sequence[PageOutcome]:
        found = []
        for page_id, sent in list(self._sent.items()):
            try:
                job = self._client.job(sent.job)
            except GatewayRefused as error:
                outcome = PageOutcome(page_id=page_id, error_class=RequestError.failure_class, error=str(error))
            else:
                if job["state"] not in _FINAL:
                    continue
                outcome = self._outcome(page_id, sent)
            del self._sent[page_id]
            found.append(outcome)
        if not found:
            self._clock.sleep(timeout)
        return found

    def _outcome(self, page_id: str, sent: _Sent) -> PageOutcome:
        page = self._client.page(sent.job, sent.name)
        if page["state"] != "done":
            error = page.get("error") or {}
            text = str(error.get("message") or f"the gateway's page is {page['state']}")
            return PageOutcome(
                page_id=page_id, error_class=PageError.failure_class, error=text, settle=self._forget(sent)
            )
        xml = self._client.page_result(sent.job, sent.name, "page")
        return PageOutcome(page_id=page_id, request=self._request(page_id, page, xml), settle=self._forget(sent))

    def _request(self, page_id: str, page: dict[str, Any], xml: bytes) -> Request:
        now = self._clock.now()
        log = StageLog(
            host_id=str(page.get("worker") or ""),
            stage=self._engine,
            start=now,
            end=now,
            status=StageStatus.OK,
            version=self.version,
            engine=str(page.get("engine") or ""),
            attempt=int(page.get("attempts") or 1),
            seconds={str(phase): float(value) for phase, value in (page.get("seconds") or {}).items()},
        )
        results = (Payload(name="page"), Payload(name="page_page.xml", content=xml))
        return Request(uuid=page_id, page_uuid=page_id, stages=(self._engine,), results=results, logs=(log,))

    def _forget(self, sent: _Sent) -> Callable[[], None]:
        def forget() -> None:
            try:
                self._client.delete(sent.job)
            except GatewayRefused:
                return  # The gateway removes it once its time is up.

        return forget

    def stop(self, finished: bool) -> None:
        self._reading.close()
        for sent in self._sent.values():
            self._forget(sent)()
        self._sent.clear()
