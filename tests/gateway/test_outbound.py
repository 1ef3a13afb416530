"""What the gateway asks of others: webhooks, and scans that are fetched."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from gateway.conftest import Legacy, Roles, dummy_pipeline, picture, roles_of, running

from pero_worker.gateway.outbound import Outbound, OutboundError
from pero_worker.gateway.store.deliveries import PAUSES
from pero_worker.gateway.webhooks import make_secret, signature_of


@dataclass
class Receiver:
    """A server of somebody else's; `answers` are the statuses of the next webhooks."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    told: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    come: threading.Event = field(default_factory=threading.Event)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.told.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(found.answers.pop(0) if found.answers else 200)
            self.end_headers()
            found.come.set()

        def do_GET(self) -> None:
            content = picture()
            self.send_response({"/scan.jpg": 200, "/away": 302, "/inside": 302}.get(self.path, 404))
            if self.path in {"/away", "/inside"}:
                self.send_header("Location", "/scan.jpg" if self.path == "/away" else "http://169.254.169.254/secret")
            self.end_headers()
            if self.path == "/scan.jpg":
                self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    folder = tmp_path_factory.mktemp("outbound")
    pipeline = dummy_pipeline(folder / "dummy")
    with running(folder / "data", "--pipeline", str(pipeline), "--jobs", "1", "--allow-host", "127.0.0.1") as gateway:
        yield roles_of(gateway)


def test_a_webhook_is_signed_and_told_again(roles: Roles, receiver: Receiver) -> None:
    user = roles.user
    secrets = [user.data("POST", "/webhooks/secret", expect="WEBHOOK_SECRET_CREATED")["secret"] for _ in range(2)]
    receiver.answers = [500]
    job = user.create("a.jpg", webhook={"url": f"{receiver.url}/hook"}, labels={"shelf": "7"})
    user.upload(job, "a.jpg", picture())
    user.wait(job)
    deadline = time.monotonic() + 60
    while len(receiver.told) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (first, body), (second, again) = receiver.told
    assert first["webhook-id"] == second["webhook-id"] and body == again
    message = json.loads(body)
    assert (message["type"], message["data"]["id"], message["data"]["labels"]) == ("job.done", job, {"shelf": "7"})
    content = f"{first['webhook-id']}.{first['webhook-timestamp']}.".encode() + body
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        assert f"v1,{signature}" in first["webhook-signature"].split(" ")
    while (kept := user.data("GET", "/webhooks/deliveries", expect="DELIVERIES_RETRIEVED")["items"])[0][
        "state"
    ] == "pending":
        assert time.monotonic() < deadline
    assert (kept[0]["state"], kept[0]["attempts"], kept[0]["status"]) == ("delivered", 2, 200)
    assert roles.other.data("GET", "/webhooks/deliveries", expect="DELIVERIES_RETRIEVED")["items"] == []


def test_a_webhook_that_is_gone_is_not_told_again(roles: Roles, receiver: Receiver) -> None:
    receiver.answers, receiver.told[:] = [410], []
    job = roles.other.create("a.jpg", webhook={"url": receiver.url, "events": ["job.cancelled"]})
    roles.other.data("PATCH", f"/jobs/{job}", expect="JOB_CANCELLED", json={"state": "cancelled"})
    deadline = time.monotonic() + 60
    while True:
        items = roles.other.data("GET", "/webhooks/deliveries", expect="DELIVERIES_RETRIEVED")["items"]
        if items and items[0]["state"] == "failed":
            break
        assert time.monotonic() < deadline, items
        time.sleep(0.05)
    assert (items[0]["attempts"], items[0]["status"]) == (1, 410)


def test_scans_are_fetched(roles: Roles, receiver: Receiver) -> None:
    user = roles.user
    images = [
        {"name": "a.jpg", "order": 0, "url": f"{receiver.url}/away"},
        {"name": "b.jpg", "order": 1, "url": f"{receiver.url}/none"},
        {"name": "c.jpg", "order": 2, "url": f"{receiver.url}/inside"},
        {"name": "d.jpg", "order": 3, "url": "https://localhost/x.jpg"},
    ]
    job = user.data("POST", "/jobs", expect="JOB_CREATED", json={"images": images})["id"]
    assert user.wait(job)["state"] == "done"
    legacy = Legacy(user.url, user.key)
    assert {name: page["state"] for name, page in legacy.states(job).items()} == {
        "a.jpg": "PROCESSED",
        "b.jpg": "NOT_FOUND",
        "c.jpg": "NOT_FOUND",
        "d.jpg": "NOT_FOUND",
    }
    request = legacy.create({"a": f"{receiver.url}/scan.jpg", "b": None})
    assert legacy.upload(request, "b", picture()).status_code == 200
    assert {page["state"] for page in legacy.wait(request).values()} == {"PROCESSED"}


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "0.0.0.0", "::1", "fe80::1%eth0", "fc00::1",  # noqa: S104
     "::ffff:127.0.0.1", "2002:7f00:1::", "224.0.0.1", "ff02::1", "100.64.0.1", "nonsense"],
)  # fmt: skip
def test_addresses_inside_are_not_asked(address: str, tmp_path: Path) -> None:
    outbound = Outbound(resolve=lambda host, port: ["93.184.216.34", address])
    with pytest.raises(OutboundError, match=r"private network|no such host"):
        outbound.fetch("https://example.org/", tmp_path / "x", 10)
    with pytest.raises(OutboundError, match=r"private network|no such host"):
        outbound.post("https://example.org/", b"", {})


@pytest.mark.parametrize(
    "url", ["http://example.org/", "ftp://example.org/", "file:///etc/passwd", "https://", "https://a:b@example.org/",
            "https://example.org:99999/", "//example.org"],
)  # fmt: skip
def test_other_urls_are_not_asked(url: str, tmp_path: Path) -> None:
    with pytest.raises(OutboundError):
        Outbound(resolve=lambda host, port: ["93.184.216.34"]).fetch(url, tmp_path / "x", 10)


def test_a_scan_that_is_too_large_is_given_up(receiver: Receiver, tmp_path: Path) -> None:
    outbound = Outbound(allowed_hosts=frozenset({"127.0.0.1"}))
    with pytest.raises(OutboundError, match="more than 100 bytes"):
        outbound.fetch(f"{receiver.url}/scan.jpg", tmp_path / "x", 100)


def test_signatures_are_those_of_the_standard() -> None:
    """The example of standardwebhooks.com."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105
    body = '{"test": 2432232314}'
    signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature_of([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == signature
    assert len(base64.b64decode(make_secret(b"x" * 32).removeprefix("whsec_"))) == 32
    assert sum(PAUSES) > 3 * 86_400
