"""A cluster from Python: the examples of docs/python.md, and jobs that are cancelled and resumed."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cluster.test_workers import DUMMY, running_watchdog, running_worker
from PIL import Image

import pero_worker

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

DOCUMENT = Path(__file__).parents[2] / "docs/python.md"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "scans").mkdir()
    for name in ("a", "b", "c"):
        Image.new("L", (200, 100), "white").save(tmp_path / "scans" / f"{name}.png")
    return tmp_path


def test_the_examples_run(cluster: TestCluster, home: Path) -> None:
    cluster.add_stage("ocr", DUMMY + "LINE = read\n")
    section = DOCUMENT.read_text("utf-8").partition("## A cluster\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    script = home / "script.py"
    script.write_text("import pero_worker\n" + code.replace("127.0.0.1:2181", cluster.zookeeper), "utf-8")
    with running_watchdog(cluster), running_worker(cluster, home):
        ran = subprocess.run(
            [sys.executable, script],
            cwd=home,
            env=cluster.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert "['ocr']" in ran.stdout and ran.stdout.count(" done w1") == 3
    assert (home / "from-cluster/a.txt").read_text("utf-8").startswith("read: a.png")


def test_a_job_that_was_cancelled_is_gone_on_with(cluster: TestCluster, home: Path) -> None:
    cluster.add_stage("ocr", DUMMY + "LINE = read\n")
    client = pero_worker.connect(cluster.zookeeper, vhost=cluster.vhost)
    waiting = client.submit(home / "scans", home / "out", stages="ocr")
    sent = threading.Event()
    while client.status().look.stages[0].messages != 3 and not sent.wait(0.1):
        assert waiting.status().state is pero_worker.JobState.RUNNING
    assert waiting.status().notices == ("no worker runs: pages wait until one is started (pero-worker worker)",)
    waiting.cancel()
    assert waiting.wait(60).interrupted
    with running_watchdog(cluster), running_worker(cluster, home):
        job = client.submit(home / "scans", home / "out", stages=["ocr"], formats="text")
        assert job.wait(120).done == 3
    assert {record.page for record in job.results()} == {"a", "b", "c"}


def test_what_cannot_be_done_says_so(cluster: TestCluster, home: Path) -> None:
    client = pero_worker.connect(cluster.zookeeper, vhost=cluster.vhost)
    with pytest.raises(pero_worker.StageError, match="nothing"):
        client.submit(home / "scans", home / "out", stages="nothing").wait(60)
    with pytest.raises(pero_worker.UsageError, match="docx"):
        client.submit(home / "scans", home / "out", stages="ocr", formats="docx")
