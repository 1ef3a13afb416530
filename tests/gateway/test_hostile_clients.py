"""Clients that lie, break off, come too late, or ask for what is not theirs."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from gateway.conftest import CLIENT, V1, Roles, RunningGateway, picture
from gateway.contract import schema_of


def raw(url: str, head: str, body: bytes, *, hang_up: bool) -> bytes:
    """What is answered to bytes that no library would send; b'' when the server says nothing."""
    parts = urlsplit(url)
    with closing(socket.create_connection((str(parts.hostname), int(parts.port or 0)), 60)) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        if hang_up:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        connection.settimeout(60)
        while piece := connection.recv(65536):
            answer += piece
        return answer


def put(client: V1, job: str, length: str, boundary: str = "x") -> str:
    kind = f"multipart/form-data; boundary={boundary}"
    address = f"/v1/jobs/{job}/images/a.jpg/files/image"
    lines = (f"PUT {address} HTTP/1.1", "Host: x", f"X-API-Key: {client.key}", f"Content-Type: {kind}", length)
    return "\n".join((*lines, "Connection: close"))


PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'


@pytest.fixture(scope="module", autouse=True)
def _no_bugs(gateway: RunningGateway) -> Iterator[None]:
    """At the end no line of the log says that something unforeseen was met."""
    begun = len(gateway.log())
    yield
    assert "Traceback" not in gateway.log()[begun:]


@pytest.fixture
def job(roles: Roles, gateway: RunningGateway) -> Iterator[str]:
    """One that waits for its scan; at the end it has none, and nothing half-made is left."""
    name = roles.user.create("a.jpg")
    yield name
    assert roles.user.job(name)["images"][0]["image_uploaded"] is False
    assert not (gateway.data / "jobs" / name).exists()
    deadline = time.monotonic() + 60
    while any((gateway.data / "unfinished").iterdir()):  # The server notices in its own time that a client is gone.
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("length", "body", "status"),
    [
        ("Content-Length: 100000", PART + bytes(5000), b""),
        ("Content-Length: 100000", PART + picture() + b"\r\n--x--\r\n", b""),
        (f"Content-Length: {len(PART) + 100}", PART + picture() + b"\r\n--x--\r\n", b"400"),
        ("Content-Length: -5", PART, b"400"),
        ("Content-Length: 99999999999999999999999", PART, b"4"),
        ("Content-Length: 10\nContent-Length: 20", PART, b"400"),
        ("Transfer-Encoding: chunked", b"zz\r\n" + PART, b"400"),
        ("Transfer-Encoding: chunked", b"5\r\nabc", b""),
        ("Content-Length: 0", b"", b"422"),
    ],
)
def test_half_uploads_and_wrong_lengths_leave_nothing(
    roles: Roles, job: str, length: str, body: bytes, status: bytes
) -> None:
    answer = raw(roles.user.url, put(roles.user, job, length), body, hang_up=True)
    said = answer.split(b" ", 2)[1] if answer else b""
    assert said.startswith(status or b"4") or not said
    assert CLIENT.get(f"{roles.user.url}/livez").status_code == 200


def test_what_is_too_much_is_refused(roles: Roles, gateway: RunningGateway, job: str) -> None:
    user = roles.user
    huge = b'{"images": [' + b" " * 17_000_000 + b"]}"
    assert user.ask("POST", "/jobs", content=huge, headers={"content-type": "application/json"}).status_code == 413
    deep = b'{"images": ' + b"[" * 200_000
    for content in (deep, b'{"images": 1e999}', b'"' + b"\\ud800" * 1000 + b'"', b"\xff\xfe{}", b"null"):
        reply = user.ask("POST", "/jobs", content=content, headers={"content-type": "application/json"})
        assert reply.status_code in {400, 422}, content[:30]
    many = [{"name": f"{number}", "order": 0} for number in range(20_001)]
    assert user.ask("POST", "/jobs", json={"images": many}).status_code == 422
    for name in ("X-API-Key", "Idempotency-Key", "X-Request-ID", "Range", "If-None-Match"):
        assert CLIENT.get(f"{gateway.url}/v1/me", headers={name: "x" * 60_000}).status_code in {400, 401, 431}


def test_nobody_comes_near_a_job_that_is_not_theirs(roles: Roles, job: str) -> None:
    """Whatever route there is that names a job."""
    schema = schema_of(roles.user.url)
    page = {"name": "a.jpg", "kind": "text", "image": job}
    tried = 0
    for template, operations in schema["paths"].items():
        if "{job_id}" not in template or template.startswith("/v1/admin"):
            continue
        path = template.removeprefix("/v1").format(job_id=job, **page)
        for method in operations:
            body: dict[str, dict[str, object]] = {"json": {}} if method in {"patch", "post", "put"} else {}
            for client in (roles.other, roles.worker):
                assert client.ask(method.upper(), path, **body).status_code == 403, (method, template)
                tried += 1
    assert tried > 30
    metadata = ",".join(
        f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in (("job", job), ("name", "a.jpg"))
    )
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "5", "Upload-Metadata": metadata}
    assert roles.other.ask("POST", "/uploads", headers=headers).status_code == 403


def test_what_comes_for_a_deleted_job_is_not_kept(roles: Roles, gateway: RunningGateway) -> None:
    for client in (roles.user, roles.admin):
        job = client.create("a.jpg", alto_required=False)
        metadata = ",".join(
            f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in (("job", job), ("name", "a.jpg"))
        )
        scan = picture()
        headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(scan)), "Upload-Metadata": metadata}
        place = client.ask("POST", "/uploads", headers=headers).headers["location"].removeprefix("/v1")
        kind = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
        for lie in ("5", "-1", "99999999999999999999", "x"):
            reply = client.ask("PATCH", place, headers={**kind, "Upload-Offset": lie}, content=scan)
            assert reply.status_code in {400, 409}, lie
        more = client.ask("PATCH", place, headers={**kind, "Upload-Offset": "0"}, content=scan + b"more")
        assert more.status_code in {400, 413}
        assert client.ask("DELETE", f"/jobs/{job}").status_code == 204
        for reply in (
            client.ask("PATCH", place, headers={**kind, "Upload-Offset": "0"}, content=scan),
            client.upload(job, "a.jpg", scan),
            client.ask("POST", f"/jobs/{job}/retry", json={}),
        ):
            assert 400 <= reply.status_code < 500
        assert not (gateway.data / "jobs" / job).exists()
        assert client.ask("DELETE", f"/jobs/{job}").status_code == 204
        cancelled = client.ask("PATCH", f"/jobs/{job}", json={"state": "cancelled"})
        assert cancelled.json()["code"] == "JOB_UNCANCELLABLE"


def test_a_key_used_again_for_something_else_is_refused_everywhere(roles: Roles) -> None:
    user, headers = roles.user, {"Idempotency-Key": "hostile-1"}
    job = user.data("POST", "/jobs", expect="JOB_CREATED", json={"images": []}, headers=headers)["id"]
    for method, path, body in (
        ("POST", "/jobs", {"images": [], "priority": -1}),
        ("POST", f"/jobs/{job}/retry", {}),
    ):
        reply = user.ask(method, path, json=body, headers=headers)
        assert (reply.status_code, reply.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    again = user.ask("POST", "/jobs", json={"images": []}, headers=headers)
    assert (again.json()["data"]["id"], again.headers["idempotency-replayed"]) == (job, "true")
