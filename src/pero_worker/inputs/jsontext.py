"""Parses JSON from elsewhere, within bounds."""

from __future__ import annotations

import json
from typing import Any

MAX_BYTES = 64_000_000
MAX_DEPTH = 100


def parse_json(data: bytes) -> Any:
    """Parses JSON.

    Raises `ValueError` with a phrase that says why it cannot be used: too large, not JSON, nested too deep.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES // 1_000_000} MB")
    try:
        value = json.loads(data.decode("utf-8-sig") if data.startswith(b"\xef\xbb\xbf") else data)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON ({' '.join(str(error).split())[:120]})") from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for outer in level for child in _children(outer)]
        if not level:
            return value
    raise ValueError("it is nested too deep")


def _children(value: Any) -> list[Any]:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [child for child in children if isinstance(child, dict | list)]
