"""A page ends once, whoever brings its results."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sqlalchemy import select

from pero_worker.gateway.core import open_gateway
from pero_worker.gateway.endings import PageEnd
from pero_worker.gateway.outcomes import settle_page
from pero_worker.gateway.settings import GatewaySettings
from pero_worker.gateway.states import Api, Backend
from pero_worker.gateway.store.creation import NewJob, NewPage, create_job
from pero_worker.gateway.store.jobs import find_job, pages_of
from pero_worker.gateway.store.schema import results


def test_the_second_of_two_who_bring_a_page_changes_nothing(tmp_path: Path) -> None:
    gateway = open_gateway(GatewaySettings(data=tmp_path))
    new = NewJob(
        api=Api.LEGACY,
        owner="o",
        engine=None,
        backend=Backend.FARM,
        pages=[NewPage(name="a", position=0, url="https://x")],
    )
    with gateway.database.write() as connection:
        job = create_job(connection, new, 1.0)
        page = pages_of(connection, job)[0]["id"]
    assert settle_page(gateway, job, PageEnd(page=page, quality=90.0), {"text": b"first"})
    assert not settle_page(gateway, job, PageEnd(page=page, quality=10.0), {"text": b"second", "page": b"<x/>"})
    kept = gateway.files.page_result(job, page, "text").read_bytes()
    with gateway.database.read() as connection:
        rows = connection.execute(select(results.c.format, results.c.sha256)).all()
        ended = find_job(connection, job)
        assert ended is not None
        assert (ended["state"], ended["open"], pages_of(connection, job)[0]["quality"]) == ("done", 0, 90.0)
    assert (kept, list(map(tuple, rows))) == (b"first", [("text", hashlib.sha256(b"first").hexdigest())])
    assert [path.name for path in gateway.files.job(job).iterdir()] == [f"{page}.out.text"]
    assert not list((tmp_path / "unfinished").iterdir())
    gateway.database.close()
