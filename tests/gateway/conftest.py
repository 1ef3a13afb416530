"""A gateway as a user starts it, with keys, and clients that speak to it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, ImageDraw

PROGRAM = (sys.executable, "-m", "pero_worker")
START_SECONDS = 120
DONE_SECONDS = 120


def dummy_pipeline(folder: Path, **options: object) -> Path:
    """A pipeline of the dummy engine that puts a line on every page and takes no time, but for `options`."""
    values = {"DUMMY": "yes", "TIME_SCALE": 0, "LINE": "one line", **options}
    folder.mkdir(parents=True)
    lines = ["[WORKER]", *(f"{name} = {value}" for name, value in values.items())]
    (folder / "config.ini").write_text("\n".join(lines))
    return folder


def picture(kind: str = "JPEG", text: str = "text", size: tuple[int, int] = (300, 200)) -> bytes:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((20, 20), text, fill="black")
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


@dataclass
class RunningGateway:
    """A gateway in a process of its own; `data` is its folder."""

    data: Path
    options: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    url: str = ""
    process: subprocess.Popen[str] | None = None

    def start(self, port: int = 0) -> RunningGateway:
        command = [*PROGRAM, "gateway", "--data", str(self.data), "--port", str(port), *self.options]
        self.data.mkdir(parents=True, exist_ok=True)
        with (self.data / "gateway.log").open("a") as log:
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
        return (self.data / "gateway.log").read_text()

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
def running(data: Path, *options: str) -> Iterator[RunningGateway]:
    gateway = RunningGateway(data, options).start()
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
        return httpx.request(method, self.url + base + path, headers=headers, timeout=60, **more)

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


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway that reads pages with the dummy engine; names with `fail` in them fail."""
    folder = tmp_path_factory.mktemp("gateway")
    pipeline = dummy_pipeline(folder / "dummy", FAIL_NAME="*fail*")
    with running(folder / "data", "--pipeline", str(pipeline), "--jobs", "1") as started:
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
