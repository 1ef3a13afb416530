"""Says what the demo made: one line a page, where the files lie, and how the text of a page begins."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PREVIEW_LINES = 6
KINDS = ("PAGE XML", "ALTO XML", "text", "searchable PDF")


def table(records: Iterable[dict[str, Any]]) -> list[str]:
    """One line a page from the report's records: page, lines found, mean confidence (0 to 1), seconds in all."""
    rows = [f"{'page':<28} {'lines':>5} {'confidence':>10} {'seconds':>8}"]
    for record in records:
        confidence = record.get("confidence_mean")
        seconds = record.get("seconds") or {}
        cells = f"{record.get('lines') or 0:>5} {'-' if confidence is None else f'{confidence:.3f}':>10}"
        state = "" if record.get("status") == "done" else f"  {record.get('status')}"
        rows.append(f"{record['page']:<28} {cells} {seconds.get('total', 0.0):>8.1f}{state}")
    return rows


def kind_of(path: Path) -> str | None:
    """Which of KINDS a file is, by its suffix and, for XML, by its root element; None for anything else."""
    if path.suffix == ".xml":
        with path.open("rb") as stream:
            head = stream.read(2000)
        return "PAGE XML" if b"<PcGts" in head else "ALTO XML" if b"<alto" in head else None
    return {".txt": "text", ".pdf": "searchable PDF"}.get(path.suffix)


def files_by_kind(folder: Path) -> dict[str, list[Path]]:
    """The files below `folder`, sorted, for each of KINDS."""
    found: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and (kind := kind_of(path)):
            found[kind].append(path)
    return found


def main() -> None:
    """`show.py OUT`: read OUT/report.jsonl and the files beside it; exit 1 where a format was not written."""
    out = Path(sys.argv[1])
    report = (out / "report.jsonl").read_text(encoding="utf-8")
    print("\n" + "\n".join(table(json.loads(line) for line in report.splitlines() if line.strip())) + "\n")
    found = files_by_kind(out)
    for kind, paths in found.items():
        if paths:
            print(f"{kind:<15} {len(paths)} in {paths[0].parent}/, such as {paths[0].name}")
    if texts := found["text"]:
        lines = texts[0].read_text(encoding="utf-8").splitlines()[:PREVIEW_LINES]
        print(f"\n{texts[0]} begins:\n" + "\n".join(f"    {line}" for line in lines))
    if lacking := [kind for kind, paths in found.items() if not paths]:
        sys.exit(f"{out} has no {', no '.join(lacking)}")


if __name__ == "__main__":
    main()
