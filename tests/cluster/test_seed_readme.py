"""The README of upstream's first release, from top to bottom: its commands as written, but for ports, names and paths.

Real RabbitMQ, ZooKeeper and FTP, two stages of real pero-ocr, a real scan of the demo.
"""

from __future__ import annotations

import ftplib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pero_worker
from pero_worker.servers.daemon import Daemon, answers, free_port

if TYPE_CHECKING:
    from cluster.conftest import TestFarm

pytest.importorskip("pero_ocr")
HOME = Path(__file__).parents[2]
MODEL = Path(pero_worker.__file__).parent / "pipelines/print-latin"
SCAN = HOME / "build/demo/scans/typewriter.png"
WORDS = {"linzen", "liter water", "laurier", "kruidnagel", "kerrie", "wassen"}
LAYOUT, OCR = "RUN_LAYOUT_PARSER", "RUN_OCR"


@pytest.fixture
def ftp(tmp_path: Path) -> Iterator[str]:
    root = tmp_path / "ftp-root"
    root.mkdir()
    port = free_port()
    server = Daemon("ftp", tmp_path / "ftp")
    options = ["--host", "127.0.0.1", "--port", str(port), "--root", str(root), "--user", "pero"]
    command = [sys.executable, "-m", "pero_worker.servers.ftp", *options]
    server.start(command, {"PERO_WORKER_SERVER_PASSWORD": "pero"})
    server.wait_until(lambda: answers(port))
    yield f"127.0.0.1:{port}"
    server.stop()


def archive(folder: Path, name: str, *steps: str) -> tuple[Path, Path]:
    """A stage that does only `steps`: its config.ini and the archive of its model files."""
    folder.mkdir()
    config = (MODEL / "config.ini").read_text()
    for step in (LAYOUT, "RUN_LINE_CROPPER", OCR):
        config = config.replace(f"{step} = yes", f"{step} = {'yes' if step in steps else 'no'}")
    (folder / "config.ini").write_text(config)
    packed = folder / f"{name}.tar.xz"
    with tarfile.open(packed, "w:xz", preset=0) as target:
        for file in MODEL.iterdir():
            if file.suffix in {".pt", ".json"}:
                target.add(file, file.name)
    return folder / "config.ini", packed


@contextmanager
def background(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=HOME, env=environment, stdout=stream, stderr=stream)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()


def test_the_readme_from_top_to_bottom(farm: TestFarm, ftp: str, tmp_path: Path) -> None:
    assert SCAN.is_file(), "the demo's scans are not there: run make test"
    environment = {**os.environ, "PERO_WORKER_VHOST": farm.vhost}
    zookeeper = ["-z", farm.zookeeper]
    rabbitmq = f"127.0.0.1:{farm.rabbitmq.port}"

    def python(*arguments: object) -> str:
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(
            command, cwd=HOME, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # Initial system configuration
    update = ["--update-mq-servers", "--update-ftp-servers", "--update-monitoring-servers"]
    python("scripts/config_manager.py", *zookeeper, "-s", rabbitmq, "--ftp-servers", ftp, *update)
    for name, steps in (("layout", [LAYOUT]), ("ocr", ["RUN_LINE_CROPPER", OCR])):
        config, packed = archive(tmp_path / name, name, *steps)
        upload(ftp, packed)
        remote = ["--config", config, "--remote-path", packed.name]
        python("scripts/config_manager.py", *zookeeper, "--name", name, *remote)
    python("scripts/config_manager.py", *zookeeper, "--name", "out")

    # Running worker and watchdog
    (tmp_path / "cache").mkdir()
    worker = [sys.executable, "worker/worker.py", *zookeeper, "--tmp-directory", str(tmp_path / "cache")]
    watchdog = [sys.executable, "worker/worker_watchdog.py", *zookeeper]
    images = [tmp_path / "a.png", tmp_path / "b.png"]
    for image in images:
        shutil.copy(SCAN, image)
    with (
        background(worker, environment, tmp_path / "worker.log"),
        background(watchdog, environment, tmp_path / "watchdog.log"),
    ):
        # Processing
        python("scripts/publisher.py", *zookeeper, "--stages", "layout", "ocr", "out", "--images", *images)
        results = tmp_path / "results"
        keep = [*zookeeper, "--directory", str(results), "--download", "out", "--keep-running"]
        with background([sys.executable, "scripts/publisher.py", *keep], environment, tmp_path / "download.log"):
            wait_for(lambda: len(list(results.glob("*/*_info.txt"))) == 2, tmp_path)

    said = python("scripts/publisher.py", *zookeeper, "--directory", results, "--download", "out")
    assert said.startswith("0 pages")
    for folder in results.glob("*/"):
        if folder.name.startswith("."):
            continue
        (xml,) = folder.glob("*_page.xml")
        image = xml.name.removesuffix("_page.xml")
        assert {path.name for path in folder.iterdir()} == {
            image,
            xml.name,
            f"{image}.logits",
            "layout.log",
            "ocr.log",
            f"{folder.name}_info.txt",
        }
        text = " ".join(xml.read_text("utf-8").split())
        assert "Status        : OK" in (folder / "ocr.log").read_text()
        assert {word for word in WORDS if word in text} == WORDS


def upload(server: str, file: Path) -> None:
    host, port = server.split(":")
    with ftplib.FTP() as client, file.open("rb") as stream:
        client.connect(host, int(port))
        client.login("pero", "pero")
        client.storbinary(f"STOR {file.name}", stream)


def wait_for(condition: Callable[[], object], logs: Path) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        told = "\n".join(f"{log.name}:\n{log.read_text()}" for log in logs.glob("*.log"))
        assert time.monotonic() < deadline, told
        time.sleep(0.05)
