"""Result formats by name. All are functions of a `Page`, but PDF, which is one a document (`pdf.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pero_worker.errors import UsageError
from pero_worker.formats import alto, hocr, jsonpage, pagexml, text
from pero_worker.page import Page

PDF_FORMAT = "pdf"
PDF_SUFFIX = ".pdf"


class Writer(Protocol):
    def __call__(self, page: Page, *, created: datetime, creator: str) -> bytes:
        """The page in this format."""


@dataclass(frozen=True, slots=True)
class PageFormat:
    """A format that is one file a page; no suffix ends with another, so that results cannot collide."""

    name: str
    suffix: str
    write: Writer


FORMATS: Mapping[str, PageFormat] = {
    "page": PageFormat("page", ".page.xml", pagexml.write),
    "alto": PageFormat("alto", ".alto.xml", alto.write),
    "text": PageFormat("text", ".txt", text.write),
    "hocr": PageFormat("hocr", ".hocr", hocr.write),
    "json": PageFormat("json", ".json", jsonpage.write),
}


def parse_formats(names: str) -> tuple[str, ...]:
    """`page,alto,pdf` or `all`; UsageError names the valid ones."""
    known = (*FORMATS, PDF_FORMAT)
    if names.strip() == "all":
        return known
    wanted = tuple(dict.fromkeys(name.strip().lower() for name in names.split(",") if name.strip()))
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise UsageError(
            f"--formats {names}: {', '.join(unknown) or 'nothing'} is no format; choose from {', '.join(known)}"
        )
    return wanted
