"""A cluster of an earlier version carries on, with what that left on its servers and with its programs next to ours."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pika
import pytest
from cluster.test_rollback import command
from cluster.test_workers import DUMMY, collect, page, running_watchdog, running_worker, status_of, until
from cluster.upstream import channel
from golden.make import HERE, moved
from golden.state import VERSIONS, laid_out

from pero_worker.clock import SystemClock
from pero_worker.cluster.registry.rollback import roll_back, versions_of
from pero_worker.cluster.registry.stages import read_record
from pero_worker.cluster.settings import options_in, read_settings
from pero_worker.watchdog.trace import read_trace
from pero_worker.wire.queues import DEAD_LETTERS, QUEUE_ARGUMENTS
from pero_worker.wire.tree import TREE
from pero_worker.work import WorkerStatus

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

PREVIOUS = os.environ.get("PERO_WORKER_PREVIOUS", "")
"""The `src` folder of an earlier version; if unset, this version's programs replace each other."""
PATIENCE_SECONDS = 120
"""Long enough to start programs on a machine that may be busy."""


def restore(cluster: TestCluster, state: Path) -> None:
    """Loads the tree and the messages of a golden state into the servers."""
    with cluster.client() as client:
        for node in map(json.loads, (state / "zookeeper.jsonl").read_text().splitlines()):
            path = node["path"].replace("@RABBITMQ@", f"127.0.0.1:{cluster.rabbitmq.port}")
            client.ensure_path(path)
            client.set(path, moved(base64.b64decode(node["value"]), HERE, str(state)))
    with channel(cluster) as ch:
        for queue in ("layout", "ocr", "out"):
            ch.queue_declare(queue, durable=True, arguments=dict(QUEUE_ARGUMENTS))
        for message in map(json.loads, (state / "queues.jsonl").read_text().splitlines()):
            properties = pika.BasicProperties(delivery_mode=2, priority=message["priority"], headers=message["headers"])
            ch.basic_publish("", message["queue"], base64.b64decode(message["body"]), properties)


def publish(cluster: TestCluster, state: Path) -> str:
    """Publishes again what was published before."""
    scans = [state / f"scans/{name}.png" for name in ("p1", "bad2", "p4", "p5")]
    words = ["publish", *scans, "--stages", "layout,ocr,out", "--job", "golden"]
    environment = {**cluster.environment(), "XDG_STATE_HOME": str(state / "state")}
    line = [sys.executable, "-m", "pero_worker", *map(str, words)]
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("version", VERSIONS)
def test_pages_stages_and_history_of_an_earlier_version_are_taken_over(
    cluster: TestCluster, tmp_path: Path, version: str
) -> None:
    state = laid_out(version, "cluster", tmp_path / "state")
    restore(cluster, state)
    with cluster.client() as client, cluster.broker() as broker:
        sharing = read_record(client, "special").sharing
        assert (sharing.needs, sharing.owner, sharing.share) == ("cuda", "maps", 2.0)
        with running_watchdog(cluster), running_worker(cluster, tmp_path):
            until(lambda: broker.lengths(["out", DEAD_LETTERS]) == {"out": 5, DEAD_LETTERS: 1}, PATIENCE_SECONDS)
            command(cluster, "download", "out", "-o", tmp_path / "texts", "--formats", "text", expect=3)
            texts = {path.name: path.read_text() for path in (tmp_path / "texts").glob("*.txt")}
            assert set(texts) == {"p1.txt", "half3.txt", "p4.txt", "p5.txt"}  # bad2 had failed.
            assert all("layout: " in text and "ocr: " in text for text in texts.values())
            # The journal of what was published is read, and pages keep their ids.
            again = publish(cluster, state)
            assert "0 pages sent" in again and "4 sent before" in again, again
            assert [one.version for one in versions_of(client, "ocr")] == ["1", "2"]
            roll_back(client, broker, "ocr", SystemClock().now())
            numbers = count(9)

            def version_now() -> str:
                broker.publish("ocr", page(next(numbers), "ocr", "out"))
                return collect(cluster, 1)[0].logs[0].version

            # A worker learns of it through a watch, and may have taken a page before.
            until(lambda: version_now() == "1", PATIENCE_SECONDS)
    seen = list(read_trace(state / "watchdog.jsonl"))
    assert {stage.name for stage in seen[-1][1].stages} >= {"layout", "ocr"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["client.toml", "worker.ini"])
def test_clients_files_of_an_earlier_version_are_read(tmp_path: Path, version: str, name: str) -> None:
    found = options_in(read_settings(laid_out(version, "client", tmp_path / "client") / name, "WORKER"))
    assert found.zookeeper == "server.example.org:2281"
    assert (found.user, found.vhost) == ("pero", "pero")
    assert found.ca_cert and found.known_hosts


@contextmanager
def started(cluster: TestCluster, source: str, *words: object) -> Iterator[None]:
    """Runs a command of the version whose `src` folder is `source`, and stops it after the block."""
    environment = cluster.environment()
    if source:
        environment["PYTHONPATH"] = source
    line = [sys.executable, "-m", "pero_worker", *map(str, words)]
    process = subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(60) == 0


def candidates(client: Any) -> int:
    """Returns the number of watchdogs."""
    return len(client.get_children(TREE.election)) if client.exists(TREE.election) else 0


def test_parts_are_replaced_one_by_one(cluster: TestCluster, tmp_path: Path) -> None:
    """Old watchdog and worker, then the new watchdog with the old worker, then only new ones: each page comes out
    once."""
    cluster.add_stage("s1", DUMMY, version="7")
    cluster.add_stage("out")

    def worker(name: str) -> list[object]:
        return ["worker", "--id", name, "--cache", tmp_path / "cache"]

    def some_pages(*numbers: int) -> set[str]:
        """Sends pages through, and returns which workers did them."""
        with cluster.broker() as broker:
            for number in numbers:
                broker.publish("s1", page(number, "s1", "out"))
        done = collect(cluster, len(numbers))
        assert {request.uuid for request in done} == {f"r{number}" for number in numbers}
        assert all([log.status for log in request.logs] == ["OK"] for request in done)
        return {request.logs[0].host_id for request in done}

    with cluster.client() as client, ExitStack() as new:
        with started(cluster, PREVIOUS, *worker("old")):
            until(lambda: status_of(client, "old") == WorkerStatus.IDLE, PATIENCE_SECONDS)
            with started(cluster, PREVIOUS, "watchdog"):
                until(lambda: candidates(client) == 1, PATIENCE_SECONDS)
                assert some_pages(1, 2) == {"old"}
                new.enter_context(started(cluster, "", "watchdog"))
                until(lambda: candidates(client) == 2, PATIENCE_SECONDS)
            assert some_pages(3, 4) == {"old"}
            new.enter_context(started(cluster, "", *worker("new")))
            until(lambda: status_of(client, "new") == WorkerStatus.IDLE, PATIENCE_SECONDS)
        assert some_pages(5, 6) == {"new"}
