"""Upstream's programs, simulated with bare pika, kazoo and protobuf as the contract describes them, without our code."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pika
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from google.protobuf.message import DecodeError
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from kazoo.recipe.watchers import DataWatch

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

RETRY_SECONDS = 10.0
"""Pause between two attempts to load a stage."""
MAX_ERRORS = 10
"""Messages in a row that are not pages; after more than that, the worker gives up."""
SEED, NEWEST = {"x-max-priority": 1}, {"x-max-priority": 1, "x-queue-type": "classic"}
QUEUE_NODES = (
    "config",
    "config_path",
    "config_version",
    "administrative_priority",
    "avg_msg_time",
    "avg_msg_time_lock",
    "waiting_since",
)
STRING, BYTES, MESSAGE, INT32 = 9, 12, 11, 5


def upstream_request_class() -> Any:
    """Returns upstream's ProcessingRequest, built from its field numbers, without any of our fields."""
    file = descriptor_pb2.FileDescriptorProto(
        name="upstream.proto", package="upstream", syntax="proto3", dependency=["google/protobuf/timestamp.proto"]
    )
    fields: dict[str, list[tuple[str, Any]]] = {
        "Data": [("name", STRING), ("content", BYTES)],
        "StageLog": [
            ("host_id", STRING),
            ("stage", STRING),
            ("start", ".google.protobuf.Timestamp"),
            ("end", ".google.protobuf.Timestamp"),
            ("status", STRING),
            ("log", STRING),
            ("version", STRING),
        ],
        "ProcessingRequest": [
            ("uuid", STRING),
            ("page_uuid", STRING),
            ("priority", INT32),
            ("start_time", ".google.protobuf.Timestamp"),
            ("processing_stages", [STRING]),
            ("results", [".upstream.Data"]),
            ("logs", [".upstream.StageLog"]),
        ],
    }
    for name, members in fields.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(members, 1):
            repeated = isinstance(kind, list)
            of = kind[0] if isinstance(kind, list) else kind
            entry = message.field.add(name=field, number=number, label=3 if repeated else 1)
            entry.type = MESSAGE if isinstance(of, str) else of  # type: ignore[assignment]
            if isinstance(of, str):
                entry.type_name = of
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("upstream.ProcessingRequest"))


UpstreamRequest = upstream_request_class()


@contextmanager
def channel(cluster: TestCluster) -> Iterator[Any]:
    parameters = pika.ConnectionParameters("127.0.0.1", cluster.rabbitmq.port, cluster.vhost)
    connection = pika.BlockingConnection(parameters)
    try:
        yield connection.channel()
    finally:
        connection.close()


class Worker:
    """Serves what its node `queue` names. `seed`: like the first release, otherwise like the newest; `load` is called
    with a stage's name to load it, and raises `ValueError` if that fails."""

    def __init__(
        self,
        cluster: TestCluster,
        name: str,
        *,
        seed: bool = False,
        load: Callable[[str], object] = lambda _stage: None,
    ) -> None:
        self._load = load
        self._cluster, self._name, self._seed = cluster, name, seed
        self._client = KazooClient(cluster.zookeeper)
        self._client.start()
        self._turns: list[tuple[str, threading.Event]] = []
        self._over = threading.Event()
        self._news = threading.Condition()
        self._ended = False
        self.problem: BaseException | None = None
        for leaf, value in (("status", b"STARTING"), ("queue", b""), ("enabled", b"true"), ("unlock_time", b"")):
            self._client.ensure_path(self._path(leaf))
            self._client.set(self._path(leaf), value)
        if not seed:
            self._client.create(self._path("status/connected"), b"true", ephemeral=True)
        self._tell("IDLE")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        DataWatch(self._client, self._path("queue"), self._on_queue)
        DataWatch(self._client, self._path("enabled"), self._on_enabled)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._thread.join(20)
        self._client.stop()
        self._client.close()
        if self.problem:
            raise self.problem

    def _path(self, leaf: str) -> str:
        return f"/pero/worker/status/{self._name}/{leaf}"

    def _tell(self, status: str) -> None:
        self._client.set(self._path("status"), status.encode())

    def _on_queue(self, value: bytes | None, stat: Any) -> None:
        """Acts on every write, even one that does not change the value."""
        if value and stat.version:
            self._turn(value.decode())

    def _on_enabled(self, value: bytes | None, _stat: Any) -> None:
        if value != b"true":
            self._end()

    def _turn(self, stage: str) -> None:
        with self._news:
            self._over.set()
            self._over = threading.Event()
            self._turns = [(stage, self._over)]
            self._news.notify()

    def _end(self) -> None:
        self._ended = True
        self._turn("")

    def _run(self) -> None:
        try:
            while not self._ended:
                with self._news:
                    self._news.wait_for(lambda: self._turns)
                    stage, over = self._turns.pop(0)
                if stage:
                    self._serve(stage, over)
            self._tell("DEAD")
        except BaseException as error:
            self.problem = error

    def _serve(self, stage: str, over: threading.Event) -> None:
        self._tell("RECONFIGURING" if self._seed else "CONFIGURING")
        assert self._client.get(f"/pero/queue/{stage}/config")[0]
        try:
            version = self._client.get(f"/pero/queue/{stage}/config_version")[0].decode()
        except NoNodeError:
            version = ""
        while True:
            try:
                self._load(stage)
                break
            except ValueError:
                self._tell("CONFIGURATION_FAILED")
                if over.wait(RETRY_SECONDS):
                    return
                self._tell("CONFIGURING")
        self._tell("IDLE")
        with channel(self._cluster) as ch:
            if self._seed:
                ch.basic_qos(prefetch_count=5)
                # It stays on its queue until it is told otherwise.
                for method, _, body in ch.consume(stage, inactivity_timeout=0.05):
                    if over.is_set():
                        return
                    if method is not None:
                        self._tell("PROCESSING")
                        self._page(ch, stage, method, body, "")
                        self._tell("IDLE")
                return
            ch.confirm_delivery()
            errors = 0
            while not over.is_set():
                self._tell("PROCESSING")
                method, _, body = ch.basic_get(stage)
                if method is None:
                    # From here on, only another write to its node wakes it.
                    self._tell("IDLE")
                    return
                try:
                    self._page(ch, stage, method, body, version)
                    errors = 0
                except DecodeError:
                    ch.basic_nack(method.delivery_tag)
                    errors += 1
                    if errors > MAX_ERRORS:
                        self._tell("PROCESSING_FAILED")
                        return

    def _page(self, ch: Any, stage: str, method: Any, body: bytes, version: str) -> None:
        request = UpstreamRequest.FromString(body)
        assert request.processing_stages[0] == stage
        log = request.logs.add(host_id=self._name, stage=stage, status="OK", version=version)
        log.start.GetCurrentTime()
        log.end.GetCurrentTime()
        request.processing_stages.pop(0)
        properties = pika.BasicProperties(delivery_mode=2, priority=request.priority)
        ch.basic_publish("", request.processing_stages[0], request.SerializeToString(), properties, mandatory=True)
        ch.basic_ack(method.delivery_tag)


class Watchdog:
    """Does the newest watchdog's rounds, `interval` seconds apart instead of 10."""

    def __init__(self, cluster: TestCluster, interval: float = 0.2) -> None:
        self._cluster, self._interval = cluster, interval
        self._stopped = threading.Event()
        self.problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(20)
        if self.problem:
            raise self.problem

    def _run(self) -> None:
        try:
            with self._cluster.client() as client:
                while not self._stopped.wait(self._interval):
                    self._round(client, datetime.now(UTC))
        except BaseException as error:
            self.problem = error

    def _round(self, client: Any, now: datetime) -> None:
        stages = {name: _stage(client, name) for name in client.get_children("/pero/queue")}
        listed = self._cluster.rabbitmq.api("GET", f"queues/{self._cluster.vhost}")
        assert isinstance(listed, list)
        messages = {queue["name"]: queue.get("messages", 0) for queue in listed if queue["name"] in stages}
        workers = {}
        for name in client.get_children("/pero/worker/status"):
            status = client.get(f"/pero/worker/status/{name}/status")[0].decode()
            if status in {"PROCESSING", "IDLE", "CONFIGURATION_FAILED", "MQ_CONNECTION_FAILED"}:
                workers[name] = (status, client.get(f"/pero/worker/status/{name}/queue")[0].decode())
        served = [queue for _, queue in workers.values()]

        def priority(name: str) -> float:
            mean, since, administrative = stages[name]
            count = served.count(name)
            waiting = 0.0 if count or since is None else (now - since).total_seconds()
            return float(messages[name] * mean / (count + 1) + waiting * (administrative + 1))

        if not messages or max(map(priority, messages)) == 0:
            return
        for name, (status, queue) in workers.items():
            if status == "PROCESSING":
                continue
            best = max(messages, key=priority)
            unlock = now + timedelta(seconds=stages[best][0] * 10 + 10)
            client.set(f"/pero/worker/status/{name}/unlock_time", unlock.isoformat().encode())
            client.set(f"/pero/worker/status/{name}/queue", best.encode())
            client.set(f"/pero/queue/{best}/waiting_since", b"")
            if queue in served:
                served.remove(queue)
            served.append(best)
        for name, count in messages.items():
            if count and name not in served and stages[name][1] is None:
                client.set(f"/pero/queue/{name}/waiting_since", now.isoformat().encode())


def _stage(client: Any, name: str) -> tuple[float, datetime | None, int]:
    def value(leaf: str) -> bytes:
        found: bytes = client.get(f"/pero/queue/{name}/{leaf}")[0]
        return found

    mean = float.fromhex(value("avg_msg_time").decode()) if value("avg_msg_time") else 100.0
    since = value("waiting_since").decode()
    priority = int.from_bytes(value("administrative_priority"), "big")
    return mean, datetime.fromisoformat(since) if since else None, priority
