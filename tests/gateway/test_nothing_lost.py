"""Pages that were accepted are done, once, whatever is killed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from gateway.conftest import (
    V1,
    Legacy,
    PostgreSQL,
    RunningGateway,
    dummy_pipeline,
    json_lines,
    new_database,
    picture,
    roles_of,
    running,
)

PAGES = 24


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A pipeline that takes a twentieth of a second a page."""
    return dummy_pipeline(tmp_path / "slow", TIME_DIFF_MIN=0.05, TIME_DIFF_MAX=0.05)


def send(client: V1) -> str:
    names = [f"{number}.jpg" for number in range(PAGES)]
    job = client.create(*names)
    for name in names:
        assert client.upload(job, name, picture()).status_code == 201
    return job


def until_some_are_done(client: V1, job: str) -> None:
    deadline = time.monotonic() + 120
    while not 0 < client.job(job)["progress"] < 1:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def finished_pages(gateway: RunningGateway) -> list[str]:
    return [line["page"] for line in json_lines(gateway.log()) if line["message"] == "page finished"]


def test_a_gateway_that_is_killed_goes_on(tmp_path: Path, slow: Path) -> None:
    with running(tmp_path / "data", "--pipeline", str(slow), "--jobs", "1") as gateway:
        user = roles_of(gateway).user
        job = send(user)
        until_some_are_done(user, job)
        gateway.kill()
        gateway.start(port=gateway.port)
        done = user.wait(job)
        assert (done["state"], done["progress"]) == ("done", 1.0)
        finished = finished_pages(gateway)
        assert len(set(finished)) == PAGES
        # One may have been written down in the moment before the log line.
        assert len(finished) <= PAGES + 1


def test_a_gateway_that_is_told_to_stop_ends_well_and_goes_on(tmp_path: Path, slow: Path) -> None:
    with running(tmp_path / "data", "--pipeline", str(slow), "--jobs", "1") as gateway:
        user = roles_of(gateway).user
        job = send(user)
        until_some_are_done(user, job)
        assert gateway.stop() == 0
        gateway.start(port=gateway.port)
        assert user.wait(job)["state"] == "done"
        assert sorted(finished_pages(gateway)) == sorted(set(finished_pages(gateway)))


def test_a_second_gateway_on_sqlite_is_refused(gateway: RunningGateway) -> None:
    second = RunningGateway(gateway.data, ["--lease-only"])
    with pytest.raises(AssertionError, match="another gateway uses"):
        second.start()
    assert second.process is not None and second.process.wait() == 2
    second._close()


@pytest.fixture
def database(postgresql: PostgreSQL) -> str:
    return new_database(postgresql)


def test_two_gateways_share_a_database(tmp_path: Path, slow: Path, postgresql: PostgreSQL, database: str) -> None:
    options = ("--pipeline", str(slow), "--jobs", "1", "--database", database, "--instance-timeout", "4")
    with running(tmp_path / "data", *options) as first, running(tmp_path / "data", *options, log="2.log") as second:
        user = roles_of(first).user
        there = V1(second.url, user.key)
        job = send(user)
        until_some_are_done(there, job)
        # The database dies and comes back; then one gateway dies for good.
        postgresql.kill()
        postgresql.start()
        second.kill()
        assert user.wait(job)["state"] == "done"
        assert len({*finished_pages(first), *finished_pages(second)}) == PAGES
        legacy = Legacy(first.url, user.key)
        request = legacy.create({"a": None})
        legacy.upload(request, "a", picture())
        assert legacy.wait(request)["a"]["state"] == "PROCESSED"


def test_results_that_come_too_late_change_nothing(tmp_path: Path) -> None:
    slow = dummy_pipeline(tmp_path / "slow", TIME_DIFF_MIN=1, TIME_DIFF_MAX=1)
    with running(tmp_path / "data", "--pipeline", str(slow), "--jobs", "1") as gateway:
        user = roles_of(gateway).user
        legacy = Legacy(gateway.url, user.key)
        request = legacy.create({"a": None, "b": None, "c": None, "d": None})
        for name in "abcd":
            legacy.upload(request, name, picture())
        while legacy.states(request)["a"]["state"] != "PROCESSING":
            time.sleep(0.01)
        legacy.ask("POST", f"/cancel_request/{request}")
        after = legacy.create({"e": None})
        legacy.upload(after, "e", picture())
        assert legacy.wait(after)["e"]["state"] == "PROCESSED"
        assert {page["state"] for page in legacy.states(request).values()} == {"CANCELED"}
