"""Parses the answer of a WebDAV server that is asked for a folder's entries (PROPFIND, RFC 4918). Pure."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote, urlsplit

from lxml import etree

from pero_worker.errors import StageError
from pero_worker.stores.transports import FolderEntry

MAX_LISTING_BYTES = 50_000_000
_DAV = "{DAV:}"


def entries_in(text: bytes, address: str) -> list[FolderEntry]:
    """Returns the entries of the folder at `address`. Raises `StageError` if `text` is not such an answer."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        answer = etree.fromstring(text, parser)
    except etree.XMLSyntaxError as error:
        raise StageError(f"{address}: the server does not list folders as WebDAV servers do: {error}") from error
    own = unquote(urlsplit(address).path).rstrip("/")
    found = []
    for response in answer.iterfind(f"{_DAV}response"):
        path = unquote(urlsplit(response.findtext(f"{_DAV}href") or "").path).rstrip("/")
        folder, _, name = path.rpartition("/")
        if folder == own and name:
            found.append(_entry(name, response))
    return found


def _entry(name: str, response: etree._Element) -> FolderEntry:
    size = response.findtext(f".//{_DAV}getcontentlength") or ""
    modified: datetime | None = None
    with suppress(ValueError):
        modified = parsedate_to_datetime(response.findtext(f".//{_DAV}getlastmodified") or "")
        modified = modified.replace(tzinfo=UTC) if modified.tzinfo is None else modified.astimezone(UTC)
    return FolderEntry(
        name=name,
        is_folder=response.find(f".//{_DAV}collection") is not None,
        size=int(size) if size.isascii() and size.isdigit() and len(size) < 16 else 0,
        modified=modified,
    )
