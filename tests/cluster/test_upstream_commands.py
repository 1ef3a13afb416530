"""The rest of upstream's command lines on real servers: every flag, and what it leaves behind to the byte."""

from __future__ import annotations

import argparse
import http.server
import json
import random
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pero_worker.cli.upstream import (
    controller,
    dummy_msg_generator,
    log_daemon,
    mq_server_config_manager,
    server_config_manager,
    stage_config_manager,
    stats,
)
from pero_worker.cluster.access import ClusterAccess
from pero_worker.cluster.management import Management, ManagementAccess
from pero_worker.cluster.registry.archives import remove_archive
from pero_worker.cluster.registry.servers import FTP, MONITORING, add_servers, list_names
from pero_worker.cluster.settings import ConnectionOptions, cluster_access
from pero_worker.cluster.setup.certificates import new_authority, sign_server
from pero_worker.errors import NoInputError, StageError, TransientError, UsageError
from pero_worker.request import Payload, Request, StageLog
from pero_worker.servers.daemon import Daemon, answers, free_port
from pero_worker.stores.location import StoreAccess
from pero_worker.wire.requests import decode_request, encode_request
from pero_worker.wire.servers import Server

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

HOME = Path(__file__).parents[2]
DUMMY = "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\n"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PRIORITY_0, PRIORITY_3 = b"\0" * 28, b"\0" * 27 + b"\3"
COMMANDS = {
    "controller": controller,
    "stage_config_manager": stage_config_manager,
    "server_config_manager": server_config_manager,
    "dummy_msg_generator": dummy_msg_generator,
    "stats": stats,
    "mq_server_config_manager": mq_server_config_manager,
    "log_daemon": log_daemon,
}


@pytest.fixture
def upstream_command(
    cluster: TestCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Calls one of upstream's commands on the cluster; returns what it printed."""
    monkeypatch.setenv("PERO_WORKER_VHOST", cluster.vhost)

    def call(module: Any, *arguments: object, **options: object) -> str:
        capsys.readouterr()
        module.main(["-z", cluster.zookeeper, *map(str, arguments)], **options)
        return capsys.readouterr().out

    return call


@pytest.fixture
def ftp(cluster: TestCluster, tmp_path: Path) -> Iterator[Path]:
    """The root of a registered FTP server."""
    root = tmp_path / "ftp-root"
    root.mkdir()
    port = free_port()
    server = Daemon(name="ftp", folder=tmp_path / "ftp")
    options = ["--host", "127.0.0.1", "--port", str(port), "--root", str(root), "--user", "pero"]
    command = [sys.executable, "-m", "pero_worker.servers.ftp", *options]
    server.start(command, {"PERO_WORKER_SERVER_PASSWORD": "pero"})
    server.wait_until(lambda: answers(port))
    with cluster.client() as client:
        add_servers(client, FTP, [f"127.0.0.1:{port}"])
    yield root
    server.stop()


def until(condition: Callable[[], object], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def tree(cluster: TestCluster, path: str) -> dict[str, bytes]:
    """Returns the nodes below `path` with their values."""
    with cluster.client() as client:
        found: dict[str, bytes] = {}
        if client.exists(path) is not None:
            for name in client.get_children(path):
                found[name] = client.get(f"{path}/{name}")[0]
        return found


def messages(cluster: TestCluster, queue: str) -> int | None:
    with cluster.broker() as broker:
        state = broker.state(queue)
        return None if state is None else state.messages


# -- all commands -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_help_tells_every_flag(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsers: list[argparse.ArgumentParser] = []
    monkeypatch.setattr(argparse.ArgumentParser, "print_help", lambda self, *_: parsers.append(self))
    with pytest.raises(SystemExit) as ended:
        COMMANDS[name].main(["--help"])
    assert ended.value.code == 0
    assert len(parsers[0]._actions) > 3
    assert not [action.option_strings for action in parsers[0]._actions if not action.help]
    assert f"from pero_worker.cli.upstream.{name} import main" in (HOME / "scripts" / f"{name}.py").read_text()


def test_an_error_is_one_line_and_a_status(cluster: TestCluster) -> None:
    command = [sys.executable, "scripts/stage_config_manager.py", "-z", cluster.zookeeper, "--show", "nothing"]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == "stage_config_manager.py: there is no stage 'nothing'; known: none\n"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "stats"])
def test_the_login_is_for_all_servers(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the login is used for is tested in test_security."""
    what = {
        "controller": ["--status"],
        "stage_config_manager": ["--list"],
        "server_config_manager": ["--list-mq-servers"],
        "dummy_msg_generator": ["-t", "s1", "out", "-y", "1"],
        "mq_server_config_manager": ["-s"],
        "log_daemon": [],
    }[name]
    found: list[ClusterAccess] = []

    def stop(given: ConnectionOptions) -> None:
        found.append(cluster_access(given))
        raise InterruptedError

    monkeypatch.setattr(COMMANDS[name], "cluster_access", stop)
    (tmp_path / "ca.pem").touch()
    for flags in (["-u", "-p", "-e"], ["--user", "--password", "--ca-cert"], ["--username", "--password", "-e"]):
        login = [part for pair in zip(flags, ("me", "secret", str(tmp_path / "ca.pem")), strict=True) for part in pair]
        with pytest.raises(InterruptedError):
            COMMANDS[name].main([*what, "-z", "zoo1", "zoo2:2182", *login])
    for access in found:
        for part in (access.zookeeper, access.broker):
            assert (part.user, part.password, part.ca_cert) == ("me", "secret", str(tmp_path / "ca.pem"))
        assert access.zookeeper.hosts == "zoo1:2181,zoo2:2182"
    monkeypatch.undo()
    with pytest.raises(UsageError, match="no certificate"):
        COMMANDS[name].main([*what, "-e", str(tmp_path / "none.pem")])


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in {"log_daemon", "stats"}])
def test_nothing_to_do_is_wrong_usage(name: str) -> None:
    with pytest.raises(SystemExit) as ended:
        COMMANDS[name].main([])
    assert ended.value.code == 2


# -- controller ------------------------------------------------------------------------------------------------


def add_worker(cluster: TestCluster, name: str, status: bytes = b"IDLE", queue: bytes = b"") -> None:
    """Registers a worker as the first release's worker does."""
    with cluster.client() as client:
        for leaf, value in (("status", status), ("queue", queue), ("enabled", b"true"), ("unlock_time", b"")):
            client.create(f"/pero/worker/status/{name}/{leaf}", value, makepath=True)


def test_the_controller_shows_and_commands_workers(cluster: TestCluster, upstream_command: Callable[..., str]) -> None:
    cluster.add_stage("s1", DUMMY)
    add_worker(cluster, "w1")
    add_worker(cluster, "w2", b"PROCESSING", b"s1")
    assert upstream_command(controller, "-s") == (
        "Worker ID: w1, status: IDLE, queue: \nWorker ID: w2, status: PROCESSING, queue: s1\n"
    )
    upstream_command(controller, "--switch", "w1", "s1")
    assert tree(cluster, "/pero/worker/status/w1")["queue"] == b"s1"
    upstream_command(controller, "-i", "w1", "")
    assert tree(cluster, "/pero/worker/status/w1")["queue"] == b""
    with pytest.raises(StageError, match="no stage 'nothing'"):
        upstream_command(controller, "-i", "w1", "nothing")
    with pytest.raises(UsageError, match="no worker 'w0'"):
        upstream_command(controller, "-i", "w0", "s1")
    with pytest.raises(UsageError, match=r"^there is no worker 'w0'"):
        upstream_command(controller, "-d", "w0", "w1", "w2")
    for name in ("w1", "w2"):
        assert tree(cluster, f"/pero/worker/status/{name}")["enabled"] == b"false"
    with cluster.client() as client:
        client.create("/pero/worker/status/w2/status/connected", b"true", ephemeral=True)
        with pytest.raises(UsageError, match="w2 is connected"):
            upstream_command(controller, "--remove", "w2", "w1")
    assert list(tree(cluster, "/pero/worker/status")) == ["w2"]


def test_the_controller_shows_queues(cluster: TestCluster, upstream_command: Callable[..., str]) -> None:
    cluster.add_stage("s1", DUMMY, priority=3)
    cluster.add_stage("s2", DUMMY, priority=-1)
    cluster.add_stage("out")
    with cluster.client() as client, cluster.broker() as broker:
        client.set("/pero/queue/s1/avg_msg_time", (0.5).hex().encode())
        client.set("/pero/queue/s1/waiting_since", b"2026-01-02T03:04:05+00:00")
        for _ in range(3):
            broker.publish("s1", b"page")
        broker.delete("s2")
    assert upstream_command(controller, "--queues").splitlines() == [
        "Queue: s1, messages: 3, priority: 3, mean time: 0.500 s, waiting: 2026-01-02T03:04:05+00:00",
        "Queue: s2, messages: no queue, priority: -1, mean time: -, waiting: -",
        "Queue: out, messages: 0",
    ]


def test_a_server_list_in_a_file(cluster: TestCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_worker(cluster, "w1")
    (tmp_path / "servers").write_text(cluster.zookeeper + "\n")
    controller.main(["-l", str(tmp_path / "servers"), "--status"])
    assert capsys.readouterr().out.startswith("Worker ID: w1")


# -- server_config_manager -------------------------------------------------------------------------------------


def test_servers_of_all_kinds(cluster: TestCluster, upstream_command: Callable[..., str]) -> None:
    def registered(kind: str) -> dict[str, bytes]:
        return tree(cluster, f"/pero/worker/config/{kind}_servers")

    upstream_command(server_config_manager, "--rm-mq-servers", "all")
    assert registered("mq") == {}
    adding = ["--add-mq-servers", "mq1:5672", "[::1]:5673", "--add-ftp-servers", "ftp1:2121", "127.0.0.1:22"]
    upstream_command(server_config_manager, *adding, "--add-monitoring-servers", "mq1")
    assert registered("mq") == {"mq1:5672": b"", "[::1]:5673": b""}
    assert registered("ftp") == {"ftp1:2121": b"", "127.0.0.1:22": b""}
    assert registered("mq_monitoring") == {"mq1": b""}
    listing = ["--list-mq-servers", "--list-ftp-servers", "--list-monitoring-servers"]
    # Removed first, then added, then listed.
    replacing = ["--rm-mq-servers", "mq1:5672", "--rm-ftp-servers", "all", "--add-ftp-servers", "ftp2:21"]
    assert upstream_command(
        server_config_manager, *replacing, "--rm-monitoring-servers", "mq1", *listing
    ).splitlines() == [
        "MQ server list:",
        "[::1]:5673",
        "FTP server list:",
        "ftp2:21",
        "Monitoring server list:",
    ]
    with pytest.raises(UsageError, match="no mq server mq9; registered: "):
        upstream_command(server_config_manager, "--rm-mq-servers", "mq9")
    with pytest.raises(UsageError, match="port"):
        upstream_command(server_config_manager, "--add-mq-servers", "mq9", "mq8:70000")
    assert registered("mq") == {"[::1]:5673": b""}


# -- stage_config_manager --------------------------------------------------------------------------------------


def test_a_stage_as_upstream_writes_it(
    cluster: TestCluster, upstream_command: Callable[..., str], tmp_path: Path
) -> None:
    config = tmp_path / "config.ini"
    config.write_text(DUMMY)
    before = datetime.now(UTC)
    upstream_command(stage_config_manager, "-n", "s1", "-c", config)
    nodes = tree(cluster, "/pero/queue/s1")
    written = nodes.pop("config_version").decode()
    assert before <= datetime.fromisoformat(written) <= datetime.now(UTC) and written.endswith("+00:00")
    assert nodes == {
        "config": DUMMY.encode(),
        "config_path": b"",
        "administrative_priority": PRIORITY_0,
        "avg_msg_time": b"",
        "avg_msg_time_lock": b"",
        "waiting_since": b"",
    }
    assert messages(cluster, "s1") == 0

    config.write_text(DUMMY + "TIME_DELTA = 0\n")
    upstream_command(stage_config_manager, "-n", "s1", "-c", config, "-r", "m/a.tar.xz", "-a", 3, "-v", "7")
    nodes = tree(cluster, "/pero/queue/s1")
    assert nodes["config"] == (DUMMY + "TIME_DELTA = 0\n").encode()
    assert nodes["config_path"] == b"m/a.tar.xz"
    assert nodes["config_version"] == b"7"
    assert nodes["administrative_priority"] == PRIORITY_3

    upstream_command(stage_config_manager, "-n", "s1", "-r", "m/b.tar.xz", "--keep-version", "-v", "8")
    assert tree(cluster, "/pero/queue/s1")["config_version"] == b"7"
    assert tree(cluster, "/pero/queue/s1")["config_path"] == b"m/b.tar.xz"
    shown = upstream_command(stage_config_manager, "--show", "s1", "--list")
    assert shown == (
        f"Configured stages:\ns1\nStage s1 configuration:\nOCR Configuration:\n{DUMMY}TIME_DELTA = 0\n\n"
        "OCR Model path on FTP server: m/b.tar.xz\nOCR Configuration version: 7\nQueue administrative priority: 3\n"
    )
    upstream_command(stage_config_manager, "-n", "s1", "-v", "now")
    assert tree(cluster, "/pero/queue/s1")["config_version"] > before.isoformat().encode()
    upstream_command(stage_config_manager, "-n", "s1", "-a", "-1")
    assert "priority: -1" in upstream_command(stage_config_manager, "-s", "s1")

    upstream_command(stage_config_manager, "-n", "out")
    assert messages(cluster, "out") == 0
    assert upstream_command(stage_config_manager, "-i") == "Configured stages:\ns1\n"


def test_archives_come_and_go_with_their_stages(
    cluster: TestCluster, upstream_command: Callable[..., str], ftp: Path, tmp_path: Path
) -> None:
    config, packed = tmp_path / "config.ini", tmp_path / "a.tar.xz"
    config.write_text(DUMMY)
    packed.write_bytes(b"first")
    for name in ("s1", "s2"):
        upstream_command(
            stage_config_manager, "-n", name, "-c", config, "-f", packed, "-r", "models/x/a.tar.xz", "-v", "1"
        )
    assert (ftp / "models/x/a.tar.xz").read_bytes() == b"first"
    digest = tree(cluster, "/pero/queue/s1")["archive_digest"]
    # Another archive in the same place, without a new version: the digest is updated.
    packed.write_bytes(b"second")
    upstream_command(stage_config_manager, "-f", packed, "-r", "models/x/a.tar.xz")
    nodes = tree(cluster, "/pero/queue/s1")
    assert nodes["archive_digest"] != digest and nodes["config_version"] == b"1"
    assert nodes["archive_digest"] == tree(cluster, "/pero/queue/s2")["archive_digest"]

    with cluster.broker() as broker:
        broker.publish("s1", b"page")
    assert upstream_command(stage_config_manager, "-d", "-k", "-n", "s1") == "1 message went with the queue s1\n"
    assert messages(cluster, "s1") is None
    assert tree(cluster, "/pero/queue/s1")["config_path"] == b"models/x/a.tar.xz"
    upstream_command(stage_config_manager, "-n", "s1")
    assert "it is used by: s2" in upstream_command(stage_config_manager, "-d", "-n", "s1")
    assert "it is used by: s2" in upstream_command(stage_config_manager, "-d", "-r", "models/x/a.tar.xz")
    assert (ftp / "models/x/a.tar.xz").exists()
    upstream_command(stage_config_manager, "--delete", "--name", "s2")
    assert not (ftp / "models").exists()
    assert tree(cluster, "/pero/queue") == {}
    with pytest.raises(StageError, match="neither a stage nor a queue"):
        upstream_command(stage_config_manager, "-d", "-n", "s2")
    # An archive whose stage is gone.
    (ftp / "b.tar").write_bytes(b"b")
    upstream_command(stage_config_manager, "-d", "-r", "b.tar")
    assert not (ftp / "b.tar").exists()
    with pytest.raises(StageError, match=r"b\.tar"):
        upstream_command(stage_config_manager, "-d", "-r", "b.tar")


def test_what_cannot_be_is_refused_before_anything_is_written(
    cluster: TestCluster, upstream_command: Callable[..., str], ftp: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "a.tar"
    packed.write_bytes(b"archive")
    with pytest.raises(UsageError, match="cannot read"):
        upstream_command(stage_config_manager, "-n", "s1", "-c", tmp_path / "none.ini", "-f", packed, "-r", "a.tar")
    with pytest.raises(UsageError, match="cannot"):
        upstream_command(stage_config_manager, "-n", "s1", "-f", tmp_path / "none.tar", "-r", "a.tar")
    for wrong in (["-f", packed], ["-r", "a.tar"], ["-d", "-n", "s1", "-f", packed, "-r", "a.tar"]):
        with pytest.raises(SystemExit):
            upstream_command(stage_config_manager, *wrong)
    assert not list(ftp.iterdir())
    assert tree(cluster, "/pero/queue") == {}


def test_an_archive_is_removed_from_every_store(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    lone = tmp_path / "lone"
    lone.write_bytes(b"x")
    remove_archive((), f"file://{lone}", StoreAccess())
    assert not lone.exists()
    for name in ("a", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.tar").write_bytes(b"x")
    servers = [f"file://{tmp_path}/{name}" for name in ("a", "b", "c")]
    with pytest.raises(StageError, match=r"/b/m\.tar"):
        remove_archive(servers, "m.tar", StoreAccess())
    assert not list(tmp_path.glob("*/m.tar"))
    away = f"127.0.0.1:{free_port()}"
    with pytest.raises(TransientError, match="away"):
        remove_archive([*servers, away], "m.tar", StoreAccess(timeout=2))
    with pytest.raises(UsageError, match="no model store"):
        remove_archive([], "m.tar", StoreAccess())


# -- dummy_msg_generator ---------------------------------------------------------------------------------------


def collect(cluster: TestCluster, queue: str) -> list[Request]:
    found = []
    with cluster.broker() as broker:
        while (taken := broker.take(queue)) is not None:
            found.append(decode_request(taken[0].body))
            broker.ack(taken[0])
    return found


def test_dummy_pages(cluster: TestCluster, upstream_command: Callable[..., str]) -> None:
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("out")
    stages = ["-t", "s1", "out"]
    batches = ["-n", "3", "-c", "2", "-i", "0.01"]
    said = upstream_command(
        dummy_msg_generator, *stages, *batches, "--size-range", 10, 20, "-y", 1, randomness=random.Random(7)
    )
    assert said == "6 messages sent\n"
    same = random.Random(7)
    pages = collect(cluster, "s1")
    assert [page.results[0].content for page in pages] == [same.randbytes(same.randint(10, 20)) for _ in range(6)]
    for page in pages:
        assert page.stages == ("s1", "out") and page.priority == 1 and len(page.results) == 1
        assert re.fullmatch("[0-9a-f]{32}", page.uuid) and re.fullmatch("[0-9a-f]{32}", page.page_uuid)
        assert page.results[0].name == "data"
        assert page.start_time is not None and abs(datetime.now(UTC) - page.start_time) < timedelta(minutes=1)
    assert len({page.uuid for page in pages}) == 6

    upstream_command(dummy_msg_generator, *stages, "--size", 5, "--size-delta", 10, "-n", 30, "-c", 1, "-p", 1)
    pages = collect(cluster, "s1")
    assert len(pages) == 30 and {page.priority for page in pages} == {1}
    assert all(len(page.results[0].content) <= 15 for page in pages)
    upstream_command(dummy_msg_generator, *stages, "--count", 1, "--number", 1, "--interval", 9999)
    assert [page.results[0].content for page in collect(cluster, "s1")] == [b""]


def test_what_the_generator_refuses(cluster: TestCluster, upstream_command: Callable[..., str]) -> None:
    for wrong in (["--size-range", 9, 8], ["--size-range", -1, 8], ["-n", 0], ["-c", -1], ["-i", "nan"]):
        with pytest.raises(SystemExit):
            upstream_command(dummy_msg_generator, "-t", "s1", "out", *wrong)
    with pytest.raises(UsageError, match="priority is a number"):
        upstream_command(dummy_msg_generator, "-t", "s1", "out", "-p", "secret")
    with pytest.raises(StageError, match="no queue 's1'"):
        upstream_command(dummy_msg_generator, "-t", "s1", "out", "-c", 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_generator_goes_on_until_told_to_stop(cluster: TestCluster, number: signal.Signals) -> None:
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("out")
    options = ["-z", cluster.zookeeper, "-t", "s1", "out", "--size", "100", "-n", "2", "-i", "600"]
    command = [sys.executable, "scripts/dummy_msg_generator.py", *options]
    process = subprocess.Popen(command, cwd=HOME, env=cluster.environment(), stdout=subprocess.PIPE, text=True)
    until(lambda: messages(cluster, "s1") == 2)
    process.send_signal(number)
    out, _ = process.communicate(timeout=15)
    assert (process.returncode, out) == (0, "2 messages sent\n")


# -- stats -----------------------------------------------------------------------------------------------------


def log(stage: str, start: float, end: float, status: str = "OK") -> StageLog:
    return StageLog(
        host_id="w1",
        stage=stage,
        start=START + timedelta(seconds=start),
        end=START + timedelta(seconds=end),
        status=status,
    )


def save(folder: Path, *logs: StageLog, start: datetime | None = START) -> None:
    page = folder / uuid.uuid4().hex
    page.mkdir(parents=True)
    request = Request(
        uuid=page.name,
        page_uuid=page.name,
        stages=("out",),
        results=(Payload(name="a.png", content=b"x"),),
        logs=logs,
        start_time=start,
    )
    (page / "message_body").write_bytes(encode_request(request))


def test_statistics_of_downloaded_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path, log("layout", 1, 3), log("ocr", 4, 10))
    save(tmp_path, log("layout", 3, 7), log("ocr", 7, 8, "Failed"), log("ocr", 9, 11))
    save(tmp_path, log("layout", 7, 8), log("ocr", 8, 9, "Failed"))
    save(tmp_path, log("layout", 20, 21), start=None)
    save(tmp_path)
    (tmp_path / "without a message").mkdir()
    (tmp_path / "a file").touch()
    assert stats.main(["-d", str(tmp_path), "--raw", "--short"]) == 0
    short = capsys.readouterr().out.splitlines()
    assert short[:5] == [
        "Message count: 3",
        "Failed message count: 1",
        "Average message total processing time: 7.333333",
        "Minimal message total processing time: 1.000000",
        "Maximal message total processing time: 11.000000",
    ]
    at = short.index("Statistics for stage ocr:")
    assert short[at : at + 9] == [
        "Statistics for stage ocr:",
        "Total stage message count: 2",
        "Total stage failed messages: 2",
        "Average stage processing time: 4.000000",
        "Minimal stage processing time: 2.000000",
        "Maximal stage processing time: 6.000000",
        "Average stage waiting time: 0.666667",
        "Minimal stage waiting time: 0.000000",
        "Maximal stage waiting time: 1.000000",
    ]
    at = short.index("Statistics for pipeline layout -> ocr:")
    assert short[at + 1 : at + 3] == [
        "Total pipeline message count: 2",
        "Average pipeline total processing time: 10.500000",
    ]
    assert stats.main(["--directory", str(tmp_path)], localtime=START.timetuple) == 0
    whole = capsys.readouterr().out.splitlines()
    assert [line.removeprefix("2026-01-02 03:04:05 INFO ") for line in whole[: len(short)]] == short
    lines = [line.removeprefix("2026-01-02 03:04:05 INFO ") for line in whole[len(short) :]]
    at = lines.index("Processing timeline for stage ocr:")
    assert lines[at + 1 : at + 4] == [
        "2026-01-02T03:04:09+00:00 2026-01-02T03:04:15+00:00 6.000000",
        "2026-01-02T03:04:14+00:00 2026-01-02T03:04:16+00:00 2.000000",
        "Wait timeline for stage ocr:",
    ]


def test_broken_files_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path, log("ocr", 0, 2))
    for name, content in (("broken", b"\xff garbage"), ("empty", b"")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "message_body").write_bytes(content)
    (tmp_path / "folder" / "message_body").mkdir(parents=True)
    assert stats.main(["-d", str(tmp_path), "-r", "-s"]) == 3
    said = capsys.readouterr()
    assert said.out.startswith("Message count: 1\n")
    assert said.err.count("is left out") == 3
    (tmp_path / "nothing").mkdir()
    with pytest.raises(NoInputError, match="--save-message"):
        stats.main(["-d", str(tmp_path / "nothing")])
    with pytest.raises(NoInputError, match="No such file"):
        stats.main(["-d", str(tmp_path / "nowhere")])


# -- mq_server_config_manager ----------------------------------------------------------------------------------


@pytest.fixture
def mq(cluster: TestCluster, upstream_command: Callable[..., str]) -> Iterator[Callable[..., str]]:
    with cluster.client() as client:
        add_servers(client, MONITORING, [f"127.0.0.1:{cluster.rabbitmq.management}"])

    def call(*arguments: str) -> str:
        return upstream_command(mq_server_config_manager, *arguments)

    yield call
    for user in cluster.rabbitmq.api("GET", "users"):  # type: ignore[attr-defined]
        if user["name"].startswith("tester"):
            cluster.rabbitmq.api("DELETE", f"users/{user['name']}")
    for vhost in cluster.rabbitmq.api("GET", "vhosts"):  # type: ignore[attr-defined]
        if vhost["name"].startswith("test/"):
            cluster.rabbitmq.api("DELETE", f"vhosts/{vhost['name'].replace('/', '%2F')}")


def test_users_and_virtual_hosts(cluster: TestCluster, mq: Callable[..., str]) -> None:
    name, vhost = f"tester{uuid.uuid4().hex[:8]}", f"test/{uuid.uuid4().hex[:8]}"
    created = mq("-o", vhost, "-r", "for tests", "-a", name, "-t", "monitoring", "management", "-v", vhost)
    password = re.fullmatch(rf"Password of {name}: (\S{{32}})\n", created)
    assert password
    assert f"User {name}, tags: monitoring management, vhosts: {vhost}\n" == mq("-g", name)
    assert f"\n{vhost}  for tests\n" in mq("-i")
    assert f"\n{name}  monitoring management\n" in mq("--list-users")
    # The password lets its user in; more tags and another virtual host do not change it, and it is not shown again.
    login = ["--mq-user", name, "--mq-password", password[1]]
    assert f"\n{vhost}" in mq("-i", *login)
    assert mq("-a", name, "-t", "administrator", "--virtual-host-access", cluster.vhost) == ""
    found = mq("-g", name, "guest", *login)
    assert (
        f"tags: administrator, vhosts: {' '.join(sorted([vhost, cluster.vhost]))}\n" in found and "User guest" in found
    )
    assert mq("--add-user", name, "another", "--tags", "administrator") == ""
    with pytest.raises(TransientError, match="refuses the login"):
        mq("-s", *login)
    assert f"\n{name}  administrator\n" in mq("-s", "--mq-user", name, "--mq-password", "another")

    mq("-d", "-a", name, "-v", vhost)
    assert f"vhosts: {cluster.vhost}\n" in mq("-g", name)
    mq("--delete", "-a", name, "--add-virtual-host", vhost)
    assert name not in mq("-s") and vhost not in mq("--list-virtual-hosts")
    for gone in (
        ["-d", "-a", name],
        ["-d", "-o", vhost],
        ["--get-user-info", name],
        ["-d", "-a", "guest", "-v", vhost],
    ):
        with pytest.raises(UsageError, match="knows no"):
            mq(*gone)


def test_what_the_management_refuses(
    cluster: TestCluster, mq: Callable[..., str], upstream_command: Callable[..., str]
) -> None:
    name = f"tester{uuid.uuid4().hex[:8]}"
    with pytest.raises(UsageError, match="tags are administrator, "):
        mq("-a", name, "pass", "-t", "king")
    with pytest.raises(UsageError, match="empty password"):
        mq("-a", name, "")
    with pytest.raises(UsageError, match=r"not_found|knows no"):
        mq("-a", name, "pass", "-v", "nowhere")
    for wrong in (["-v", "x"], ["-s", "-t", "x"], ["-a", "x", "y", "z"], ["-s", "-r", "x"], ["-s", "--mq-user", "x"]):
        with pytest.raises(SystemExit):
            mq(*wrong)
    with cluster.client() as client:
        (server,) = list_names(client, MONITORING)
        add_servers(client, MONITORING, [f"127.0.0.1:{free_port()}"])
    # One of two servers is unavailable: that is reported, and the other has the change.
    with pytest.raises(TransientError, match=r"does not answer: .*refused"):
        mq("-a", name, "other")
    assert f"User {name}" in mq("-g", name)
    upstream_command(server_config_manager, "--rm-monitoring-servers", server)
    with pytest.raises(TransientError, match="does not answer"):
        mq("-s")
    upstream_command(
        server_config_manager, "--rm-monitoring-servers", "all", "--add-monitoring-servers", "mq.example.org"
    )
    with pytest.raises(UsageError, match=r"do not go to mq.example.org:15672 in the clear"):
        mq("-s")
    upstream_command(server_config_manager, "--rm-monitoring-servers", "all")
    with pytest.raises(UsageError, match="no management server"):
        mq("-s")


@pytest.fixture
def https(tmp_path: Path) -> Iterator[tuple[Server, list[tuple[str, str, bytes]]]]:
    """A stand-in for the management interface behind TLS, and the requests that it received."""
    asked: list[tuple[str, str, bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((self.command, self.path, body))
            codes = {"/api/vhosts": 302, "/api/users/broken": 500, "/api/users/old": 200}
            content = {200: b'{"name": "old", "tags": "a, b", "password_hash": ""}'}
            code = codes.get(self.path, 204 if self.command == "PUT" else 404)
            self.send_response(code)
            if code == 302:
                self.send_header("Location", "https://elsewhere.example.org/")
            self.send_header("Content-Length", str(len(content.get(code, b""))))
            self.end_headers()
            self.wfile.write(content.get(code, b""))

        do_PUT = do_GET

        def log_message(self, *_: object) -> None: ...

    now = datetime.now(UTC)
    for name in ("ca", "other"):
        authority = new_authority(name, now, timedelta(days=1))
        (tmp_path / f"{name}.pem").write_bytes(authority.pair.certificate)
        pair = sign_server(authority, ["localhost"], now, timedelta(days=1))
        (tmp_path / f"{name}-server.pem").write_bytes(pair.key + pair.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca-server.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield Server(host="localhost", port=server.server_port), asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_management_over_tls(https: tuple[Server, list[tuple[str, str, bytes]]], tmp_path: Path) -> None:
    server, asked = https
    access = ManagementAccess(servers=(server,), user="guest", password="guest", ca_cert=str(tmp_path / "ca.pem"))
    management = Management(access)
    management.set_user("a/b", "secret", ["monitoring"])
    assert asked[0] == ("GET", "/api/users/a%2Fb", b"")
    assert asked[1][:2] == ("PUT", "/api/users/a%2Fb")
    assert json.loads(asked[1][2]) == {"tags": "monitoring", "password": "secret"}
    with pytest.raises(UsageError, match="needs a password"):
        management.set_user("new")
    with pytest.raises(TransientError, match="answers 500"):
        management.user("broken")
    with pytest.raises(UsageError, match="answers 302"):
        management.vhosts()
    management.grant("u", "v")
    assert json.loads(asked[-1][2]) == {"configure": ".*", "write": ".*", "read": ".*"}
    for wrong in (
        replace(access, ca_cert=str(tmp_path / "other.pem")),
        replace(access, servers=(Server(host="127.0.0.1", port=server.port),)),
    ):
        with pytest.raises(TransientError, match="CERTIFICATE_VERIFY_FAILED"):
            Management(wrong).users()
    (tmp_path / "no.pem").write_text("none")
    with pytest.raises(UsageError, match="cannot use the certificate"):
        Management(replace(access, ca_cert=str(tmp_path / "no.pem")))


# -- log_daemon ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("configured", [False, True])
def test_the_log_daemon(cluster: TestCluster, tmp_path: Path, configured: bool) -> None:
    folder = tmp_path / "logs"
    if configured:
        config = tmp_path / "logd.ini"
        config.write_text(
            f"[LOGD]\nzookeeper_servers = {cluster.zookeeper}\nlog_queue = lines\noutput_dir = {folder}\n"
            "log_rotation_period = 60\nnumber_of_files = 2\n"
        )
        options = ["-c", str(config)]
    else:
        options = ["-z", cluster.zookeeper, "-q", "lines", "-o", str(folder), "-r", "60", "-n", "2", "-d"]
    folder.mkdir()
    for day in (1, 2, 3):
        (folder / f"pero_2020-01-0{day}T00:00:00+00:00.log").touch()
    command = [sys.executable, "scripts/log_daemon.py", *options]
    environment = {name: value for name, value in cluster.environment().items() if name != "PERO_WORKER_ZOOKEEPER"}
    process = subprocess.Popen(command, cwd=HOME, env=environment, stderr=subprocess.PIPE, text=True)
    until(lambda: messages(cluster, "lines") is not None)
    with cluster.broker() as broker:
        for line in (b"first", "řádek".encode()):
            broker.publish("lines", line)
    until(lambda: "řádek\n" in "".join(path.read_text() for path in folder.iterdir()))
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=15)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    files = sorted(folder.iterdir())
    assert [path.name for path in files][:1] == ["pero_2020-01-03T00:00:00+00:00.log"] and len(files) == 2
    assert files[1].read_text() == "first\nřádek\n"
    shutil.rmtree(folder)


def test_what_the_log_daemon_refuses(upstream_command: Callable[..., str], tmp_path: Path) -> None:
    for wrong in (["-r", "soon"], ["-n", "-1"]):
        with pytest.raises((UsageError, SystemExit)):
            upstream_command(log_daemon, "-o", tmp_path, *wrong)
    (tmp_path / "worker.ini").write_text("[WORKER]\n")
    with pytest.raises(UsageError, match="no section"):
        upstream_command(log_daemon, "-c", tmp_path / "worker.ini")
