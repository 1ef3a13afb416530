"""Which files in an output folder are results of ours: only those are replaced, and none of them is an input."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Container, Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from pero_worker.errors import OutputError
from pero_worker.formats import DocumentFormat, PageFormat
from pero_worker.inputs.discover import STATE
from pero_worker.jobs.outputs import REPORT_NAME, OutputFolder
from pero_worker.jobs.plan import OpenedDocument, PageTask
from pero_worker.jobs.records import PageRecord, PageStatus
from pero_worker.jobs.report import Report

_BEGUN = "begun"


class Claims:
    """Remembers the files that a run is about to write: the report lists them only afterwards, and what a crash leaves
    behind must not be mistaken for foreign files. After a run that ends cleanly, almost nothing is kept."""

    def __init__(self, folder: OutputFolder, report: Report) -> None:
        """Raises `OutputError` if the note of these files cannot be written."""
        self._folder = folder
        self._report = report
        self._path = folder.root / STATE / _BEGUN
        self._ours = set(_begun(folder.root))
        self._kept = set(self._ours)
        self._unsynced = False
        try:
            self._stream = folder.open_note(_BEGUN)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}") from error

    def begin(self, name: str, kinds: Iterable[PageFormat | DocumentFormat]) -> None:
        """Marks these files of a page or document as ours from now on."""
        self._write(json.dumps([name, *(kind.suffix for kind in kinds)]))

    def begin_lasting(self, name: str, kind: PageFormat | DocumentFormat) -> None:
        """Does the same as `begin` for a file that no page's record lists: the note of it stays."""
        self.begin(name, [kind])
        self._kept.add(f"{name}{kind.suffix}")

    def begin_document(self, planned: OpenedDocument, kind: DocumentFormat) -> None:
        """Marks a file of the whole document, about to be made, in case the records of its pages do not list it."""
        target = f"{planned.document.name}{kind.suffix}"
        if not any(target in self._report.outputs(task.name).values() for task in planned.pages):
            self.begin_lasting(planned.document.name, kind)

    def settled(self, record: PageRecord) -> None:
        """Notes that the page is about to be reported. If it failed, its files from an earlier run stay ours."""
        if record.status is PageStatus.DONE:
            self._kept.difference_update(record.outputs.values())
        else:
            self._kept.update(self._report.outputs(record.page).values())

    def sync(self) -> None:
        """Has what was begun count as ours even after a power cut; to be called before any of it is in place."""
        if not self._unsynced:
            return
        try:
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}") from error
        self._unsynced = False

    def taken(self, task: PageTask, kinds: Iterable[PageFormat]) -> Path | None:
        """Returns a file that is in the place of one of the page's results and is not ours, or None."""
        return self.foreign(task.name, kinds, (task,))

    def taken_document(self, planned: OpenedDocument, kinds: Iterable[DocumentFormat]) -> Path | None:
        """Returns a file that is in the place of a result of the whole document and is not ours, or None."""
        return self.foreign(planned.document.name, kinds, planned.pages)

    def close(self, *, finished: bool) -> None:
        """Closes the note. `finished`: the report covers every page that was begun."""
        self._stream.close()
        if finished and self._kept:
            lines = [json.dumps([path, ""]).encode() + b"\n" for path in sorted(self._kept)]
            self._folder.write_with(self._path, lambda stream: stream.writelines(lines))
        elif finished:
            self._path.unlink(missing_ok=True)

    def foreign(
        self, name: str, kinds: Iterable[PageFormat | DocumentFormat], pages: Iterable[PageTask] = ()
    ) -> Path | None:
        """Returns a file in the place of a result called `name` that neither a note nor a record of `pages` lists."""
        for kind in kinds:
            target = self._folder.path(name, kind.suffix)
            relative = f"{name}{kind.suffix}"
            if not os.path.lexists(target) or relative in self._ours:
                continue
            if not any(relative in self._report.outputs(task.name).values() for task in pages):
                return target
        return None

    def _write(self, line: str) -> None:
        try:
            self._stream.write(line.encode() + b"\n")
            self._stream.flush()
            self._unsynced = True
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}") from error


class Results(Container[object]):
    """Paths of results: as there may be millions, only a short hash of each is kept."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._marks = np.unique(np.fromiter(map(_mark, paths), np.uint64))

    def __contains__(self, path: object) -> bool:
        mark = _mark(path)
        place = int(np.searchsorted(self._marks, mark))
        return place < len(self._marks) and bool(self._marks[place] == mark)


def _mark(path: object) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(os.fsencode(str(path)), digest_size=8).digest(), "big"))


def results_of(folder: Path) -> Results:
    """Returns the results in an output folder, as resolved paths, and its report."""
    root = folder.resolve()
    return Results(root / path for path in chain((REPORT_NAME,), _begun(folder), _reported(folder)))


def _reported(folder: Path) -> Iterator[str]:
    try:
        with (folder / REPORT_NAME).open("rb") as stream:
            for line in stream:
                try:
                    outputs = json.loads(line)["outputs"]
                    yield from (path for path in outputs.values() if isinstance(path, str))
                except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                    continue
    except OSError:
        return


def _begun(folder: Path) -> Iterator[str]:
    """Yields the files, relative to the folder, that a run that did not end cleanly was about to write."""
    try:
        with (folder / STATE / _BEGUN).open("rb") as stream:
            for line in stream:
                try:
                    name, *suffixes = json.loads(line)
                except (ValueError, TypeError, RecursionError):
                    continue  # A torn line: none of its files had been written.
                yield from (f"{name}{suffix}" for suffix in suffixes)
    except OSError:
        return


def in_the_way(path: Path) -> str:
    """Says why a result is not written over a file that is not ours."""
    return f"{path} is there already and no result of ours: move it"
