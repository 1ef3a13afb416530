"""A cancelled job: its pages are no longer processed, and each of them is accounted for."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cluster.test_accounting import scans, serve, stages, told, waiting
from cluster.test_publish_download import _state, run, state
from cluster.test_workers import until
from PIL import Image

from pero_worker.clock import SystemClock
from pero_worker.cluster.opening import Cluster
from pero_worker.cluster.pages import cancel
from pero_worker.coordinators.cancelled import mark_cancelled
from pero_worker.watchdog.janitor import KEEP_CANCELLED, tidy, zookeepers_time
from pero_worker.wire.queues import DEAD_LETTERS
from pero_worker.wire.requests import decode_request

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

__all__ = ["scans", "stages", "state"]
SEND = ("--stages", "ocr,out", "--job", "box")


def command(cluster: TestCluster, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pero_worker", *map(str, arguments)],
        env=cluster.environment() | _state,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_job_is_taken_back_and_every_page_of_it_is_accounted_for(
    stages: TestCluster, scans: Path, tmp_path: Path
) -> None:
    out, other = tmp_path / "results", tmp_path / "other"
    other.mkdir()
    for number in range(3):
        Image.new("L", (20, 10)).save(other / f"o{number}.png")
    run(stages, "publish", other, "--stages", "ocr,out", "--job", "theirs")
    run(stages, "publish", scans, *SEND)
    run(stages, "publish", other, "--stages", "ocr,out", "--job", "their second")
    assert "job box is cancelled: 12 pages taken back" in run(stages, "cancel", "box")
    assert waiting(stages, "ocr") == 6 and waiting(stages, "out") == 12
    assert "0 pages taken back" in run(stages, "cancel", "box"), "each is taken back once"
    assert "the job box is cancelled" in run(stages, "publish", scans, *SEND, expect=2)
    with stages.broker() as broker:
        taken = broker.take("out")
        assert taken is not None and decode_request(taken[0].body).results == (), "no image lies about"
        broker.give_back(taken[0])

    said = run(stages, "download", "out", "-o", out, "-f", "page,text", expect=3)
    assert "12 pages in" in said and "0 of them failed, 12 cancelled" in said
    assert told(out) == {"cancelled": 12} and not list(out.glob("*.txt"))
    serve(stages, tmp_path, lambda: waiting(stages, "out") == 6 and not waiting(stages, "ocr"))
    assert "6 pages in" in run(stages, "download", "out", "-o", out, "-f", "page,text")
    assert told(out) == {"cancelled": 12, "done": 6}

    assert "job box goes on" in run(stages, "cancel", "box", "--undo")
    assert "no job 'box' is cancelled" in run(stages, "cancel", "box", "--undo", expect=2)
    said = run(stages, "publish", scans, *SEND, "--retry-failed", out)
    assert "12 that failed sent again" in said
    serve(stages, tmp_path, lambda: waiting(stages, "out") == 12)
    run(stages, "download", "out", "-o", out, "-f", "page,text", expect=3)
    assert told(out) == {"done": 16, "failed": 2}
    assert waiting(stages, "ocr", "out", DEAD_LETTERS) == 0


def test_workers_pass_on_what_was_cancelled_whenever_it_comes(stages: TestCluster, scans: Path, tmp_path: Path) -> None:
    run(stages, "publish", scans, *SEND)
    with stages.client() as client:
        mark_cancelled(client, "box")
    serve(stages, tmp_path, lambda: waiting(stages, "out") >= 1)  # The worker is killed on the way.
    serve(stages, tmp_path, lambda: not waiting(stages, "ocr") and waiting(stages, "out") >= 12)
    run(stages, "download", "out", "-o", tmp_path / "out", expect=3)
    assert told(tmp_path / "out") == {"cancelled": 12}, "those that are bad were not tried, either"


def test_pages_behind_many_of_others_are_left_to_workers(
    stages: TestCluster, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(stages, "publish", scans, "--stages", "ocr,out", "--job", "theirs")
    run(stages, "publish", scans, *SEND)
    monkeypatch.setattr(cancel, "_OTHERS_HELD", 5)
    with stages.client() as client, stages.broker() as broker:
        there = Cluster(zookeeper=client, broker=broker)
        assert cancel.cancel_job(there, "box", SystemClock()) == (0, False)
        monkeypatch.setattr(cancel, "_OTHERS_HELD", 13)
        assert cancel.cancel_job(there, "box", SystemClock()) == (12, True)
        order = [(found := broker.take("ocr")) and decode_request(found[0].body).source for _ in range(12)]
    assert order == sorted(order, key=lambda name: (name or "")[:3]), "others keep their order"


def test_who_sends_stops_at_once(stages: TestCluster, tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    picture = Image.new("L", (20, 10))
    for number in range(3000):
        picture.save(many / f"{number}.png")
    process = command(stages, "publish", many, *SEND)
    until(lambda: waiting(stages, "ocr") >= 5)
    run(stages, "cancel", "box")
    said, problem = process.communicate(timeout=60)
    assert process.returncode == 2 and "the job box is cancelled" in problem, said + problem
    sent = int(re.findall(r"(\d+) pages? sent as job box", said)[0])
    assert 5 <= sent < 3000
    assert waiting(stages, "ocr", "out") == sent, "one that was on its way when the queue was looked through waits"


def test_a_run_in_a_cluster_ends_when_its_job_is_cancelled(stages: TestCluster, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = command(stages, "ocr", scans, "-o", out, "--cluster", stages.zookeeper, "--stages", "ocr")
    until(lambda: waiting(stages, "ocr") == 12)
    run(stages, "cancel", (out / ".pero-worker/job").read_text())
    said, problem = process.communicate(timeout=60)
    assert process.returncode == 3, said + problem
    assert "0 failed" in said and "12 pages cancelled" in said
    assert told(out) == {"cancelled": 12}


def test_marks_of_jobs_long_gone_are_cleared_away(stages: TestCluster) -> None:
    with stages.client() as client:
        mark_cancelled(client, "a/b\x00 of 'any' kind " + "é" * 500)
        now = zookeepers_time(client)
        assert tidy(client, now + KEEP_CANCELLED - timedelta(minutes=1)) == 0
        assert len(client.get_children("/pero/cancelled")) == 1
        assert tidy(client, now + KEEP_CANCELLED + timedelta(minutes=1)) == 1
