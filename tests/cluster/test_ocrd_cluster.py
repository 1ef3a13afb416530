"""The OCR-D processor reading on a cluster; how it works with OCR-D itself is tested in tests/ocrd."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cluster.test_workers import running_watchdog, running_worker

from pero_worker.errors import PageError
from pero_worker.ocrd.recognise import on_cluster

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

DUMMY = "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\n"


def test_pages_are_read_one_after_the_other(
    cluster: TestCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cluster.environment().items():
        monkeypatch.setenv(name, value)
    cluster.add_stage("read", DUMMY + "LINE = read\n")
    cluster.add_stage("fail", "[WORKER]\nFAILTEST = yes\nTIME_SCALE = 0\n")
    image = np.zeros((30, 40, 3), np.uint8)
    with running_watchdog(cluster), running_worker(cluster, tmp_path):
        good = on_cluster(cluster.zookeeper, ["read"])
        try:
            for _ in range(2):
                (line,) = good.read("scan.jpg", image).lines()
                assert line.text is not None and line.text.startswith("read: ")
            assert good.description.startswith("read ")
        finally:
            good.close()
        bad = on_cluster(cluster.zookeeper, ["fail"])
        try:
            with pytest.raises(PageError, match="told to fail"):
                bad.read("scan.jpg", image)
        finally:
            bad.close()
    with cluster.broker() as broker:
        assert broker.state("read") is not None
