"""Pages in and results out, as users do it: `publish`, `download`, `ocr --cluster`."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cluster.test_workers import DUMMY, collect, page, running_watchdog, running_worker, until
from library import library
from nasty import draw_text_picture

import pero_worker
from pero_worker.clock import SystemClock
from pero_worker.cluster.registry.workers import read_worker
from pero_worker.formats import pagexml
from pero_worker.page import Page
from pero_worker.request import Payload, Request, StageLog, StageStatus
from pero_worker.wire.queues import DEAD_LETTERS
from pero_worker.wire.requests import decode_request, encode_request

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

TIME = re.compile(rb"\d{4}-\d\d-\d\dT[\d:]+\+00:00")
RAPIDOCR = (Path(pero_worker.__file__).parent / "pipelines/rapidocr/config.ini").read_text()


def run(cluster: TestCluster, *arguments: object, expect: int | None = 0) -> str:
    """Runs a command and returns its output; with `expect` None any exit status will do."""
    command = [sys.executable, "-m", "pero_worker", *map(str, arguments)]
    environment = cluster.environment() | _state
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert expect is None or done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


_state: dict[str, str] = {}


@pytest.fixture(autouse=True)
def state(tmp_path: Path) -> Iterator[None]:
    """Keeps the record of what was published in a folder of the test's own."""
    _state["XDG_STATE_HOME"] = str(tmp_path / "state")
    yield
    _state.clear()


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    picture = draw_text_picture()
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        picture.save(folder / name / "page1.jpg", dpi=(150, 150))
    picture.convert("L").save(folder / "book.pdf", resolution=150)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    return folder


def files(folder: Path) -> set[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and ".pero-worker" not in path.parts)
    return {path.relative_to(folder).as_posix() for path in found}


def test_results_come_back_under_the_original_names(cluster: TestCluster, scans: Path, tmp_path: Path) -> None:
    pytest.importorskip("rapidocr")
    cluster.add_stage("ocr", RAPIDOCR)
    cluster.add_stage("out")
    said = run(cluster, "publish", scans, "--stages", "ocr,out", "--job", "box", expect=3)
    assert "3 pages sent as job box" in said and "broken" in said
    again = run(cluster, "publish", scans, "--stages", "ocr,out", "--job", "box", expect=3)
    assert "0 pages sent as job box, 3 sent before" in again
    out = tmp_path / "out"
    with running_watchdog(cluster), running_worker(cluster, tmp_path), cluster.broker() as broker:
        until(lambda: (state := broker.state("out")) and state.messages == 3, 120)
    said = run(cluster, "download", "out", "-o", out, "-f", "page,text")
    assert "3 pages in" in said and "stage ocr: 3 runs" in said
    names = ("a/page1", "b/page1", "book")
    assert files(out) == {f"{name}{suffix}" for name in names for suffix in (".page.xml", ".txt")} | {"report.jsonl"}
    assert (out / "a/page1.txt").read_text().strip()


def test_a_second_delivery_is_recognised_and_a_failed_page_listed(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("s1", "[WORKER]\nFAILTEST = yes\n")
    cluster.add_stage("out")
    with cluster.client() as client, cluster.broker() as broker, running_worker(cluster, tmp_path):
        broker.publish("s1", page(1, "s1", "out"))
        client.set("/pero/worker/status/w1/queue", b"s1")
        until(lambda: (state := broker.state("out")) and state.messages == 1)
        delivery = broker.get(["out"], "test", 10)
        assert delivery is not None
        for _ in range(2):
            broker.publish("out", delivery.body)
        broker.publish("out", b"\xff garbage")
        broker.ack(delivery)
    request = decode_request(delivery.body)
    assert [log.attempt for log in request.logs] == [1, 2, 3]
    said = run(cluster, "download", "out", "-o", tmp_path / "tree", expect=3)
    assert "1 page in" in said and "1 of them failed, 1 delivered before, 1 message set aside" in said
    with cluster.broker() as broker:
        for _ in range(2):
            broker.publish("out", encode_request(request))
        dead = broker.state(DEAD_LETTERS)
        assert dead is not None and dead.messages == 1
    said = run(cluster, "download", "out", "-o", tmp_path / "requests", "--layout", "requests", expect=3)
    assert "1 page in" in said and "1 delivered before" in said
    assert "Status        : Failed" in (tmp_path / "requests/r1/s1.log").read_text()


def test_ocr_on_the_cluster_is_ocr_on_one_machine(cluster: TestCluster, scans: Path, tmp_path: Path) -> None:
    pytest.importorskip("rapidocr")
    cluster.add_stage("ocr", RAPIDOCR)
    formats = ["-f", "page,text,pdf"]
    with running_watchdog(cluster), running_worker(cluster, tmp_path):
        said = run(
            cluster,
            "ocr",
            scans,
            "-o",
            tmp_path / "there",
            *formats,
            "--cluster",
            cluster.zookeeper,
            "--stages",
            "ocr",
            expect=3,
        )
        assert "3 pages done" in said and "1 failed" in said
        again = run(
            cluster,
            "ocr",
            scans,
            "-o",
            tmp_path / "there",
            *formats,
            "--cluster",
            cluster.zookeeper,
            "--stages",
            "ocr",
            expect=3,
        )
        assert "3 done before" in again
    run(cluster, "ocr", scans, "-o", tmp_path / "here", *formats, "--pipeline", "rapidocr", "--jobs", 1, expect=3)
    assert files(tmp_path / "there") == files(tmp_path / "here")
    for name in files(tmp_path / "here"):
        if name.endswith((".xml", ".txt")):
            there, here = ((tmp_path / run / name).read_bytes() for run in ("there", "here"))
            assert TIME.sub(b"", there) == TIME.sub(b"", here), name
    with cluster.client() as client:
        assert client.exists("/pero/worker/status/w1") is not None
    queues = cluster.rabbitmq.api("GET", f"queues/{cluster.vhost}")
    assert isinstance(queues, list)

    def of_jobs() -> list[Any]:
        found: Any = cluster.rabbitmq.api("GET", f"queues/{cluster.vhost}")
        return [queue for queue in found if queue["name"].startswith("job.")]

    until(lambda: not of_jobs())


def test_queues_are_listed(cluster: TestCluster) -> None:
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("results of mine")
    assert "results of mine" not in run(cluster, "queues")
    run(cluster, "servers", "add", "mq_monitoring", f"127.0.0.1:{cluster.rabbitmq.management}")
    # RabbitMQ's management interface lists a new queue only after a while.
    until(lambda: "results of mine" in run(cluster, "queues"))


def test_status_tells_what_failed_last(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("s1", "[WORKER]\nFAILTEST = yes\n")
    cluster.add_stage("out")
    with cluster.client() as client, cluster.broker() as broker, running_worker(cluster, tmp_path):
        client.set("/pero/worker/status/w1/queue", b"s1")
        broker.publish("s1", b"\xff garbage")
        until(lambda: "is set aside" in read_worker(client, "w1").last_error)
        broker.publish("s1", page(1, "s1", "out"))
        until(lambda: read_worker(client, "w1").failures == 4)  # three attempts at the page
        assert "page r1, stage s1: the dummy engine was told to fail" in read_worker(client, "w1").last_error
        assert "page r1" in run(cluster, "workers", "list")
        (worker,) = json.loads(run(cluster, "status", "--json"))["workers"]
        assert worker["facts"]["last_error"]["text"].startswith("page r1")


def test_status_goes_on_until_told_to_stop(cluster: TestCluster) -> None:
    """On a terminal it shows what changes."""
    cluster.add_stage("s1", DUMMY)
    terminal, theirs = pty.openpty()
    command = [sys.executable, "-m", "pero_worker", "status", "--watch"]
    process = subprocess.Popen(command, env=cluster.environment() | {"TERM": "xterm"}, stdout=theirs)
    os.close(theirs)

    def shown(text: bytes) -> bool:
        seen.extend(os.read(terminal, 10_000))
        return text in seen

    seen = bytearray()
    until(lambda: shown(b"s1"))
    cluster.add_stage("s2", DUMMY)
    until(lambda: shown(b"s2"))
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 0
    os.close(terminal)


def test_who_waits_for_workers_is_told_so(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("s1", DUMMY + "LINE = read\n")
    draw_text_picture().save(tmp_path / "a.png")
    command = [sys.executable, "-m", "pero_worker", "publish", str(tmp_path / "a.png"), "--stages", "s1,out", "--wait"]
    process = subprocess.Popen(
        [*command, "-o", str(tmp_path / "out")], env=cluster.environment(), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("no worker runs: ")
    with running_watchdog(cluster), running_worker(cluster, tmp_path):
        assert process.wait(60) == 0
    process.stderr.close()


def test_download_keeps_running_until_told_to_stop(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("out")
    command = [
        sys.executable,
        "-m",
        "pero_worker",
        "download",
        "out",
        "-o",
        str(tmp_path),
        "-k",
        "--layout",
        "requests",
    ]
    process = subprocess.Popen(command, env=cluster.environment(), stdout=subprocess.PIPE, text=True)
    with cluster.broker() as broker:
        for number in range(3):
            broker.publish("out", finished(f"p{number}", f"p{number}"))
            until(lambda number=number: (tmp_path / f"m-p{number}").is_dir())  # type: ignore[misc]
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=15)
    assert process.returncode == 0 and said.startswith("3 pages"), said


def test_what_cannot_be_done_is_said_in_one_line(cluster: TestCluster, scans: Path, tmp_path: Path) -> None:
    assert "no queue 'nowhere'" in run(cluster, "publish", scans, "--stages", "nowhere,out", expect=5)
    assert "output queue last" in run(cluster, "publish", scans, "--stages", "out", expect=2)
    assert "no queue 'nowhere'" in run(cluster, "download", "nowhere", "-o", tmp_path / "out", expect=5)
    assert not (tmp_path / "out").exists() and not (tmp_path / "state").exists(), "nothing was begun"
    assert "no such queue" in run(cluster, "queues", "nowhere")
    assert "no queue 'nowhere'" in run(
        cluster, "ocr", scans, "-o", tmp_path / "o", "--cluster", cluster.zookeeper, "--stages", "nowhere", expect=5
    )
    assert "--stages" in run(cluster, "ocr", scans, "-o", tmp_path / "o", "--cluster", cluster.zookeeper, expect=2)
    assert "start it" in run(cluster, "status", "-z", "127.0.0.1:1", expect=6)
    assert "correct the name" in run(cluster, "status", "-z", "nobody.invalid", expect=6)
    assert "no name for a stage" in run(cluster, "stage", "upload", "../up", scans, expect=5)
    assert "no config.ini" in run(cluster, "stage", "upload", "up", scans, expect=2)


def test_status(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("s1", DUMMY, version="7")
    with running_watchdog(cluster), running_worker(cluster, tmp_path):
        until(lambda: json.loads(run(cluster, "status", "--json"))["leader"] == "dog")
        state = json.loads(run(cluster, "status", "--json"))
        assert state["stages"][0]["name"] == "s1" and state["stages"][0]["messages"] == 0
        assert state["workers"][0]["name"] == "w1" and state["workers"][0]["status"] == "IDLE"
        shown = run(cluster, "status")
        assert "s1" in shown and "w1" in shown and "watchdog: dog" in shown
        assert "w1" in run(cluster, "workers", "list")
        assert "s1" in run(cluster, "queues")
        run(cluster, "workers", "stop", "w1")
        until(lambda: "DEAD" in run(cluster, "workers", "list"))
        run(cluster, "workers", "remove", "w1")
        assert "w1" not in run(cluster, "workers", "list")


def test_a_small_job_does_not_wait_behind_a_large_one(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("ocr", DUMMY)
    cluster.add_stage("out")
    for job, count in (("large", 30), ("small", 2)):
        (tmp_path / job).mkdir()
        for number in range(count):
            draw_text_picture().save(tmp_path / job / f"{number:02}.png")
        run(cluster, "publish", tmp_path / job, "--stages", "ocr,out", "--job", job)
    jobs = []
    with cluster.broker() as broker:
        while (taken := broker.take("ocr")) is not None:
            jobs.append(decode_request(taken[0].body).job)
            broker.ack(taken[0])
    assert jobs == ["large"] * 16 + ["small"] * 2 + ["large"] * 14
    run(cluster, "publish", tmp_path / "small", "--stages", "ocr,out", "--job", "polite", "--priority", "0")
    with cluster.broker() as broker:
        taken = broker.take("ocr")
        assert taken is not None and decode_request(taken[0].body).priority == 0


def finished(source: str, page_id: str, **changes: object) -> bytes:
    """Returns a message as a worker leaves it in an output queue."""
    now = SystemClock().now()
    log = StageLog(host_id="w1", stage="ocr", start=now, end=now, status=StageStatus.OK, version="1")
    xml = pagexml.write(Page(name="a.png", width=20, height=10), created=now, creator="test")
    results = (Payload(name="a.png", content=b"image"), Payload(name="a.png_page.xml", content=xml))
    made = Request(
        uuid=f"m-{page_id}",
        page_uuid=page_id,
        stages=("out",),
        results=results,
        logs=(log,),
        start_time=now,
        source=source,
    )
    return encode_request(replace(made, **changes))  # type: ignore[arg-type]


def test_no_message_stops_a_download(cluster: TestCluster, tmp_path: Path) -> None:
    """Names that clash, paths that no system accepts, garbage, many at once: each page gets its own files."""
    cluster.add_stage("out")
    sources = ["a", "a.page.xml/b", "/".join(["x" * 190] * 30), *(f"book/p{number}" for number in range(60)), "c"]
    with cluster.broker() as broker:
        for number, source in enumerate(sources):
            broker.publish("out", finished(source, f"page-0000000000{number}"))
            broker.publish("out", finished("book/p1", f"other-000000000{number:03}"))
        broker.publish("out", b"\xff garbage")
    said = run(cluster, "download", "out", "-o", tmp_path / "tree", "-f", "page")
    total = 2 * len(sources)
    assert f"{total} pages in" in said and "0 of them failed" in said and "1 message set aside" in said
    assert len([path for path in (tmp_path / "tree").rglob("*.page.xml") if path.is_file()]) == total
    assert len((tmp_path / "tree/report.jsonl").read_text().splitlines()) == total
    with cluster.broker() as broker:
        state = broker.state("out")
        assert state is not None and state.messages == 0


def test_pages_of_manifests_and_mets_are_published(cluster: TestCluster, tmp_path: Path) -> None:
    """Images are fetched by the publisher: workers need no access to the library's server."""
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("out")
    draw_text_picture().save(tmp_path / "1.png")
    files = "".join(f'<file ID="f{n}"><FLocat xlink:href="{n}.png"/></file>' for n in (1, 2))
    pages = "".join(f'<div TYPE="page" ID="P{n}"><fptr FILEID="f{n}"/></div>' for n in (1, 2))
    (tmp_path / "mets.xml").write_text(
        '<mets xmlns="http://www.loc.gov/METS/" xmlns:xlink="http://www.w3.org/1999/xlink"><fileSec><fileGrp USE="MAX">'
        f'{files}</fileGrp></fileSec><structMap TYPE="PHYSICAL"><div>{pages}</div></structMap></mets>'
    )
    with library() as server:
        body = {"id": server.put_picture("/c.jpg"), "type": "Image"}
        annotation = {"type": "Annotation", "motivation": "painting", "body": body, "target": "c"}
        canvas = {"id": "c", "type": "Canvas", "items": [{"type": "AnnotationPage", "items": [annotation]}]}
        film = {"id": "d", "type": "Canvas", "items": []}
        address = server.put("/m", {"id": "m", "type": "Manifest", "label": {"en": ["Codex"]}, "items": [canvas, film]})
        words = ("publish", tmp_path / "mets.xml", address, "--stages", "s1,out", "--job", "b")
        said = run(cluster, *words, expect=3)
        assert "2 pages sent as job b, 1 not sent" in said and "the file '2.png' is not there" in said
        assert "2 sent before" in run(cluster, *words, expect=3)
    sent = collect(cluster, 2, "s1")
    assert sorted(request.source for request in sent) == ["Codex/0001", "mets/P1"]
    assert all(request.results[0].content for request in sent)
