"""v1 for workers that lease jobs, and for administrators."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway.conftest import V1, Roles, picture, roles_of, running
from gateway.test_v1_jobs import ALTO, UNKNOWN


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        made.writestr(zipfile.ZipInfo("a.txt"), "text")
    return stream.getvalue()


@pytest.fixture(scope="module")
def leasing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    """A gateway that reads nothing itself."""
    with running(tmp_path_factory.mktemp("leasing") / "data", "--lease-only") as gateway:
        yield roles_of(gateway)


def queued(user: V1, **more: object) -> str:
    job = user.create("a.jpg", **more)
    user.upload(job, "a.jpg", picture())
    return job


def lease(worker: V1, **more: object) -> str:
    data = worker.data("POST", "/jobs/lease", expect="JOB_LEASED", **more)
    assert set(data) == {"id", "lease_expire_at", "server_time"}
    return str(data["id"])


def test_a_job_from_lease_to_result(leasing: Roles) -> None:
    user, worker = leasing.user, leasing.worker
    assert worker.ask("POST", "/jobs/lease").json() == {
        "status": 200,
        "code": "JOB_QUEUE_EMPTY",
        "detail": "No job waits.",
        "data": None,
    }
    first = user.create("a.jpg", alto_required=True, meta_json_required=True)
    image = picture()
    user.upload(first, "a.jpg", image)
    user.upload(first, "a.jpg", ALTO, "alto")
    user.ask("PUT", f"/jobs/{first}/files/metadata", json={"x": 1})
    second = queued(user)
    assert lease(worker) == first  # The oldest.
    seen = worker.job(first)
    assert (seen["state"], seen["previous_attempts"], seen["engine_id"], seen["log"]) == ("processing", 0, None, None)
    page = seen["images"][0]["id"]
    scan = worker.ask("GET", f"/jobs/{first}/images/{page}/files/image")
    assert (scan.content, scan.headers["content-type"]) == (image, "image/jpeg")
    assert scan.headers["content-disposition"] == 'attachment; filename="a.jpg"'
    alto = worker.ask("GET", f"/jobs/{first}/images/{page}/files/alto")
    assert (alto.content, alto.headers["content-disposition"]) == (ALTO, 'attachment; filename="a.xml"')
    assert worker.ask("GET", f"/jobs/{first}/images/{page}/files/page").json()["code"] == "PAGE_NOT_REQUIRED"
    assert worker.ask("GET", f"/jobs/{first}/files/metadata").json() == {"x": 1}
    assert worker.ask("GET", f"/jobs/{first}/images/{UNKNOWN}/files/image").json()["code"] == "IMAGE_NOT_FOUND_FOR_JOB"
    assert worker.ask("GET", f"/jobs/{second}/images/{page}/files/image").json()["code"] == "API_KEY_FORBIDDEN_FOR_JOB"

    worker.data("PATCH", f"/jobs/{first}/lease", expect="JOB_LEASE_EXTENDED")
    worker.data("PATCH", f"/jobs/{first}", expect="JOB_UPDATED", json={"progress": 7, "log": "a", "log_user": "b"})
    worker.data("PATCH", f"/jobs/{first}", expect="JOB_UPDATED", json={"log": "c"})
    assert worker.ask("PATCH", f"/jobs/{first}", json={}).json()["code"] == "JOB_UPDATE_NO_FIELDS"
    assert worker.ask("PATCH", f"/jobs/{first}", json={"state": "new"}).json()["code"] == "API_KEY_WORKER_FORBIDDEN"
    assert worker.ask("PATCH", f"/jobs/{first}", content=b'{"progress": NaN}').status_code == 422
    seen = worker.job(first)
    assert (seen["progress"], seen["log"], seen["log_user"]) == (1.0, "a\nc", "b")
    assert worker.ask("PATCH", f"/jobs/{first}", json={"state": "done"}).json()["code"] == "JOB_RESULT_MISSING"
    for place, code in (("result", "JOB_RESULT"), ("artifacts", "JOB_ARTIFACTS")):
        for content, expected in (
            (b"no zip", f"{code}_INVALID"),
            (archive(), f"{code}_UPLOADED"),
            (archive(), f"{code}_REUPLOADED"),
        ):
            worker.data("POST", f"/jobs/{first}/{place}", expect=expected, files={"file": ("x.zip", content)})
    assert user.ask("GET", f"/jobs/{first}/result").json()["code"] == "JOB_RESULT_NOT_READY"
    worker.data("PATCH", f"/jobs/{first}", expect="JOB_COMPLETED", json={"state": "done"})
    worker.data("PATCH", f"/jobs/{first}", expect="JOB_ALREADY_COMPLETED", json={"state": "done"})
    assert user.ask("GET", f"/jobs/{first}/result").content == archive()
    assert leasing.admin.ask("GET", f"/admin/jobs/{first}/artifacts").content == archive()
    assert leasing.admin.ask("GET", f"/admin/jobs/{second}/artifacts").json()["code"] == "JOB_ARTIFACTS_NOT_FOUND"
    user.data("PATCH", f"/jobs/{second}", expect="JOB_CANCELLED", json={"state": "cancelled"})


def test_a_job_is_tried_three_times(leasing: Roles) -> None:
    job = queued(leasing.user)
    for attempt in range(3):
        assert lease(leasing.worker) == job
        assert leasing.worker.job(job)["previous_attempts"] == attempt
        leasing.worker.data("PATCH", f"/jobs/{job}", expect="JOB_MARKED_ERROR", json={"state": "error", "log": "no"})
        again = leasing.worker.ask("PATCH", f"/jobs/{job}", json={"state": "error"})
        assert again.json()["code"] == "JOB_ALREADY_MARKED_ERROR"
        assert leasing.user.job(job)["state"] == "error"
    leasing.worker.data("POST", "/jobs/lease", expect="JOB_QUEUE_EMPTY")
    assert leasing.user.job(job)["state"] == "failed"
    assert leasing.user.ask("GET", f"/jobs/{job}/result").json()["code"] == "JOB_FAILED"


def test_a_lease_that_is_given_back_does_not_count(leasing: Roles) -> None:
    job = queued(leasing.user)
    for _ in range(5):
        assert lease(leasing.worker) == job
        reply = leasing.worker.ask("DELETE", f"/jobs/{job}/lease")
        assert (reply.status_code, reply.content) == (204, b"")
    assert leasing.admin.job(job)["previous_attempts"] is None
    leasing.user.data("PATCH", f"/jobs/{job}", expect="JOB_CANCELLED", json={"state": "cancelled"})


def test_a_worker_learns_of_a_cancel(leasing: Roles) -> None:
    job = queued(leasing.user)
    lease(leasing.worker)
    leasing.user.data("PATCH", f"/jobs/{job}", expect="JOB_CANCELLED", json={"state": "cancelled"})
    for method, path, more in (
        ("PATCH", "/lease", {}),
        ("DELETE", "/lease", {}),
        ("PATCH", "", {"json": {"progress": 0.5}}),
        ("POST", "/result", {"files": {"file": ("x.zip", archive())}}),
    ):
        reply = leasing.worker.ask(method, f"/jobs/{job}{path}", **more)
        assert (reply.status_code, reply.json()["code"]) == (409, "JOB_NOT_IN_PROCESSING"), (method, path)
    assert leasing.worker.ask("PATCH", f"/jobs/{job}", json={"state": "done"}).json()["code"] == "JOB_UNFINISHABLE"


def test_a_silent_worker_loses_its_job(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--lease-only", "--lease-seconds", "0", "--lease-grace", "0") as gateway:
        roles = roles_of(gateway)
        job = queued(roles.user)
        assert lease(roles.worker) == job
        made = roles.admin.data("POST", "/admin/keys", expect="KEY_CREATED", json={"label": "w2", "role": "worker"})
        second = V1(gateway.url, made["secret"])
        assert lease(second) == job
        late = roles.worker.ask("PATCH", f"/jobs/{job}", json={"progress": 0.5})
        assert late.json()["code"] == "API_KEY_FORBIDDEN_FOR_JOB"
        assert second.job(job)["previous_attempts"] == 1


def test_leases_of_one_engine(leasing: Roles) -> None:
    admin = leasing.admin
    for version, default in (("1.9", True), ("1.10", False)):
        admin.data(
            "POST",
            "/admin/engines",
            expect="ENGINE_CREATED",
            json={"name": "e", "version": version, "description": "", "definition": {"a": 1}, "default": default},
        )
    doubled = {"name": "e", "version": "1.9", "description": "", "definition": {}}
    assert admin.ask("POST", "/admin/engines", json=doubled).json()["code"] == "ENGINE_ALREADY_EXISTS"
    listed = admin.data("GET", "/engines", expect="ENGINES_RETRIEVED")
    assert [(one["version"], one["active"]) for one in listed] == [("1.9", False), ("1.10", True)]
    job = queued(leasing.user, engine_name="e")
    assert leasing.user.job(job)["engine_version"] == "1.10"
    leasing.worker.data("POST", "/jobs/lease", expect="JOB_QUEUE_EMPTY", params={"engine": "other"})
    assert lease(leasing.worker, params={"engine": "e"}) == job
    seen = leasing.worker.job(job)
    assert seen["engine_definition"] == {"a": 1}
    engine = seen["engine_id"]
    assert leasing.worker.ask("GET", f"/engines/{engine}/files").json()["code"] == "ENGINE_FILES_NOT_FOUND"
    for content, code in ((b"x", "INVALID"), (archive(), "UPLOADED"), (archive(), "REUPLOADED")):
        files = {"file": ("e.zip", content)}
        admin.data("PUT", "/admin/engines/e/1.10/files", expect=f"ENGINE_FILES_{code}", files=files)
    assert leasing.worker.ask("GET", f"/engines/{engine}/files").content == archive()
    assert admin.ask("PATCH", "/admin/engines/e/1.10", json={}).json()["code"] == "ENGINE_UPDATE_NO_FIELDS"
    assert admin.ask("PATCH", "/admin/engines/e/9", json={"active": True}).json()["code"] == "ENGINE_NOT_FOUND"
    admin.data("PATCH", "/admin/engines/e/1.10", expect="ENGINE_UPDATED", json={"active": False})
    refused = leasing.user.ask("POST", "/jobs", json={"images": [], "engine_name": "e"})
    assert (refused.status_code, refused.json()["code"]) == (409, "ENGINE_INACTIVE")
    admin.data("PATCH", f"/admin/jobs/{job}", expect="JOB_UPDATED", json={"state": "done", "log": "by force"})
    assert admin.job(job)["log"] == "by force"


def test_keys(leasing: Roles) -> None:
    admin = leasing.admin
    made = admin.data("POST", "/admin/keys", expect="KEY_CREATED", json={"label": "k", "role": "user"})
    client = V1(admin.url, made["secret"])
    assert admin.ask("POST", "/admin/keys", json={"label": "k", "role": "user"}).json()["code"] == "KEY_ALREADY_EXISTS"
    assert admin.ask("PATCH", "/admin/keys/k", json={}).json()["code"] == "KEY_UPDATE_NO_FIELDS"
    assert admin.ask("PATCH", "/admin/keys/none", json={"active": False}).json()["code"] == "KEY_NOT_FOUND"
    admin.data("PATCH", "/admin/keys/k", expect="KEY_UPDATED", json={"role": "readonly", "label": "l"})
    assert client.data("GET", "/me", expect="API_KEY_VALID")["role"] == "readonly"
    fresh = admin.data("POST", "/admin/keys/l/secret", expect="KEY_SECRET_CREATED")["secret"]
    assert client.ask("GET", "/me").json()["code"] == "API_KEY_INVALID"
    client = V1(admin.url, fresh)
    assert client.data("GET", "/me", expect="API_KEY_VALID")["last_used"]
    admin.data("PATCH", "/admin/keys/l", expect="KEY_UPDATED", json={"active": False})
    revoked = client.ask("GET", "/me")
    assert (revoked.status_code, revoked.json()["code"]) == (403, "API_KEY_INACTIVE")
    assert {"k"}.isdisjoint(one["label"] for one in admin.data("GET", "/admin/keys", expect="KEYS_RETRIEVED"))
