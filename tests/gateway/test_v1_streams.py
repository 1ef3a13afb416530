"""v1's uploads in pieces and events as they happen."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from gateway.conftest import CLIENT, V1, Roles, RunningGateway, picture

TUS = {"Tus-Resumable": "1.0.0"}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def begin(client: V1, job: str, name: str, length: int) -> httpx.Response:
    metadata = f"job {encoded(job)},name {encoded(name)},other"
    headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": metadata}
    return client.ask("POST", "/uploads", headers=headers)


def send(client: V1, upload: str, offset: int, content: bytes, **headers: str) -> httpx.Response:
    said = {**TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream", **headers}
    return client.ask("PATCH", upload, headers=said, content=content)


def test_an_upload_in_pieces(roles: Roles) -> None:
    user, scan = roles.user, picture()
    job = user.create("ř ž.jpg")
    begun = begin(user, job, "ř ž.jpg", len(scan))
    assert (begun.status_code, begun.headers["tus-resumable"]) == (201, "1.0.0")
    assert begun.headers["upload-expires"].endswith("GMT")
    upload = begun.headers["location"].removeprefix("/v1")
    first = send(user, upload, 0, scan[:1000])
    assert (first.status_code, first.headers["upload-offset"]) == (204, "1000")
    wrong = send(user, upload, 0, scan)
    assert (wrong.status_code, wrong.headers["upload-offset"]) == (409, "1000")
    damaged = send(user, upload, 1000, scan[1000:2000], **{"Upload-Checksum": f"sha256 {encoded('x' * 32)}"})
    assert damaged.status_code == 460
    assert send(user, upload, 1000, scan[1000:] + b"x").status_code == 413
    head = user.ask("HEAD", upload, headers=TUS)
    assert (head.headers["upload-offset"], head.headers["upload-length"]) == ("1000", str(len(scan)))
    assert head.headers["cache-control"] == "no-store"
    assert roles.other.ask("HEAD", upload, headers=TUS).status_code == 404
    digest = base64.b64encode(hashlib.sha256(scan[1000:]).digest()).decode()
    last = send(user, upload, 1000, scan[1000:], **{"Upload-Checksum": f"sha256 {digest}"})
    assert (last.status_code, last.headers["upload-offset"]) == (204, str(len(scan)))
    assert user.wait(job)["state"] == "done"
    assert user.ask("HEAD", upload, headers=TUS).status_code == 404


def test_uploads_that_are_refused(roles: Roles, gateway: RunningGateway) -> None:
    user = roles.user
    job = user.create("a.jpg")
    assert user.ask("POST", "/uploads", headers={"Upload-Length": "1"}).status_code == 412
    assert begin(user, job, "a.jpg", 10**15).status_code == 413
    assert begin(user, job, "b.jpg", 5).status_code == 404
    assert begin(roles.other, job, "a.jpg", 5).status_code == 403
    assert user.ask("POST", "/uploads", headers={**TUS, "Upload-Length": "5"}).status_code == 400
    assert user.ask("POST", "/uploads", headers={**TUS, "Upload-Length": "-5"}).status_code == 400
    options = CLIENT.options(f"{gateway.url}/v1/uploads")
    assert options.headers["tus-extension"] == "creation,termination,expiration,checksum"
    upload = begin(user, job, "a.jpg", 5).headers["location"].removeprefix("/v1")
    assert user.ask("PATCH", upload, headers={**TUS, "Upload-Offset": "0"}, content=b"x").status_code == 415
    no_image = send(user, upload, 0, b"xxxxx")
    assert (no_image.status_code, no_image.json()["code"]) == (415, "IMAGE_INVALID")
    upload = begin(user, job, "a.jpg", 5).headers["location"].removeprefix("/v1")
    assert user.ask("DELETE", upload, headers=TUS).status_code == 204
    assert user.ask("HEAD", upload, headers=TUS).status_code == 404
    assert list((gateway.data / "uploads").iterdir()) == []


def test_an_upload_without_a_form(roles: Roles) -> None:
    user, scan = roles.user, picture()
    job = user.create("a.jpg")
    path = f"/jobs/{job}/images/a.jpg/files/image"
    digest = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    headers = {"Content-Type": "image/jpeg", "Content-Digest": f"sha-256=:{digest}:"}
    damaged = user.ask("PUT", path, content=scan, headers=headers)
    assert (damaged.status_code, damaged.json()["code"]) == (400, "DIGEST_MISMATCH")
    assert user.ask("PUT", path, content=scan, headers={"Content-Type": "image/jpeg"}).status_code == 201
    assert user.wait(job)["state"] == "done"


def events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    found: dict[str, Any] = {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if not line and "data" in found:
            yield found
            found = {}
        elif name in {"id", "event"}:
            found[name] = value
        elif name == "data":
            found["data"] = json.loads(value)


def follow(client: V1, path: str, into: list[dict[str, Any]], ready: threading.Event, **more: Any) -> None:
    """Until the job's end is told."""
    headers = {"X-API-Key": client.key, **more.pop("headers", {})}
    with httpx.stream("GET", f"{client.url}/v1{path}", headers=headers, timeout=60, **more) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        ready.set()
        for event in events(response):
            into.append(event)
            if event["event"] == "job.state" and event["data"]["state"] in {"done", "failed"}:
                return


def test_events(roles: Roles) -> None:
    user = roles.user
    job = user.create("a.jpg", "fail.jpg")
    other = user.create("b.jpg")
    seen: list[dict[str, Any]] = []
    ready = threading.Event()
    thread = threading.Thread(target=follow, args=(user, f"/jobs/{job}/events", seen, ready))
    thread.start()
    assert ready.wait(60)
    user.upload(other, "b.jpg", picture())
    for name in ("a.jpg", "fail.jpg"):
        user.upload(job, name, picture())
    thread.join(60)
    told = [(event["event"], event["data"].get("state"), event["data"].get("page")) for event in seen]
    assert {event["data"]["job"] for event in seen} == {job}
    states = [state for kind, state, _ in told if kind == "job.state"]
    assert states == ["queued", "processing", "done"]
    assert {told_page for told_page in told if told_page[0] == "page.state"} == {
        ("page.state", "done", "a.jpg"),
        ("page.state", "failed", "fail.jpg"),
    }
    assert seen[-2]["event"] == "job.progress" and seen[-2]["data"]["progress"] == 1.0
    numbers = [int(event["id"]) for event in seen]
    assert numbers == sorted(set(numbers))

    again: list[dict[str, Any]] = []
    follow(user, f"/jobs/{job}/events", again, threading.Event(), headers={"Last-Event-ID": seen[1]["id"]})
    assert again == seen[2:]
    all_of_mine: list[dict[str, Any]] = []
    follow(user, "/events", all_of_mine, threading.Event(), params={"since": int(seen[0]["id"]) - 1})
    assert seen[0] in all_of_mine
    with httpx.stream(
        "GET", f"{user.url}/v1/events", params={"since": 2**40}, headers={"X-API-Key": user.key}, timeout=60
    ) as response:
        assert next(events(response))["event"] == "reset"
    assert roles.other.ask("GET", f"/jobs/{job}/events").status_code == 403


def test_usage(roles: Roles) -> None:
    job = roles.other.create("a.jpg", "fail.jpg")
    for name in ("a.jpg", "fail.jpg"):
        roles.other.upload(job, name, picture())
    roles.other.wait(job)
    for by, value in (("engine", "dummy"), ("key", "another-user")):
        items = roles.other.data("GET", "/usage", expect="USAGE_RETRIEVED", params={"by": by})["items"]
        assert [item[by] for item in items] == [value]
        assert items[0]["pages"] >= 2 and items[0]["failed"] >= 1 and items[0]["image_bytes"] > 0
        # Machines differ in what they can measure; seconds have a price here.
        assert (items[0]["energy_joules"] is None) == (items[0]["energy_is"] == "unknown")
        assert items[0]["cost"] == pytest.approx(0.01 * items[0]["worker_seconds"], abs=1e-4)
        assert items[0]["currency"] == "EUR"
    own = roles.other.data("GET", "/usage", expect="USAGE_RETRIEVED", params={"by": "job", "job": job})["items"]
    assert [(item["job"], item["pages"]) for item in own] == [(job, 2)]
    assert roles.user.data("GET", "/usage", expect="USAGE_RETRIEVED", params={"by": "job", "job": job})["items"] == []
    page = roles.other.data("GET", f"/jobs/{job}/pages", expect="PAGES_RETRIEVED")["items"][0]
    assert page["cost"] == pytest.approx(0.01 * page["worker_seconds"])
    assert len(roles.other.data("GET", "/usage", expect="USAGE_RETRIEVED")["items"][0]["day"]) == 10
    nothing = roles.other.data("GET", "/usage", expect="USAGE_RETRIEVED", params={"from": "2100-01-01"})
    assert nothing["items"] == []
    labels = {
        item["key"]
        for item in roles.admin.data("GET", "/usage", expect="USAGE_RETRIEVED", params={"by": "key"})["items"]
    }
    assert "another-user" in labels
