"""A gateway as a user starts it, with keys, and clients that speak to it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway.contract import check_reply
from PIL import Image, ImageDraw
from sqlalchemy import create_engine, text

PROGRAM = (sys.executable, "-m", "pero_worker")
CLIENT = httpx.Client(timeout=60)
"""Shared: a client loads certificates when it is made."""
DONE_SECONDS = 120


def dummy_pipeline(folder: Path, **options: object) -> Path:
    """A pipeline of the dummy engine that puts a line on every page and takes no time, but for `options`."""
    values = {"DUMMY": "yes", "TIME_SCALE": 0, "LINE": "one line", **options}
    folder.mkdir(parents=True)
    lines = ["[WORKER]", *(f"{name} = {value}" for name, value in values.items())]
    (folder / "config.ini").write_text("\n".join(lines))
    return folder


def picture(kind: str = "JPEG", words: str = "text", size: tuple[int, int] = (300, 200)) -> bytes:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((20, 20), words, fill="black")
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


@dataclass
class RunningGateway:
    """A gateway in a process of its own; `data` is its folder."""

    data: Path
    options: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    log_name: str = "gateway.log"
    url: str = ""
    process: subprocess.Popen[str] | None = None

    def start(self, port: int = 0) -> RunningGateway:
        command = [*PROGRAM, "gateway", "--data", str(self.data), "--port", str(port), *self.options]
        self.data.mkdir(parents=True, exist_ok=True)
        with (self.data / self.log_name).open("a") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **self.environment}
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), self.log()
        self.url = line.removeprefix("listening on ").strip()
        return self

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def log(self) -> str:
        return (self.data / self.log_name).read_text()

    def keys(self, *arguments: str, text: str | None = None, expect: int = 0) -> str:
        done = subprocess.run(
            [*PROGRAM, "keys", *arguments, "--data", str(self.data), *self._database()],
            capture_output=True,
            text=True,
            input=text,
            check=False,
        )
        assert done.returncode == expect, done.stderr
        return (done.stdout if expect == 0 else done.stderr).strip()

    def _database(self) -> Sequence[str]:
        place = list(self.options).index("--database") if "--database" in self.options else None
        return () if place is None else ("--database", self.options[place + 1])

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self._close()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self._close()
        return status

    def _close(self) -> None:
        assert self.process is not None and self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def running(
    data: Path, *options: str, log: str = "gateway.log", environment: dict[str, str] | None = None
) -> Iterator[RunningGateway]:
    gateway = RunningGateway(data, options, environment or {}, log).start()
    try:
        yield gateway
    finally:
        if gateway.process is not None and gateway.process.poll() is None:
            gateway.stop()


@dataclass
class Legacy:
    """A client of the old API."""

    url: str
    key: str

    def ask(self, method: str, path: str, *, base: str = "", **more: Any) -> httpx.Response:
        headers = {"api-key": self.key, **more.pop("headers", {})}
        return CLIENT.request(method, self.url + base + path, headers=headers, **more)

    def create(self, images: dict[str, Any], engine: Any = 1) -> str:
        reply = self.ask("POST", "/post_processing_request", json={"engine": engine, "images": images})
        assert reply.status_code == 200, reply.text
        assert reply.json()["status"] == "success"
        return str(reply.json()["request_id"])

    def upload(self, request: str, page: str, content: bytes, filename: str = "scan.jpg") -> httpx.Response:
        return self.ask("POST", f"/upload_image/{request}/{page}", files={"file": (filename, content)})

    def states(self, request: str) -> dict[str, Any]:
        reply = self.ask("GET", f"/request_status/{request}")
        assert reply.status_code == 200, reply.text
        return dict(reply.json()["request_status"])

    def wait(self, request: str) -> dict[str, Any]:
        """Polls as clients do until nothing is waiting or being processed."""
        deadline = time.monotonic() + DONE_SECONDS
        while True:
            states = self.states(request)
            if not any(page["state"] in {"WAITING", "PROCESSING"} for page in states.values()):
                return states
            assert time.monotonic() < deadline, states
            time.sleep(0.05)


@pytest.fixture(scope="session", autouse=True)
def _connections() -> Iterator[None]:
    yield
    CLIENT.close()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway that reads pages with the dummy engine; names with `fail` in them fail."""
    folder = tmp_path_factory.mktemp("gateway")
    pipeline = dummy_pipeline(folder / "dummy", FAIL_NAME="*fail*")
    prices = ("--price-per-worker-second", "0.01", "--currency", "EUR")
    with running(folder / "data", "--pipeline", str(pipeline), "--jobs", "1", *prices) as started:
        yield started


@pytest.fixture(scope="session")
def user_key(gateway: RunningGateway) -> str:
    return gateway.keys("add", "user")


@pytest.fixture(scope="session")
def other_key(gateway: RunningGateway) -> str:
    return gateway.keys("add", "other")


@pytest.fixture
def legacy(gateway: RunningGateway, user_key: str) -> Legacy:
    return Legacy(gateway.url, user_key)


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@dataclass
class V1:
    """A client of v1."""

    url: str
    key: str

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"X-API-Key": self.key, **more.pop("headers", {})}
        reply = CLIENT.request(method, f"{self.url}/v1{path}", headers=headers, **more)
        check_reply(self.url, method, f"/v1{path.partition('?')[0]}", reply)
        return reply

    def data(self, method: str, path: str, *, expect: str, **more: Any) -> Any:
        """The data of a reply whose code is `expect`."""
        reply = self.ask(method, path, **more)
        body = reply.json()
        assert (body["code"], body["status"]) == (expect, reply.status_code), reply.text
        assert body["detail"]
        return body.get("data", body.get("details"))

    def create(self, *names: str, **more: Any) -> str:
        images = [{"name": name, "order": place} for place, name in enumerate(names)]
        return str(self.data("POST", "/jobs", expect="JOB_CREATED", json={"images": images, **more})["id"])

    def upload(self, job: str, name: str, content: bytes, kind: str = "image") -> httpx.Response:
        return self.ask("PUT", f"/jobs/{job}/images/{name}/files/{kind}", files={"file": (name, content)})

    def job(self, job: str) -> Any:
        return self.data("GET", f"/jobs/{job}", expect="JOB_RETRIEVED")

    def wait(self, job: str) -> Any:
        deadline = time.monotonic() + DONE_SECONDS
        while (found := self.job(job))["state"] not in {"done", "failed", "cancelled"}:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        return found


@dataclass
class Roles:
    """A client of each role, and a second user."""

    user: V1
    other: V1
    worker: V1
    admin: V1
    readonly: V1


def roles_of(gateway: RunningGateway) -> Roles:
    """Keys of each role, made as an administrator makes them."""
    admin = V1(gateway.url, gateway.keys("add", "the-admin", "--role", "admin"))

    def client(label: str, role: str) -> V1:
        made = admin.data("POST", "/admin/keys", expect="KEY_CREATED", json={"label": label, "role": role})
        return V1(gateway.url, made["secret"])

    return Roles(
        user=client("a-user", "user"),
        other=client("another-user", "user"),
        worker=client("a-worker", "worker"),
        admin=admin,
        readonly=client("a-reader", "readonly"),
    )


@pytest.fixture(scope="session")
def roles(gateway: RunningGateway) -> Roles:
    return roles_of(gateway)


POSTGRESQL = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@dataclass
class PostgreSQL:
    """A server of its own on a free port, in a folder of its own, run by somebody who is not root."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"postgresql://gateway@127.0.0.1:{self.port}/postgres"

    def run(self, *command: str) -> None:
        program = [str(POSTGRESQL[-1] / command[0]), *command[1:]]
        if os.geteuid() == 0:
            program = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *program]
        with (self.folder.parent / "server.log").open("a") as log:
            subprocess.run(program, check=True, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self.run("pg_ctl", "-D", str(self.folder), "-w", "-t", "60", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self.run("pg_ctl", "-D", str(self.folder), "-w", "-m", mode, "stop")

    def kill(self) -> None:
        """The server and all its processes, without a word; returns when they are gone."""
        server = int((self.folder / "postmaster.pid").read_text().split()[0])
        family = [server, *(int(child) for child in Path(f"/proc/{server}/task/{server}/children").read_text().split())]
        for process in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while any(_runs(process) for process in family):
            time.sleep(0.05)
        # Where nobody collects the dead, their numbers stay taken, and the next server thinks that it is not alone.
        (self.folder / "postmaster.pid").unlink(missing_ok=True)


def new_database(server: PostgreSQL) -> str:
    """The URL of an empty database."""
    name = f"t{uuid.uuid4().hex[:12]}"
    engine = create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.url.replace("/postgres", f"/{name}")


def _runs(process: int) -> bool:
    """Whether it is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.contextmanager
def own_postgresql() -> Iterator[PostgreSQL]:
    """A server that is there for as long as the block."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    parent = Path(tempfile.mkdtemp(prefix="pero-postgresql-"))
    parent.chmod(0o755)
    server = PostgreSQL(parent / "data", port)
    server.folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(server.folder, "postgres", "postgres")
    server.run("initdb", "-D", str(server.folder), "-U", "gateway", "-A", "trust", "--no-sync")
    server.start()
    yield server
    with contextlib.suppress(subprocess.CalledProcessError):
        server.stop("immediate")
    shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    with own_postgresql() as server:
        yield server
