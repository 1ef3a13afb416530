"""`pero-worker up` and `down`: the private servers of one machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pero_worker.servers.local import LocalServers


def pero_worker(*arguments: object, expect: int = 0, **environment: str) -> str:
    command = [sys.executable, "-m", "pero_worker", *map(str, arguments)]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_cluster_comes_up_keeps_its_data_and_goes(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    try:
        said = pero_worker("up", "--dir", folder)
        (address,) = [line.split("=")[1] for line in said.splitlines() if "PERO_WORKER_ZOOKEEPER=" in line]
        here: dict[str, Any] = {"PERO_WORKER_ZOOKEEPER": address}
        registered = pero_worker("servers", "list", **here).split()[2::2]
        assert registered == ["mq", "mq_monitoring", "ftp"]
        model = "rapidocr"
        assert "in the store as models/ocr/" in pero_worker("stage", "upload", "ocr", model, **here)
        assert "ocr" in pero_worker("status", **here)
        assert address in pero_worker("up", "--dir", folder), "a second time nothing is started and nothing moves"
        assert "rabbitmq" in pero_worker("down", "--dir", folder)
        assert "none ran" in pero_worker("down", "--dir", folder)
        assert address in pero_worker("up", "--dir", folder)
        assert "models/ocr/" in pero_worker("stage", "list", **here)
        (folder / "mine").write_text("not the cluster's")
        pero_worker("down", "--dir", folder, "--wipe")
        assert [path.name for path in folder.iterdir()] == ["mine"]
    finally:
        if (folder / "cluster.json").exists():
            LocalServers(folder).stop(wipe=True)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    assert "see pero-worker up" in pero_worker("down", "--dir", tmp_path / "none", expect=2)
    said = pero_worker("up", "--dir", tmp_path / "cluster", expect=2, PERO_WORKER_RABBITMQ=str(tmp_path / "no-server"))
    assert "is not installed: run scripts/apt-install.sh rabbitmq-server zookeeper" in said
    LocalServers(tmp_path / "cluster").stop(wipe=True)
    assert not (tmp_path / "cluster").exists()
