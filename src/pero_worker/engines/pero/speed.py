"""What makes a PageParser faster without changing what it finds."""

from __future__ import annotations

from typing import Any

import torch


def quicken(parser: Any) -> None:
    """Prepares a loaded PageParser's networks."""
    for layout in getattr(parser, "layout_parsers", ()):
        net = getattr(getattr(layout, "engine", None), "parsenet", None)
        if net is not None:
            net.net = _frozen(net.net)
    recogniser = getattr(parser.ocr, "ocr_engine", None)
    if hasattr(recogniser, "model"):
        recogniser.model = _frozen(recogniser.model)


def _frozen(model: Any) -> Any:
    return torch.jit.freeze(model)
