"""Jobs whose pages are listed in a IIIF manifest or a METS: this is fetched and read first, the images later, one by
one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping

from pero_worker.clock import SystemClock
from pero_worker.errors import NoInputError, PageError
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.limits import check_quota
from pero_worker.gateway.settings import GatewaySettings
from pero_worker.gateway.store.documents import ListedPage, fill_job, give_up_document, unread_documents
from pero_worker.gateway.store.keys import key_by_id
from pero_worker.inputs.books import Book, BookPage, ImageService, Picture
from pero_worker.inputs.opening import BookOpener, BookOptions
from pero_worker.inputs.pictures import PictureBringer, PictureOptions
from pero_worker.inputs.web.addresses import AddressRules
from pero_worker.inputs.web.cache import WebCache
from pero_worker.inputs.web.fetch import Fetcher, FetchOptions

logger = logging.getLogger(__name__)
_AT_ONCE = 4
_MAX_CACHE = 2_000_000_000


class Library:
    """Access to libraries' servers: https only, and no private addresses, except for hosts that the operator allows.

    May be used from several threads.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        folder = settings.data.absolute() / "web"
        rules = AddressRules(named=settings.allowed_hosts, plain=False)
        # A proxy would connect to addresses that nobody has checked.
        options = FetchOptions(
            rules=rules, max_bytes=settings.max_upload, max_document_bytes=settings.max_json, proxies=False
        )
        self._fetcher = Fetcher(options, WebCache(folder, _MAX_CACHE), SystemClock())
        self._opener = BookOpener(fetcher=self._fetcher, options=BookOptions(), scratch=folder / "unpacked")
        self._bringer = PictureBringer(fetcher=self._fetcher, options=PictureOptions())

    def book(self, url: str) -> Book:
        """Fetches and reads a document.

        Raises `NoInputError` or `PageError` if it cannot be fetched, or is neither a manifest nor a METS.
        """
        found = self._opener.open(url, True)
        if not found or not isinstance(found[0], Book):
            raise NoInputError("it is neither a IIIF manifest nor a METS; of a collection name the manifests")
        return found[0]

    def picture(self, picture: Mapping[str, Any]) -> Path:
        """Fetches an image and returns its file in the cache; raises `PageError` if it cannot be fetched."""
        return self._bringer.bring(_picture_from(picture))

    def close(self) -> None:
        self._fetcher.close()


class DocumentReader:
    """Reads documents and fills their jobs. Two gateways may both fetch a document; the first one fills the job."""

    def __init__(self, gateway: Gateway, library: Library) -> None:
        self._gateway = gateway
        self._library = library

    def read_some(self) -> bool:
        """Reads some documents, and returns whether there were any."""
        with self._gateway.database.read() as connection:
            found = unread_documents(connection, _AT_ONCE)
        for job in found:
            if self._gateway.stopping.is_set():
                break
            self._read(job)
        return bool(found)

    def _read(self, job: RowMapping) -> None:
        url = next(iter(job["document"].values()))
        try:
            book = self._library.book(url)
            pages = [_listed(page) for page in book.pages if not page.skipped]
        except (NoInputError, PageError) as error:
            self._give_up(job, f"the document cannot be read: {error}")
            return
        most = self._gateway.settings.max_pages
        if not pages or len(pages) > most:
            self._give_up(job, f"the document has {len(pages)} pages, and a job has 1 to {most}")
            return
        now = self._gateway.now()
        try:
            with self._gateway.database.write() as connection:
                key = key_by_id(connection, job["owner"])
                if key is not None:
                    check_quota(connection, key, len(pages), now)
                fill_job(connection, job["id"], book.label, pages, now)
        except ApiError as error:
            self._give_up(job, str(error))

    def _give_up(self, job: RowMapping, reason: str) -> None:
        logger.warning("job %s: %s", job["id"], reason, extra={"job": job["id"]})
        with self._gateway.database.write() as connection:
            give_up_document(connection, job["id"], reason[:2000], self._gateway.now())


def _listed(page: BookPage) -> ListedPage:
    if page.picture is None:
        return ListedPage(name=page.name, problem=page.problem or "there is no picture of this page")
    service = page.picture.service
    return ListedPage(
        name=page.name,
        url=page.picture.url or (service.id if service else ""),
        picture={name: value for name, value in asdict(page.picture).items() if name != "file"},
    )


def _picture_from(values: Mapping[str, Any]) -> Picture:
    service = values.get("service")
    return Picture(**{**values, "service": ImageService(**service) if service else None})
