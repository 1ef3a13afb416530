"""`pero-worker ocr --gateway`: as on one machine, done elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from gateway.conftest import PROGRAM, Roles, picture
from PIL import Image


def ocr(key: str, *arguments: object, expect: int) -> str:
    environment = {**os.environ, "PERO_WORKER_GATEWAY_KEY": key}
    command = [*PROGRAM, "ocr", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_scans_are_read_by_a_gateway(roles: Roles, tmp_path: Path) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    (scans / "ř ž").mkdir(parents=True)
    (scans / "ř ž" / "a.jpg").write_bytes(picture())
    (scans / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    Image.new("L", (200, 100), 255).save(
        scans / "two.tif", save_all=True, append_images=[Image.new("L", (200, 100), 200)]
    )
    options = (scans, "-o", out, "--gateway", roles.user.url, "--formats", "page,text")
    ocr(roles.user.key, *options, expect=3)
    assert (out / "ř ž" / "a.txt").read_text().startswith("one line: page.jpg")
    assert {path.name for path in out.glob("*.txt")} == {"two_0001.txt", "two_0002.txt"}
    report = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    assert {line["page"]: line["status"] for line in report} == {
        "ř ž/a": "done",
        "two_0001": "done",
        "two_0002": "done",
        "broken": "failed",
    }
    # Nothing of it stays there, and nothing is done twice.
    states = {job["id"]: roles.user.job(job["id"]) for job in roles.user.data("GET", "/jobs", expect="JOBS_RETRIEVED")}
    mine = [job for job in states.values() if job.get("name") in {"ř ž/a", "two_0001", "two_0002"}]
    assert len(mine) == 3
    ocr(roles.user.key, *options, expect=3)
    again = [job for job in roles.user.data("GET", "/jobs", expect="JOBS_RETRIEVED") if job.get("name") == "ř ž/a"]
    assert len(again) == 1
    assert "no engine" in ocr(roles.user.key, *options, "--engine", "nonsense", expect=5)
