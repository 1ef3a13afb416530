"""What a job needs to read lists of pictures: IIIF manifests and METS."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from pero_worker.errors import UsageError
from pero_worker.inputs.arguments import is_address
from pero_worker.inputs.books import Book, BookReference, FetchedFile
from pero_worker.inputs.discover import Documents
from pero_worker.inputs.opening import BookOpener, BookOptions
from pero_worker.inputs.pictures import PictureBringer, PictureOptions
from pero_worker.inputs.web.cache import WebCache
from pero_worker.inputs.web.fetch import Fetcher, FetchOptions
from pero_worker.jobs.plan import PageTask
from pero_worker.ports import Clock

_ACCEPT_LAYOUT = "application/vnd.prima.page+xml, application/alto+xml, application/xml, text/xml, */*;q=0.1"
MAX_WARNINGS = 20
"""Most warnings that are shown for one book."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookSettings:
    """How lists of pictures are read."""

    reading: BookOptions = field(default_factory=BookOptions)
    """Which pages and which pictures are read."""
    pictures: PictureOptions = field(default_factory=PictureOptions)
    """How pictures are requested."""
    fetching: FetchOptions = field(default_factory=FetchOptions)
    """How requests are made to servers."""
    cache: Path = field(default_factory=lambda: Path(platformdirs.user_cache_dir("pero-worker")) / "web")
    """Folder for downloads."""
    max_cache_bytes: int = 20_000_000_000
    """Maximum size of that folder, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """How a job opens books and fetches their pictures."""

    open: Callable[[str, bool], Sequence[Book | BookReference | FetchedFile] | None] | None = None
    """Opens a book, as `discover` calls it; None if books are not opened."""
    bring: Callable[[PageTask], PageTask] = lambda task: task
    """Returns the task with its picture on this machine. Raises `PageError` if it cannot be fetched."""
    bring_layout: Callable[[PageTask], PageTask] = lambda task: task
    """Returns the task with its lines on this machine. Raises `PageError` if they cannot be fetched."""


def named_hosts(paths: Iterable[str]) -> frozenset[str]:
    """Returns the hosts of the addresses among `paths`: the user named them, so they may be contacted."""
    return frozenset(host for path in paths if is_address(path) and (host := urlsplit(path).hostname))


def check_pages(documents: Documents, pages: str) -> None:
    """Raises `UsageError` if `--pages` is given and one of the documents has no pages to choose from."""
    if pages and (document := documents.whole):
        raise UsageError(
            f"--pages chooses pages of IIIF manifests and METS; {document.address or document.path} is neither, and is "
            "read whole: take its pages out first, or leave --pages away"
        )


@contextmanager
def opened_books(settings: BookSettings | None, clock: Clock) -> Iterator[Books]:
    """Opens what one job needs to read books. Raises `UsageError` if the settings cannot be used."""
    if settings is None:
        yield Books()
        return
    fetcher = Fetcher(settings.fetching, WebCache(settings.cache, settings.max_cache_bytes), clock)
    bringer = PictureBringer(fetcher=fetcher, options=settings.pictures)

    def bring(task: PageTask) -> PageTask:
        picture = task.picture
        return task if picture is None or not task.is_remote else replace(task, file=bringer.bring(picture))

    def bring_layout(task: PageTask) -> PageTask:
        if task.listed is None or not task.is_layout_remote:
            return task
        return replace(task, layout=fetcher.document(task.listed.layout_url, accept=_ACCEPT_LAYOUT).path)

    opener = BookOpener(fetcher=fetcher, options=settings.reading, scratch=settings.cache / "unpacked")
    try:
        yield Books(open=opener.open, bring=bring, bring_layout=bring_layout)
    finally:
        fetcher.close()
