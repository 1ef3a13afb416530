"""Pages for people, as a program sees them: who gets in, what is escaped, what another site cannot do."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from gateway.conftest import CLIENT, V1, PostgreSQL, Roles, RunningGateway, dummy_pipeline, picture, running

HTML = {"Accept": "text/html"}
OWN = {"Sec-Fetch-Site": "same-origin"}
EVIL = '<script>alert("x")</script>&\'"'


@contextlib.contextmanager
def browser(gateway: RunningGateway, key: str = "") -> Iterator[httpx.Client]:
    """A client that keeps cookies, signed in with `key` if there is one."""
    with httpx.Client(base_url=gateway.url, timeout=60, headers=HTML, verify=False) as client:  # noqa: S501 - plain HTTP
        if key:
            reply = client.post("/web/sign-in", data={"key": key}, headers=OWN)
            assert reply.status_code == 303, reply.text
        yield client


def test_signing_in_and_out(gateway: RunningGateway, roles: Roles) -> None:
    with browser(gateway) as guest:
        reply = guest.get("/web/jobs?before=5")
        assert (reply.status_code, reply.headers["location"]) == (303, "/web/sign-in?next=/web/jobs%3Fbefore%3D5")
        wrong = guest.post("/web/sign-in", data={"key": "pero.x.y"}, headers=OWN)
        assert wrong.status_code == 401 and "not known here" in wrong.text and "y" * 1 not in wrong.headers
        right = guest.post("/web/sign-in", data={"key": f" {roles.user.key}\n", "next": "//evil"}, headers=OWN)
        assert (right.status_code, right.headers["location"]) == (303, "/web/jobs")
        cookie = right.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie and roles.user.key not in cookie
        assert guest.get("/web/jobs").status_code == 200
        assert guest.get("/v1/me").json()["data"]["label"] == "a-user"
        guest.post("/web/sign-out", headers=OWN)
        assert guest.get("/web/jobs").status_code == 303


def test_a_session_that_was_changed_or_whose_key_is_gone_opens_nothing(gateway: RunningGateway) -> None:
    key = gateway.keys("add", "short-lived")
    with browser(gateway, key) as client:
        token = client.cookies["pero_session"]
        assert client.get("/web/jobs").status_code == 200
        forged = token[:-1] + ("0" if token[-1] != "0" else "1")
        for text in (forged, "x", token.replace(".", ".9", 1), ""):
            reply = CLIENT.get(f"{gateway.url}/web/jobs", headers={"Cookie": f"pero_session={text}"})
            assert reply.status_code == 303
        gateway.keys("revoke", "short-lived")
        assert client.get("/web/jobs").status_code == 303
        assert client.get("/v1/jobs").status_code == 401


def test_another_sites_page_can_do_nothing(gateway: RunningGateway, roles: Roles) -> None:
    job = roles.user.create("a.jpg")
    with browser(gateway, roles.user.key) as client:
        foreign: list[dict[str, str]] = [
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {},
        ]
        for headers in foreign:
            for path in (f"/web/jobs/{job}/cancel", f"/web/jobs/{job}/delete", f"/web/jobs/{job}/start"):
                assert client.post(path, headers=headers).status_code == 403
            assert client.post("/v1/jobs", json={"images": []}, headers=headers).status_code == 403
            assert client.delete(f"/v1/jobs/{job}", headers=headers).status_code == 403
            assert client.post("/web/sign-in", data={"key": roles.other.key}, headers=headers).status_code == 403
        assert roles.user.job(job)["state"] == "new"
        same = {"Origin": gateway.url}
        assert client.post(f"/web/jobs/{job}/cancel", headers=same).status_code == 303
        assert roles.user.job(job)["state"] == "cancelled"


def test_other_keys_jobs_are_not_there(gateway: RunningGateway, roles: Roles) -> None:
    job = roles.user.create("a.jpg", name="of the user alone")
    roles.user.upload(job, "a.jpg", picture())
    roles.user.wait(job)
    with browser(gateway, roles.other.key) as other:
        assert "of the user alone" not in other.get("/web/jobs").text
        for path in ("", "/pages/a.jpg", "/pages/a.jpg/scan", "/pages/none.jpg"):
            reply = other.get(f"/web/jobs/{job}{path}")
            assert reply.status_code == 404 and "not yours" in reply.text
        for action in ("cancel", "retry", "start", "delete", "pages/a.jpg/again"):
            assert other.post(f"/web/jobs/{job}/{action}", headers=OWN).status_code == 404
    with browser(gateway, roles.admin.key) as admin:
        listed = admin.get("/web/jobs").text
        assert "of the user alone" in listed
        (stream,) = re.findall('sse-connect="([^"]+)"', listed)
        before = unescape(stream).replace(re.findall("since=[0-9]+", stream)[0], "since=0")
        with admin.stream("GET", before, timeout=60) as events:
            assert any(job in line for line in events.iter_lines()), "what others' jobs do is live, too"


def test_reading_again_is_refused_where_it_cannot_be(gateway: RunningGateway, roles: Roles) -> None:
    """There is one engine, which has read the page; a page without a scan; who may only look; another site."""
    job = roles.user.create("a.jpg", "never.jpg")
    roles.user.upload(job, "a.jpg", picture())
    path = f"/web/jobs/{job}/pages/a.jpg/again"
    with browser(gateway, roles.user.key) as user:
        for name, chosen in (("a.jpg", "x"), ("a.jpg", "'; --"), ("a.jpg", ""), ("never.jpg", "x")):
            reply = user.post(path.replace("a.jpg", name), data={"engine": chosen}, headers=OWN)
            assert reply.status_code == 409 and "cannot be read again" in reply.text
        assert user.post(path.replace("a.jpg", "none.jpg"), data={"engine": "x"}, headers=OWN).status_code == 404
        assert user.post(path, data={"engine": "x"}, headers={"Origin": "http://evil.example"}).status_code == 403
        assert user.post(path, content=b"x" * 100_000, headers=OWN).status_code == 413
    with browser(gateway, roles.readonly.key) as reader:
        assert reader.post(path, data={"engine": "x"}, headers=OWN).status_code == 403


def test_roles(gateway: RunningGateway, roles: Roles) -> None:
    for key, jobs, new, cluster, letters in (
        (roles.readonly.key, 200, 403, 200, 403),
        (roles.user.key, 200, 200, 200, 403),
        (roles.worker.key, 403, 403, 200, 403),
        (roles.admin.key, 200, 200, 200, 200),
    ):
        with browser(gateway, key) as client:
            found = [client.get(path).status_code for path in ("/web/jobs", "/web/jobs/new", "/web/cluster")]
            assert [*found, client.get("/web/cluster/letters").status_code] == [jobs, new, cluster, letters]
            sent = client.post("/web/cluster/letters", data={"1": "on", "action": "drop"}, headers=OWN)
            assert sent.status_code == (303 if letters == 200 else 403)


def test_foreign_text_is_text(gateway: RunningGateway, roles: Roles) -> None:
    """A name, a job's name, the text of a page and the reason of a failure, all of them hostile."""
    page, bad = f"fine {EVIL} \u202egnp.jpg".replace("/", ""), f"fail {EVIL}.jpg".replace("/", "")
    job = roles.user.create(page, bad, name=f"job {EVIL}")
    for name in (page, bad):
        roles.user.upload(job, quote(name, safe=""), picture())
    roles.user.wait(job)
    with browser(gateway, roles.user.key) as client:
        paths = [
            "/web/jobs",
            f"/web/jobs/{job}",
            *(f"/web/jobs/{job}/pages/{quote(name, safe='')}" for name in (page, bad)),
        ]
        for path in paths:
            reply = client.get(path)
            assert reply.status_code == 200
            assert "<script>alert" not in reply.text and "alert(&#34;x" in reply.text
            assert "\u202e" not in reply.text, path
            assert len(re.findall("<script", reply.text)) == len(re.findall('<script src="/web/assets/', reply.text))
            assert "default-src 'none'" in reply.headers["content-security-policy"]
            assert "unsafe" not in reply.headers["content-security-policy"]
            assert reply.headers["x-content-type-options"] == "nosniff"
        assert "alert(&#34;x" in client.get(paths[2]).text.split('id="lines"')[1]
        missing = client.get(f"/web/jobs/{job}/pages/{quote(EVIL, safe='')}")
        assert missing.status_code == 404 and "<script>alert" not in missing.text


@pytest.mark.parametrize(
    "head",
    [
        b"GET /web/jobs HTTP/1.0",
        b"GET /web/jobs HTTP/1.0\r\nHost: evil.example",
        b"GET /web/jobs HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Prefix: //evil.example",
        b"GET /web/sign-in?next=//evil.example/ HTTP/1.0",
        b"GET /web/sign-in?next=https:evil.example HTTP/1.0",
        b"GET /web/sign-in?next=/web/../..//evil.example HTTP/1.0",
        b"GET //evil.example/web/jobs HTTP/1.0",
        b"GET /web/jobs?lang=%00&before=-1 HTTP/1.0",
        b"GET /web/jobs HTTP/1.0\r\nAccept-Language: " + b"cs;q=0.9," * 3000,
        b"GET /web/jobs HTTP/1.0\r\ntraceparent: " + b"9" * 5000,
    ],
)
def test_odd_requests_lead_nowhere_else(gateway: RunningGateway, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), 30) as connection:
        connection.sendall(head + b"\r\nConnection: close\r\n\r\n")
        reply = b""
        while part := connection.recv(65536):
            reply += part
    status = int(reply.split()[1])
    assert status in {200, 303, 400, 404}
    assert not re.search(rb"(?i)(location: [^\r]*evil|(href|action|src)=.(https?:|//)[^\r]*evil)", reply)
    assert "Traceback" not in gateway.log()


def test_errors_are_told_in_the_language_of_the_page(gateway: RunningGateway, roles: Roles) -> None:
    with browser(gateway, roles.user.key) as client:
        for path in ("/web/jobs/none", "/web/jobs/..%2f..", "/web/none", "/web/jobs?before=x", "/web/jobs/%00/pages/x"):
            reply = client.get(path, headers={"Accept-Language": "cs"})
            assert reply.status_code == 404 and "Taková stránka tu není." in reply.text, path
        reply = client.put("/web/jobs", headers={**OWN, "Accept-Language": "de"})
        assert reply.status_code == 405 and "Das ist hier nicht möglich." in reply.text


@pytest.mark.parametrize(("language", "title"), [("cs", "Úlohy"), ("de", "Aufträge"), ("en", "Jobs")])
def test_languages(gateway: RunningGateway, roles: Roles, language: str, title: str) -> None:
    with browser(gateway, roles.user.key) as client:
        asked = client.get("/web/jobs", headers={"Accept-Language": f"{language}-XX, fr;q=0.9"})
        assert f"<h1>{title}</h1>" in asked.text and f'<html lang="{language}">' in asked.text
        client.get(f"/web/jobs?lang={language}")
        assert f"<h1>{title}</h1>" in client.get("/web/jobs", headers={"Accept-Language": "fr"}).text


def test_files_that_never_came(gateway: RunningGateway, roles: Roles) -> None:
    job = roles.user.create("a.jpg", "b.jpg", "c.jpg")
    roles.user.upload(job, "a.jpg", picture())
    with browser(gateway, roles.user.key) as client:
        assert "2 files have not arrived" in client.get(f"/web/jobs/{job}").text
        reply = client.post(
            f"/web/jobs/{job}/start", data={"b.jpg": "it is torn <b>"}, headers={**OWN, "Accept": "application/json"}
        )
        assert reply.json() == {"href": f"/web/jobs/{job}"}
        assert roles.user.wait(job)["state"] == "done"
        shown = client.get(f"/web/jobs/{job}").text
        assert "it is torn &lt;b&gt;" in shown and "its scan was never uploaded" in shown
        assert "/retry" not in shown  # What was never uploaded cannot be read.
        client.post(f"/web/jobs/{job}/retry", headers=OWN)
        assert roles.user.job(job)["state"] == "done"
        nothing = roles.user.create("a.jpg")
        client.post(f"/web/jobs/{nothing}/start", headers=OWN)
        assert roles.user.job(nothing)["state"] == "failed"


def test_a_job_that_is_deleted_while_it_is_looked_at(gateway: RunningGateway, roles: Roles) -> None:
    job = roles.user.create("a.jpg")
    roles.user.upload(job, "a.jpg", picture())
    roles.user.wait(job)
    with browser(gateway, roles.user.key) as client:
        assert client.get(f"/web/jobs/{job}/pages/a.jpg/scan?width=800").headers["content-type"] == "image/jpeg"
        assert client.get(f"/web/jobs/{job}/pages/a.jpg/scan?width=801").status_code == 404
        assert client.post(f"/web/jobs/{job}/delete", headers=OWN).headers["location"] == "/web/jobs"
        assert "have been removed" in client.get(f"/web/jobs/{job}").text
        assert "have been removed" in client.get(f"/web/jobs/{job}/pages/a.jpg").text
        assert client.get(f"/web/jobs/{job}/pages/a.jpg/scan?width=800").status_code == 410
        assert not list((gateway.data / "jobs").glob(f"{job}/*"))


def test_ten_thousand_pages_are_shown_a_hundred_at_a_time(gateway: RunningGateway, roles: Roles) -> None:
    job = roles.user.create(*(f"{number:05}.jpg" for number in range(10_000)))
    with browser(gateway, roles.user.key) as client:
        first = client.get(f"/web/jobs/{job}")
        assert len(first.content) < 60_000 and "00099.jpg" in first.text and "00100.jpg" not in first.text
        after = re.search(r"after=([0-9.-]+)", first.text.split('class="pager"')[1])
        assert after is not None
        second = client.get(f"/web/jobs/{job}?after={after[1]}").text
        assert "00100.jpg" in second and "00099.jpg" not in second and "00200.jpg" not in second
        assert "00000.jpg" in client.get(f"/web/jobs/{job}?after=nonsense&only=nothing").text
        client.post(f"/web/jobs/{job}/cancel", headers=OWN)


def test_assets_are_kept_for_ever_under_the_address_of_their_content(gateway: RunningGateway) -> None:
    page = CLIENT.get(f"{gateway.url}/web/sign-in").text
    for path in re.findall(r'"(/web/assets/[^"]+)"', page):
        reply = CLIENT.get(gateway.url + path)
        assert reply.status_code == 200 and "immutable" in reply.headers["cache-control"]
        assert CLIENT.get(gateway.url + re.sub(r"assets/[0-9a-f]+", "assets/000000000000", path)).status_code == 404
    for path in ("/web/assets/../../../auth.py", "/web/assets/x/..%2fapp.py", "/web/nothing"):
        reply = CLIENT.get(gateway.url + path)
        assert reply.status_code == 404


def test_pages_are_the_same_over_postgresql(tmp_path: Path, postgresql: PostgreSQL) -> None:
    pipeline = dummy_pipeline(tmp_path / "dummy", FAIL_NAME="*fail*")
    options = ("--pipeline", str(pipeline), "--jobs", "1", "--database", postgresql.url)
    with running(tmp_path / "data", *options) as gateway:
        user = V1(gateway.url, gateway.keys("add", f"web-{tmp_path.name}"))
        first, second = user.create("a.jpg", "fail.jpg"), user.create("b.jpg")
        for job, name in ((first, "a.jpg"), (first, "fail.jpg"), (second, "b.jpg")):
            user.upload(job, name, picture())
        assert user.wait(first)["state"] == user.wait(second)["state"] == "done"
        with browser(gateway, user.key) as client:
            assert "fail.jpg" in client.get("/web/jobs").text
            assert "told to fail" in client.get(f"/web/jobs/{first}?only=failed&after=0.1").text
            page = client.get(f"/web/jobs/{first}/pages/a.jpg").text
            assert "one line: a.jpg" in page and "Page after" in page and "Compare with" in page
            assert "Lately: " in client.get("/web/jobs/new").text
            rates = client.get("/web/cluster/rates").json()
            # Other tests may have used the same database.
            assert sum(rates["done"]) >= 2 and sum(rates["failed"]) >= 1 and len(rates["times"]) == 60


def test_without_keys_the_pages_open_to_this_machine_alone(tmp_path: Path) -> None:
    pipeline = dummy_pipeline(tmp_path / "dummy")
    with running(tmp_path / "data", "--pipeline", str(pipeline), "--jobs", "1") as gateway, browser(gateway) as client:
        assert CLIENT.get(f"{gateway.url}/v1/me").status_code == 401
        foreign: list[dict[str, str]] = [
            {"Host": "evil.example"},
            {"Host": f"127.0.0.1.evil.example:{gateway.port}"},
            {"X-Forwarded-For": "203.0.113.9"},
            {"Forwarded": "for=203.0.113.9"},
            {"Host": ""},
        ]
        for headers in foreign:
            assert client.get("/web/jobs", headers=headers).status_code in {303, 400}, headers
        opened = client.get("/web/jobs")
        assert opened.status_code == 200 and "this machine alone" in opened.text
        assert client.get("/v1/me").json()["data"]["label"] == "this machine"
        assert client.get("/v1/me", headers={"Host": "evil.example"}).status_code == 401
        assert client.post("/v1/jobs", json={"images": []}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        gateway.keys("add", "somebody")
        assert client.get("/web/jobs").status_code == 303
        assert client.get("/v1/me").status_code == 401
