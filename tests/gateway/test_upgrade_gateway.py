"""A gateway on the database and the folder of an earlier version goes on."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from gateway.conftest import V1, Legacy, dummy_pipeline, running
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
        text = client.ask("GET", f"/jobs/{ids['done']}/images/p1.jpg/files/text")
        assert text.status_code == 200 and text.text.startswith("text: "), text.text
        (page,) = legacy.states(ids["legacy"]).values()
        assert page["state"] == "PROCESSED"
        old = legacy.ask("GET", f"/download_results/{ids['legacy']}/old1/txt")
        assert old.status_code == 200 and old.text.startswith("text: ")
        # And it takes new work.
        made = client.create("new.jpg")
        client.upload(made, "new.jpg", (next((state / "data/jobs").glob("*/*.jpg"))).read_bytes())
        assert client.wait(made)["state"] == "done"
