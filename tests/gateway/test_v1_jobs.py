"""v1 for owners: jobs on the gateway's own workers."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from gateway.conftest import CLIENT, V1, Roles, RunningGateway, picture

UNKNOWN = "8c6d2b51-0f46-4c1b-9a3d-6a4f6a1c2b11"
ALTO = b'<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"><Layout/></alto>'
PAGE = b'<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"><Page/></PcGts>'


def test_a_job_is_done(roles: Roles) -> None:
    user = roles.user
    job = user.create("a.png", "b.jpg", "a.jpg", "fail.jpg")
    assert user.job(job)["state"] == "new"
    for name in ("a.png", "b.jpg", "fail.jpg"):
        assert user.upload(job, name, picture()).json()["code"] == "IMAGE_UPLOADED"
    assert user.upload(job, "a.png", picture("PNG")).json()["code"] == "IMAGE_REUPLOADED"
    early = user.ask("GET", f"/jobs/{job}/result")
    assert (early.status_code, early.json()["code"], early.json()["details"]) == (
        425,
        "JOB_RESULT_NOT_READY",
        {"state": "new"},
    )
    user.upload(job, "a.jpg", picture())
    done = user.wait(job)
    assert (done["state"], done["progress"], done["engine_name"]) == ("done", 1.0, "dummy")
    assert {"log", "engine_id", "engine_definition"}.isdisjoint(done)
    assert all("id" not in image for image in done["images"])

    reply = user.ask("GET", f"/jobs/{job}/result")
    assert reply.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
        report = [json.loads(line) for line in archive.read("report.jsonl").splitlines()]
        assert archive.read("b.txt") == b"one line: b.jpg, 0 bytes\n"
    stems = ("a.png", "a.jpg", "b")
    assert names == {
        "report.jsonl",
        *(f"{stem}{suffix}" for stem in stems for suffix in (".page.xml", ".alto.xml", ".txt")),
    }
    assert [(page["page"], page["status"], page["error_class"]) for page in report] == [
        ("a.png", "done", ""),
        ("b.jpg", "done", ""),
        ("a.jpg", "done", ""),
        ("fail.jpg", "failed", "PROCESSING_FAILED"),
    ]
    only_text = user.ask("GET", f"/jobs/{job}/result", params={"formats": "text"})
    with zipfile.ZipFile(io.BytesIO(only_text.content)) as archive:
        assert set(archive.namelist()) == {"report.jsonl", "a.png.txt", "a.jpg.txt", "b.txt"}
    assert user.ask("GET", f"/jobs/{job}/result", params={"formats": "exe"}).status_code == 422
    late = user.upload(job, "a.png", picture())
    assert (late.status_code, late.json()["code"], late.json()["details"]) == (409, "JOB_NOT_IN_NEW", {"state": "done"})


def test_a_job_whose_pages_all_fail_has_failed(roles: Roles) -> None:
    job = roles.user.create("fail.jpg")
    roles.user.upload(job, "fail.jpg", picture())
    assert roles.user.wait(job)["state"] == "failed"
    assert roles.user.ask("GET", f"/jobs/{job}/result").json()["code"] == "JOB_FAILED"


def test_jobs_that_require_more(roles: Roles) -> None:
    user = roles.user
    job = user.create("a.jpg", alto_required=True, page_required=True, meta_json_required=True)
    assert user.ask("PUT", f"/jobs/{job}/files/metadata", json=[1, {"x": None}]).json()["code"] == "META_JSON_UPLOADED"
    assert user.ask("PUT", f"/jobs/{job}/files/metadata", json="again").json()["code"] == "META_JSON_REUPLOADED"
    assert user.ask("PUT", f"/jobs/{job}/files/metadata", content=b"{").status_code == 422
    assert user.ask("PUT", f"/jobs/{job}/files/metadata", content=b"[" * 100_000).status_code == 422
    for kind, good in (("alto", ALTO), ("page", PAGE)):
        for bad, status, code in (
            (b"<a>", 400, "XML_PARSE_ERROR"),
            (b"<html/>", 422, f"{kind.upper()}_SCHEMA_INVALID"),
            (b'<!DOCTYPE a [<!ENTITY b "c">]><alto>&b;</alto>', 400, "XML_PARSE_ERROR"),
        ):
            reply = user.upload(job, "a.jpg", bad, kind)
            assert (reply.status_code, reply.json()["code"]) == (status, code)
        assert user.upload(job, "a.jpg", good, kind).json()["code"] == f"{kind.upper()}_UPLOADED"
        assert user.upload(job, "a.jpg", good, kind).json()["code"] == f"{kind.upper()}_REUPLOADED"
    assert user.job(job)["state"] == "new"
    user.upload(job, "a.jpg", picture())
    assert user.wait(job)["state"] == "done"


def test_files_that_are_not_wanted(roles: Roles) -> None:
    user = roles.user
    job = user.create("a.jpg")
    for kind, code in (("alto", "ALTO_NOT_REQUIRED"), ("page", "PAGE_NOT_REQUIRED")):
        reply = user.upload(job, "a.jpg", ALTO, kind)
        assert (reply.status_code, reply.json()["code"]) == (409, code)
    assert user.ask("PUT", f"/jobs/{job}/files/metadata", json={}).json()["code"] == "META_JSON_NOT_REQUIRED"
    assert user.upload(job, "b.jpg", picture()).json()["code"] == "IMAGE_NOT_FOUND_FOR_JOB"
    assert user.upload(job, "%00", picture()).json()["code"] == "IMAGE_NOT_FOUND_FOR_JOB"
    assert user.upload(job, "a.jpg", b"no image").json()["code"] == "IMAGE_INVALID"
    assert user.upload(job, "a.jpg", b"").status_code == 415
    nothing = user.ask("PUT", f"/jobs/{job}/images/a.jpg/files/image")
    assert (nothing.status_code, nothing.json()["code"]) == (422, "REQUEST_VALIDATION_ERROR")
    assert user.job(job)["images"][0]["image_uploaded"] is False


def test_cancelling(roles: Roles) -> None:
    user = roles.user
    job = user.create("a.jpg", "b.jpg")
    user.upload(job, "a.jpg", picture())
    forbidden = user.ask("PATCH", f"/jobs/{job}", json={"state": "done"})
    assert (forbidden.status_code, forbidden.json()["code"]) == (403, "API_KEY_USER_FORBIDDEN")
    user.data("PATCH", f"/jobs/{job}", expect="JOB_CANCELLED", json={"state": "cancelled"})
    again = user.ask("PATCH", f"/jobs/{job}", json={"state": "cancelled"})
    assert (again.status_code, again.json()["code"], again.json()["details"]) == (
        409,
        "JOB_UNCANCELLABLE",
        {"state": "cancelled"},
    )
    assert user.upload(job, "b.jpg", picture()).json()["code"] == "JOB_NOT_IN_NEW"
    assert user.ask("GET", f"/jobs/{job}/result").json()["code"] == "JOB_CANCELLED"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, ["body", "images"]),
        ({"images": [{"name": "a", "order": 0, "extra": 1}]}, ["body", "images", 0, "extra"]),
        ({"images": [{"name": "a/b", "order": 0}]}, ["body", "images", 0, "name"]),
        ({"images": [{"name": "..", "order": 0}]}, ["body", "images", 0, "name"]),
        ({"images": [{"name": "a\u0000", "order": 0}]}, ["body", "images", 0, "name"]),
        ({"images": [{"name": "a", "order": 2**40}]}, ["body", "images", 0, "order"]),
        ({"images": [{"name": "a", "order": 0}, {"name": "a", "order": 1}]}, ["body", "images", "name"]),
        ({"images": [], "typo": 1}, ["body", "typo"]),
    ],
)
def test_definitions_that_are_refused(roles: Roles, body: object, place: list[object]) -> None:
    details = roles.user.data("POST", "/jobs", expect="REQUEST_VALIDATION_ERROR", json=body)
    assert place in [one["loc"] for one in details]


def test_bodies_that_are_refused(roles: Roles) -> None:
    for content in (b"", b"{", b"[" * 100_000, b'{"images": [{"name": "\\ud800", "order": 0}]}', b"\xff"):
        reply = roles.user.ask("POST", "/jobs", content=content, headers={"content-type": "application/json"})
        assert 400 <= reply.status_code < 500 and reply.json()["code"], content
    large = roles.user.ask("POST", "/jobs", content=b" " * 17_000_000)
    assert (large.status_code, large.json()["status"]) == (413, 413)

    def pieces() -> object:
        for _ in range(20):
            yield b" " * 1_000_000

    endless = roles.user.ask("POST", "/jobs", content=pieces())
    assert (endless.status_code, endless.json()["status"]) == (413, 413)


def test_lists(roles: Roles) -> None:
    made = roles.admin.data("POST", "/admin/keys", expect="KEY_CREATED", json={"label": "lister", "role": "user"})
    lister = V1(roles.user.url, made["secret"])
    ids = [lister.create("a.jpg") for _ in range(5)]
    listed = lister.data("GET", "/jobs", expect="JOBS_RETRIEVED")
    assert [job["id"] for job in listed] == ids[::-1]
    assert "images" not in listed[0]
    first = lister.data("GET", "/jobs", expect="JOBS_RETRIEVED", params={"limit": 3})
    rest = lister.data("GET", "/jobs", expect="JOBS_RETRIEVED", params={"limit": 3, "cursor": first["next"]})
    assert [job["id"] for page in (first, rest) for job in page["items"]] == ids[::-1]
    assert rest.get("next") is None
    for filters, count in (
        ({"state": "new"}, 5),
        ({"state": "done"}, 0),
        ({"engine_name": "dummy"}, 5),
        ({"engine_name": "other"}, 0),
        ({"from_created_date": "2020-01-01"}, 5),
        ({"from_created_date": "2100-01-01T00:00:00+02:00"}, 0),
        ({"from_finished_date": "2020-01-01"}, 0),
    ):
        assert len(lister.data("GET", "/jobs", expect="JOBS_RETRIEVED", params=filters)) == count, filters
    assert lister.ask("GET", "/jobs", params={"state": "nonsense"}).status_code == 422
    everything = roles.admin.data("GET", "/jobs", expect="JOBS_RETRIEVED")
    assert {job["id"] for job in everything} >= set(ids)


def test_who_may_what(roles: Roles, gateway: RunningGateway) -> None:
    job = roles.user.create("a.jpg")
    for client, code in (
        (roles.other, "API_KEY_FORBIDDEN_FOR_JOB"),
        (roles.worker, "API_KEY_FORBIDDEN_FOR_JOB"),
        (roles.readonly, "JOB_RETRIEVED"),
        (roles.admin, "JOB_RETRIEVED"),
    ):
        assert client.ask("GET", f"/jobs/{job}").json()["code"] == code
    assert roles.readonly.ask("POST", "/jobs", json={"images": []}).json()["code"] == "API_KEY_ROLE_FORBIDDEN"
    assert roles.user.ask("GET", "/admin/keys").json()["code"] == "API_KEY_ROLE_FORBIDDEN"
    assert roles.user.ask("GET", f"/jobs/{UNKNOWN}").json()["code"] == "JOB_NOT_FOUND"
    assert roles.user.ask("GET", "/jobs/nonsense").json()["code"] == "REQUEST_VALIDATION_ERROR"
    missing = CLIENT.get(f"{gateway.url}/v1/me")
    assert (missing.status_code, missing.json()["code"]) == (401, "API_KEY_MISSING")
    assert missing.headers["www-authenticate"] == 'ApiKey realm="pero-worker"'
    assert V1(gateway.url, "a.b.c").ask("GET", "/me").json()["code"] == "API_KEY_INVALID"
    key = roles.user.key
    assert CLIENT.get(f"{gateway.url}/v1/me", params={"api_key": key}).json()["code"] == "API_KEY_VALID"
    assert CLIENT.get(f"{gateway.url}/v1/me", headers={"cookie": f"api_key={key}"}).json()["data"]["label"] == "a-user"
    assert roles.user.ask("GET", "/no/such/path").json()["code"] == "HTTP_ERROR"
    assert roles.user.ask("PUT", "/me").json()["status"] == 405


def test_legacy_requests_are_jobs(roles: Roles, gateway: RunningGateway) -> None:
    reply = CLIENT.post(
        f"{gateway.url}/post_processing_request",
        json={"engine": 1, "images": {"a": None}},
        headers={"api-key": roles.user.key},
    )
    job = reply.json()["request_id"]
    assert roles.user.job(job)["state"] == "new"
    CLIENT.post(
        f"{gateway.url}/upload_image/{job}/a", files={"file": ("a.jpg", picture())}, headers={"api-key": roles.user.key}
    )
    assert roles.user.wait(job)["state"] == "done"


def test_engines(roles: Roles) -> None:
    engines = roles.user.data("GET", "/engines", expect="ENGINES_RETRIEVED")
    dummy = next(engine for engine in engines if engine["name"] == "dummy")
    assert set(dummy) == {"name", "version", "description", "default"}
    assert roles.user.ask("GET", "/engines", params={"active": True}).status_code == 403
    assert roles.user.ask("GET", "/engines", params={"show_definition": True}).status_code == 403
    seen = roles.admin.data("GET", "/engines", expect="ENGINES_RETRIEVED", params={"show_definition": True})
    assert next(engine for engine in seen if engine["name"] == "dummy")["definition"] == {"stages": ["dummy"]}
    assert (
        roles.user.ask("POST", "/jobs", json={"images": [], "engine_name": "no"}).json()["code"] == "ENGINE_NOT_FOUND"
    )
    chosen = roles.user.ask("POST", "/jobs", json={"images": [], "engine_name": "dummy", "engine_version": "1"})
    assert chosen.json()["code"] == "API_KEY_FORBIDDEN_FOR_ENGINE_VERSION"
