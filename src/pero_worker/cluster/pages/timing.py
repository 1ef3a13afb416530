"""How long pages took, in each stage, between stages and altogether, according to their requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pero_worker.errors import NoInputError, RequestError
from pero_worker.request import Request, StageStatus
from pero_worker.wire.requests import decode_request

MESSAGE_FILE = "message_body"


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Interval:
    """The time between two moments."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """Duration in seconds; negative if two machines' clocks differ by more than it took."""
        return (self.end - self.start).total_seconds()


@dataclass(slots=True, kw_only=True)
class StageTimes:
    """How long a stage took."""

    runs: list[Interval] = field(default_factory=list)
    """Successful runs of pages that are done."""
    waits: list[Interval] = field(default_factory=list)
    """Waiting times before these runs."""
    failed: int = 0
    """Failed attempts, over all pages."""


@dataclass(slots=True, kw_only=True)
class Timing:
    """How long pages took on their way."""

    pages: list[Interval] = field(default_factory=list)
    """Pages that are done: from being sent to the end of the last stage."""
    failed: int = 0
    """Number of failed pages."""
    stages: dict[str, StageTimes] = field(default_factory=dict)
    """Times of each stage, by name."""
    pipelines: dict[tuple[str, ...], list[Interval]] = field(default_factory=dict)
    """Pages that are done, by the stages they went through."""

    def add(self, request: Request) -> None:
        logs = request.logs
        for log in logs:
            if log.status != StageStatus.OK:
                self._stage(log.stage).failed += 1
        if request.failed:
            self.failed += 1
            return
        before = request.start_time
        for log in logs:
            if log.status == StageStatus.OK:
                self._stage(log.stage).runs.append(Interval(start=log.start, end=log.end))
            if before is not None:
                self._stage(log.stage).waits.append(Interval(start=before, end=log.start))
            before = log.end
        if not logs:
            return
        whole = Interval(start=request.start_time or logs[0].start, end=max(log.end for log in logs))
        self.pages.append(whole)
        pipeline = tuple(log.stage for log in logs if log.status == StageStatus.OK)
        self.pipelines.setdefault(pipeline, []).append(whole)

    def _stage(self, name: str) -> StageTimes:
        return self.stages.setdefault(name, StageTimes())


def saved_requests(folder: Path) -> Iterator[tuple[Path, Request | str]]:
    """Yields the messages that a download with --save-message left in subfolders of `folder`; for a broken one, the
    reason.

    Raises `NoInputError` if there is no such folder.
    """
    try:
        files = sorted(path / MESSAGE_FILE for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise NoInputError(f"cannot read the folder {folder}: {error.strerror}") from error
    for file in files:
        try:
            yield file, decode_request(file.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            continue  # Not a request's folder, or saved without its message.
        except (OSError, RequestError) as error:
            yield file, str(error)
