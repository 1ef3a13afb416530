"""`pero-worker worker --gateway`: a machine that can do nothing but HTTPS."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway.conftest import PROGRAM, Legacy, Roles, dummy_pipeline, picture, roles_of, running


@pytest.fixture(scope="module")
def leasing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    with running(tmp_path_factory.mktemp("leasing") / "data", "--lease-only") as gateway:
        yield roles_of(gateway)


def start_worker(roles: Roles, cache: Path, *options: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PERO_WORKER_GATEWAY_KEY": roles.worker.key, "XDG_CACHE_HOME": str(cache)}
    command = [*PROGRAM, "worker", "--gateway", roles.user.url, "--jobs", "1", "--until-idle", "1", *options]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def work(roles: Roles, cache: Path, *options: str) -> None:
    process = start_worker(roles, cache, *options)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert roles.worker.key not in said


def test_jobs_are_worked_off(leasing: Roles, tmp_path: Path) -> None:
    own = dummy_pipeline(tmp_path / "own", FAIL_NAME="*fail*")
    archive = tmp_path / "engine.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("config.ini", "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nLINE = from the archive\n")
    engine = {"name": "mine", "version": "1", "description": "", "definition": {}}
    leasing.admin.data("POST", "/admin/engines", expect="ENGINE_CREATED", json=engine)
    files = {"file": ("engine.zip", archive.read_bytes())}
    leasing.admin.data("PUT", "/admin/engines/mine/1/files", expect="ENGINE_FILES_UPLOADED", files=files)

    user, legacy = leasing.user, Legacy(leasing.user.url, leasing.user.key)
    plain = user.create("a.jpg", "fail.jpg", "two.tif")
    failing = user.create("fail.jpg")
    named = user.create("b.jpg", engine_name="mine")
    for job, name in ((plain, "a.jpg"), (plain, "fail.jpg"), (failing, "fail.jpg"), (named, "b.jpg")):
        assert user.upload(job, name, picture()).status_code == 201
    user.upload(plain, "two.tif", picture("TIFF"))
    request = legacy.create({"c": None})
    legacy.upload(request, "c", picture())
    work(leasing, tmp_path / "cache", "--pipeline", str(own), "--trust")

    assert user.job(plain)["state"] == "done"
    with zipfile.ZipFile(io.BytesIO(user.ask("GET", f"/jobs/{plain}/result").content)) as result:
        assert result.read("a.txt").startswith(b"one line")
        assert {"two.txt", "report.jsonl"} <= set(result.namelist())
        assert "fail.txt" not in result.namelist()
    assert {name: page["state"] for name, page in legacy.states(plain).items()} == {
        "a.jpg": "PROCESSED",
        "fail.jpg": "PROCESSING_FAILED",
        "two.tif": "PROCESSED",
    }
    assert user.job(failing)["state"] == "failed"
    assert leasing.admin.job(failing)["previous_attempts"] == 2
    with zipfile.ZipFile(io.BytesIO(user.ask("GET", f"/jobs/{named}/result").content)) as result:
        assert result.read("b.txt").startswith(b"from the archive")
    assert legacy.states(request)["c"] == {"state": "PROCESSED", "quality": 100.0}
    assert legacy.ask("GET", f"/download_results/{request}/c/txt").text.startswith("from the archive: c")


def test_a_worker_that_is_stopped_gives_its_job_back(leasing: Roles, tmp_path: Path) -> None:
    slow = dummy_pipeline(tmp_path / "slow", TIME_DIFF_MIN=60, TIME_DIFF_MAX=60)
    job = leasing.user.create("a.jpg")
    leasing.user.upload(job, "a.jpg", picture())
    process = start_worker(leasing, tmp_path / "cache", "--pipeline", str(slow))
    while leasing.user.job(job)["state"] != "processing":
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    given_back = leasing.admin.job(job)
    assert (given_back["state"], given_back["previous_attempts"]) == ("queued", None)
    leasing.user.data("PATCH", f"/jobs/{job}", expect="JOB_CANCELLED", json={"state": "cancelled"})


def test_a_worker_without_a_key_says_so(leasing: Roles, tmp_path: Path) -> None:
    for key, status, said in (("", 2, "PERO_WORKER_GATEWAY_KEY"), ("x.y.z", 2, "API_KEY_INVALID")):
        environment = {**os.environ, "PERO_WORKER_GATEWAY_KEY": key}
        command = [*PROGRAM, "worker", "--gateway", leasing.user.url]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, said in done.stderr) == (status, True), done.stderr
