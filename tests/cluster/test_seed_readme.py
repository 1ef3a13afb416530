"""The README of upstream's first release, from top to bottom: its commands as written, but with other ports, names
and paths.

It uses real RabbitMQ, ZooKeeper and FTP servers, two stages of real pero-ocr, and real scans of the demo. `make
acceptance` records what was typed and what came back in docs/acceptance.md.
"""

from __future__ import annotations

import ftplib
import os
import shlex
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
from pero_worker.formats import pagexml
from pero_worker.servers.daemon import Daemon, answers, free_port

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

pytest.importorskip("pero_ocr")
HOME = Path(__file__).parents[2]
MODEL = Path(pero_worker.__file__).parent / "pipelines/print-latin"
SCANS = HOME / "build/demo/scans"
WORDS = {
    "typewriter.png": {"linzen", "liter water", "laurier", "kruidnagel", "kerrie", "wassen"},
    "linn.png": {"32 Track MIDI", "amazingly simple to learn", "simply press RECORD and PLAY"},
}
LOG = "PERO_WORKER_ACCEPTANCE_LOG"
HEAD = """\
# The README of upstream's first release, typed in

Made by `make acceptance`, which is `tests/cluster/test_seed_readme.py`: RabbitMQ and ZooKeeper of Debian 12, an FTP server, two
stages of pero-ocr, two of the demo's scans. Ports, the cluster's root in ZooKeeper and file names are those of the run;
everything else is as upstream's README has it.
"""
LAYOUT, OCR = "RUN_LAYOUT_PARSER", "RUN_OCR"


@pytest.fixture
def ftp(tmp_path: Path) -> Iterator[str]:
    root = tmp_path / "ftp-root"
    root.mkdir()
    port = free_port()
    server = Daemon(name="ftp", folder=tmp_path / "ftp")
    options = ["--host", "127.0.0.1", "--port", str(port), "--root", str(root), "--user", "pero"]
    command = [sys.executable, "-m", "pero_worker.servers.ftp", *options]
    server.start(command, {"PERO_WORKER_SERVER_PASSWORD": "pero"})
    server.wait_until(lambda: answers(port))
    yield f"127.0.0.1:{port}"
    server.stop()


def archive(folder: Path, name: str, *steps: str) -> tuple[Path, Path]:
    """Returns config.ini and model archive of a stage that does only `steps`."""
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


def test_the_readme_from_top_to_bottom(cluster: TestCluster, ftp: str, tmp_path: Path) -> None:
    assert SCANS.is_dir(), "the demo's scans are not there: run make test"
    environment = {**os.environ, "PERO_WORKER_VHOST": cluster.vhost}
    zookeeper = ["-z", cluster.zookeeper]
    rabbitmq = f"127.0.0.1:{cluster.rabbitmq.port}"
    log = Log(tmp_path)

    def run(*arguments: object) -> str:
        command = [str(argument) for argument in arguments]
        done = subprocess.run(
            command, cwd=HOME, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        log.say(command, done.stdout + done.stderr)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def python(*arguments: object) -> str:
        return run(sys.executable, *arguments)

    # It may install the program from this folder, while tests in another folder are using it.
    if LOG in os.environ and not (HOME / ".venv").is_symlink():
        log.head("Setup")
        run("sh", "install_dependencies.sh")

    log.head("Initial system configuration")
    update = ["--update-mq-servers", "--update-ftp-servers", "--update-monitoring-servers"]
    python("scripts/config_manager.py", *zookeeper, "-s", rabbitmq, "--ftp-servers", ftp, *update)
    for name, steps in (("layout", [LAYOUT]), ("ocr", ["RUN_LINE_CROPPER", OCR])):
        config, packed = archive(tmp_path / name, name, *steps)
        upload(ftp, packed)
        remote = ["--config", config, "--remote-path", packed.name]
        python("scripts/config_manager.py", *zookeeper, "--name", name, *remote)
    python("scripts/config_manager.py", *zookeeper, "--name", "out")

    log.head("Running worker and watchdog")
    (tmp_path / "cache").mkdir()
    worker = [sys.executable, "worker/worker.py", *zookeeper, "--tmp-directory", str(tmp_path / "cache")]
    watchdog = [sys.executable, "worker/worker_watchdog.py", *zookeeper]
    log.say([*worker, "&"])
    log.say([*watchdog, "&"])
    images = [shutil.copy(SCANS / name, tmp_path / name) for name in WORDS]
    with (
        background(worker, environment, tmp_path / "worker.log"),
        background(watchdog, environment, tmp_path / "watchdog.log"),
    ):
        log.head("Processing")
        python("scripts/publisher.py", *zookeeper, "--stages", "layout", "ocr", "out", "--images", *images)
        results = tmp_path / "results"
        download = [
            sys.executable,
            "scripts/publisher.py",
            *zookeeper,
            "--directory",
            str(results),
            "--download",
            "out",
        ]
        with background([*download, "--keep-running"], environment, tmp_path / "download.log"):
            wait_for(lambda: len(list(results.glob("*/*_info.txt"))) == len(WORDS), tmp_path)
    log.say([*download, "--keep-running"], (tmp_path / "download.log").read_text())
    assert run(*download).startswith("0 pages")

    log.head("What came")
    folders = [folder for folder in results.iterdir() if not folder.name.startswith(".")]
    assert len(folders) == len(WORDS)
    for folder in folders:
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
        log.say(["cat", str(folder / "ocr.log")], (folder / "ocr.log").read_text())
        assert "Status        : OK" in (folder / "ocr.log").read_text()
        found = text_of(xml)
        log.say(["#", f"the text in {xml}"], "\n".join([*found[:12], "..."]))
        assert {words for words in WORDS[image] if words in " ".join(found)} == WORDS[image]


class Log:
    """What was typed and what came back, as Markdown, for the file that the environment names, if any."""

    def __init__(self, scratch: Path) -> None:
        self._file = Path(os.environ[LOG]) if LOG in os.environ else None
        self._short = {sys.executable: "python", f"{scratch}/": "", str(HOME): "."}
        if self._file:
            self._file.write_text(HEAD)

    def head(self, text: str) -> None:
        self._write(f"\n## {text}\n\n")

    def say(self, command: list[str], output: str = "") -> None:
        typed = " ".join(command) if {"&", "#"} & set(command) else shlex.join(command)
        lines = [f"$ {typed}", *output.rstrip().splitlines()]
        self._write("".join(f"    {line}".rstrip() + "\n" for line in lines))

    def _write(self, text: str) -> None:
        for long, short in self._short.items():
            text = text.replace(long, short)
        if self._file:
            with self._file.open("a") as stream:
                stream.write(text)


def text_of(xml: Path) -> list[str]:
    return [line.text or "" for line in pagexml.read(xml.read_bytes()).lines()]


def upload(server: str, file: Path) -> None:
    host, port = server.split(":")
    with ftplib.FTP() as client, file.open("rb") as stream:
        client.connect(host, int(port))
        client.login("pero", "pero")
        client.storbinary(f"STOR {file.name}", stream)


def wait_for(condition: Callable[[], object], logs: Path) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        told = "\n".join(f"{log.name}:\n{log.read_text()}" for log in logs.glob("*.log"))
        assert time.monotonic() < deadline, told
        time.sleep(0.05)
