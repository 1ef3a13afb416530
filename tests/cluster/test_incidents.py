"""What wakes an operator at night, and what the first look at the screen says: one incident per test."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.test_workers import DUMMY, page, running_watchdog, running_worker, until
from prometheus_client.parser import text_string_to_metric_families

from pero_worker.cluster.registry.servers import MQ, add_servers
from pero_worker.cluster.registry.workers import read_worker
from pero_worker.servers.daemon import free_port
from pero_worker.servers.rabbitmq import RabbitServer
from pero_worker.wire.tree import TREE

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

BAD = "[PAGE_PARSER]\nRUN_OCR = yes\n"


def screen(cluster: TestCluster, *options: str, expect: int | None = None, **more: str) -> str:
    """Returns the output of `pero-worker status` in a terminal of 60 columns."""
    command = [sys.executable, "-m", "pero_worker", "status", *options]
    environment = cluster.environment() | {"COLUMNS": "60"} | more
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    assert expect is None or done.returncode == expect, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


@contextmanager
def worker_process(cluster: TestCluster, tmp_path: Path, name: str = "w1") -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "pero_worker", "worker", "--id", name, "--cache", str(tmp_path / name)]
    process = subprocess.Popen(command, env=cluster.environment(), start_new_session=True)
    try:
        with cluster.client() as client:
            until(lambda: read_worker(client, name).status == "IDLE")
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_worker_and_its_machine_are_gone(cluster: TestCluster, tmp_path: Path) -> None:
    with worker_process(cluster, tmp_path) as process, cluster.client() as client:
        os.killpg(process.pid, signal.SIGKILL)
        until(lambda: read_worker(client, "w1").gone)
        shown = screen(cluster)
        assert "worker w1: is gone without a word" in shown and "workers remove w1" in shown
        assert screen(cluster, "--check", expect=1).startswith("WARNING: worker w1")


def test_no_worker_is_left(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("ocr", DUMMY)
    with cluster.broker() as broker:
        broker.publish("ocr", page(1, "ocr", "out"))
    with running_watchdog(cluster):
        shown = screen(cluster)
        assert "CRITICAL stage ocr: not served: there is no worker, and 1 page waits" in shown
        assert "To do: pero-worker worker" in shown
        assert screen(cluster, "--check", expect=2).startswith("CRITICAL: stage ocr")


def test_no_worker_has_the_label(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("ocr", DUMMY, sharing={"needs": "cuda"})
    with cluster.broker() as broker, running_worker(cluster, tmp_path):
        broker.publish("ocr", page(1, "ocr", "out"))
        assert "stage ocr: not served: no worker has the label cuda" in screen(cluster)


def test_a_version_that_nobody_can_load_says_why_as_long_as_it_is_so(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("ocr", BAD, version="2")
    with cluster.broker() as broker, running_worker(cluster, tmp_path), running_watchdog(cluster):
        broker.publish("ocr", page(1, "ocr", "out"))
        until(lambda: "stage ocr: cannot be loaded" in screen(cluster), 120)
        with cluster.client() as client:
            # The same when no worker holds it any more.
            until(lambda: not read_worker(client, "w1").stages)
        shown = screen(cluster)
        assert "cannot be loaded" in shown and "RUN_LINE_CROPPER" in shown, "with the reason"
        planned = subprocess.run(
            [sys.executable, "-m", "pero_worker", "watchdog", "--dry-run"],
            env=cluster.environment(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "RUN_LINE_CROPPER" in planned.stdout + planned.stderr, "a dry run says what the leader does"
        cluster.add_stage("ocr", DUMMY, version="3")
        until(lambda: "cannot be loaded" not in screen(cluster), 120)


def test_an_archive_is_missing_in_the_store(cluster: TestCluster, tmp_path: Path) -> None:
    missing = f"file://{tmp_path}/missing.tar"
    cluster.add_stage("ocr", DUMMY, version="1", archive=missing, archive_digest="0" * 64)
    with cluster.broker() as broker, running_worker(cluster, tmp_path), running_watchdog(cluster):
        broker.publish("ocr", page(1, "ocr", "out"))
        until(lambda: "missing.tar" in screen(cluster))
        assert "CRITICAL stage ocr: cannot be loaded" in screen(cluster)


def test_the_store_of_a_stage_is_away(cluster: TestCluster, tmp_path: Path) -> None:
    """The stage is not to blame, and its workers retry every other second: status still says since when."""
    away = f"ftp://127.0.0.1:{free_port(0)}/model.tar"
    cluster.add_stage("ocr", DUMMY, version="1", archive=away, archive_digest="0" * 64)
    with cluster.broker() as broker, running_worker(cluster, tmp_path), running_watchdog(cluster):
        broker.publish("ocr", page(1, "ocr", "out"))
        until(lambda: re.search(r"\(for ([5-9]|[1-9]\d) s\)", screen(cluster)))
        shown = screen(cluster)
        assert shown.startswith("CRITICAL stage ocr: not served: 1 page waits, and its workers cannot begin: the store")
        assert "pero-worker stage show ocr" in shown
        assert screen(cluster, "--check", expect=2).startswith("CRITICAL: stage ocr")


def test_the_store_of_one_stage_is_away_while_another_is_served(cluster: TestCluster, tmp_path: Path) -> None:
    """The worker is healthy and idle, and yet its pages wait."""
    away = f"ftp://127.0.0.1:{free_port(0)}/model.tar"
    cluster.add_stage("lay", DUMMY)
    cluster.add_stage("out")
    with cluster.broker() as broker, running_worker(cluster, tmp_path), running_watchdog(cluster):
        broker.publish("lay", page(1, "lay", "out"))
        until(lambda: (state := broker.state("out")) and state.messages)
        cluster.add_stage("ocr", DUMMY, version="1", archive=away, archive_digest="0" * 64)
        broker.publish("ocr", page(2, "ocr", "out"))
        told = "CRITICAL stage ocr: not served: 1 page waits, and"
        until(lambda: screen(cluster).startswith(told), 120)
        assert screen(cluster, "--check", expect=2).startswith("CRITICAL: stage ocr: not served")


def test_two_workers_are_killed_and_nobody_leads(cluster: TestCluster, tmp_path: Path) -> None:
    """Pages wait for two stages: what has stopped comes first, then what is missing."""
    for name in ("lay", "ocr"):
        cluster.add_stage(name, DUMMY)
    with worker_process(cluster, tmp_path) as one, worker_process(cluster, tmp_path, "w2") as two:
        with cluster.broker() as broker:
            for name in ("lay", "ocr"):
                broker.publish(name, page(1, name, "out"))
        assert screen(cluster).startswith("CRITICAL watchdog: none leads")
        for process in (one, two):
            os.killpg(process.pid, signal.SIGKILL)
        with cluster.client() as client:
            until(lambda: read_worker(client, "w1").gone and read_worker(client, "w2").gone)
        shown = screen(cluster)
        for name in ("lay", "ocr"):
            assert f"CRITICAL stage {name}: not served: there is no worker, and 1 page waits (for " in shown
        assert shown.index("CRITICAL stage ocr") < shown.index("WARNING worker w1") < shown.index("WARNING worker w2")


def test_zookeeper_is_down(cluster: TestCluster) -> None:
    nowhere = f"127.0.0.1:{free_port(0)}"
    shown = screen(cluster, expect=6, PERO_WORKER_ZOOKEEPER=nowhere)
    assert nowhere in shown and "start it" in shown
    assert screen(cluster, "--check", expect=3, PERO_WORKER_ZOOKEEPER=nowhere).startswith("UNKNOWN: no ZooKeeper")


def test_rabbitmq_is_full_then_down(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("ocr", DUMMY)
    server = RabbitServer.on_free_ports(tmp_path / "rabbitmq", extra="disk_free_limit.absolute = 900000GB\n")
    server.start()
    try:
        with cluster.client() as client:
            client.delete(TREE.servers(MQ), recursive=True)
            add_servers(client, MQ, [f"127.0.0.1:{server.port}"])
        here: dict[str, Any] = {"PERO_WORKER_VHOST": "/"}
        with running_worker(cluster, tmp_path):
            until(lambda: "low on disk" in screen(cluster, **here))
            shown = screen(cluster, **here)
            assert shown.startswith("CRITICAL RabbitMQ: it is low on disk") and "make room" in shown
            server.stop()
            shown = screen(cluster, expect=6, **here)
            assert "CRITICAL RabbitMQ: does not answer" in shown
            assert " ocr " in shown and " w1 " in shown, "what ZooKeeper knows is shown all the same"
    finally:
        server.stop()


def test_metrics_tell_the_same_over_http(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("ocr", DUMMY)
    with cluster.broker() as broker:
        broker.publish("ocr", page(1, "ocr", "out"))
    command = [sys.executable, "-m", "pero_worker", "metrics", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, env=cluster.environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own
            text = answer.read().decode()
        process.terminate()
        assert process.wait(20) == 0
    found = {(s.name, *s.labels.values()): s.value for f in text_string_to_metric_families(text) for s in f.samples}
    assert found["pero_worker_stage_waiting_pages", "ocr"] == 1 and found["pero_worker_server_up", "rabbitmq"] == 1
    state = json.loads(screen(cluster, "--json"))
    assert [problem["subject"] for problem in state["problems"] if problem["severity"] == "CRITICAL"] == ["stage ocr"]
