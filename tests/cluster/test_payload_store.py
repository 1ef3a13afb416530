"""Images and results outside the broker, on real servers: stores of every kind, unavailable and back, damaged, and
shared with other people's programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from cluster import upstream
from cluster.conftest import TestCluster
from cluster.test_model_remote import PASSWORD, USER, known_line, s3, web
from cluster.test_publish_download import state
from cluster.test_workers import collect, running_watchdog, running_worker, until
from gateway.conftest import picture, roles_of, running
from PIL import Image

from pero_worker.clock import SystemClock
from pero_worker.cluster.registry.payloads import PayloadSettings, read_settings, save_settings
from pero_worker.cluster.status import ClusterWatcher
from pero_worker.request import Request
from pero_worker.servers.daemon import free_port
from pero_worker.servers.sftp import host_key
from pero_worker.stores.location import StoreAccess
from pero_worker.stores.objects import ObjectStore

if TYPE_CHECKING:
    pass

__all__ = ["s3", "state"]
STAGE = "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nLINE = {}\n"
READING = STAGE + "NEEDS_IMAGE = yes\n"
PAGES = 3


@dataclass
class Store:
    """A payload server that `stop` takes away and `start` brings back."""

    url: str
    access: StoreAccess = field(default_factory=StoreAccess)
    environment: dict[str, str] = field(default_factory=dict)
    start: Callable[[], object] = lambda: None
    stop: Callable[[], object] = lambda: None

    def objects(self) -> list[str]:
        store = ObjectStore(self.url, self.access)
        try:
            return [one.key for folder in store.folders() for one in store.objects(folder)]
        finally:
            store.close()


@contextmanager
def sftp_store(folder: Path) -> Iterator[Store]:
    root, key, known, port = folder / "root", folder / "host_key", folder / "known_hosts", free_port()
    root.mkdir(parents=True)
    address = f"127.0.0.1:{port}"
    host_key(key)
    known.write_text(known_line(address, key))
    running: list[subprocess.Popen[str]] = []
    options = ["--user", USER, "--root", str(root), "--host-key", str(key), "--port", str(port)]

    def start() -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "pero_worker.servers.sftp", *options],
            env={**os.environ, "PERO_WORKER_SERVER_PASSWORD": PASSWORD},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline()
        running.append(process)

    def stop() -> None:
        process = running.pop()
        process.kill()
        with process:
            process.wait()

    start()
    access = StoreAccess(user=USER, password=PASSWORD, known_hosts=known, timeout=5)
    password = folder / "password"
    password.write_text(PASSWORD)
    environment = {"PERO_WORKER_KNOWN_HOSTS": str(known)}
    try:
        yield Store(f"sftp://{address}/deep/payloads", access, environment, start, stop)
    finally:
        while running:
            stop()


class Dav:
    """The part of WebDAV that a store needs, in memory."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.folders = {"/"}
        self.away = False

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        path = handler.path
        parent = path.rstrip("/").rpartition("/")[0] + "/"
        status, content = 404, b""
        if self.away:
            status = 503
        elif handler.command == "GET" and path in self.files:
            status, content = 200, self.files[path]
        elif handler.command == "PUT":
            status = 201 if parent in self.folders else 409
            if status == 201:
                self.files[path] = body
        elif handler.command == "MKCOL":
            status = 201 if parent in self.folders and path not in self.folders else 405
            if status == 201:
                self.folders.add(path)
        elif handler.command == "DELETE" and (path in self.files or path in self.folders):
            status = 204
            self.files.pop(path, None)
            self.folders.discard(path)
        elif handler.command == "PROPFIND" and path in self.folders:
            status, content = 207, self._listing(path)
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _listing(self, path: str) -> bytes:
        rows = [f"<D:response><D:href>{path}</D:href></D:response>"]
        for name in sorted(self.folders | set(self.files)):
            if name != path and name.rstrip("/").rpartition("/")[0] + "/" == path:
                kind = "<D:collection/>" if name in self.folders else ""
                size = len(self.files.get(name, b""))
                rows.append(
                    f"<D:response><D:href>{name}</D:href><D:propstat><D:prop><D:resourcetype>{kind}</D:resourcetype>"
                    f"<D:getcontentlength>{size}</D:getcontentlength>"
                    f"<D:getlastmodified>{formatdate(usegmt=True)}</D:getlastmodified></D:prop></D:propstat></D:response>"
                )
        return f"<?xml version='1.0'?><D:multistatus xmlns:D='DAV:'>{''.join(rows)}</D:multistatus>".encode()


@pytest.fixture(params=["file", "sftp", "s3", "http"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    match request.param:
        case "file":
            yield Store(f"file://{tmp_path}/payloads")
        case "sftp":
            with sftp_store(tmp_path / "sftp") as served:
                yield served
        case "s3":
            request.getfixturevalue("s3")
            yield Store("s3://models/payloads")
        case "http":
            with web(Dav().answer) as address:
                yield Store(f"http://{address}/farm/payloads")


@pytest.fixture
def served(cluster: TestCluster, store: Store) -> TestCluster:
    return with_store(cluster, store)


def with_store(cluster: TestCluster, store: Store, **settings: Any) -> TestCluster:
    """Returns the cluster, set up to use the store."""
    made = ObjectStore(store.url, store.access)
    made.prepare()
    made.close()
    with cluster.client() as client:
        save_settings(client, PayloadSettings(**{"url": store.url, "min_bytes": 1000, "outputs": ("out",), **settings}))
    return replace(cluster, access=replace(cluster.access, store=store.access))


def scans(folder: Path, count: int = PAGES) -> Path:
    folder.mkdir()
    noise = np.random.default_rng(7)
    for number in range(count):
        Image.fromarray(noise.integers(0, 255, (100, 120), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def waiting(cluster: TestCluster, queue: str) -> list[bytes]:
    """Returns the messages in a queue without removing them."""
    with cluster.broker() as broker:
        found = []
        while (taken := broker.take(queue)) is not None:
            found.append(taken[0].body)
        return found


def texts(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in folder.glob("*.txt")}


@contextmanager
def working(cluster: TestCluster, tmp_path: Path, *names: str) -> Iterator[None]:
    with running_watchdog(cluster), running_worker(cluster, tmp_path, store=cluster.access.store):
        yield


def settled(store: Store) -> None:
    until(lambda: not store.objects())


def program(cluster: TestCluster, store: Store, *arguments: object, expect: int = 0) -> str:
    """Runs a command with access to the store."""
    done = subprocess.run(
        [sys.executable, "-m", "pero_worker", *map(str, arguments)],
        env={**cluster.environment(), **store.environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def publish(cluster: TestCluster, folder: Path, *stages: str, job: str = "box") -> None:
    """Publishes as the command does, with the test's access to the store."""
    from pero_worker.cluster.opening import open_cluster  # noqa: PLC0415
    from pero_worker.cluster.pages.publish import PublishCounts, PublishOptions, publish_job  # noqa: PLC0415
    from pero_worker.inputs.discover import discover  # noqa: PLC0415

    counts = PublishCounts()
    with open_cluster(cluster.access) as opened:
        publish_job(discover([str(folder)]).documents, opened, PublishOptions(job=job, stages=stages), counts)
    assert not counts.failed


def download(cluster: TestCluster, folder: Path, queue: str = "out", *, keep_failed: bool = False) -> Any:
    from pero_worker.cluster.opening import open_cluster  # noqa: PLC0415
    from pero_worker.cluster.pages.download import DownloadCounts  # noqa: PLC0415
    from pero_worker.cluster.pages.download import download as take  # noqa: PLC0415
    from pero_worker.cluster.pages.resulttree import ResultTree  # noqa: PLC0415
    from pero_worker.jobs.outputs import OutputFolder  # noqa: PLC0415

    counts = DownloadCounts()
    tree = ResultTree(OutputFolder(folder), ("page", "text"), SystemClock())
    with open_cluster(cluster.access) as opened:
        try:
            take(
                opened.broker,
                queue,
                tree,
                SystemClock(),
                keep_running=False,
                stopped=threading.Event(),
                downloaded=counts,
                keep_failed=keep_failed,
                payloads=opened.payloads,
            )
        finally:
            tree.close()
    return counts


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_pages_go_through_three_stages_by_reference(served: TestCluster, store: Store, tmp_path: Path) -> None:
    for name in ("s1", "s2", "s3"):
        served.add_stage(name, READING.format(name))
    served.add_stage("out")
    publish(served, scans(tmp_path / "scans"), "s1", "s2", "s3", "out")
    assert len(store.objects()) == PAGES
    assert max(map(len, waiting(served, "s1"))) < 1000
    with working(served, tmp_path), served.broker() as broker:
        until(lambda: broker.lengths(["out"])["out"] == PAGES)
    assert max(map(len, waiting(served, "out"))) < 3000
    counts = download(served, tmp_path / "results")
    assert (counts.pages, counts.failed) == (PAGES, 0)
    for number, text in texts(tmp_path / "results").items():
        size = (tmp_path / "scans" / f"{number}.png").stat().st_size
        assert list(filter(None, text.splitlines())) == [
            f"{name}: {number}.png, {size} bytes" for name in ("s1", "s2", "s3")
        ]
    assert len(texts(tmp_path / "results")) == PAGES
    settled(store)


def test_a_store_that_is_away_costs_no_page_an_attempt(cluster: TestCluster, tmp_path: Path) -> None:
    with sftp_store(tmp_path / "sftp") as store:
        served = with_store(cluster, store)
        served.add_stage("s1", READING.format("s1") + "TIME_LIMIT = 20\n")
        served.add_stage("out")
        publish(served, scans(tmp_path / "scans"), "s1", "out")
        store.stop()
        with served.client() as client, working(served, tmp_path):
            from pero_worker.cluster.registry.workers import read_worker  # noqa: PLC0415

            until(lambda: "payload store cannot be used" in read_worker(client, "w1").message)
            with ClusterWatcher(served.access, SystemClock().now) as watcher:
                look = watcher.look()
            assert "payload store" in dict(look.look.away)
            assert any(problem.subject == "payload store" for problem in look.problems)
            store.start()
            done = collect(served, PAGES)
        assert [(log.status, log.attempt) for request in done for log in request.logs] == [("OK", 1)] * PAGES
        with ClusterWatcher(served.access, SystemClock().now) as watcher:
            assert not watcher.look().look.away


def test_a_payload_that_is_gone_or_changed_fails_its_page_alone(cluster: TestCluster, tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/payloads")
    served = with_store(cluster, store)
    served.add_stage("s1", READING.format("s1"))
    served.add_stage("out")
    publish(served, scans(tmp_path / "scans"), "s1", "out")
    gone, changed, _ = sorted((tmp_path / "payloads").glob("*/*"))
    gone.unlink()
    changed.write_bytes(changed.read_bytes()[::-1])
    with working(served, tmp_path), served.broker() as broker:
        until(lambda: broker.lengths(["out"])["out"] == PAGES)
    counts = download(served, tmp_path / "results", keep_failed=True)
    assert (counts.pages, counts.failed) == (PAGES, 2)
    reasons = sorted(reason for _, reason in counts.failures)
    assert "is not in the payload store any more" in reasons[0] + reasons[1]
    assert "is not what was put there" in reasons[0] + reasons[1]
    # One of them can still be inspected, and dropped along with its contents.
    assert len(store.objects()) == 1
    listed = program(served, store, "dead", "list")
    assert "not in the payload store" in listed
    program(served, store, "dead", "drop", "--all")
    settled(store)


def test_a_page_that_came_twice_is_known_although_its_payloads_are_gone(cluster: TestCluster, tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/payloads")
    served = with_store(cluster, store)
    served.add_stage("s1", READING.format("s1"))
    served.add_stage("out")
    publish(served, scans(tmp_path / "scans", 1), "s1", "out")
    (twice,) = waiting(served, "s1")
    with working(served, tmp_path), served.broker() as broker:
        until(lambda: broker.lengths(["out"])["out"] == 1)
        assert download(served, tmp_path / "results").pages == 1
        settled(store)
        broker.publish("s1", twice)
        until(lambda: broker.lengths(["out"])["out"] == 1)
        counts = download(served, tmp_path / "results")
    assert (counts.pages, counts.duplicates, counts.refused, counts.failed) == (0, 1, 0, 0)
    (record,) = map(json.loads, (tmp_path / "results" / "report.jsonl").read_text().splitlines())
    assert record["status"] == "done"


def test_programs_of_others_get_whole_messages(cluster: TestCluster, tmp_path: Path) -> None:
    """One of upstream's workers serves a stage, and upstream's client empties the output queue."""
    store = Store(f"file://{tmp_path}/payloads")
    served = with_store(cluster, store, inline=("theirs",), outputs=())
    for name in ("s1", "theirs", "s3"):
        served.add_stage(name, READING.format(name))
    served.add_stage("out")
    folder = scans(tmp_path / "scans")
    publish(served, folder, "s1", "theirs", "s3", "out")
    images = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert max(map(len, waiting(served, "s1"))) < 1000
    with upstream.Worker(served, "its") as its, working(served, tmp_path):
        with served.broker() as broker:
            until(lambda: broker.lengths(["out"])["out"] == PAGES, 60)
        with served.client() as client:
            # Not even when it is idle.
            assert client.get("/pero/worker/status/its/queue")[0] in {b"", b"theirs"}
        assert its.problem is None
    for body in waiting(served, "out"):
        message = upstream.UpstreamRequest.FromString(body)
        assert message.results[0].content == images[message.results[0].name]
        assert [log.status for log in message.logs] == ["OK"] * 3
        assert b"s1: " in message.results[1].content and b"s3: " in message.results[1].content
    assert download(served, tmp_path / "results").failed == 0
    settled(store)


def test_references_of_strangers_are_not_followed(cluster: TestCluster, tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/payloads")
    served = with_store(cluster, store)
    secret = tmp_path / "payloads" / "2026112500" / "secret"
    secret.parent.mkdir()
    secret.write_bytes(b"secret")
    served.add_stage("s1", READING.format("s1"))
    served.add_stage("out")
    from pero_worker.request import Payload  # noqa: PLC0415
    from pero_worker.wire.references import store_mark  # noqa: PLC0415
    from pero_worker.wire.requests import encode_request  # noqa: PLC0415

    mark = store_mark(store.url)
    references = [
        f"file://{secret}?page=0&dpi=300",
        "http://127.0.0.1:1/x",
        f"payload:{mark}/2026112500/secret?bytes=6&sha256={'0' * 64}",
        f"payload:{mark}/../../../{secret}?bytes=6&sha256={'0' * 64}",
        f"payload:{mark}/2026112500/{'e' * 32}?bytes=536870912&sha256={'0' * 64}",
        f"payload:00000000/2026112500/{'e' * 32}?bytes=6&sha256={'0' * 64}",
    ]
    with working(served, tmp_path), served.broker() as broker:
        for number, reference in enumerate(references):
            payload = Payload(name="a.png", reference=reference)
            request = Request(uuid=f"r{number}", page_uuid=f"p{number}", stages=("s1", "out"), results=(payload,))
            broker.publish("s1", encode_request(request))
        done = collect(served, len(references))
    for request in done:
        assert request.failed and [log.attempt for log in request.logs] == [1], request
        assert b"secret" not in encode_request(replace(request, results=(), logs=()))
    assert not any(payload.content for request in done for payload in request.results)


def test_commands(cluster: TestCluster, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/payloads"
    store = Store(url)
    (tmp_path / "payloads").mkdir()
    cluster.add_stage("s1", STAGE.format("s1"))
    assert "- (everything travels in messages)" in program(cluster, store, "payloads", "show")
    assert "has no payload store" in program(cluster, store, "payloads", "list", expect=2)
    assert "a login here" in program(cluster, store, "payloads", "set", "sftp://u:p@h/f", expect=2)
    assert "name the store" in program(cluster, store, "payloads", "set", "--keep-days", "3", expect=2)
    with upstream.Worker(cluster, "its"), cluster.client() as client:
        client.set("/pero/worker/status/its/queue", b"s1")
        assert "cannot follow references: its (s1)" in program(cluster, store, "payloads", "set", url, expect=2)
        assert read_settings(client) == PayloadSettings()
        program(cluster, store, "payloads", "set", url, "--inline", "s1", "--output", "out", "--min-size", "5")
    with cluster.client() as client:
        wanted = PayloadSettings(url=url, inline=("s1",), outputs=("out",), min_bytes=5000)
        assert read_settings(client) == wanted
        program(cluster, store, "payloads", "set", "--keep-days", "3", "--inline", "")
        assert read_settings(client) == replace(wanted, keep_days=3.0, inline=())
    assert "the store answers" in program(cluster, store, "payloads", "show")
    hour = tmp_path / "payloads" / "2026110100"
    hour.mkdir()
    (hour / ("a" * 32)).write_bytes(b"x" * 3000)
    os.utime(hour / ("a" * 32), (1_700_000_000, 1_700_000_000))
    assert "2026-11-01" in program(cluster, store, "payloads", "list")
    assert "1 payload (3 kB) would be removed" in program(cluster, store, "payloads", "clean", "--dry-run")
    assert "1 payload (3 kB) removed" in program(cluster, store, "payloads", "clean")
    assert not hour.exists()
    program(cluster, store, "payloads", "off")
    with cluster.client() as client:
        assert read_settings(client) == replace(wanted, url="", keep_days=3.0, inline=(), earlier=(url,))
    (tmp_path / "payloads" / "pero-payloads").unlink()
    assert "mount its disk" in program(cluster, store, "payloads", "list", expect=6)


def test_publish_and_wait_and_the_gateway(cluster: TestCluster, tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/payloads")
    served = with_store(cluster, store, outputs=(), min_bytes=100)
    served.add_stage("s1", READING.format("s1"))
    served.add_stage("out")
    folder = scans(tmp_path / "scans")
    with working(served, tmp_path):
        program(served, store, "publish", folder, "--stages", "s1,out", "--wait", "-o", tmp_path / "one", "-f", "text")
        assert len(texts(tmp_path / "one")) == PAGES
        settled(store)
        program(served, store, "publish", folder, "--stages", "s1,out")
        with served.broker() as broker:
            until(lambda: broker.lengths(["out"])["out"] == PAGES)
        # Which client empties it is unknown.
        assert min(map(len, waiting(served, "out"))) > 10_000
        program(served, store, "download", "out", "-o", tmp_path / "two", "-f", "text")
        assert texts(tmp_path / "two") == texts(tmp_path / "one")
        settled(store)
        options = ("--cluster", served.zookeeper, "--engine", "one=s1")
        with running(tmp_path / "data", *options, environment=served.environment()) as gateway:
            user = roles_of(gateway).user
            job = user.create("a.jpg", engine_name="one")
            assert user.upload(job, "a.jpg", picture()).status_code == 201
            assert user.wait(job)["state"] == "done"
        settled(store)
