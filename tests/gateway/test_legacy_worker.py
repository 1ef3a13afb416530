"""The legacy API for workers that pull pages, as PERO's own client speaks to it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from gateway.conftest import CLIENT, Legacy, Roles, picture, roles_of, running
from gateway.test_v1_leases import archive

UNKNOWN = "8c6d2b51-0f46-4c1b-9a3d-6a4f6a1c2b11"


@pytest.fixture(scope="module")
def leasing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    with running(tmp_path_factory.mktemp("leasing") / "data", "--lease-only") as gateway:
        roles = roles_of(gateway)
        for name in ("first", "second"):
            engine: dict[str, object] = {"name": name, "version": "2021-02-04", "description": "", "definition": {}}
            roles.admin.data("POST", "/admin/engines", expect="ENGINE_CREATED", json=engine)
        yield roles


def test_pages_are_pulled(leasing: Roles) -> None:
    user, other, worker = (Legacy(one.url, one.key) for one in (leasing.user, leasing.other, leasing.worker))
    assert worker.ask("GET", "/get_processing_request/0").status_code == 204
    request = user.create({"a ř.x": None, "b": None, "c": None}, engine=1)
    small = other.create({"d": None}, engine=2)
    for page in ("a ř.x", "b", "c"):
        user.upload(request, page, picture("PNG"), "x.png")
    other.upload(small, "d", picture())
    assert user.ask("GET", "/get_processing_request/0").status_code == 401

    got = worker.ask("GET", "/get_processing_request/1").json()
    assert (got["status"], got["engine_id"]) == ("success", 1)
    assert got["page_url"] == f"{worker.url}/download_image/{request}/a%20%C5%99.x.png"
    scan = CLIENT.get(got["page_url"], headers={"api-key": worker.key})
    assert scan.content == picture("PNG")
    assert user.states(request)["a ř.x"]["state"] == "PROCESSING"
    files = {kind: (f"x.{kind}", f"{kind} of a".encode()) for kind in ("alto", "page", "txt")}
    headers = {"score": "0.9876", "engine-version": "2021-02-04"}
    done = worker.ask("POST", f"/upload_results/{got['page_id']}", files=files, headers=headers)
    assert done.json() == {"status": "success"}
    assert user.states(request)["a ř.x"] == {"state": "PROCESSED", "quality": 98.76}
    for kind in ("alto", "page", "txt"):
        assert user.ask("GET", f"/download_results/{request}/a%20%C5%99.x/{kind}").text == f"{kind} of a"
    assert CLIENT.get(got["page_url"], headers={"api-key": worker.key}).status_code == 405

    # Whoever had the fewest pages done in the last minute is next.
    got = worker.ask("GET", "/get_processing_request/0").json()
    assert got["engine_id"] == 2
    failed = worker.ask(
        "POST",
        f"/failed_processing/{got['page_id']}",
        content=b"Traceback\nValueError: no",
        headers={"type": "INVALID_FILE", "engine_version": "1"},
    )
    assert failed.json() == {"status": "success"}
    assert other.states(small)["d"]["state"] == "INVALID_FILE"

    # What comes after a cancel changes nothing.
    got = worker.ask("GET", "/get_processing_request/2").json()
    user.ask("POST", f"/cancel_request/{request}")
    late = worker.ask("POST", f"/upload_results/{got['page_id']}", files=files, headers=headers)
    assert late.json() == {"status": "success"}
    assert {page["state"] for page in user.states(request).values()} == {"PROCESSED", "CANCELED"}
    assert worker.ask("GET", "/get_processing_request/0").status_code == 204
    stats = worker.ask("GET", "/page_statistics").json()["state_stats"]
    assert stats == {"PROCESSED": 1, "INVALID_FILE": 1, "CANCELED": 2}


def test_what_workers_are_refused(leasing: Roles) -> None:
    worker = Legacy(leasing.worker.url, leasing.worker.key)
    for method, path, status in (
        ("POST", f"/upload_results/{UNKNOWN}", 404),
        ("POST", f"/failed_processing/{UNKNOWN}", 404),
        ("GET", f"/download_image/{UNKNOWN}/a.jpg", 404),
        ("GET", "/get_processing_request/x", 404),
        ("GET", "/latest_engine_version/99", 404),
    ):
        reply = worker.ask(method, path)
        assert (reply.status_code, reply.json()["status"]) == (status, "failure"), path


def test_engines_are_fetched(leasing: Roles) -> None:
    worker = Legacy(leasing.worker.url, leasing.worker.key)
    assert worker.ask("GET", "/latest_engine_version/1").json() == {
        "status": "success",
        "filename": "first#2021-02-04.zip",
    }
    assert worker.ask("GET", "/download_engine/1").status_code == 404
    files = {"file": ("e.zip", archive())}
    leasing.admin.data("PUT", "/admin/engines/first/2021-02-04/files", expect="ENGINE_FILES_UPLOADED", files=files)
    reply = worker.ask("GET", "/download_engine/1")
    assert reply.content == archive()
    found = re.search("filename=(.+)", reply.headers["content-disposition"])
    assert found is not None and found[1] == "first#2021-02-04.zip"
