"""What fails beneath a gateway, or stops in the middle: told as such, nothing half-made kept, and then it goes on."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from gateway.conftest import (
    CLIENT,
    V1,
    Legacy,
    RunningGateway,
    dummy_pipeline,
    new_database,
    own_postgresql,
    picture,
    roles_of,
    running,
)

SOON = 60


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("impatient")
    pipeline = dummy_pipeline(folder / "dummy")
    with running(folder / "data", "--pipeline", str(pipeline), "--jobs", "1", "--client-timeout", "1") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def client(impatient: RunningGateway) -> V1:
    return V1(impatient.url, impatient.keys("add", "user"))


@contextlib.contextmanager
def connection(gateway: RunningGateway) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", gateway.port), SOON)) as opened:
        yield opened


def answer(opened: socket.socket) -> bytes:
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := opened.recv(65536):
            said += piece
    return said


def head(client: V1, job: str, length: int) -> bytes:
    lines = (
        f"PUT /v1/jobs/{job}/images/a.jpg/files/image HTTP/1.1",
        "Host: x",
        f"X-API-Key: {client.key}",
        "Content-Type: image/jpeg",
        f"Content-Length: {length}",
    )
    return "\r\n".join((*lines, "", "")).encode()


@pytest.mark.parametrize("begun", [b"", b"GET /v1/me HT", b"GET /v1/me HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"\r\n"])
def test_a_request_that_does_not_go_on_is_given_up(impatient: RunningGateway, begun: bytes) -> None:
    with connection(impatient) as opened:
        opened.sendall(begun)
        assert answer(opened).startswith(b"HTTP/1.1 408 ")


def test_the_second_request_of_a_connection_is_given_up_as_well(impatient: RunningGateway) -> None:
    with connection(impatient) as opened:
        opened.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\nHost")
        said = answer(opened)
    assert said.startswith(b"HTTP/1.1 200 ") and b"HTTP/1.1 408 " in said


def test_a_body_that_does_not_go_on_is_refused(impatient: RunningGateway, client: V1) -> None:
    job, scan = client.create("a.jpg"), picture()
    for request in (
        head(client, job, len(scan)) + scan[:100],
        f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nX-API-Key: {client.key}\r\nContent-Length: 9\r\n\r\n{{".encode(),
        f"POST /post_processing_request HTTP/1.1\r\napi-key: {client.key}\r\nContent-Length: 9\r\n\r\n{{".encode(),
    ):
        with connection(impatient) as opened:
            opened.sendall(request)
            said = answer(opened)
        assert said.startswith(b"HTTP/1.1 408 "), said
        assert b"The rest of the request did not come." in said
    assert not list((impatient.data / "unfinished").iterdir())
    assert client.job(job)["images"][0]["image_uploaded"] is False


def test_a_body_that_comes_slowly_is_waited_for(impatient: RunningGateway, client: V1) -> None:
    job, scan = client.create("a.jpg"), picture()
    begun = time.monotonic()
    with connection(impatient) as opened:
        opened.sendall(head(client, job, len(scan)))
        for place in range(0, len(scan), len(scan) // 6):
            opened.sendall(scan[place : place + len(scan) // 6])
            time.sleep(0.3)  # Together longer than the client may be silent.
        opened.settimeout(SOON)
        assert opened.recv(65536).startswith(b"HTTP/1.1 201 ")
    assert time.monotonic() - begun > 1


@pytest.mark.parametrize(
    ("disposition", "status"),
    [
        (b"form-data; name=\"file\"; filename*=utf-8''%C5%99.jpg", 200),
        (b"form-data; name=\"file\"; FileName*=UTF-8'cs'%C5%99.JPG", 200),
        (b"form-data; name=\"file\"; filename*=no-such''%C5.jpg", 422),
        (b"form-data; name=\"file\"; filename*=utf-8''x.exe", 422),
        ('form-data; name="file"; filename="ř.jpg"'.encode(), 200),
        (b'form-data; name="file"; filename="C:\\scans\\a.jpg"', 200),
        (b"form-data; name=file; filename=a.jpg", 200),
    ],
)
def test_names_of_files_in_all_their_forms(
    impatient: RunningGateway, client: V1, disposition: bytes, status: int
) -> None:
    legacy = Legacy(impatient.url, client.key)
    request = legacy.create({"a": None})
    body = b"--B\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + picture() + b"\r\n--B--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    reply = legacy.ask("POST", f"/upload_image/{request}/a", headers=headers, content=body)
    assert reply.status_code == status, reply.text


@pytest.mark.parametrize("boundary", ["B" * 500, "ř", '"'])
def test_boundaries_that_are_none(client: V1, boundary: str) -> None:
    job = client.create("a.jpg")
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}".encode()}
    body = b"--B\r\nx"
    reply = client.ask("PUT", f"/jobs/{job}/images/a.jpg/files/image", headers=headers, content=body)
    assert reply.status_code in {400, 422}


def test_a_full_disk_is_told_and_then_it_goes_on(tmp_path: Path) -> None:
    pipeline = dummy_pipeline(tmp_path / "dummy")
    with running(tmp_path / "data", "--pipeline", str(pipeline), "--jobs", "1") as gateway:
        user = roles_of(gateway).user
        job = user.create("a.jpg")
        assert gateway.process is not None
        scan = picture() + bytes(2_000_000)
        soft, hard = resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (100_000, hard))
        full = user.upload(job, "a.jpg", scan)
        assert (full.status_code, full.json()["code"]) == (507, "STORAGE_FULL")
        statuses = {CLIENT.get(f"{gateway.url}/livez").status_code for _ in range(3)}
        assert statuses == {200}
        assert not list((gateway.data / "unfinished").iterdir())
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (soft, hard))
        deadline = time.monotonic() + SOON
        while user.upload(job, "a.jpg", scan).status_code != 201:  # The database may have met it, too.
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert user.wait(job)["state"] == "done"


def test_a_gateway_that_stops_during_an_upload_leaves_nothing(tmp_path: Path) -> None:
    pipeline = dummy_pipeline(tmp_path / "dummy")
    options = ("--pipeline", str(pipeline), "--jobs", "1")
    with running(tmp_path / "data", *options) as gateway:
        user = V1(gateway.url, gateway.keys("add", "user"))
        job, scan = user.create("a.jpg"), picture()
        with connection(gateway) as opened:
            opened.sendall(head(user, job, 1_000_000) + scan)
            deadline = time.monotonic() + SOON
            while not list((gateway.data / "unfinished").iterdir()):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert gateway.stop() == 0
            assert b" 201 " not in answer(opened)
        assert not list((gateway.data / "unfinished").iterdir())
        gateway.start()
        user = V1(gateway.url, user.key)
        assert user.upload(job, "a.jpg", scan).status_code == 201
        assert user.wait(job)["state"] == "done"


def test_a_database_that_goes_away_is_told_and_waited_for(tmp_path: Path) -> None:
    pipeline = dummy_pipeline(tmp_path / "dummy")
    with own_postgresql() as server:
        options = ("--pipeline", str(pipeline), "--jobs", "1", "--database", new_database(server))
        with running(tmp_path / "data", *options) as gateway:
            user = V1(gateway.url, gateway.keys("add", "user"))
            job = user.create("a.jpg")
            server.stop("immediate")
            with httpx.Client(timeout=SOON) as asking:
                key = {"X-API-Key": user.key}
                scan = {"file": ("a.jpg", picture())}
                replies = [
                    asking.get(f"{gateway.url}/v1/me", headers=key),
                    asking.put(f"{gateway.url}/v1/jobs/{job}/images/a.jpg/files/image", headers=key, files=scan),
                    asking.get(f"{gateway.url}/get_engines", headers={"api-key": user.key}),
                    asking.get(f"{gateway.url}/readyz"),
                ]
            assert [reply.status_code for reply in replies] == [503] * 4
            assert [reply.headers.get("retry-after") for reply in replies[:3]] == ["2"] * 3
            assert not list((gateway.data / "unfinished").iterdir())
            server.start()
            deadline = time.monotonic() + SOON
            while user.upload(job, "a.jpg", picture()).status_code != 201:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert user.wait(job)["state"] == "done"
        assert "Traceback" not in gateway.log()
