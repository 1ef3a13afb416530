"""Which methods paths take, and that OpenAPI says what is sent."""

from __future__ import annotations

import pytest
from gateway.conftest import CLIENT, Legacy, Roles, RunningGateway, picture
from gateway.contract import schema_of

JOB = "8c6d2b51-0f46-4c1b-9a3d-6a4f6a1c2b11"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/jobs", "GET, POST"),
        ("OPTIONS", f"/v1/jobs/{JOB}", "DELETE, GET, PATCH"),
        ("OPTIONS", "/v1/jobs/lease", "POST"),
        ("PATCH", "/v1/jobs/lease", "POST"),
        ("GET", "/v1/jobs/lease", "POST"),
        ("POST", f"/v1/jobs/{JOB}/images/a.jpg/files/image", "GET, PUT"),
        ("POST", f"/v1/jobs/{JOB}/result", ""),
        ("GET", "/post_processing_request", "POST"),
        ("GET", f"/api/cancel_request/{JOB}/", "POST"),
        ("DELETE", "//get_engines", "GET"),
        ("TRACE", "/livez", "GET"),
        ("HEAD", "/v1/events", "GET"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(roles: Roles, method: str, path: str, allowed: str) -> None:
    reply = CLIENT.request(method, roles.user.url + path, headers={"X-API-Key": roles.user.key})
    if allowed:
        assert (reply.status_code, reply.headers["allow"]) == (405, allowed)
    else:
        assert reply.status_code != 405


def test_head_is_get_without_its_body(gateway: RunningGateway, legacy: Legacy, roles: Roles) -> None:
    request = legacy.create({"a": None})
    legacy.upload(request, "a", picture())
    legacy.wait(request)
    for path in ("/get_engines", f"/request_status/{request}", f"/download_results/{request}/a/alto", "/get_engine"):
        got, head = legacy.ask("GET", path), legacy.ask("HEAD", path)
        assert (head.status_code, head.headers["content-length"]) == (got.status_code, str(len(got.content)))
        assert head.content == b""
        assert head.headers.get("content-disposition") == got.headers.get("content-disposition")


def test_openapi_says_what_is_uploaded(gateway: RunningGateway) -> None:
    paths = schema_of(gateway.url)["paths"]
    assert all(path.count("{image") <= 1 for path in paths)
    scan = paths["/v1/jobs/{job_id}/images/{image}/files/image"]
    assert {"multipart/form-data", "image/jpeg"} <= set(scan["put"]["requestBody"]["content"])
    assert "get" in scan
    tus = paths["/v1/uploads"]["post"]["parameters"]
    assert {"Tus-Resumable", "Upload-Length", "Upload-Metadata"} <= {one["name"] for one in tus if one["required"]}
    kind = next(
        one
        for one in paths["/v1/jobs/{job_id}/pages/{name}/results/{kind}"]["get"]["parameters"]
        if one["name"] == "kind"
    )
    assert {"alto", "page", "text", "pdf"} <= set(kind["schema"]["enum"])


def test_errors_of_routes_without_a_dialect_are_described(gateway: RunningGateway, roles: Roles) -> None:
    reply = CLIENT.get(f"{gateway.url}/metrics", headers={"X-API-Key": roles.user.key})
    assert (reply.status_code, reply.json()["code"]) == (403, "API_KEY_ROLE_FORBIDDEN")
