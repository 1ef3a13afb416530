"""Reads properties of IIIF resources as versions 2 and 3 write them in JSON."""

from __future__ import annotations

import re
from typing import Any

_MAX_SIDE = 10_000_000


def label_of(resource: dict[str, Any]) -> str:
    """Returns the first label: a text, a list, `{'@value'}` (version 2), or texts by language (version 3)."""
    label = resource.get("label")
    if isinstance(label, dict) and "@value" not in label:
        languages = ("none", "@none", *label)
        label = [text for language in languages for text in as_list(label.get(language))]
    for text in as_list(label):
        value = text.get("@value") if isinstance(text, dict) else text
        if isinstance(value, str | int) and str(value).strip():
            return " ".join(str(value).split())[:1000]
    return ""


def pixels_of(value: Any) -> int:
    """Returns a size in pixels; 0 if it is not one."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,8}", value):
        value = int(value)
    return int(value) if isinstance(value, int | float) and 0 < value <= _MAX_SIDE else 0


def type_of(resource: dict[str, Any]) -> str:
    """Returns the type: 'manifest' for 'Manifest', 'sc:Manifest', 'http://iiif.io/api/presentation/2#Manifest'."""
    kind = resource.get("type", resource.get("@type"))
    if isinstance(kind, list):
        kind = kind[0] if kind else ""
    return re.split("[:#/]", str(kind or ""))[-1].lower()


def id_of(resource: dict[str, Any]) -> str:
    for name in (resource.get("id"), resource.get("@id")):
        if isinstance(name, str) and 0 < len(name) <= 10_000:
            return name.strip()
    return ""


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
