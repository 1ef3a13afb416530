"""Model archives on real servers: FTP, FTPS, SFTP, HTTP and S3 on the loopback."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import paramiko
import pytest
import trustme

from pero_worker.errors import StageError, TransientError, UsageError
from pero_worker.models.keep import Keep
from pero_worker.models.store import ArchiveStore
from pero_worker.servers.sftp import host_key
from pero_worker.stage import Stage
from pero_worker.stores.location import greeted_protocol
from pero_worker.stores.remote import StoreAccess, fetch, remove, upload

USER, PASSWORD = "pero", "p:@ss/wört"
CONTENT = os.urandom(700_000)


@dataclass(frozen=True)
class Served:
    """A running server: `address` is HOST:PORT, `root` what it serves."""

    protocol: str
    address: str
    root: Path
    access: StoreAccess

    def url(self, path: str) -> str:
        return f"{self.protocol}://{self.address}/{path}"


@contextmanager
def server(kind: str, root: Path, *options: str) -> Iterator[str]:
    """Starts one of our servers in a process of its own, and yields its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"pero_worker.servers.{kind}", "--user", USER, "--root", str(root), *options],
        env={**os.environ, "PERO_WORKER_SERVER_PASSWORD": PASSWORD},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().removeprefix("listening on ").strip()
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def start(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Served]]:
    """Starts each kind of server once, when a test first asks for it."""
    folder = tmp_path_factory.mktemp("servers")
    running: dict[str, Served] = {}
    with ExitStack() as stack:

        def started(protocol: str) -> Served:
            if protocol not in running:
                running[protocol] = stack.enter_context(_serve(protocol, folder, ca))
            return running[protocol]

        yield started


@contextmanager
def _serve(protocol: str, folder: Path, ca: trustme.CA) -> Iterator[Served]:
    root = folder / protocol
    root.mkdir()
    options: tuple[str, ...] = ()
    ca_pem, known_hosts = folder / "ca.pem", folder / "known_hosts"
    ca.cert_pem.write_to_path(str(ca_pem))
    if protocol == "ftps":
        pem = folder / "ftps.pem"
        ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
        options = ("--tls-cert", str(pem))
    if protocol == "sftp":
        options = ("--host-key", str(folder / "host_key"))
    with server("sftp" if protocol == "sftp" else "ftp", root, *options) as address:
        if protocol == "sftp":
            known_hosts.write_text(known_line(address, folder / "host_key"))
        yield Served(
            protocol,
            address,
            root,
            StoreAccess(user=USER, password=PASSWORD, ca_cert=ca_pem, known_hosts=known_hosts, timeout=10),
        )


def known_line(address: str, key: Path) -> str:
    host, _, port = address.rpartition(":")
    public = host_key(key)
    return f"[{host}]:{port} {public.get_name()} {public.get_base64()}\n"


@pytest.fixture(params=["ftp", "ftps", "sftp"])
def served(request: pytest.FixtureRequest, start: Callable[[str], Served]) -> Served:
    return start(request.param)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def away() -> Iterator[str]:
    """An address that refuses connections and is reserved meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def test_a_file_goes_there_and_back_and_away(served: Served, source: Path, tmp_path: Path) -> None:
    path = served.url("models/new folder/a%20b.tar")
    told: list[int] = []
    upload("", path.replace(" ", "%20"), source, served.access, told.append)
    assert told[-1] == len(CONTENT)
    assert [file.name for file in served.root.rglob("*") if file.is_file()] == ["a b.tar"]
    fetch((), path, tmp_path / "got", served.access, digest=hashlib.sha256(CONTENT).hexdigest().upper())
    assert (tmp_path / "got").read_bytes() == CONTENT
    source.write_bytes(b"second")
    upload("", path, source, served.access)
    fetch((), path, tmp_path / "got", served.access)
    assert (tmp_path / "got").read_bytes() == b"second"
    (served.root / "models/other").touch()
    remove("", path, served.access)
    assert [file.name for file in served.root.rglob("*")] == ["models", "other"]
    remove("", served.url("models/other"), served.access)
    assert not list(served.root.iterdir())
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_servers_named_as_in_zookeeper(served: Served, away: str, tmp_path: Path) -> None:
    """No protocol is given, and the first server is unavailable."""
    access = replace(served.access, ftp_tls=served.protocol == "ftps")
    (served.root / "plain.tar").write_bytes(CONTENT)
    greeted_protocol.cache_clear()
    for path in ("plain.tar", "/plain.tar"):
        fetch([away, served.address], path, tmp_path / "got", access)
        assert (tmp_path / "got").read_bytes() == CONTENT
    remove(served.address, "plain.tar", access)
    with pytest.raises(TransientError, match=r"is away.*; .*plain.tar does not exist"):
        fetch([away, served.address], "plain.tar", tmp_path / "none", access)
    assert not (tmp_path / "none").exists()


def test_a_missing_file_and_a_wrong_login_are_the_stages_fault(served: Served, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"missing\.tar does not exist: upload"):
        fetch((), served.url("missing.tar"), tmp_path / "got", served.access)
    with pytest.raises(StageError, match="does not exist"):
        remove("", served.url("missing.tar"), served.access)
    url = f"{served.protocol}://other:secret@{served.address}/missing.tar"
    with pytest.raises(StageError, match="refuses the login: check") as error:
        fetch((), url, tmp_path / "got", served.access)
    assert "secret" not in str(error.value)


def test_a_login_in_the_url_counts(served: Served, tmp_path: Path) -> None:
    (served.root / "login.tar").write_bytes(b"x")
    url = f"{served.protocol}://{USER}:{quote(PASSWORD, safe='')}@{served.address}/login.tar"
    fetch((), url, tmp_path / "got", replace(served.access, user="", password=""))
    (served.root / "login.tar").unlink()


def test_a_file_that_is_too_long_is_refused(served: Served, tmp_path: Path) -> None:
    (served.root / "long.tar").write_bytes(CONTENT)
    with pytest.raises(StageError, match="longer than 699999 bytes"):
        fetch((), served.url("long.tar"), tmp_path / "got", served.access, max_bytes=699_999)
    (served.root / "long.tar").unlink()
    assert not list(tmp_path.iterdir())


def test_nothing_outside_the_root_is_reached(served: Served, source: Path, tmp_path: Path) -> None:
    (served.root / "way").symlink_to(tmp_path)
    (served.root / "file").symlink_to(source)
    for path in ("way/source", "file", "../../../../../../" + str(source)):
        with pytest.raises(StageError):
            fetch((), served.url(path), tmp_path / "got", served.access)
    for path in ("way/planted", "file/planted"):
        with pytest.raises((StageError, TransientError)):
            upload("", served.url(path), source, served.access)
    with pytest.raises(StageError):
        remove("", served.url("way/source"), served.access)
    assert [file.name for file in tmp_path.iterdir()] == ["source"]
    assert source.read_bytes() == CONTENT
    for link in ("way", "file"):
        (served.root / link).unlink()


@pytest.mark.parametrize("protocol", ["ftp", "ftps", "sftp", "http"])
def test_a_server_that_is_away_or_silent_is_transient(protocol: str, away: str, tmp_path: Path) -> None:
    access = StoreAccess(user=USER, password=PASSWORD, known_hosts=tmp_path / "known", timeout=0.3)
    with pytest.raises(TransientError, match="is away"):
        fetch((), f"{protocol}://{away}/a.tar", tmp_path / "got", access)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(TransientError, match="is away"):
            fetch((), f"{protocol}://127.0.0.1:{silent.getsockname()[1]}/a.tar", tmp_path / "got", access)
        with pytest.raises(TransientError, match="is away"):
            fetch([f"127.0.0.1:{silent.getsockname()[1]}"], "a.tar", tmp_path / "got", access)


def test_host_keys(start: Callable[[str], Served], tmp_path: Path) -> None:
    served = start("sftp")
    (served.root / "keys.tar").write_bytes(b"x")
    get = partial(fetch, (), served.url("keys.tar"), tmp_path / "got")
    unknown = replace(served.access, known_hosts=tmp_path / "ssh/known_hosts")
    with pytest.raises(StageError, match=r"host key SHA256:\S+ is not known: .* run: ssh-keyscan -p \d+ 127.0.0.1"):
        get(unknown)
    trusting = replace(unknown, trust_new_hosts=True)
    get(trusting)
    assert trusting.known_hosts.read_text() == served.access.known_hosts.read_text()
    get(unknown)
    trusting.known_hosts.write_text(known_line(served.address, tmp_path / "other_key"))
    with pytest.raises(StageError, match="host key CHANGED"):
        get(trusting)
    rsa = paramiko.RSAKey.generate(2048)
    trusting.known_hosts.write_text(
        f"{known_line(served.address, tmp_path / 'other_key').split()[0]} ssh-rsa {rsa.get_base64()}\n"
    )
    with pytest.raises(StageError, match="host key CHANGED"):
        get(trusting)


def test_ftps_wants_a_certificate_and_no_clear_text(start: Callable[[str], Served], tmp_path: Path) -> None:
    served = start("ftps")
    with pytest.raises(StageError, match="certificate is not trusted"):
        fetch((), served.url("a.tar"), tmp_path / "got", replace(served.access, ca_cert=None))
    with pytest.raises(StageError, match="cannot use the CA certificate"):
        fetch((), served.url("a.tar"), tmp_path / "got", replace(served.access, ca_cert=tmp_path / "none.pem"))
    with pytest.raises(StageError, match="server refuses"):
        fetch((), served.url("a.tar").replace("ftps", "ftp"), tmp_path / "got", served.access)
    with pytest.raises(StageError, match="server refuses"):
        fetch((), start("ftp").url("a.tar").replace("ftp:", "ftps:"), tmp_path / "got", served.access)


def test_a_port_of_something_else_is_named(tmp_path: Path) -> None:
    with web(lambda handler: None) as address, socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            connection, _ = other.accept()
            with connection:
                connection.sendall(b"+OK POP3")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(StageError, match="speaks neither SFTP nor FTP"):
            fetch([f"127.0.0.1:{other.getsockname()[1]}"], "a.tar", tmp_path / "got", StoreAccess())
        thread.join()
        with pytest.raises(TransientError, match="is away"):
            fetch([address], "a.tar", tmp_path / "got", StoreAccess(timeout=0.2))


@contextmanager
def web(answer: Callable[[BaseHTTPRequestHandler], None], context: ssl.SSLContext | None = None) -> Iterator[str]:
    """The address of an HTTP server that gives `answer` to every request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        do_PUT = do_DELETE = do_MKCOL = do_PROPFIND = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Ignores clients that leave because they do not trust the certificate."""

    with Quiet(("127.0.0.1", 0), Handler) as httpd:
        if context:
            httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{httpd.server_port}"
        finally:
            httpd.shutdown()
            thread.join()


def send(handler: BaseHTTPRequestHandler, content: bytes, length: int | None = None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content) if length is None else length))
    handler.end_headers()
    handler.wfile.write(content)


def http_answer(handler: BaseHTTPRequestHandler) -> None:
    match handler.path:
        case "/a%20b.tar?version=2":
            send(handler, CONTENT)
        case "/login.tar" if handler.headers["Authorization"] == "Basic dTpw":
            send(handler, b"login")
        case "/moved.tar":
            handler.send_response(302)
            handler.send_header("Location", "/a%20b.tar?version=2")
            handler.end_headers()
        case "/elsewhere.tar":
            handler.send_response(302)
            handler.send_header("Location", f"http://localhost:{handler.connection.getsockname()[1]}/login.tar")
            handler.end_headers()
        case "/torn.tar":
            send(handler, CONTENT[:1000], len(CONTENT))
        case "/busy.tar":
            handler.send_error(503)
        case "/login.tar":
            handler.send_error(401)
        case _:
            handler.send_error(404)


def test_http(tmp_path: Path, source: Path) -> None:
    access, got = StoreAccess(user=USER, password=PASSWORD, timeout=5), tmp_path / "got"
    with web(http_answer) as address:
        for path in ("a%20b.tar?version=2", "moved.tar"):
            fetch((), f"http://{address}/{path}", got, access)
            assert got.read_bytes() == CONTENT
            got.unlink()
        fetch((), f"http://u:p@{address}/login.tar", got, access)
        for url in (f"http://{address}/login.tar", f"http://u:p@{address}/elsewhere.tar"):
            with pytest.raises(StageError, match="refuses the login"):
                fetch((), url, got, access)
        with pytest.raises(StageError, match="does not exist"):
            fetch((), f"http://{address}/none.tar", got, access)
        with pytest.raises(StageError, match="longer than"):
            fetch((), f"http://{address}/moved.tar", got, access, max_bytes=10)
        with pytest.raises(StageError, match="its SHA-256 is"):
            fetch((), f"http://{address}/moved.tar", got, access, digest="0" * 64)
        for path in ("torn.tar", "busy.tar"):
            with pytest.raises(TransientError, match="is away"):
                fetch((), f"http://{address}/{path}", got, access)
        with pytest.raises(StageError, match="only read"):
            upload("", f"http://{address}/new.tar", source, access)
        with pytest.raises(StageError, match="only read"):
            remove("", f"http://{address}/new.tar", access)
        fetch([f"http://{address}"], "moved.tar", got, access)
    assert got.read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["got", "source"]


def test_https(ca: trustme.CA, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with web(http_answer, context) as address:
        fetch((), f"https://{address}/moved.tar", tmp_path / "got", StoreAccess(ca_cert=tmp_path / "ca.pem"))
        assert (tmp_path / "got").read_bytes() == CONTENT
        with pytest.raises(StageError, match="certificate is not trusted"):
            fetch((), f"https://{address}/moved.tar", tmp_path / "got", StoreAccess())


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The endpoint of a simulated S3 server with the bucket `Models`."""
    with subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            port = next(match[1] for line in process.stderr if (match := re.search(r"127\.0\.0\.1:(\d+)", line)))
            endpoint = f"http://127.0.0.1:{port}"
            monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
            monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
            monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
            import boto3  # noqa: PLC0415 - half a second

            client = boto3.client("s3")
            client.create_bucket(Bucket="models")
            client.close()
            yield endpoint
        finally:
            process.terminate()


def test_s3(s3: str, source: Path, tmp_path: Path, away: str, monkeypatch: pytest.MonkeyPatch) -> None:
    access, url, got = StoreAccess(timeout=5), "s3://models/ocr/a b#1.tar", tmp_path / "got"
    told: list[int] = []
    upload("", url, source, access, told.append)
    assert told[-1] == len(CONTENT)
    fetch((), url, got, access)
    assert got.read_bytes() == CONTENT
    with pytest.raises(StageError, match="longer than"):
        fetch((), url, got, access, max_bytes=10)
    remove("", url, access)
    for path in (url, "s3://no-such-bucket/a.tar"):
        with pytest.raises(StageError, match="does not exist"):
            fetch((), path, got, access)
        with pytest.raises(StageError, match="does not exist"):
            remove("", path, access)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{away}")
    with pytest.raises(TransientError, match="is away"):
        fetch((), url, got, access)


STORE_USER = """
import sys
from pathlib import Path
from pero_worker.stores.remote import StoreAccess
from pero_worker.models.store import ArchiveStore
from pero_worker.stage import Stage
store = ArchiveStore(Path(sys.argv[1]), lambda: [], StoreAccess())
print("asking", flush=True)
print(store.directory(Stage(name="ocr", config="[OCR]", version="v1", archive=sys.argv[2])), flush=True)
sys.stdin.read()
"""


def test_processes_that_ask_at_once_download_once(source: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "archive.tar", "w") as archive:
        archive.add(source, "model.bin")
    both_ask, requests = threading.Event(), []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        requests.append(handler.path)
        both_ask.wait(30)
        send(handler, (tmp_path / "archive.tar").read_bytes())

    with web(answer) as address, ExitStack() as stack:
        command = [sys.executable, "-c", STORE_USER, str(tmp_path / "cache"), f"http://{address}/archive.tar"]
        pipe = subprocess.PIPE
        users = [stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)) for _ in range(3)]
        for user in users:
            assert user.stdout is not None
            assert user.stdout.readline() == "asking\n"
        both_ask.set()
        folders = {user.stdout.readline().strip() for user in users if user.stdout}
        assert len(folders) == len(requests) == 1
        assert (Path(folders.pop()) / "model.bin").read_bytes() == CONTENT
        with ArchiveStoreAt(tmp_path / "cache") as store:
            assert store.clean(Keep(bytes=0)) == ()  # in use
        for user in users:
            user.communicate()
        with ArchiveStoreAt(tmp_path / "cache") as store:
            assert len(store.clean(Keep(bytes=0))) == 1


class ArchiveStoreAt(AbstractContextManager[ArchiveStore]):
    def __init__(self, cache: Path) -> None:
        self.store = ArchiveStore(cache, lambda: [], StoreAccess())

    def __enter__(self) -> ArchiveStore:
        return self.store

    def __exit__(self, *error: object) -> None:
        self.store.close()


def test_the_store_fetches_from_the_servers_of_zookeeper(served: Served, source: Path, tmp_path: Path) -> None:
    with tarfile.open(served.root / "ocr.tar.gz", "w:gz") as archive:
        archive.add(source, "ocr/model.bin")
    access = replace(served.access, ftp_tls=served.protocol == "ftps")
    store = ArchiveStore(tmp_path / "cache", lambda: [served.address], access)
    folder = store.directory(Stage(name="ocr", config="[OCR]\n", version="v1", archive="ocr.tar.gz"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "model.bin": CONTENT,
        "config.ini": b"[OCR]\n",
    }
    (served.root / "ocr.tar.gz").unlink()
    assert store.directory(Stage(name="ocr", config="[OCR]\n", version="v1", archive="ocr.tar.gz")) == folder
    store.close()


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("ftp", ["--root", "/nonexistent"], "is not a folder"),
        ("ftp", ["--root", "/", "--tls-key", "/nonexistent"], "needs --tls-cert"),
        ("ftp", ["--root", "/", "--tls-cert", "/nonexistent"], "cannot use the certificate"),
        ("ftp", ["--root", "/", "--host", "no.such.host.invalid"], "cannot listen"),
        ("sftp", ["--root", "/", "--host-key", "/dev/null"], "host key /dev/null is open to others"),
        ("sftp", ["--root", "/", "--host-key", "/nonexistent/key"], "cannot use the host key"),
    ],
)
def test_servers_say_what_is_wrong(kind: str, options: list[str], message: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", f"pero_worker.servers.{kind}", "--user", "u", *options],
        env={**os.environ, "PERO_WORKER_SERVER_PASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (UsageError.exit_code, "")
    assert message in ended.stderr


def test_a_server_needs_a_password_and_a_free_port(tmp_path: Path, away: str) -> None:
    command = [sys.executable, "-m", "pero_worker.servers.ftp", "--user", "u", "--root", str(tmp_path)]
    environment = {name: value for name, value in os.environ.items() if name != "PERO_WORKER_SERVER_PASSWORD"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "set the environment variable PERO_WORKER_SERVER_PASSWORD" in ended.stderr
    environment["PERO_WORKER_SERVER_PASSWORD"] = PASSWORD
    command += ["--port", away.rpartition(":")[2]]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == TransientError.exit_code
    assert "Address already in use" in ended.stderr
