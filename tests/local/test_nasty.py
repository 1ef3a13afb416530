"""Every nasty input through the command line, with both engines, in bounded memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from nasty import TEXT, draw_text_picture, write_all

_MEMORY = 1.5e9
"""Bytes of RSS that no worker may exceed."""


@pytest.mark.parametrize("pipeline", ["print-latin", "rapidocr"])
def test_every_nasty_input_gives_what_it_must(tmp_path: Path, pipeline: str) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    expected = write_all(scans, draw_text_picture())
    names = [str(scans / name) for name in expected]
    command = [sys.executable, "-m", "pero_worker", "ocr", *names, "-o", str(out), "-p", pipeline, "-f", "text,pdf"]
    process = subprocess.Popen([*command, "-q"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    errors = process.stderr.read()
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 3, errors
    assert errors == ""
    assert usage.ru_maxrss * 1024 < _MEMORY
    records = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    outcomes: dict[str, list[str]] = {}
    for record in records:
        text = (out / record["outputs"]["text"]).read_text() if record["status"] == "done" else ""
        outcomes.setdefault(Path(record["source"]).name, []).append(_outcome(record, text))
        if record["status"] == "failed":
            assert record["error_class"] == "page"
            assert record["attempts"] == 1, record
            assert "0x" not in record["error"]
    assert set(outcomes) == set(expected)
    wrong = {
        name: (expected[name], got)
        for name, got in outcomes.items()
        if expected[name] != "any" and expected[name] not in got
    }
    assert wrong == {}
    assert {name: len(got) for name, got in outcomes.items() if len(got) != 1} == {"three.tif": 3, "two.pdf": 2}
    assert not (tmp_path / "evil").exists()


def _outcome(record: dict[str, str], text: str) -> str:
    if record["status"] == "failed":
        return "error"
    found = set(text.split())
    wanted = {word for line in TEXT for word in line.split()}
    share = len(found & wanted) / len(wanted)
    return "text" if share > 0.4 else "empty" if not found else f"other ({share:.2f})"
