"""The steps of the container file, carried out in a fresh Debian: the packages it installs, the user, a page it reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

from project.containerfile import build, instructions

HOME = Path(__file__).parents[2]
ENVIRONMENT = Path(sysconfig.get_path("purelib"))


def debian() -> Path:
    """Its smallest, made once a checkout."""
    root = HOME / "build/debian"
    subprocess.run([HOME / "scripts/debian-root.sh", root], check=True, capture_output=True)
    return root


def test_an_image_is_built_and_reads_a_page_as_nobody(tmp_path: Path) -> None:
    """Python packages that are here already are seen there while it is built and tried: they need not be fetched."""
    assert os.geteuid() == 0, "only root may enter another Debian: run this test as root"
    mounts = {ENVIRONMENT: "/mnt/packages", HOME / "build/demo/scans": "/mnt/scans"}
    seen = {"PYTHONPATH": "/mnt/packages", "PYTHONDONTWRITEBYTECODE": "1"}
    # Where PyPI is reached through a server of one's own, pip is told whom to believe.
    bundle = Path(os.environ["PIP_CERT"]).resolve() if os.environ.get("PIP_CERT") else None
    authorities = {bundle.parent: "/mnt/authorities"} if bundle else {}
    image = build(
        HOME / "packaging/Containerfile",
        HOME,
        debian(),
        tmp_path,
        given={"TORCH_INDEX": ""},
        mounts={**mounts, **authorities},
        environment={**seen, "HOME": "/root", **({"PIP_CERT": f"/mnt/authorities/{bundle.name}"} if bundle else {})},
    )
    version = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]["version"]
    own = sorted((image.root / "opt/pero-worker/lib").glob("python3*/site-packages/pero_worker"))
    assert own and (own[0] / "pipelines/print-latin-small/config.ini").is_file(), "the program itself is in the image"
    assert not (image.root / "source").exists(), "what it was built of is not"
    assert f"python3.{sys.version_info.minor}" in str(own[0]), "packages of another Python prove nothing"

    def run(*arguments: str) -> str:
        return image.run(*arguments, mounts=mounts, environment=seen)

    assert "Usage: pero-worker" in run() and version in run("--version")
    who = image.inside(["id", "-u"], user=image.user)
    assert who.stdout == "10001\n"
    locked = image.inside(["touch", "/opt/pero-worker/new", "/etc/new"], user=image.user)
    assert locked.returncode != 0 and locked.stderr.count("Permission denied") == 2
    for folder in image.volume:
        done = image.inside(["touch", f"{folder}/new"], user=image.user)
        assert done.returncode == 0, (folder, done.stderr)
    # OpenCV of pero-ocr wants libraries of the system.
    assert (
        image.inside(["python3", "-c", "import cv2"], user=image.user, mounts=mounts, environment=seen).returncode == 0
    )
    run("ocr", "/mnt/scans/typewriter.png", "-o", "text", "-p", "rapidocr")
    text = (image.root / "data/text/typewriter.txt").read_text()
    assert len(text.split()) > 50


def test_its_health_is_what_the_part_says() -> None:
    """As the image's Python would ask: an answer, a failure, nobody, and a part without an address."""
    command = next(
        rest.partition(" CMD ")[2]
        for name, rest in instructions((HOME / "packaging/Containerfile").read_text())
        if name == "HEALTHCHECK"
    )

    class Part(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/well" else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Part)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        home = f"http://127.0.0.1:{server.server_port}"
        found = {url: health(command, url) for url in (f"{home}/well", f"{home}/ill", "http://127.0.0.1:1/", "")}
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert [status == 0 for status in found.values()] == [True, False, False, True]


def health(command: str, url: str) -> int:
    words = json.loads(command)
    return subprocess.run(
        words, env={"PATH": os.environ["PATH"], "HEALTH_URL": url}, capture_output=True, check=False
    ).returncode
