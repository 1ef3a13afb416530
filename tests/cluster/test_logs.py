"""Log lines through a real RabbitMQ, from a worker's logger to the daemon's files."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pero_worker.clock import SystemClock
from pero_worker.cluster.logs.daemon import LogFolder, log_files, run_log_daemon
from pero_worker.cluster.logs.follow import follow_folder
from pero_worker.cluster.logs.sender import LogSender, sending_logs
from pero_worker.errors import OutputError, RequestError, UsageError
from pero_worker.testing import StandingClock
from pero_worker.text import one_line
from pero_worker.work import QueueState

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

logger = logging.getLogger("pero_worker.test_logs")


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    old = logger.level
    logger.setLevel(logging.INFO)
    yield
    logger.setLevel(old)


def until(condition: Callable[[], object], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


class FakeBroker:
    connected = True

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.lines: list[str] = []
        self.waiting = 0

    def state(self, queue: str) -> QueueState:
        return QueueState(messages=self.waiting, consumers=0)

    def publish(self, queue: str, body: bytes, priority: int = 0) -> None:
        logger.warning("the sender's own thread logs")
        if self.error:
            raise self.error
        self.lines.append(body.decode())


@contextmanager
def running_daemon(cluster: TestCluster, folder: Path, minutes: float = 0, kept: int = 0) -> Iterator[None]:
    stopped = threading.Event()
    with cluster.broker(prefetch=50) as broker:
        arguments = (broker, folder, minutes, kept, stopped, "log", SystemClock())
        thread = threading.Thread(target=run_log_daemon, args=arguments)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join(20)
            assert not thread.is_alive()


def written(folder: Path) -> list[str]:
    return [line for path in log_files(folder) for line in path.read_text("utf-8").splitlines()]


def test_a_line_goes_from_a_logger_to_the_daemons_file(cluster: TestCluster, tmp_path: Path) -> None:
    with running_daemon(cluster, tmp_path), cluster.broker() as broker:
        until(lambda: broker.state("log") is not None)
        with sending_logs(broker, "w1", SystemClock()) as sender:
            logger.info("stage %s:\nčtvrtý\x1b[31m\x00", "s1")
            logger.debug("not this")
            until(lambda: written(tmp_path))
        assert sender.dropped == 0
    (line,) = written(tmp_path)
    day, hour, host, worker, level, message = line.split(" ", 5)
    assert abs(datetime.fromisoformat(f"{day} {hour}".replace(",", ".") + "+00:00") - datetime.now(UTC)) < timedelta(
        minutes=1
    )
    assert host
    assert (worker, level, message) == ("w1", "INFO", "stage s1:\\nčtvrtý\\x1b[31m\\x00")


def test_a_traceback_is_one_line(cluster: TestCluster) -> None:
    with cluster.broker() as broker:
        broker.declare("log")
        with sending_logs(broker, "w1", SystemClock()):
            try:
                raise ValueError("bad page")
            except ValueError:
                logger.exception("engine raised")
        found = broker.take("log")
        assert found is not None
        text = found[0].body.decode()
        assert "ERROR engine raised\\nTraceback" in text
        assert text.endswith("ValueError: bad page")
        assert "\n" not in text


def test_the_daemon_goes_on_after_lost_connections_and_a_deleted_queue(cluster: TestCluster, tmp_path: Path) -> None:
    with running_daemon(cluster, tmp_path), cluster.broker() as broker:
        until(lambda: broker.state("log") is not None)
        broker.publish("log", b"first")
        until(lambda: written(tmp_path) == ["first"])
        close_connections(cluster)
        until(lambda: publishes(broker, b"second"))
        until(lambda: "second" in written(tmp_path))
        broker.delete("log")
        until(lambda: broker.state("log") is not None)
        broker.publish("log", b"third\n")
        until(lambda: written(tmp_path)[-1] == "third")


def close_connections(cluster: TestCluster) -> None:
    def listed() -> list[dict[str, str]]:
        answer = cluster.rabbitmq.api("GET", f"vhosts/{cluster.vhost}/connections")
        assert isinstance(answer, list)
        return answer

    until(lambda: len(listed()) == 2)
    for entry in listed():
        cluster.rabbitmq.api("DELETE", f"connections/{urllib.parse.quote(entry['name'])}")


def publishes(broker: object, body: bytes) -> bool:
    try:
        broker.publish("log", body)  # type: ignore[attr-defined]
    except Exception:
        return False
    return True


def test_a_missing_queue_only_drops_lines(cluster: TestCluster) -> None:
    with cluster.broker() as broker, sending_logs(broker, "w1", SystemClock()) as sender:
        logger.warning("one")
        logger.warning("two")
        until(lambda: sender.dropped == 2)
        broker.declare("log")
        logger.warning("three")
        until(lambda: (state := broker.state("log")) is not None and state.messages)


def test_a_worker_never_waits_for_a_broker_that_is_away() -> None:
    broker = FakeBroker()
    broker.connected = False
    began = time.monotonic()
    sender = LogSender(broker, "w1", StandingClock(), rate=1000, burst=100)
    log = logging.Logger("x")
    log.addHandler(sender)
    for number in range(1000):
        log.warning("line %d", number)
    sender.close()
    assert time.monotonic() - began < 3
    assert sender.dropped >= 899
    assert not broker.lines


def test_the_rate_is_bounded_and_what_was_dropped_is_told() -> None:
    clock, broker = StandingClock(), FakeBroker()
    sender = LogSender(broker, "w1", clock, rate=1, burst=5)
    log = logging.Logger("x")
    log.addHandler(sender)
    for number in range(8):
        log.warning("line %d", number)
    until(lambda: any("3 log lines were dropped so far" in line for line in broker.lines))
    clock.sleep(2)
    for _ in range(3):
        log.warning("later")
    until(lambda: sum("later" in line for line in broker.lines) == 2)
    sender.close()
    assert sender.dropped == 4


def test_without_a_daemon_the_queue_is_bounded() -> None:
    clock, broker = StandingClock(), FakeBroker()
    broker.waiting = 100
    sender = LogSender(broker, "w1", clock, most=100)
    log = logging.Logger("x")
    log.addHandler(sender)
    log.warning("one")
    log.warning("two")
    until(lambda: sender.dropped == 2)
    broker.waiting = 0
    clock.sleep(20)
    log.warning("three")
    until(lambda: any("three" in line for line in broker.lines))
    sender.close()
    assert not any("one" in line or "two" in line for line in broker.lines)


def test_the_sender_is_not_told_what_it_logs_itself() -> None:
    broker = FakeBroker(RequestError("no queue"))
    with sending_logs(broker, "w1", SystemClock()) as sender:
        logger.warning("one")
        logging.getLogger("pero_worker.brokers.rabbitmq").warning("connection lost")
        until(lambda: sender.dropped)
    assert sender.dropped == 1


def test_a_wrong_logging_call_does_not_reach_the_worker(capsys: pytest.CaptureFixture[str]) -> None:
    with sending_logs(FakeBroker(), "w1", SystemClock()) as sender:
        sender.handle(logging.LogRecord("x", logging.INFO, "f", 1, "%d pages", ("many",), None))
    assert "Logging error" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain žluťoučký 漢字", "plain žluťoučký 漢字"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x85\u2028\x7f", "\\x85\\u2028\\x7f"),
        ("\ud800", "\\ud800"),
        ("x" * 20_000, "x" * 16_000 + " ... (20000 characters)"),
    ],
)
def test_one_message_is_one_line(text: str, line: str) -> None:
    assert one_line(text) == line


def test_files_are_rotated_and_old_ones_of_ours_removed(tmp_path: Path) -> None:
    others = [tmp_path / name for name in ("notes.txt", "pero_notes.log", "aaa.log")]
    for path in others:
        path.write_text("mine")
    (tmp_path / "pero_2020-01-01T00:00:00.123456.log").write_text("upstream's\n")
    clock = StandingClock()
    files = LogFolder(tmp_path, 10, 2, clock)
    for minutes in range(30):
        files.write(f"line {minutes}")
        clock.sleep(60)
    files.close()
    assert [path.name for path in log_files(tmp_path)] == [
        "pero_2026-01-02T03:14:05.000000+00:00.log",
        "pero_2026-01-02T03:24:05.000000+00:00.log",
    ]
    assert written(tmp_path) == [f"line {number}" for number in range(10, 30)]
    assert all(path.read_text() == "mine" for path in others)


def test_a_clock_that_goes_back_costs_no_line(tmp_path: Path) -> None:
    clock = StandingClock()
    files = LogFolder(tmp_path, 1, 2, clock)
    for number in range(4):
        files.write(f"line {number}")
        clock.sleep(61)
        if number == 2:
            clock.start -= timedelta(hours=5)
    files.close()
    assert "line 3" in written(tmp_path) and len(log_files(tmp_path)) <= 3


def test_a_folder_that_cannot_be_written_ends_the_daemon_and_keeps_the_line(
    cluster: TestCluster, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with cluster.broker() as broker:
        broker.declare("log")
        broker.publish("log", b"line")
        with pytest.raises(OutputError, match="cannot write log lines"):
            run_log_daemon(broker, tmp_path / "file", 0, 0, threading.Event(), "log", SystemClock())
    with cluster.broker() as broker:
        until(lambda: (state := broker.state("log")) is not None and state.messages == 1)


def test_following_goes_over_to_newer_files(tmp_path: Path) -> None:
    clock, stopped = StandingClock(), threading.Event()
    files = LogFolder(tmp_path, 1, 0, clock)
    for number in range(5):
        files.write(str(number))
    lines = follow_folder(tmp_path, 2, stopped)
    assert [next(lines), next(lines)] == ["3", "4"]
    files.write("5")
    clock.sleep(61)
    files.write("6")
    assert [next(lines), next(lines)] == ["5", "6"]
    stopped.set()
    assert list(lines) == []
    files.close()
    with pytest.raises(UsageError, match="no folder"):
        next(follow_folder(tmp_path / "none", 2, stopped))


def test_the_commands(cluster: TestCluster, tmp_path: Path) -> None:
    (tmp_path / "logd.ini").write_text(f"[LOGD]\noutput_dir = {tmp_path / 'logs'}\nlog_rotation_period = 5\n")
    program = [sys.executable, "-c", "from pero_worker.cli.log import app; app()"]
    with cluster.broker() as broker:
        daemon = subprocess.Popen(
            [*program, "daemon", "--config-file", str(tmp_path / "logd.ini")], env=cluster.environment()
        )
        until(lambda: (state := broker.state("log")) is not None and state.consumers)
        refused = subprocess.run(
            [*program, "follow"], env=cluster.environment(), capture_output=True, text=True, check=False
        )
        assert refused.returncode != 0
        assert "follow the files it writes" in refused.stderr
        broker.publish("log", b"to a file")
        until(lambda: written(tmp_path / "logs") == ["to a file"])
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(15) == 0
        broker.publish("log", b"to the terminal")
        with subprocess.Popen(
            [*program, "follow"], env=cluster.environment(), stdout=subprocess.PIPE, text=True
        ) as follow:
            assert follow.stdout is not None
            assert follow.stdout.readline() == "to the terminal\n"
            follow.send_signal(signal.SIGTERM)
            assert follow.wait(15) == 0
