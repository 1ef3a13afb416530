"""What a finished run left behind, document by document, according to its report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from pero_worker.formats import MASTER
from pero_worker.inputs.naming import SourceDocument, page_name
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.plan import OpenedDocument, PageTask
from pero_worker.jobs.records import PageRecord, PageStatus

_NUMBERED = re.compile(r"(.+)_([0-9]{4,})", re.DOTALL)
_DIGITS = re.compile(r"([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedDocument:
    """A document with pages that an earlier run has settled."""

    name: str
    """Path of its results in the output folder, without a suffix."""
    records: Sequence[PageRecord]
    """Records of its pages, in page order."""

    @property
    def is_one_file(self) -> bool:
        """Whether one file holds all of its pages, rather than each page being a file of its own, as in a book."""
        first = self.records[0]
        alone = len(self.records) == 1 and first.page == self.name
        return alone or all(r.source == first.source and r.page != self.name for r in self.records)

    def opened(self) -> OpenedDocument:
        """Returns the document as if it had been opened to be read; a page that is in no report has no results."""
        first = self.records[0]
        names = [record.page for record in self.records]
        if self.is_one_file and first.page != self.name:
            names = [page_name(self.name, index, 2) for index in range(self.records[-1].page_index + 1)]
        own = SourceDocument(path=Path(first.source), name=self.name)
        pages = (
            PageTask(name=name, document=own, index=index, fingerprint=first.fingerprint)
            for index, name in enumerate(names)
        )
        return OpenedDocument(document=own, pages=tuple(pages))

    @property
    def done(self) -> Mapping[str, PageRecord]:
        """The pages that are done, by name."""
        return {record.page: record for record in self.records if record.status is PageStatus.DONE}


def master_path(folder: OutputFolder, record: PageRecord) -> Path | None:
    """Returns the path of a page's PAGE XML, from which other formats are made; None if it is gone."""
    path = folder.path(record.page, MASTER.suffix, hidden=MASTER.name not in record.outputs)
    return path if folder.is_whole(folder.relative(path)) else None


def task_of(record: PageRecord) -> PageTask:
    """Returns the page as it was planned, in everything that results depend on."""
    own = SourceDocument(path=Path(record.source), name=document_of(record))
    return PageTask(name=record.page, document=own, index=record.page_index, fingerprint=record.fingerprint)


def document_of(record: PageRecord) -> str:
    """Returns the name of the document that a page belongs to; in older reports, judging only by the page's name."""
    if record.document:
        return record.document
    numbered = _NUMBERED.fullmatch(record.page)
    return numbered[1] if numbered and int(numbered[2]) == record.page_index + 1 else record.page


def documents_in(records: Iterable[PageRecord]) -> Iterator[FinishedDocument]:
    """Yields the documents folder by folder, sorted by name, with numbers compared by value."""

    def place(record: PageRecord) -> tuple[Any, ...]:
        name = document_of(record)
        return _place(folder_of(name)), _place(name), name, record.page_index, _place(record.page)

    ordered = sorted(records, key=place)
    for name, own in groupby(ordered, key=document_of):
        yield FinishedDocument(name=name, records=tuple(own))


def folder_of(name: str) -> str:
    """Returns the folder of the results with this name, with slashes; '' is the output folder itself."""
    parent = PurePosixPath(name).parent.as_posix()
    return "" if parent == "." else parent


def _place(name: str) -> tuple[tuple[int, str], ...]:
    parts = _DIGITS.split(name.casefold())
    return tuple((int(part[:400]), part) if number % 2 else (-1, part) for number, part in enumerate(parts))
