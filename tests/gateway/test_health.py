"""Health, figures, the log, and pages for people."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest
import trustme
from gateway.conftest import CLIENT, PROGRAM, Roles, RunningGateway, json_lines, picture, running
from gateway.contract import schema_of, validator

import pero_worker
from pero_worker.client import GatewayClient, GatewayRefused
from pero_worker.errors import TransientError
from pero_worker.gateway.v1.described import ANSWERS


def test_health(gateway: RunningGateway) -> None:
    for path in ("/livez", "/health", "/readyz", "/ready", "/api/health"):
        reply = CLIENT.get(gateway.url + path)
        assert (reply.status_code, reply.json()["status"]) == (200, "ok")
    assert CLIENT.get(f"{gateway.url}/version").json() == {"name": "pero-worker", "version": pero_worker.__version__}


def test_figures(roles: Roles, gateway: RunningGateway) -> None:
    assert CLIENT.get(f"{gateway.url}/metrics").status_code == 401
    assert CLIENT.get(f"{gateway.url}/metrics", headers={"X-API-Key": roles.user.key}).status_code == 403
    job = roles.user.create("a.jpg")
    roles.user.upload(job, "a.jpg", picture())
    roles.user.wait(job)
    text = CLIENT.get(f"{gateway.url}/metrics", headers={"X-API-Key": roles.admin.key}).text
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert int(figures['pero_worker_gateway_jobs{state="done"}']) >= 1
    assert float(figures["pero_worker_gateway_image_bytes_total"]) >= len(picture())


def test_the_log_follows_a_page(roles: Roles, gateway: RunningGateway) -> None:
    job = roles.user.create("a.jpg")
    headers = {"X-API-Key": roles.user.key, "X-Request-ID": "my-request.1"}
    path = f"{gateway.url}/v1/jobs/{job}/images/a.jpg/files/image"
    reply = CLIENT.put(path, files={"file": ("a.jpg", picture())}, headers=headers)
    assert reply.headers["x-request-id"] == "my-request.1"
    roles.user.wait(job)
    lines = [line for line in json_lines(gateway.log()) if line.get("trace") == "my-request.1"]
    assert [line["message"] for line in lines] == ["request", "page sent"]
    assert (lines[0]["status"], lines[0]["method"], lines[1]["job"]) == (201, "PUT", job)
    odd = CLIENT.get(f"{gateway.url}/livez", headers={"X-Request-ID": 'x" y'})
    assert odd.headers["x-request-id"] != 'x" y'
    for client in (roles.user, roles.worker, roles.admin):
        assert client.key.rpartition(".")[2] not in gateway.log()


def test_pages_for_people(gateway: RunningGateway) -> None:
    for path in ("/", "/index", "/v1/docs"):
        reply = CLIENT.get(gateway.url + path, follow_redirects=True)
        assert reply.headers["content-type"].startswith("text/html")
        assert "http" not in reply.text.replace(gateway.url, "").replace("HTTP", "")
    assert CLIENT.get(f"{gateway.url}/docs", follow_redirects=True).url.path == "/v1/docs"
    schema = CLIENT.get(f"{gateway.url}/v1/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    assert all(operation.get("description") for item in schema["paths"].values() for operation in item.values())


def test_every_route_is_described_with_an_example(gateway: RunningGateway) -> None:
    schema = schema_of(gateway.url)
    routes = {(method, path) for path, item in schema["paths"].items() for method in item}
    assert routes == set(ANSWERS)
    for method, path in routes:
        responses = schema["paths"][path][method]["responses"]
        assert any(status.startswith("2") for status in responses), path
        assert path in {"/livez", "/readyz", "/version"} or "4XX" in responses
        for told in responses.values():
            for media, content in told.get("content", {}).items():
                if media != "application/json":
                    continue
                faults = list(validator(schema, content["schema"]).iter_errors(content["example"]))
                assert not faults, (method, path, faults)
    bodies = [
        item["requestBody"] for paths in schema["paths"].values() for item in paths.values() if "requestBody" in item
    ]
    assert all("$ref" in content["schema"] for body in bodies for content in body["content"].values())


def test_keys_of_other_servers_are_taken_over(gateway: RunningGateway) -> None:
    gateway.keys("import", "old-client", text="An0ldKey/with=signs\n")
    assert CLIENT.get(f"{gateway.url}/get_engines", headers={"api-key": "An0ldKey/with=signs"}).status_code == 200
    assert "old-client" in gateway.keys("list") and "An0ldKey" not in gateway.keys("list")
    assert "already" in gateway.keys("import", "other-label", text="An0ldKey/with=signs\n", expect=2)
    gateway.keys("revoke", "old-client")
    assert CLIENT.get(f"{gateway.url}/get_engines", headers={"api-key": "An0ldKey/with=signs"}).status_code == 401
    gateway.keys("revoke", "nobody", expect=2)
    gateway.keys("add", "x", "--role", "king", expect=2)
    assert (gateway.data / "secret").stat().st_mode & 0o077 == 0


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, private_key = tmp_path / "tls.crt", tmp_path / "tls.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    private_key.write_bytes(issued.private_key_pem.bytes())
    options = ("--lease-only", "--certificate", str(certificate), "--private-key", str(private_key))
    with running(tmp_path / "data", *options) as gateway:
        assert gateway.url.startswith("https://")
        key = gateway.keys("add", "u")
        context = ssl.create_default_context()
        authority.configure_trust(context)
        client = GatewayClient(gateway.url, key, context=context)
        assert client.me()["label"] == "u"
        job = client.create_job(["a.jpg"])["id"]
        with (tmp_path / "a.jpg").open("wb") as stream:
            stream.write(picture())
        client.upload_image(job, "a.jpg", tmp_path / "a.jpg")
        assert [page["state"] for page in client.pages(job)] == ["waiting"]
        with pytest.raises(GatewayRefused, match="JOB_RESULT_NOT_READY"), (tmp_path / "x").open("w+b") as target:
            client.fetch_result(job, target)
        client.cancel(job)
        client.delete(job)
        client.close()
        distrustful = GatewayClient(gateway.url, key, patience=0)
        with pytest.raises(TransientError, match="cannot be reached"):
            distrustful.me()


def test_half_an_upload_leaves_nothing(roles: Roles, gateway: RunningGateway) -> None:
    job = roles.user.create("a.jpg")
    head = (
        f"PUT /v1/jobs/{job}/images/a.jpg/files/image HTTP/1.1\r\nHost: x\r\nX-API-Key: {roles.user.key}\r\n"
        "Content-Type: image/jpeg\r\nContent-Length: 1000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(head.encode() + bytes(200_000))
        while not list((gateway.data / "unfinished").iterdir()):
            time.sleep(0.01)
    deadline = time.monotonic() + 60
    while list((gateway.data / "unfinished").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert roles.user.job(job)["images"][0]["image_uploaded"] is False
    assert not (gateway.data / "jobs" / job).exists()
    too_large = head.replace("1000000", "900000000000")
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(too_large.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_wrong_usage_is_said_in_a_line(gateway: RunningGateway) -> None:
    for options, said in (
        (("--database", "mysql://x"), "--database wants"),
        (("--certificate", "x.pem"), "belong together"),
        (("--port", str(gateway.port)), "cannot listen"),
    ):
        folder = gateway.data.parent / "unused"
        command = [*PROGRAM, "gateway", "--data", str(folder), "--lease-only", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr
