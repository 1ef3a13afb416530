"""A gateway on the database and the folder of an earlier version goes on."""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
from pathlib import Path

import pytest
from gateway.conftest import V1, Legacy, dummy_pipeline, picture, running
from golden.state import VERSIONS, laid_out


@pytest.mark.parametrize("version", VERSIONS)
def test_a_gateway_of_an_earlier_version_is_taken_over(version: str, tmp_path: Path) -> None:
    """Its keys are known, its results are there, and the page that it had in hand is done."""
    state = laid_out(version, "gateway", tmp_path / "state")
    database = sqlite3.connect(state / "data/gateway.sqlite")
    database.executescript((state / "gateway.sql").read_text())
    database.close()
    key, ids = (state / "key.txt").read_text().strip(), json.loads((state / "ids.json").read_text())
    pipeline = dummy_pipeline(tmp_path / "pipeline")
    with running(state / "data", "--pipeline", str(pipeline), "--jobs", "1") as gateway:
        client, legacy = V1(gateway.url, key), Legacy(gateway.url, key)
        assert client.wait(ids["waiting"])["state"] == "done"
        assert client.job(ids["done"])["state"] == "done"
        result = client.ask("GET", f"/jobs/{ids['done']}/result")
        assert result.status_code == 200
        archive = zipfile.ZipFile(io.BytesIO(result.content))
        (name,) = [name for name in archive.namelist() if name.endswith(".txt")]
        assert archive.read(name).startswith(b"text: ")
        (page,) = legacy.states(ids["legacy"]).values()
        assert page["state"] == "PROCESSED"
        old = legacy.ask("GET", f"/download_results/{ids['legacy']}/old1/txt")
        assert old.status_code == 200 and old.text.startswith("text: ")
        # And it takes new work.
        made = client.create("new.jpg")
        assert client.upload(made, "new.jpg", picture()).status_code == 201
        assert client.wait(made)["state"] == "done"
