"""One trace from the upload through RabbitMQ and two workers to the result, sent to a real OTLP receiver."""

from __future__ import annotations

import logging
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cluster.test_workers import DUMMY, collect, page, running_watchdog, running_worker, until
from gateway.conftest import PROGRAM, json_lines, picture, roles_of, running
from otlp import Collector, Told, collector

from pero_worker.tracing.spans import trace_of
from pero_worker.wire.queues import TRACEPARENT
from pero_worker.wire.requests import decode_request, encode_request

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

LINE = DUMMY + "TIME_DIFF_MIN = 0.02\nTIME_DIFF_MAX = 0.02\nLINE = a line\n"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collector() as found:
        for name, value in found.environment().items():
            monkeypatch.setenv(name, value)
        yield found


def only(spans: list[Told], name: str) -> Told:
    (span,) = (span for span in spans if span.name == name)
    return span


def two_stages(cluster: TestCluster) -> None:
    """Two stages, each for a worker of its own, so that pages go through the broker between them."""
    for name in ("first", "second"):
        cluster.add_stage(name, LINE, sharing={"needs": name})


def test_one_trace_from_upload_to_result(cluster: TestCluster, tmp_path: Path, told: Collector) -> None:
    two_stages(cluster)
    options = ("--cluster", cluster.zookeeper, "--engine", "both=first,second")
    client_trace = "0af7651916cd43dd8448eb211c80319c"
    with (
        running(tmp_path / "data", *options, environment=cluster.environment()) as gateway,
        running_watchdog(cluster),
        running_worker(cluster, tmp_path, "w1", labels=("first",)),
        running_worker(cluster, tmp_path, "w2", labels=("second",)),
    ):
        user = roles_of(gateway).user
        job = user.create("a.jpg", engine_name="both")
        headers = {
            "content-type": "image/jpeg",
            "traceparent": f"00-{client_trace}-b7ad6b7169203331-01",
            "x-request-id": "from-the-client",
        }
        sent = user.ask("PUT", f"/jobs/{job}/images/a.jpg/files/image", content=picture(), headers=headers)
        assert sent.status_code == 201, sent.text
        assert user.wait(job)["state"] == "done"
        assert user.ask("GET", f"/jobs/{job}/pages/a.jpg/results/page").status_code == 200
        until(lambda: any(span.name == "download" for span in told.spans))
    finished = [line for line in json_lines(gateway.log()) if line["message"] == "page finished"]
    (trace,) = {line["trace_id"] for line in finished}
    assert trace == trace_of(finished[0]["page"])
    spans = told.of(trace)
    root = only(spans, "page")
    assert root.parent == "" and root.attributes["pero.request_id"] == "from-the-client"
    upload = only(spans, "upload")
    assert upload.links == (client_trace,) and upload.attributes["pero.request_id"] == "from-the-client"
    way = ["send first", "process first", "send second", "process second", "send gateway.results"]
    before = root
    for name in [*way, "receive gateway.results"]:
        step = only(spans, name)
        assert step.parent == before.id, name
        before = step
    for name, parent in (
        ("upload", "page"),
        ("wait gateway", "page"),
        ("download", "page"),
        ("wait first", "send first"),
        ("wait second", "send second"),
    ):
        assert only(spans, name).parent == only(spans, parent).id
    writes = [span.parent for span in spans if span.name == "write"]
    assert writes == [only(spans, "process first").id, only(spans, "process second").id]
    assert {span.service for span in spans} == {"pero-gateway", "pero-worker"}
    assert all(span.end >= span.start for span in spans)
    inside = [span for span in spans if span.name not in {"page", "download", "receive gateway.results"}]
    assert all(root.start <= span.start and span.end <= root.end for span in inside)


def test_a_page_whose_header_was_lost_goes_on_in_its_trace(
    cluster: TestCluster, tmp_path: Path, told: Collector
) -> None:
    """One of upstream's programs publishes without a header, and another drops it between two stages."""
    two_stages(cluster)
    cluster.add_stage("between")
    cluster.add_stage("out")
    with (
        running_watchdog(cluster),
        running_worker(cluster, tmp_path, "w1", labels=("first",)),
        running_worker(cluster, tmp_path, "w2", labels=("second",)),
        cluster.broker() as broker,
    ):
        broker.publish("first", page(1, "first", "between", "second", "out"))
        until(lambda: (state := broker.state("between")) and state.messages)
        found = broker.take("between")
        assert found is not None and found[0].traceparent == found[1][TRACEPARENT]
        broker.ack(found[0])
        broker.publish("second", after_stage(found[0].body))
        collect(cluster, 1)
        until(lambda: any(span.name == "send out" for span in told.spans))
    spans = told.of(trace_of("p1"))
    assert len(spans) == len(told.spans)
    assert only(spans, "process first").parent == only(spans, "process second").parent == ""
    assert only(spans, "process second").attributes["pero.page"] == "p1"
    assert only(spans, "send out").parent == only(spans, "process second").id


def after_stage(body: bytes) -> bytes:
    """Returns the page as one of upstream's workers leaves it."""
    request = decode_request(body)
    return encode_request(request.advanced(request.results, replace(request.logs[-1], stage="between")))


def test_publish_and_download_tell_of_their_pages(cluster: TestCluster, tmp_path: Path, told: Collector) -> None:
    cluster.add_stage("first", LINE + "FAIL_NAME = *bad*\n")
    cluster.add_stage("out")
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in ("good.jpg", "bad.jpg"):
        (scans / name).write_bytes(picture())
    environment = {**cluster.environment(), "XDG_STATE_HOME": str(tmp_path / "state")}

    def command(*arguments: str) -> None:
        subprocess.run([*PROGRAM, *arguments], check=False, capture_output=True, env=environment, timeout=120)

    with running_watchdog(cluster), running_worker(cluster, tmp_path), cluster.broker() as broker:
        command("publish", str(scans), "--stages", "first,out")
        until(lambda: (state := broker.state("out")) and state.messages == 2)
    command("download", "out", "-o", str(tmp_path / "texts"))
    sends = [span for span in told.spans if span.name == "send first" and span.service == "pero-client"]
    assert len(sends) == 2 and all(span.parent == "" for span in sends)
    tries: dict[bool, list[Told]] = {True: [], False: []}
    for send in sends:
        spans = told.of(send.trace)
        tried = [span for span in spans if span.name == "process first"]
        tries[len(tried) == 1] += tried
        assert tried[0].parent == send.id
        assert only(spans, "receive out").parent == only(spans, "send out").id
    assert [span.error for span in tries[True]] == [""]
    assert len(tries[False]) == 3 and all(span.error for span in tries[False])
    assert [span.attributes["pero.attempt"] for span in tries[False]] == [1, 2, 3]


@pytest.mark.parametrize("answers", ["nobody", "silence"])
def test_a_collector_that_is_away_stops_nothing(
    cluster: TestCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answers: str,
) -> None:
    """Nothing listens, or connections are taken but never answered: pages go on, it is logged once, and workers end."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        if answers == "nobody":
            silent.close()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
        cluster.add_stage("first", DUMMY)
        cluster.add_stage("out")
        with caplog.at_level(logging.WARNING), running_watchdog(cluster):
            with running_worker(cluster, tmp_path), cluster.broker() as broker:
                for number in range(60):
                    broker.publish("first", page(number, "first", "out"))
                assert len(collect(cluster, 60)) == 60
                until(lambda: len(said(caplog)) > 0)
                began = time.monotonic()
            assert time.monotonic() - began < 15
    assert len(said(caplog)) == 1


def said(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in caplog.records if "do not reach the collector" in record.getMessage()]
