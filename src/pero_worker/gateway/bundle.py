"""The layout of a job's results in its zip: `STEM.page.xml` and so on for every page, and `report.jsonl`."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pero_worker.formats import installed_formats

REPORT = "report.jsonl"
_MAX_MEMBER = 64_000_000
_BROKEN = (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, KeyError, RuntimeError, EOFError)


def stems_of(names: Sequence[str]) -> list[str]:
    """Returns the names without their extensions, keeping the extension where two would otherwise be the same."""
    stems = [PurePosixPath(name).stem or name for name in names]
    counts = Counter(stems)
    taken = {*names}
    return [
        stem if counts[stem] == 1 and (stem == name or stem not in taken) else name
        for name, stem in zip(names, stems, strict=True)
    ]


def member_of(archive: Path, stem: str, kind: str) -> bytes | None:
    """Returns a page's result from a foreign zip; None if it is missing, damaged or far too large."""
    form = installed_formats().get(kind)
    return None if form is None else _read(archive, f"{stem}{form.suffix}")


def report_of(archive: Path) -> dict[str, dict[str, Any]]:
    """Returns the lines of the report in a foreign zip, by page; {} if there is no readable report."""
    lines: dict[str, dict[str, Any]] = {}
    for line in (_read(archive, REPORT) or b"").splitlines():
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict) and isinstance(values.get("page"), str):
            lines[values["page"]] = values
    return lines


def _read(archive: Path, name: str) -> bytes | None:
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(name) as stream:
            content = stream.read(_MAX_MEMBER + 1)
    except _BROKEN:
        return None
    return content if len(content) <= _MAX_MEMBER else None
