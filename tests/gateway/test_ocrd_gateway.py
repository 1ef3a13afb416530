"""The processor of OCR-D, reading at a gateway; what it does with OCR-D itself is in tests/ocrd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from pero_worker.ocrd.recognise import at_gateway

if TYPE_CHECKING:
    from gateway.conftest import RunningGateway


def test_pages_are_read_one_after_the_other(
    gateway: RunningGateway, user_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERO_WORKER_GATEWAY_KEY", user_key)
    reader = at_gateway(gateway.url, "")
    try:
        for _ in range(2):
            (line,) = reader.read("scan.jpg", np.zeros((30, 40, 3), np.uint8)).lines()
            assert line.text is not None and line.text.startswith("one line")
        assert reader.description.startswith("gateway:")
    finally:
        reader.close()
