"""JSON: the `Page` record as it is.

{"name", "width", "height", "orientation", "creator", "created", "confidence", "regions": [{"id", "polygon", "kind",
"lines": [{"id", "baseline", "polygon", "heights", "text", "confidence", "words": [{"text", "polygon", "confidence"}]}]}
]}. Polygons and baselines are lists of [x, y] in pixels of the image as it is stored (EXIF orientation applied), to a
tenth; `orientation` is the clockwise angle, in degrees, by which the page must be turned for its text to stand upright;
the order is the reading order.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pero_worker.page import Page


def write(page: Page, *, created: datetime, creator: str) -> bytes:
    values = {
        **asdict(page),
        "confidence": page.confidence(),
        "creator": creator,
        "created": created.isoformat(timespec="seconds"),
    }
    text = json.dumps(_rounded(values), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace") + b"\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: round(v, 4) if key == "confidence" and v is not None else _rounded(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, 1) if isinstance(value, float) else value
