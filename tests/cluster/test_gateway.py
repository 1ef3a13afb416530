"""A gateway that hands pages to a cluster."""

from __future__ import annotations

import json
import os
import subprocess
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from cluster.test_workers import running_watchdog, running_worker, until
from gateway.conftest import PROGRAM, V1, json_lines, picture, roles_of, running

from pero_worker.gateway.cluster_backend import RESULTS_QUEUE
from pero_worker.wire.queues import DEAD_LETTERS

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

PAGES = 20
SLOW = (
    "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nTIME_DIFF_MIN = 0.05\nTIME_DIFF_MAX = 0.05\nFAIL_NAME = *fail*\nLINE = {}\n"
)


def send(client: V1, *more: str) -> str:
    names = [*(f"{number}.jpg" for number in range(PAGES)), *more]
    job = client.create(*names, engine_name="both")
    for name in names:
        assert client.upload(job, name, picture()).status_code == 201
    return job


def test_pages_survive_gateway_and_broker(cluster: TestCluster, tmp_path: Path) -> None:
    for stage in ("first", "second"):
        cluster.add_stage(stage, SLOW.format(stage))
    options = ("--cluster", cluster.zookeeper, "--engine", "both=first,second")
    with (
        running(tmp_path / "data", *options, environment=cluster.environment()) as gateway,
        running_watchdog(cluster),
    ):
        user = roles_of(gateway).user
        with cluster.broker() as broker:
            job = send(user, "fail.jpg")
            # All pages that fit are with the cluster when the gateway dies, and are not sent again.
            until(lambda: (state := broker.state("first")) and state.messages >= 10, 60)
            gateway.kill()
            with running_worker(cluster, tmp_path):
                until(lambda: (state := broker.state(RESULTS_QUEUE)) and state.messages >= 3, 60)
                # Cutting a connection gives back what was in hand.
                gateway.start(port=gateway.port)
                connections: Any = cluster.rabbitmq.api("GET", f"vhosts/{cluster.vhost}/connections")
                for connection in connections:
                    cluster.rabbitmq.api("DELETE", f"connections/{quote(connection['name'], safe='')}")
                done = user.wait(job)
    assert (done["state"], done["progress"]) == ("done", 1.0)
    assert "both" in done["engine_name"]


def test_a_broker_that_has_lost_everything_gets_it_again(cluster: TestCluster, tmp_path: Path) -> None:
    """Deleting queues with their contents leaves what a new broker would have."""
    for stage in ("first", "second"):
        cluster.add_stage(stage, SLOW.format(stage))
    options = ("--cluster", cluster.zookeeper, "--engine", "both=first,second")
    with running(tmp_path / "data", *options, environment=cluster.environment()) as gateway, cluster.broker() as broker:
        user = roles_of(gateway).user
        job = send(user)
        until(lambda: (state := broker.state("first")) and state.messages >= 10, 60)
        for queue in ("first", "second", RESULTS_QUEUE):
            broker.delete(queue)
        until(lambda: (state := broker.state("first")) and state.messages >= 10, 60)
        gateway.kill()
        # The same while no gateway is running.
        for queue in ("first", "second", RESULTS_QUEUE):
            broker.delete(queue)
        gateway.start(port=gateway.port)
        until(lambda: (state := broker.state("first")) and state.messages >= 10, 60)
        with running_watchdog(cluster), running_worker(cluster, tmp_path):
            done = user.wait(job)
        assert (done["state"], done["pages"], done["pages_failed"]) == ("done", PAGES, 0)
    finished = [line["page"] for line in json_lines(gateway.log()) if line["message"] == "page finished"]
    assert len(finished) == len(set(finished)) == PAGES


def test_the_page_of_the_cluster_says_what_status_says(cluster: TestCluster, tmp_path: Path) -> None:
    """Problems are worded the same, and a message that could not be used goes back to where it came from."""
    cluster.add_stage("first", SLOW.format("first"))
    own = {"Sec-Fetch-Site": "same-origin"}
    options = ("--cluster", cluster.zookeeper, "--engine", "one=first")
    environment = cluster.environment()
    with running(tmp_path / "data", *options, environment=environment) as gateway, cluster.broker() as broker:
        broker.declare(DEAD_LETTERS)
        broker.publish("first", b"<b>no page</b>")
        delivery = broker.get(("first",), "test", 30)
        assert delivery is not None
        broker.set_aside(delivery, "it is <i>no</i> request")
        key = gateway.keys("add", "operator", "--role", "admin")
        with httpx.Client(base_url=gateway.url, timeout=60) as client:
            assert client.post("/web/sign-in", data={"key": key}, headers=own).status_code == 303
            page = unescape(client.get("/web/cluster").text)
            command = [*PROGRAM, "status", "--zookeeper", cluster.zookeeper, "--json"]
            told = subprocess.run(
                command, capture_output=True, text=True, check=True, env={**os.environ, **environment}
            )
            problems = json.loads(told.stdout)["problems"]
            assert {problem["subject"] for problem in problems} >= {"pero.dead", "watchdog"}
            for problem in problems:
                assert problem["subject"] in page and problem["text"] in page and problem["remedy"] in page
            czech = unescape(client.get("/web/cluster", headers={"Accept-Language": "cs"}).text)
            assert "watchdog: žádný nevede" in czech and "1 nepoužitelná zpráva" in czech and "none leads" not in czech
            assert "watchdog: none leads" in page and "it is <i>no</i> request" in page
            assert client.get("/web/cluster/letters").text.count("&lt;i&gt;no&lt;/i&gt;") == 1
            sent = client.post("/web/cluster/letters", data={"1": "on", "action": "replay"}, headers=own)
            assert sent.status_code == 303
        again = broker.get(("first",), "test", 30)
        assert again is not None and again.body == delivery.body
        broker.ack(again)
        assert broker.state(DEAD_LETTERS).messages == 0
        user = roles_of(gateway).user
        with running_watchdog(cluster), running_worker(cluster, tmp_path), httpx.Client(base_url=gateway.url) as client:
            job = user.create("a.jpg", engine_name="one")
            user.upload(job, "a.jpg", picture())
            assert user.wait(job)["state"] == "done"
            client.post("/web/sign-in", data={"key": key}, headers=own)
            until(lambda: " holds first: " in client.get("/web/cluster").text, 60)
            told = subprocess.run(
                command[:-1], capture_output=True, text=True, check=True, env={**os.environ, **environment}
            )
            assert " holds first: " in told.stdout and "watchdog: dog" in told.stdout
