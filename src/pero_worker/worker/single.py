"""One page through loaded stages, in this process and without a broker."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pero_worker.errors import PageError
from pero_worker.formats import pagexml
from pero_worker.page import Page
from pero_worker.ports import Clock
from pero_worker.request import Payload, Request
from pero_worker.worker.payloads import ImageReader, parts_of, with_results
from pero_worker.worker.steps import LoadedStage, PageInHand, StageRunner

_NAME = "here"


def process_page(
    stages: Sequence[LoadedStage], image: Payload, images: ImageReader, clock: Clock, page: Page | None = None
) -> Page | None:
    """Returns what `stages` make of `image`, exactly as a worker does it, or None if they leave no page; `page` is what
    earlier stages found.

    Raises `PageError` if a stage fails, `TransientError` if something is unavailable.
    """
    known = None
    if page is not None:
        known = pagexml.write(page, created=datetime.fromtimestamp(0, UTC), creator=_NAME)
    route = (*(loaded.stage.name for loaded in stages), _NAME)
    request = Request(uuid=_NAME, page_uuid=_NAME, stages=route, results=with_results((image,), known, None))
    runner = StageRunner(host=_NAME, images=images, clock=clock, max_attempts=1)
    in_hand = PageInHand(request=request)
    for loaded in stages:
        in_hand.request = runner.run(in_hand, loaded)
        if in_hand.request.failed:
            raise PageError(in_hand.request.logs[-1].log.splitlines()[0], permanent=True)
    result = parts_of(in_hand.request.results).page
    return pagexml.read(result.content) if result else None
