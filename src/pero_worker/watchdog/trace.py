"""What a watchdog saw and decided, in a file: one JSON object per line, for `pero-worker watchdog replay`.

{"time": 12.5, "stages": [{"name": "ocr", "waiting": 3, ...}], "workers": [...], "moves": [...]}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from pero_worker.errors import OutputError, UsageError
from pero_worker.ports import Clock
from pero_worker.stage import Cost, Sharing
from pero_worker.watchdog.snapshot import Move, Snapshot, StageView, WorkerView

MAX_LINE_LENGTH = 50_000_000
_INTERVAL_SECONDS = 1.0
"""Least time between two frames without a move."""


class Recorder:
    """Appends frames to `path`. Raises `OutputError` if it cannot be written."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._clock = path, clock
        self._last: Snapshot | None = None
        self._at = float("-inf")
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot record in {path}: {error.strerror}") from error

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def __call__(self, seen: Snapshot, moves: Sequence[Move]) -> None:
        now = self._clock.now().timestamp()
        kept = _without_times(seen)
        if not moves and (now < self._at + _INTERVAL_SECONDS or kept == self._last):
            return
        self._last, self._at = kept, now
        frame = {"time": now, **asdict(seen), "moves": [_told(move) for move in moves]}
        try:
            self._file.write(json.dumps(frame, default=sorted) + "\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"cannot record in {self._path}: {error.strerror}") from error


def _told(move: Move) -> dict[str, Any]:
    return {"worker": move.worker, "stages": move.stages, "reason": move.reason}


def read_trace(path: Path) -> Iterator[tuple[float, Snapshot]]:
    """Yields times in seconds with what was seen then. A last line that was cut off is left out.

    Raises `UsageError` if there is no such file, or a line is not a frame.
    """
    try:
        with path.open(encoding="utf-8") as file:
            number = 0
            while line := file.readline(MAX_LINE_LENGTH):
                number += 1
                if line.endswith("\n"):
                    yield _frame(line, f"{path}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error


def _frame(line: str, where: str) -> tuple[float, Snapshot]:
    try:
        found = json.loads(line)
        stages = tuple(_stage(one) for one in found["stages"])
        workers = tuple(_worker(one) for one in found["workers"])
        return float(found["time"]), Snapshot(stages=stages, workers=workers)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(f"{where}: not a frame that pero-worker watchdog --record wrote ({error})") from error


def _stage(found: dict[str, Any]) -> StageView:
    known = _known(StageView, found)
    costs = {str(kind): Cost(**_known(Cost, cost)) for kind, cost in dict(known.get("costs", {})).items()}
    sharing = Sharing(**_known(Sharing, dict(found.get("sharing", {}))))
    return StageView(**{**known, "costs": costs, "sharing": sharing})


def _worker(found: dict[str, Any]) -> WorkerView:
    known = _known(WorkerView, found)
    sets = {name: frozenset(known.get(name, ())) for name in ("labels", "refused")}
    return WorkerView(**{**known, **sets, "holds": tuple(known.get("holds", ()))})


def _known(record: type, found: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields that `record` has, without those that a newer version may have added."""
    return {one.name: found[one.name] for one in fields(record) if one.name in found}


def _without_times(seen: Snapshot) -> Snapshot:
    """Returns the snapshot without the values that change from look to look although nothing happens."""
    return Snapshot(
        stages=tuple(replace(stage, arrivals=0.0, unserved=0.0) for stage in seen.stages),
        workers=tuple(replace(worker, serving=0.0) for worker in seen.workers),
    )
