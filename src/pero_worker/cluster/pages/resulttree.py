"""Downloaded results laid out as by `pero-worker ocr`: under the names and in the tree of what was published."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pero_worker
from pero_worker.cluster.pages.download import Written
from pero_worker.cluster.pages.filenames import FileNames, safe_name, safe_path
from pero_worker.errors import OutputError, PageError, UsageError
from pero_worker.formats import document_formats
from pero_worker.jobs.claims import Claims
from pero_worker.jobs.collect import Collector
from pero_worker.jobs.outputs import OutputFolder, ResultPathError
from pero_worker.jobs.plan import PageOrigin
from pero_worker.jobs.records import Fingerprint, PageStatus
from pero_worker.jobs.report import Report
from pero_worker.ports import Clock
from pero_worker.request import Request
from pero_worker.worker.payloads import parts_of

_AS_IT_CAME = ".results"
"""Suffix of the folder for results that came without PAGE XML."""


class ResultTree:
    """Writes results under the names and in the tree that their pages were published from, and report.jsonl."""

    def __init__(self, folder: OutputFolder, formats: tuple[str, ...], clock: Clock) -> None:
        if whole := ", ".join(kind.name for kind in document_formats(formats)):
            raise UsageError(f"--formats {whole} is made from whole documents: use pero-worker ocr --cluster for it")
        self._folder = folder
        creator = f"pero-worker {pero_worker.__version__}"
        self._collector = Collector(folder=folder, formats=formats, clock=clock, creator=creator, keep=self._keep)
        try:
            self._report = Report(folder)
            self._claims = Claims(folder, self._report)
        except OutputError:
            folder.close()
            raise

    def write(self, request: Request, body: bytes) -> Written | None:
        page_id = request.page_uuid or request.uuid or hashlib.sha256(body).hexdigest()
        name = self._name(request, page_id)
        if name is None:
            return None
        self._claims.begin(name, self._collector.page_formats)
        record = self._collector.collect(_origin(request, name), request, page_id)
        if record.error_class == ResultPathError.failure_class:
            raise ResultPathError(record.error)
        self._claims.settled(record)
        self._report.add(replace(record, request_id=request.uuid))
        return Written(failure=record.error, cancelled=record.status is PageStatus.CANCELLED)

    def seal(self) -> Callable[[], None]:
        """Commits at once what was written, so that it survives a power cut: with few files per page this costs
        little."""
        self._report.commit()
        return lambda: None

    def close(self) -> None:
        try:
            self._report.close()
            self._claims.close(finished=True)
        finally:
            self._folder.close()

    @property
    def failed(self) -> int:
        return self._report.failed

    def _name(self, request: Request, page_id: str) -> str | None:
        """Returns where the page's results belong; None if they are already there. A failed page makes way for the same
        page when it is retried. Raises `ResultPathError` if there is no place for them."""
        before = self._report.delivered(page_id, request.uuid)
        if before is not None:
            return before.name if before.failed and not request.failed else None
        for name in _tree_names(request, page_id):
            holder = self._report.holder(name)
            if holder is None and self._fits(name):
                return name
            if holder is not None and holder.page_id == page_id and holder.failed:
                return holder.name
            if holder is not None and holder.page_id == page_id and request.job:
                return None  # Done by another try: page ids are unique where jobs have names.
        raise ResultPathError(f"there is no name left for {request.source or page_id}", permanent=True)

    def _keep(self, origin: PageOrigin, request: Request) -> dict[str, str]:
        """Writes everything that came, unchanged, to a folder next to the other results."""
        files = FileNames[bytes]()
        for payload in request.results:
            if payload.content:
                files.add(safe_name(payload.name or "result"), payload.content)
        outputs = {}
        for name, content in files.content.items():
            target = self._folder.path(f"{origin.name}{_AS_IT_CAME}/{name}", "")
            self._folder.write(target, content)
            outputs[name] = self._folder.relative(target)
        return outputs

    def _fits(self, name: str) -> bool:
        """Returns whether results can be written there without overwriting anybody's files."""
        kinds = self._collector.page_formats
        suffixes = [f"{_AS_IT_CAME}/_", *(kind.suffix for kind in kinds)]
        fits = all(self._folder.fits(self._folder.path(name, suffix)) for suffix in suffixes)
        return fits and self._claims.foreign(name, kinds) is None


def _origin(request: Request, name: str) -> PageOrigin:
    image_name, size = _image(request)
    stages = [log for log in request.logs if log.stage]
    pipeline, version = "+".join(log.stage for log in stages), "+".join(log.version for log in stages)
    file = Path(image_name or name)
    return PageOrigin(
        name=name,
        document=name,
        image_name=file.name.encode("utf-8", "replace").decode(),
        source=str(file),
        index=0,
        fingerprint=Fingerprint(size=size, modified_ns=0, pipeline=pipeline, version=version, dpi=0),
    )


def _image(request: Request) -> tuple[str, int]:
    """Returns the image's name and size in bytes."""
    try:
        image = parts_of(request.results).image
    except PageError:
        return "", 0
    return image.name, len(image.content)


def _tree_names(request: Request, page_id: str) -> Iterator[str]:
    """Yields names for a page's results, the best first: other pages may have the same source, or the name of its
    folder."""
    name = safe_path(request.source) if request.source else safe_name(Path(_image(request)[0]).stem or page_id)
    mark = hashlib.sha256(f"{page_id}\n{request.uuid}".encode("utf-8", "replace")).hexdigest()[:16]
    yield name
    yield f"{name}_{safe_name(page_id)[:12]}"
    yield f"{name}_{mark}"
    yield f"{safe_name(name.replace('/', '_'))}_{mark}"
    yield mark
