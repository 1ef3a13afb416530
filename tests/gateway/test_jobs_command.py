"""`pero-worker jobs`: the API's jobs on a terminal."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from gateway.conftest import Roles, picture
from typer.testing import CliRunner

from pero_worker.cli.jobs import app
from pero_worker.errors import PeroWorkerError

Jobs = Callable[..., str]


@pytest.fixture
def jobs(roles: Roles, tmp_path: Path) -> Jobs:
    """The command with a user's key, as a line of words; what it printed."""
    file = tmp_path / "key"
    file.write_text(f"{roles.user.key}\n")
    environment = {**os.environ, "PERO_WORKER_GATEWAY": roles.user.url, "COLUMNS": "200"}

    def call(*words: str) -> str:
        done = CliRunner().invoke(app, [*words, "--key-file", str(file)], env=environment, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    return call


def test_jobs_are_listed_shown_and_tried_again(roles: Roles, jobs: Jobs) -> None:
    job = roles.user.create("a.jpg", "fail.jpg", "fail\u202e2.jpg", name="Box 7\u202e", labels={"shelf": "7"})
    for name in ("a.jpg", "fail.jpg", "fail\u202e2.jpg"):
        roles.user.upload(job, name, picture())
    roles.user.wait(job)
    row = next(line.split() for line in jobs("list").splitlines() if line.startswith(job))
    assert row[1:6] == ["done", "3", "0", "2", "dummy"]
    assert row[7:] == ["Box", "7\\u202e"]
    assert job in jobs("list", "--state", "done", "--limit", "1")
    shown = jobs("show", job)
    assert "pages     3 of 3 ended, 2 of them failed" in shown
    assert "labels    shelf=7" in shown
    failed = [line.split() for line in shown.splitlines() if line.startswith("fail")]
    assert [line[:2] for line in failed] == [["fail.jpg", "failed"], ["fail\\u202e2.jpg", "failed"]]
    assert failed[0][4:6] == ["dummy", "PROCESSING_FAILED:"]
    assert "told to fail" in shown
    assert [line.split()[0] for line in jobs("show", job, "--pages", "done").splitlines() if ".jpg" in line] == [
        "a.jpg"
    ]
    assert jobs("retry", job, "fail.jpg") == "1 page tried again\n"
    roles.user.wait(job)
    assert jobs("retry", job) == "2 pages tried again\n"
    roles.user.wait(job)


def test_a_job_is_cancelled_once(roles: Roles, jobs: Jobs) -> None:
    job = roles.user.create("a.jpg")
    assert jobs("cancel", job).startswith("cancelled; 1 of 1 page")
    assert roles.user.job(job)["state"] == "cancelled"
    with pytest.raises(PeroWorkerError, match="the gateway refuses: The job has ended already"):
        jobs("cancel", job)
    assert job in jobs("list", "--state", "cancelled")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "nonsense"), "'nonsense' is not a job id"),
        (("show", str(uuid.UUID(int=7))), "There is no such job"),
        (("list", "--state", "nonsense"), "no state is called 'nonsense'"),
        (("list", "--gateway", "ftp://x"), "is no address of a gateway"),
        (("list", "--gateway", ""), "name a gateway"),
        (("retry", str(uuid.UUID(int=7))), "There is no such job"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(jobs: Jobs, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(PeroWorkerError, match=said):
        jobs(*words)


def test_somebody_elses_job_is_not_shown(roles: Roles, jobs: Jobs) -> None:
    job = roles.other.create("a.jpg", name="theirs")
    assert job not in jobs("list", "--limit", "1000")
    with pytest.raises(PeroWorkerError, match="not this API key's"):
        jobs("show", job)
