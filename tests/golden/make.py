"""Makes the golden state of a version: what its commands leave behind on disks and in servers when they are stopped.

    python tests/golden/make.py tests/golden/0.1.0

It is run once for each release, by the release's own program, and its output is never changed afterwards. All of it is
small and, where it can be, text. Needs RabbitMQ and ZooKeeper from Debian's packages. `test_upgrade.py` reads it.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pika
from kazoo.client import KazooClient
from PIL import Image

from pero_worker.servers.rabbitmq import RabbitServer
from pero_worker.servers.zookeeper import ZooKeeperServer

PROGRAM = (sys.executable, "-m", "pero_worker")
MTIME = 1_790_000_000
"""Seconds since 1970, of every scan: reports tell by it whether a scan has changed."""
VHOST = "golden"
QUEUES = ("layout", "ocr", "out", "pero.dead")
LAYOUT = "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nLINE = layout\n"
OCR = "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nLINE = ocr\nFAIL_NAME = bad*\n"
HERE = "@HERE@"
"""Stands for the folder of a part (`book`, `gateway`, `cluster`) in what names it."""
TEXTS = {".ini", ".json", ".jsonl", ".sql", ".toml"}


def scan(path: Path, shade: int = 255) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (40, 30), shade).save(path)
    os.utime(path, (MTIME, MTIME))
    return path


def command(*words: object, environment: dict[str, str] | None = None) -> str:
    line = [*PROGRAM, *map(str, words)]
    done = subprocess.run(line, env=environment or dict(os.environ), capture_output=True, text=True, check=False)
    if done.returncode not in {0, 3}:
        sys.exit(f"{' '.join(line)}\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def started(
    *words: object, environment: dict[str, str] | None = None, end: signal.Signals = signal.SIGTERM
) -> Iterator[subprocess.Popen[str]]:
    """A command in the background, which gets the signal `end`."""
    line = [*PROGRAM, *map(str, words)]
    process = subprocess.Popen(
        line, env=environment or dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.send_signal(end)
        process.communicate(timeout=60)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 120
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("it did not come to what was to be recorded")
        time.sleep(0.05)


# -- one machine --------------------------------------------------------------------------------------------------


def make_book(target: Path) -> None:
    """A run over five pages that was killed in the fifth."""
    for number, name in enumerate(("p1", "p2", "bad3", "p4", "slow5")):
        scan(target / f"scans/{name}.png", 200 + number)
    write(target / "pipeline/config.ini", f"{OCR}HANG_NAME = slow*\n")
    out = target / "out"
    words = ("ocr", "scans", "-o", "out", "--pipeline", "pipeline", "--formats", "page,text", "--jobs", "1")
    process = subprocess.Popen([*PROGRAM, *words], cwd=target, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: (out / "report.jsonl").exists() and (out / "report.jsonl").read_text().count("\n") == 4)
    process.kill()
    process.wait()
    for passing in ("report.sqlite", "workers.log", "lock", "unfinished"):
        path = out / ".pero-worker" / passing
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


# -- a gateway ----------------------------------------------------------------------------------------------------


def make_gateway(target: Path) -> None:
    """A gateway that was killed: a job is done, one waits for a page that hangs, an upload is half there."""
    data = target / "data"
    write(target / "pipeline/config.ini", "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nLINE = text\nHANG_NAME = slow*\n")
    key = command("keys", "add", "a-user", "--data", data).strip()
    write(target / "key.txt", f"{key}\n")
    with started(
        "gateway", "--data", data, "--port", 0, "--pipeline", target / "pipeline", "--jobs", 1, end=signal.SIGKILL
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("listening on ").strip()
        client = httpx.Client(base_url=url, headers={"X-API-Key": key, "api-key": key}, timeout=60)
        picture = io.BytesIO()
        Image.new("L", (40, 30), 255).save(picture, "JPEG")
        done = _v1_job(client, "p1.jpg", picture.getvalue())
        until(lambda: client.get(f"/v1/jobs/{done}").json()["data"]["state"] == "done")
        engine = 1
        old = client.post("/post_processing_request", json={"engine": engine, "images": {"old1": None}}).json()
        client.post(f"/upload_image/{old['request_id']}/old1", files={"file": ("old1.jpg", picture.getvalue())})
        until(lambda: "PROCESSED" in client.get(f"/request_status/{old['request_id']}").text)
        waiting = _v1_job(client, "slow2.jpg", picture.getvalue())
        until(lambda: client.get(f"/v1/jobs/{waiting}").json()["data"]["state"] == "processing")
        write(target / "ids.json", json.dumps({"done": done, "legacy": old["request_id"], "waiting": waiting}))
        client.close()
    database = data / "gateway.sqlite"
    connection = sqlite3.connect(database)
    write(target / "gateway.sql", "\n".join(connection.iterdump()) + "\n")
    connection.close()
    for path in (*data.glob(f"{database.name}*"), data / "lock", *data.glob("*.log")):
        path.unlink(missing_ok=True)


def _v1_job(client: httpx.Client, name: str, picture: bytes) -> str:
    made = client.post("/v1/jobs", json={"images": [{"name": name, "order": 0}]}).json()["data"]["id"]
    reply = client.put(f"/v1/jobs/{made}/images/{name}/files/image", files={"file": (name, picture)})
    reply.raise_for_status()
    return str(made)


# -- a cluster ----------------------------------------------------------------------------------------------------


def make_cluster(target: Path, scratch: Path) -> None:
    """Pages done, failed, half-way and waiting; two versions of a stage; a message that nobody can use."""
    rabbit, keeper = (
        RabbitServer.on_free_ports(scratch / "rabbitmq"),
        ZooKeeperServer.on_free_port(scratch / "zookeeper"),
    )
    rabbit.start()
    keeper.start()
    try:
        rabbit.api("PUT", f"vhosts/{VHOST}")
        rabbit.api("PUT", f"permissions/{VHOST}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
        address = f"127.0.0.1:{keeper.port}/{VHOST}"
        client = KazooClient(f"127.0.0.1:{keeper.port}")
        client.start()
        client.create(f"/{VHOST}")
        parameters = pika.ConnectionParameters("127.0.0.1", rabbit.port, virtual_host=VHOST)
        with pika.BlockingConnection(parameters) as connection:
            environment = {**os.environ, "PERO_WORKER_ZOOKEEPER": address, "PERO_WORKER_VHOST": VHOST}
            environment["XDG_STATE_HOME"] = str(target / "state")  # What was published is remembered there.
            _live_a_day(target, connection.channel(), rabbit, environment)
            lines = [json.dumps(message) for queue in QUEUES for message in _messages(connection.channel(), queue)]
            write(target / "queues.jsonl", "\n".join(lines) + "\n")
        write(target / "zookeeper.jsonl", "\n".join(_nodes(client, f"/{VHOST}", target, rabbit)) + "\n")
        client.stop()
        client.close()
    finally:
        rabbit.stop()
        keeper.daemon.stop()


def _live_a_day(target: Path, channel: object, rabbit: RabbitServer, environment: dict[str, str]) -> None:
    def run(*words: object) -> str:
        return command(*words, environment=environment)

    def uploaded(stage: str, config: str, version: str) -> None:
        model = target / f"models/{stage}-{version}"
        write(model / "config.ini", config)
        where = f"file://{target}/store/{stage}-{version}.tar.gz"
        run("stage", "upload", stage, model, "-r", where, "--version", version, "-q", "--no-check")

    run("servers", "add", "mq", f"127.0.0.1:{rabbit.port}")
    run("stage", "add", "out")
    uploaded("layout", LAYOUT, "1")
    uploaded("ocr", OCR.replace("LINE = ocr", "LINE = older"), "1")
    uploaded("ocr", OCR, "2")
    write(target / "special.ini", LAYOUT)
    run("stage", "add", "special", "-c", target / "special.ini", "--needs", "cuda", "--owner", "maps", "--share", 2)
    first = [scan(target / f"scans/{name}.png") for name in ("p1", "bad2")]
    with started(
        "watchdog", "--record", target / "watchdog.jsonl", environment=environment
    ), started("worker", "--id", "w1", "--cache", target / "cache", environment=environment):  # fmt: skip
        run("publish", *first, "--stages", "layout,ocr,out", "--job", "golden")
        until(lambda: _length(channel, "out") == 2)
        # A page of upstream's messages, half-way: only the first stage has seen it.
        half = scan(target / "scans/half3.png")
        run("publish", half, "--stages", "layout,out", "--job", "golden")
        until(lambda: _length(channel, "out") == 3)
        time.sleep(2)  # What workers have measured is written behind.
    _send_on(channel)
    last = [scan(target / f"scans/{name}.png") for name in ("p4", "p5")]
    run("publish", *last, "--stages", "layout,ocr,out", "--job", "golden", "--priority", 0)
    channel.basic_publish("", "layout", b"no request")  # type: ignore[attr-defined]
    with started("worker", "--id", "w2", "--cache", target / "cache", environment=environment):
        until(lambda: "w2" in run("workers", "list"))
    shutil.rmtree(target / "models")
    shutil.rmtree(target / "cache", ignore_errors=True)


def _length(channel: object, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).method.message_count)  # type: ignore[attr-defined]


def _send_on(channel: object) -> None:
    """The page that has been through `layout` alone goes to `ocr`, as if a worker had just handed it on."""
    from pero_worker.wire.message_pb2 import ProcessingRequest  # noqa: PLC0415 - for this alone

    for _ in range(3):
        method, properties, body = channel.basic_get("out", auto_ack=True)  # type: ignore[attr-defined]
        request = ProcessingRequest.FromString(body)
        queue = "out"
        if any("half3" in data.name for data in request.results):
            queue = "ocr"
            request.processing_stages[:] = ["ocr", "out"]
        channel.basic_publish("", queue, request.SerializeToString(), properties)  # type: ignore[attr-defined]
        assert method is not None


def _messages(channel: object, queue: str) -> Iterator[dict[str, object]]:
    """All of a queue, in order; the queue keeps them, as they are not acknowledged."""
    arguments = {"x-max-priority": 1, "x-queue-type": "classic"}
    try:
        channel.queue_declare(queue, durable=True, arguments=arguments if queue != "pero.dead" else None)  # type: ignore[attr-defined]
    except pika.exceptions.ChannelClosedByBroker as error:
        sys.exit(f"queue {queue} is not as it was: {error}")
    while True:
        method, properties, body = channel.basic_get(queue)  # type: ignore[attr-defined]
        if method is None:
            return
        yield {
            "queue": queue,
            "priority": properties.priority,
            "headers": properties.headers,
            "body": base64.b64encode(body).decode(),
        }


def _nodes(client: KazooClient, path: str, target: Path, rabbit: RabbitServer) -> Iterator[str]:
    """Each node that outlives its session, as JSON with its value in base64, the parent first."""
    value, stat = client.get(path)
    if stat.ephemeralOwner:
        return
    shown = path.removeprefix(f"/{VHOST}").replace(f"127.0.0.1:{rabbit.port}", "@RABBITMQ@")
    if shown:
        kept = moved(value, str(target), HERE)
        yield json.dumps({"path": shown, "value": base64.b64encode(kept).decode(), "text": readable(kept)})
    for child in sorted(client.get_children(path)):
        yield from _nodes(client, f"{path}/{child}", target, rabbit)


def moved(value: bytes, old: str, new: str) -> bytes:
    """The value of a node, compressed or not, with the folder `new` where `old` was."""
    if value.startswith(b"\x78"):
        return zlib.compress(zlib.decompress(value).replace(old.encode(), new.encode()))
    return value.replace(old.encode(), new.encode())


def readable(value: bytes) -> str:
    """For people who compare two versions; nothing reads it."""
    text = value.decode("ascii", "replace")
    return text if text.isprintable() or "\n" in text else ""


# -- clients ------------------------------------------------------------------------------------------------------


def make_client(target: Path, scratch: Path) -> None:
    """The configuration files of a cluster; its password is good for nothing."""
    command("set-up", scratch / "cluster", "--host", "server.example.org", "--clients-at", "/etc/pero-worker")
    for name in ("client.toml", "worker.ini"):
        text = (scratch / "cluster" / name).read_text()
        write(target / name, re.sub(r'(password = "?)\w+', r"\1nobodys", text))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def main(arguments: Sequence[str]) -> None:
    target = Path(arguments[0]).resolve()
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="pero-golden-") as name:
        state, scratch = Path(name) / "state", Path(name) / "scratch"
        make_book(state / "book")
        make_gateway(state / "gateway")
        make_cluster(state / "cluster", scratch)
        make_client(state / "client", scratch)
        for path in state.rglob("*"):
            if path.suffix in TEXTS:
                path.write_text(path.read_text("utf-8").replace(str(state / path.relative_to(state).parts[0]), HERE))
        shutil.copytree(state, target)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target}: {size / 1000:.0f} kB")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
