"""Pure: what a worker's finished request means for its page: how it ended, and the contents of its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import pero_worker
from pero_worker.errors import PageError
from pero_worker.formats import installed_formats, page_formats, pagexml
from pero_worker.gateway.backend import WorkOutcome
from pero_worker.gateway.states import Failure
from pero_worker.page import Page
from pero_worker.ports import Clock
from pero_worker.request import Request
from pero_worker.worker.payloads import parts_of

DEFAULT_FORMATS = ("page", "alto", "text")
_MAX_ERROR = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class PageEnd:
    """What became of a page. Quality is in percent, times are in seconds."""

    page: str
    """The id of the page."""
    failure: Failure | None = None
    """What kind of failure it was; None if the page is done."""
    error: str = ""
    """Why the page failed, in a sentence."""
    attempts: int = 1
    """How many times the page was tried."""
    quality: float | None = None
    """How likely a letter is to be right, over the whole page."""
    worst_line: float | None = None
    """How likely a letter is to be right, in the worst line."""
    lines: int = 0
    """How many lines were found."""
    engine_text: str = ""
    """Names and versions of the stages that succeeded; if none did, the engine of the last stage."""
    worker: str = ""
    """The worker that processed the page."""
    stage: str = ""
    """The stage that the page ended in."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """The duration of each phase."""
    worker_seconds: float = 0.0
    """The time workers spent on all attempts and stages."""
    energy_joules: float | None = None
    """The energy that meters counted; None if nobody measured it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A page's end, and the contents of its results by format."""

    end: PageEnd
    contents: Mapping[str, bytes]
    """The contents of each result, by the name of its format."""


def ending_of(outcome: WorkOutcome, image_name: str, formats: Sequence[str], clock: Clock) -> Ending:
    """Returns how the page ended; a result that cannot be read is a failure of its page."""
    request = outcome.request
    if request is None:
        return _failed(outcome.page, Failure.PROCESSING_FAILED, outcome.error, request)
    last = request.logs[-1] if request.logs else None
    if last is not None and request.failed:
        return _failed(outcome.page, _failure_of(request), last.log.strip() or "failed without a word", request)
    try:
        content = parts_of(request.results).page
        if content is None:
            raise PageError("the engine made no PAGE XML")
        page = pagexml.read(content.content)
        return _done(
            outcome.page,
            request,
            Page(name=image_name, width=page.width, height=page.height, regions=page.regions),
            formats,
            clock,
        )
    except PageError as error:
        return _failed(outcome.page, Failure.PROCESSING_FAILED, str(error), request)


def failure_ending(page: str, failure: Failure, error: str) -> Ending:
    """Returns the end of a page that never reached a worker."""
    return _failed(page, failure, error, None)


def _failure_of(request: Request) -> Failure:
    """Returns what kind of failure it was: an image given up at the first attempt is one that no attempt can read."""
    last = request.logs[-1]
    permanent = last.attempt == 1 and last.failure_class == PageError.failure_class
    return Failure.INVALID_FILE if permanent else Failure.PROCESSING_FAILED


def _failed(page: str, failure: Failure, error: str, request: Request | None) -> Ending:
    text = error.splitlines()[0][:_MAX_ERROR].replace("\0", "") if error else ""
    return Ending(end=PageEnd(page=page, failure=failure, error=text, **_figures(request)), contents={})


def _done(page_id: str, request: Request, page: Page, formats: Sequence[str], clock: Clock) -> Ending:
    creator, created = f"pero-worker {pero_worker.__version__}", clock.now()
    wanted = page_formats([name for name in dict.fromkeys(("page", *formats)) if name in installed_formats()])
    contents = {form.name: form.write(page, created=created, creator=creator) for form in wanted}
    confidences = [line.confidence for line in page.lines() if line.confidence is not None]
    end = PageEnd(
        page=page_id,
        quality=round(100 * median(confidences), 2) if confidences else 100.0,
        worst_line=round(100 * min(confidences), 2) if confidences else None,
        lines=sum(1 for _ in page.lines()),
        **_figures(request),
    )
    return Ending(end=end, contents=contents)


def _figures(request: Request | None) -> dict[str, Any]:
    if request is None or not request.logs:
        return {}
    seconds: dict[str, float] = {}
    for log in request.logs:
        for phase, duration in log.seconds.items():
            seconds[phase] = round(seconds.get(phase, 0.0) + duration, 4)
    ran = [f"{log.stage} {log.version}".strip() for log in request.logs if log.status == "OK"]
    last = request.logs[-1]
    return {
        "attempts": max([1, *(log.attempt for log in request.logs)]),
        "engine_text": ", ".join(dict.fromkeys(ran)) or last.engine,
        "worker": last.host_id,
        "stage": last.stage,
        "seconds": seconds,
        "worker_seconds": round(request.worker_seconds, 4),
        "energy_joules": request.energy_joules,
    }
