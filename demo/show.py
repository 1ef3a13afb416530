"""Says what the demo made: one line a page, where the files lie, and how the text of a page begins."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PREVIEW_LINES = 6
PREVIEWED = "czech"
KINDS = {"page": "PAGE XML", "alto": "ALTO XML", "text": "text", "pdf": "searchable PDF"}


def table(records: list[dict[str, Any]]) -> list[str]:
    """A heading, then a line for each record of the report: lines found, mean confidence (0 to 1), seconds in all."""
    width = max((len(record["page"]) for record in records), default=0)
    rows = [f"{'page':<{width}}  lines  confidence  seconds"]
    for record in records:
        confidence = record["confidence_mean"]
        row = (
            f"{record['page']:<{width}}  {record['lines']:>5}  {'-' if confidence is None else f'{confidence:.3f}':>10}"
        )
        row += f"  {record['seconds'].get('total', 0.0):>7.1f}"
        rows.append(row if record["status"] == "done" else f"{row}  {record['status']}: {record['error']}")
    return rows


def places(records: list[dict[str, Any]], out: Path) -> list[str]:
    """A line for each of KINDS: the file of the first page, and how many more there are beside it."""
    rows = []
    for name, kind in KINDS.items():
        paths = sorted({record["outputs"][name] for record in records if name in record["outputs"]})
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        rows.append(f"{kind:<14}  {out / paths[0]}{more}" if paths else f"{kind:<14}  none")
    return rows


def main() -> None:
    """`show.py OUT`: read OUT/report.jsonl; exit 1 where a page was not read or lacks one of KINDS."""
    out = Path(sys.argv[1])
    report = (out / "report.jsonl").read_text(encoding="utf-8")
    records = sorted((json.loads(line) for line in report.splitlines()), key=lambda record: str(record["page"]))
    print("", *table(records), "", *places(records, out), sep="\n")
    for record in records:
        if record["page"].startswith(PREVIEWED) and "text" in record["outputs"]:
            path = out / record["outputs"]["text"]
            lines = path.read_text(encoding="utf-8").splitlines()[:PREVIEW_LINES]
            print(f"\n{path} begins:", *(f"    {line}" for line in lines), sep="\n")
    if lacking := [record["page"] for record in records if not KINDS.keys() <= record["outputs"].keys()]:
        sys.exit(f"not all was written for {', '.join(lacking)}")


if __name__ == "__main__":
    main()
