"""A new model cannot stop a stage: it is tried first, the one that works is kept, and there is a way back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.test_workers import DUMMY, collect, page, running_watchdog, running_worker, until

from pero_worker.cluster.registry.stages import current_trouble, read_record

if TYPE_CHECKING:
    from cluster.conftest import TestCluster


def command(cluster: TestCluster, *words: object, expect: int = 0) -> str:
    line = [sys.executable, "-m", "pero_worker", *map(str, words)]
    done = subprocess.run(line, env=cluster.environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == expect and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done.stdout + done.stderr


def model(tmp_path: Path, name: str, more: str = "", engine: str = DUMMY) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "config.ini").write_text(engine + more)
    return folder


def test_a_bad_model_is_refused_kept_out_or_gone_back_from(cluster: TestCluster, tmp_path: Path) -> None:
    one, two = model(tmp_path, "one"), model(tmp_path, "two", "LINE = two\n")
    bad = model(tmp_path, "bad", engine="[WORKER]\nENGINE = nonesuch\n")
    cluster.add_stage("out")

    def upload(folder: Path, version: str, *options: str, expect: int = 0) -> str:
        where = f"file://{tmp_path}/store/{version}.tar.gz"
        return command(
            cluster, "stage", "upload", "ocr", folder, "-r", where, "--version", version, "-q", *options, expect=expect
        )

    upload(one, "1")
    upload(two, "2")
    with (
        cluster.client() as client,
        cluster.broker() as broker,
        running_watchdog(cluster),
        running_worker(cluster, tmp_path),
    ):
        broker.publish("ocr", page(1, "ocr", "out"))
        assert collect(cluster, 1)[0].logs[0].version == "2"
        assert "there is no engine 'nonesuch'" in upload(bad, "3", expect=5)
        assert not (tmp_path / "store/3.tar.gz").exists()
        assert read_record(client, "ocr").version == "2"

        upload(bad, "3", "--no-check")
        until(lambda: current_trouble(read_record(client, "ocr")))
        broker.publish("ocr", page(2, "ocr", "out"))
        assert collect(cluster, 1)[0].logs[0].version == "2", "who has it loaded goes on"
        assert "stage ocr: cannot be loaded: " in " ".join(command(cluster, "status").split())
        assert command(cluster, "stage", "rollback", "ocr") == "stage ocr has version 2 again, in place of 3\n"
        assert current_trouble(read_record(client, "ocr")) is None
        history = json.loads(command(cluster, "stage", "history", "ocr", "--json"))
        assert [(one["version"], one["withdrawn"]) for one in history] == [("2", False), ("3", True), ("1", False)]

        # Another step back, then by name.
        command(cluster, "stage", "rollback", "ocr")
        broker.publish("ocr", page(3, "ocr", "out"))
        assert collect(cluster, 1)[0].logs[0].version == "1"
        assert "no version of stage ocr to go back to" in command(cluster, "stage", "rollback", "ocr", expect=2)
        assert "before the present one there were: 3, 2" in command(
            cluster, "stage", "rollback", "ocr", "--to", "9", expect=2
        )
        command(cluster, "stage", "rollback", "ocr", "--to", "2")
        record = read_record(client, "ocr")
        assert (record.version, record.archive, record.config) == (
            "2",
            f"file://{tmp_path}/store/2.tar.gz",
            DUMMY + "LINE = two\n",
        )
        assert "gone back from" in command(cluster, "stage", "history", "ocr")


def test_an_archive_that_was_overwritten_is_no_way_back(cluster: TestCluster, tmp_path: Path) -> None:
    where = f"file://{tmp_path}/store/m.tar.gz"
    for version, more in (("1", ""), ("2", "LINE = two\n")):
        folder = model(tmp_path, version, more)
        command(cluster, "stage", "upload", "ocr", folder, "-r", where, "--version", version, "-q", "--no-check")
    said = command(cluster, "stage", "rollback", "ocr", expect=2)
    assert "was overwritten by that of version 2: upload it again" in " ".join(said.split())
