"""Reads pages from Python, on this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pero_worker.clock import SystemClock
from pero_worker.engines.registry import load_engine
from pero_worker.errors import PageError, StageError, UsageError
from pero_worker.formats import TextLines, pagexml, parse_formats
from pero_worker.inputs.bounds import DEFAULT_MAX_PIXELS
from pero_worker.inputs.web.addresses import AddressRules
from pero_worker.inputs.web.fetch import FetchOptions
from pero_worker.jobs.books import BookSettings, named_hosts
from pero_worker.jobs.combine import check
from pero_worker.jobs.job import Job, JobRequest, OpenWorkforce, run_job
from pero_worker.jobs.listener import NullListener, Summary
from pero_worker.jobs.options import RunOptions
from pero_worker.jobs.records import PageRecord
from pero_worker.local.devices import choose_devices
from pero_worker.local.machine import LocalSettings
from pero_worker.local.workforce import local_workforce
from pero_worker.models.pipelines import load_pipeline, pipeline_cache
from pero_worker.models.trust import TrustedArchives, judge_by
from pero_worker.page import Page
from pero_worker.request import Payload
from pero_worker.stage import Stage
from pero_worker.worker.payloads import ImageReader, file_reference
from pero_worker.worker.single import process_page
from pero_worker.worker.steps import LoadedStage

DEFAULT_PIPELINE = "print-latin"
DEFAULT_FORMATS = ("page", "alto", "text")
Paths = str | Path | Iterable[str | Path]


class Reader:
    """A pipeline that is loaded into this process and reads one page at a time.

    >>> with Reader("print-latin") as reader:
    ...     pages = [reader.read(path) for path in ("1.jpg", "2.jpg")]

    For many pages, `ocr` is faster: it uses all processors. Threads may share a reader; they take turns.
    """

    def __init__(self, pipeline: str | Path = DEFAULT_PIPELINE, *, device: str = "auto", trust: bool = False) -> None:
        """Loads `pipeline`: the name of a bundled one, or a folder or archive with a config.ini.

        `device` is auto, cpu, cuda or cuda:N. `trust` allows an archive, which is a program, to run, now and later.
        Raises `StageError` if the pipeline cannot be loaded or is not trusted.
        """
        found = load_pipeline(str(pipeline), cache=pipeline_cache(), judge=judge_by(TrustedArchives(), word=trust))
        place = choose_devices(device, 1, 1)[0]
        self._turn = threading.Lock()
        self._stages: list[LoadedStage] = []
        try:
            for stage in found.stages:
                self._stages.append(_loaded(stage, place))
        except BaseException:
            self.close()
            raise

    def read(self, path: str | Path, *, index: int = 0, dpi: int = 300, max_pixels: int = DEFAULT_MAX_PIXELS) -> Page:
        """Returns page `index` (from 0) of the image or PDF at `path`, with its text.

        `dpi` is the resolution at which a PDF page that is not a scan is read. Raises `PageError` if the page does not
        exist, is broken or larger than `max_pixels`, or if an engine failed on it, and `UsageError` if the reader is
        closed.
        """
        file = Path(path)
        image = Payload(name=file.name, reference=file_reference(file, index, dpi))
        images = ImageReader(max_pixels=max_pixels, local_files=True)
        with self._turn:
            if not self._stages:
                raise UsageError("this reader is closed: make another one")
            page = process_page(self._stages, image, images, SystemClock())
        return page if page is not None else Page(name=file.name, width=1, height=1)

    def close(self) -> None:
        """Closes the engines."""
        with self._turn:
            while self._stages:
                self._stages.pop().engine.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Kept:
    """Keeps the reader that `read` used last, because loading one takes seconds. Threads take turns, as another one may
    want a different reader."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[str, str] | None = None
        self._reader: Reader | None = None

    @contextmanager
    def reader(self, pipeline: str, device: str, trust: bool) -> Iterator[Reader]:
        with self._lock:
            if self._reader is None or self._key != (pipeline, device):
                if self._reader is not None:
                    self._reader.close()
                    self._reader = None
                self._reader, self._key = Reader(pipeline, device=device, trust=trust), (pipeline, device)
            yield self._reader


_KEPT = _Kept()


def read(
    path: str | Path,
    pipeline: str | Path = DEFAULT_PIPELINE,
    *,
    index: int = 0,
    device: str = "auto",
    trust: bool = False,
    dpi: int = 300,
) -> Page:
    """Returns page `index` (from 0) of the image or PDF at `path`, with its text.

    >>> page = pero_worker.read("scan.jpg")
    >>> print("\\n".join(line.text or "" for line in page.lines()))

    The pipeline stays loaded until another one is asked for. Parameters and errors are those of `Reader`.
    """
    with _KEPT.reader(str(pipeline), device, trust) as reader:
        return reader.read(path, index=index, dpi=dpi)


def read_page_xml(path: str | Path) -> Page:
    """Reads a result, or PAGE XML from another program. Raises `PageError` if the file cannot be read or is not PAGE
    XML."""
    try:
        return pagexml.read(Path(path).read_bytes())
    except OSError as error:
        raise PageError(f"cannot read {path}: {error.strerror}", permanent=True) from error


def ocr(
    paths: Paths,
    output: str | Path,
    *,
    formats: str | Sequence[str] = DEFAULT_FORMATS,
    pipeline: str | Path = DEFAULT_PIPELINE,
    jobs: int | None = None,
    device: str = "auto",
    trust: bool = False,
    dpi: int = 300,
    text_lines: Literal["keep", "join"] = "keep",
    combine: bool = False,
    time_limit: float = 0,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    on_page: Callable[[PageRecord], object] | None = None,
) -> Summary:
    """Reads files, folders and patterns into `output`, as `pero-worker ocr` does; the same call resumes an earlier run.

    >>> summary = pero_worker.ocr("scans/", "text/", formats=["page", "pdf"])
    >>> summary.done, summary.failed

    `jobs` is the number of worker processes, by default one per core or GPU. See `RunOptions` for `dpi`, `text_lines`
    and `combine`, and `Reader` for `trust`. `time_limit` is the number of seconds that a page may take; 0 means no
    limit. `on_page` is called in this thread with the record of every page that is settled.

    Pages that fail are listed in the summary. Raises `NoInputError` if there is nothing to read, `UsageError` if a
    format or device does not exist or another run writes to `output`, `StageError` if the pipeline cannot be loaded,
    `OutputError` if results cannot be written, and `KeyboardInterrupt` on Ctrl-C; finished pages are kept.
    """
    settings = LocalSettings(dpi=dpi, device=device, jobs=jobs, max_pixels=max_pixels, time_limit=time_limit)
    request = job_request(
        paths, output, run_options(formats, dpi, text_lines, combine=combine), _local(pipeline, settings, trust)
    )
    summary = run_job(request, _PageListener(on_page), SystemClock())
    if summary.interrupted:
        raise KeyboardInterrupt
    return summary


def submit(
    paths: Paths,
    output: str | Path,
    *,
    formats: str | Sequence[str] = DEFAULT_FORMATS,
    pipeline: str | Path = DEFAULT_PIPELINE,
    jobs: int | None = None,
    device: str = "auto",
    trust: bool = False,
    dpi: int = 300,
    text_lines: Literal["keep", "join"] = "keep",
    combine: bool = False,
    time_limit: float = 0,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    on_page: Callable[[PageRecord], object] | None = None,
) -> Job:
    """Runs `ocr` in a thread of its own. Returns the job, to be watched, waited for or cancelled before the program
    ends."""
    settings = LocalSettings(dpi=dpi, device=device, jobs=jobs, max_pixels=max_pixels, time_limit=time_limit)
    options = run_options(formats, dpi, text_lines, combine=combine)
    return Job(job_request(paths, output, options, _local(pipeline, settings, trust)), on_page)


def run_options(formats: str | Sequence[str], dpi: int, text_lines: str, *, combine: bool) -> RunOptions:
    """Returns the options of a run. Raises `UsageError` if a format or treatment of lines does not exist, or if there
    is nothing to combine."""
    wanted = parse_formats(formats if isinstance(formats, str) else ",".join(formats))
    if text_lines not in set(TextLines):
        raise UsageError(f"text_lines must be one of {', '.join(TextLines)}, not {text_lines!r}")
    if combine:
        check(wanted)
    return RunOptions(formats=wanted, dpi=dpi, text_lines=TextLines(text_lines), combine=combine)


def job_request(paths: Paths, output: str | Path, options: RunOptions, workforce: OpenWorkforce) -> JobRequest:
    """Returns the job's request. Addresses among the paths are fetched."""
    names = [str(name) for name in ([paths] if isinstance(paths, str | Path) else paths)]
    return JobRequest(
        paths=names,
        output=Path(output),
        options=options,
        workforce=workforce,
        books=BookSettings(fetching=FetchOptions(rules=AddressRules(named=named_hosts(names)))),
    )


def _local(pipeline: str | Path, settings: LocalSettings, trust: bool) -> OpenWorkforce:
    return local_workforce(str(pipeline), settings, judge_by(TrustedArchives(), word=trust))


class _PageListener(NullListener):
    def __init__(self, on_page: Callable[[PageRecord], object] | None) -> None:
        self._on_page = on_page

    def page_settled(self, record: PageRecord) -> None:
        if self._on_page is not None:
            self._on_page(record)


def _loaded(stage: Stage, device: str) -> LoadedStage:
    if stage.directory is None:
        raise StageError(f"stage {stage.name} has no model folder on this machine")
    return LoadedStage(stage=stage, engine=load_engine(stage, stage.directory, device))
