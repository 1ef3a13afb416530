"""Reads one page image after another: with engines in this process, on a cluster, or at a gateway."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from PIL import Image as Pillow

from pero_worker.cli.access import connection_to
from pero_worker.cli.gateway_key import gateway_key
from pero_worker.client.gateway import GatewayClient
from pero_worker.client.workforce import gateway_workforce
from pero_worker.clock import SystemClock
from pero_worker.cluster.pages.workforce import cluster_workforce
from pero_worker.cluster.settings import cluster_access
from pero_worker.engines import load_engine
from pero_worker.errors import PageError, StageError
from pero_worker.formats import pagexml
from pero_worker.inputs.naming import SourceDocument
from pero_worker.jobs.job import OpenWorkforce
from pero_worker.jobs.listener import NullListener
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.plan import PageTask
from pero_worker.jobs.records import Fingerprint
from pero_worker.local.devices import choose_devices
from pero_worker.models.pipelines import load_pipeline, pipeline_cache
from pero_worker.models.trust import TrustedArchives, judge_by
from pero_worker.page import Image, Page
from pero_worker.work import EngineInput
from pero_worker.worker.payloads import parts_of

_POLL_SECONDS = 0.5
_DPI = 300
"""Resolution for PDF pages, which do not occur here."""


class Recogniser(Protocol):
    """Reads pages."""

    @property
    def description(self) -> str:
        """Name and version of what reads the pages."""

    def read(self, name: str, image: Image) -> Page:
        """Returns the page's text, in pixels of `image`. Raises `PageError` if it cannot be read."""

    def close(self) -> None: ...


class LocalRecogniser:
    """The stages of a pipeline, loaded once."""

    def __init__(self, pipeline: str, device: str) -> None:
        """Loads the pipeline. Raises `StageError` if that fails."""
        loaded = load_pipeline(pipeline, cache=pipeline_cache(), judge=judge_by(TrustedArchives(), word=False))
        (chosen,) = choose_devices(device, 1, 1)
        self.description = f"{loaded.name} {loaded.version}"
        self._engines = []
        for stage in loaded.stages:
            if stage.directory is None:
                raise StageError(f"stage {stage.name} has no files on this machine")
            self._engines.append(load_engine(stage, stage.directory, chosen))

    def read(self, name: str, image: Image) -> Page:
        page: Page | None = None
        logits: bytes | None = None
        for engine in self._engines:
            shown = image if engine.needs_image else None
            work = EngineInput(name=name, size=image.nbytes, image=shown, page=page, logits=logits)
            output = engine.process(work)
            page, logits = output.page or page, output.logits or logits
        if page is None:
            raise PageError("the pipeline makes no page of it")
        return page

    def close(self) -> None:
        for engine in self._engines:
            engine.close()


def on_cluster(host: str, stages: Sequence[str]) -> RemoteRecogniser:
    """Opens stages of a cluster; login and TLS come from PERO_WORKER_CONFIG. Raises `StageError` or `TransientError` if
    that fails."""
    return RemoteRecogniser(cluster_workforce(cluster_access(connection_to(host)), stages, dpi=_DPI))


def at_gateway(url: str, engine: str) -> RemoteRecogniser:
    """Opens an engine of a gateway ('': its default); the key comes from PERO_WORKER_GATEWAY_KEY. Raises `StageError`
    or `TransientError` if that fails."""
    client = GatewayClient(url, gateway_key(None))
    return RemoteRecogniser(gateway_workforce(client, SystemClock(), engine=engine, dpi=_DPI))


class RemoteRecogniser:
    """A workforce that gets one page at a time."""

    def __init__(self, opened: OpenWorkforce) -> None:
        self._open = ExitStack()
        scratch = self._open.enter_context(tempfile.TemporaryDirectory(prefix="ocrd-pero-worker-"))
        folder = OutputFolder(Path(scratch) / "job")
        self._open.callback(folder.close)
        self._workforce = self._open.enter_context(opened(folder, NullListener()))
        self._workforce.start(1, lambda exit_code, pages: None)
        self._open.callback(self._workforce.stop, True)
        self._scratch = Path(scratch)
        self.description = f"{self._workforce.pipeline} {self._workforce.version}"

    def read(self, name: str, image: Image) -> Page:
        path = self._scratch / f"{uuid.uuid4().hex}.png"
        Pillow.fromarray(image[:, :, ::-1]).save(path, compress_level=1)
        nothing = Fingerprint(size=0, modified_ns=0, pipeline="", version="", dpi=_DPI)
        task = PageTask(name=name, document=SourceDocument(path=path, name=name), index=0, fingerprint=nothing)
        page_id = uuid.uuid4().hex
        try:
            self._workforce.hand_in(page_id, task)
            return self._awaited(page_id)
        finally:
            path.unlink()

    def _awaited(self, page_id: str) -> Page:
        while True:
            for outcome in self._workforce.outcomes(_POLL_SECONDS):
                request = outcome.request
                if outcome.page_id != page_id:
                    outcome.settle()
                    continue
                failed = outcome.error
                if request is not None and request.failed:
                    failed = request.logs[-1].log.strip() or "nobody could read it"
                content = parts_of(request.results).page if request is not None and not failed else None
                outcome.settle()
                if content is None:
                    raise PageError((failed or "the stages make no page of it").splitlines()[0])
                return pagexml.read(content.content)

    def close(self) -> None:
        self._open.close()
