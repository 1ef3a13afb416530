"""The legacy API as its clients use it, route by route."""

from __future__ import annotations

import io
import uuid
from urllib.parse import quote

import pytest
from gateway.conftest import CLIENT, Legacy, RunningGateway, picture
from lxml import etree
from PIL import Image

UNKNOWN = "8c6d2b51-0f46-4c1b-9a3d-6a4f6a1c2b11"


def test_a_page_is_read(legacy: Legacy) -> None:
    request = legacy.create({"a": None})
    assert legacy.states(request) == {"a": {"state": "CREATED", "quality": None}}
    assert legacy.upload(request, "a", picture()).json() == {"status": "success"}
    assert legacy.wait(request) == {"a": {"state": "PROCESSED", "quality": 100.0}}

    text = legacy.ask("GET", f"/download_results/{request}/a/txt")
    assert text.text == "one line: a, 0 bytes\n"
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert text.headers["content-disposition"] == 'attachment; filename="a.txt"'
    for kind, root in (("alto", "alto"), ("page", "PcGts")):
        result = legacy.ask("GET", f"/download_results/{request}/a/{kind}")
        assert result.headers["content-type"] == "application/xml; charset=utf-8"
        assert result.headers["content-disposition"] == 'attachment; filename="a.xml"'
        assert etree.QName(etree.fromstring(result.content)).localname == root


@pytest.mark.parametrize("base", ["", "/api", "/api/", "//"])
def test_bases_that_clients_are_configured_with(legacy: Legacy, base: str) -> None:
    assert legacy.ask("GET", "/get_engines", base=base).json()["status"] == "success"


def test_engines(legacy: Legacy) -> None:
    engines = legacy.ask("GET", "/get_engines").json()["engines"]
    engine = engines["dummy"]
    assert engine["id"] == 1
    assert engine["description"] is None
    assert engine["models"] == [{"id": 1, "name": "dummy"}]
    assert len(engine["engine_version"]) == 12


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b'{"engine": 999, "images": {}}', 404, "Engine 999 has not been found."),
        (b'{"engine": 1, "images": []}', 422, "Bad JSON formatting."),
        (b'{"engine": 1}', 422, "Bad JSON formatting."),
        (b"{", 422, "Bad JSON formatting."),
        (b"", 422, "Bad JSON formatting."),
        (b"[" * 200_000, 422, "Bad JSON formatting."),
        (b'{"engine": NaN, "images": {}}', 422, "Bad JSON formatting."),
        (b'{"engine": true, "images": {}}', 422, "Bad JSON formatting."),
        (b'{"engine": 1, "images": {"a": 7}}', 422, "Bad JSON formatting."),
        (b'{"engine": 1, "images": {"a": {"x": 1}}}', 422, "Bad JSON formatting."),
        (b'{"engine": 1, "images": {"a/b": null}}', 422, "Page 1: a page's name has no slash."),
        (b'{"engine": 1, "images": {"..": null}}', 422, "Page 1: a page needs a name."),
        (b'{"engine": 1, "images": {"a\\u0000": null}}', 422, "Page 1: a page's name has no control characters."),
        (b'{"engine": 1, "images": {"\\ud800": null}}', 422, "Page 1: a page's name has no control characters."),
        (b'{"engine": 1, "images": {"%s": null}}' % (b"x" * 256), 422, "Page 1: a page's name has at most 255 bytes."),
        (b'{"engine": 1, "images": {"\xff": null}}', 422, "Bad JSON formatting."),
    ],
)
def test_creations_that_are_refused(legacy: Legacy, body: bytes, status: int, message: str) -> None:
    reply = legacy.ask("POST", "/post_processing_request", content=body, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()) == (status, {"status": "failure", "message": message})


def test_creations_that_are_taken(legacy: Legacy) -> None:
    assert legacy.states(legacy.create({})) == {}
    assert legacy.states(legacy.create({"a": {}}, engine="1"))["a"]["state"] == "CREATED"
    reply = legacy.ask("POST", "/post_processing_request", content=b'{"engine": 1, "images": {"a": null}}')
    assert reply.status_code == 200  # No Content-Type at all.
    request = reply.json()["request_id"]
    assert str(uuid.UUID(request)) == request
    found = legacy.ask("GET", "/get_status", params={"request_id": request})
    assert found.json() == {"status": "success", "request_id": request}
    assert legacy.ask("GET", "/get_status", params={"request_id": UNKNOWN}).status_code == 404


def test_uploads_are_checked_in_their_order(legacy: Legacy, gateway: RunningGateway, other_key: str) -> None:
    request = legacy.create({"a": None, "b": None})
    missing = legacy.upload(UNKNOWN, "a", picture())
    assert (missing.status_code, missing.json()["message"]) == (404, f"Request {UNKNOWN} does not exist.")
    assert legacy.upload("nonsense", "a", picture()).status_code == 404
    foreign = Legacy(gateway.url, other_key).upload(request, "a", picture())
    assert (foreign.status_code, foreign.json()["message"]) == (
        401,
        f"Request {request} does not belong to this API key.",
    )
    page = legacy.upload(request, "c", picture())
    assert (page.status_code, page.json()["message"]) == (404, "Page c does not exist.")
    nothing = legacy.ask("POST", f"/upload_image/{request}/a", files={"other": ("x.jpg", b"x")})
    assert (nothing.status_code, nothing.json()["message"]) == (400, "Request does not contain file.")
    assert legacy.ask("POST", f"/upload_image/{request}/a").status_code == 400
    gif = legacy.upload(request, "a", picture("GIF"), "scan.GIF")
    assert gif.status_code == 422
    assert gif.json()["message"].startswith("gif is not supported format. Supported formats are jpg, jpeg, png, ")
    nameless = legacy.ask(
        "POST",
        f"/upload_image/{request}/a",
        content=b'--b\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\nx\r\n--b--\r\n',
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    assert nameless.json()["message"].startswith(" is not supported format.")
    assert legacy.upload(request, "a", picture(), "x/y/A.JPG").status_code == 200
    again = legacy.upload(request, "a", picture())
    assert again.status_code == 400
    assert again.json()["message"].endswith(" state. It should be in CREATED state.")
    assert legacy.states(request)["b"] == {"state": "CREATED", "quality": None}


def test_names_of_all_kinds(legacy: Legacy) -> None:
    names = ["ř ž", "page.001.jpg", "a%2Fb", "日本", "'\"<&>", "x" * 255]
    request = legacy.create(dict.fromkeys(names))
    for name in names:
        assert legacy.upload(request, quote(name), picture()).status_code == 200, name
    assert {page["state"] for page in legacy.wait(request).values()} == {"PROCESSED"}
    for name in names:
        result = legacy.ask("GET", f"/download_results/{request}/{quote(name)}/txt")
        assert result.text.startswith("one line: ") and result.text.endswith(" 0 bytes\n"), name
    disposition = legacy.ask("GET", f"/download_results/{request}/{quote('ř ž')}/txt").headers["content-disposition"]
    assert disposition == "attachment; filename*=UTF-8''%C5%99%20%C5%BE.txt"


def test_results_are_checked_in_their_order(legacy: Legacy) -> None:
    request = legacy.create({"a": None})
    for path, status, message in (
        (f"{UNKNOWN}/a/txt", 404, f"Request {UNKNOWN} does not exist."),
        (f"{request}/b/txt", 404, "Page b does not exist."),
        (f"{request}/a/nonsense", 404, "Page a is not processed yet."),
    ):
        reply = legacy.ask("GET", f"/download_results/{path}")
        assert (reply.status_code, reply.json()["message"]) == (status, message)
    legacy.upload(request, "a", picture())
    legacy.wait(request)
    for kind in ("ALTO", "xml"):
        reply = legacy.ask("GET", f"/download_results/{request}/a/{kind}")
        message = "Bad export format. Supported formats are alto, page, txt."
        assert (reply.status_code, reply.json()["message"]) == (400, message)


def test_failed_pages_are_not_waited_for(legacy: Legacy) -> None:
    request = legacy.create({"broken": None, "fail": None, "pages": None})
    legacy.upload(request, "broken", b"no image at all")
    legacy.upload(request, "fail", picture())
    legacy.upload(request, "pages", _two_pages(), "x.tif")
    states = {name: page["state"] for name, page in legacy.wait(request).items()}
    assert states == {"broken": "INVALID_FILE", "fail": "PROCESSING_FAILED", "pages": "INVALID_FILE"}
    for name, state in states.items():
        reply = legacy.ask("GET", f"/download_results/{request}/{name}/txt")
        assert (reply.status_code, reply.json()["message"]) == (404, f"Page {name} could not be processed: {state}.")


def _two_pages() -> bytes:
    stream = io.BytesIO()
    Image.new("L", (50, 50)).save(stream, "TIFF", save_all=True, append_images=[Image.new("L", (50, 50))])
    return stream.getvalue()


def test_cancelled_pages(legacy: Legacy) -> None:
    request = legacy.create({"a": None, "b": None})
    legacy.upload(request, "a", picture())
    assert legacy.wait(request)["a"]["state"] == "PROCESSED"
    for _ in range(2):
        assert legacy.ask("POST", f"/cancel_request/{request}").json() == {"status": "success"}
    assert {name: page["state"] for name, page in legacy.states(request).items()} == {"a": "PROCESSED", "b": "CANCELED"}
    assert legacy.ask("GET", f"/download_results/{request}/a/txt").status_code == 200
    refused = legacy.upload(request, "b", picture())
    assert (refused.status_code, refused.json()["message"]) == (
        400,
        "Page b is in CANCELED state. It should be in CREATED state.",
    )
    reply = legacy.ask("GET", f"/download_results/{request}/b/txt")
    assert reply.json()["message"] == "Page b could not be processed: CANCELED."
    assert legacy.ask("GET", f"/cancel_request/{request}").status_code == 405


def test_usage(legacy: Legacy) -> None:
    for path in ("", "/2020-01-01", "/2020-01-01T00:00:00/2100-01-01"):
        reply = legacy.ask("GET", f"/usage_statistics{path}").json()
        assert reply["status"] == "success"
        assert isinstance(reply["processed_pages"], int)
    reply = legacy.ask("GET", "/usage_statistics/2100-01-01").json()
    assert (reply["processed_pages"], reply["from"], reply["from_date"], reply["to_date"]) == (
        0,
        "2100-01-01",
        "2100-01-01",
        None,
    )
    bad = legacy.ask("GET", "/usage_statistics/yesterday")
    assert (bad.status_code, bad.json()["message"]) == (400, "from_time is not in a valid ISO format.")
    bad = legacy.ask("GET", "/usage_statistics/2020-01-01/now")
    assert (bad.status_code, bad.json()["message"]) == (400, "to_datetime is not in a valid ISO format.")


def test_every_error_is_json_and_tells_no_key(gateway: RunningGateway, legacy: Legacy) -> None:
    for headers in ({}, {"api-key": "wrong-key-12345"}, {"api-key": "x" * 5000}, {"api-key": "a.b.c"}):
        reply = CLIENT.get(f"{gateway.url}/get_engines", headers=headers)
        assert reply.status_code == 401
        assert reply.json()["status"] == "failure"
        assert "wrong-key-12345" not in reply.text
    for method, path, status in (("GET", "/no/such/path", 404), ("GET", "/post_processing_request", 405)):
        reply = legacy.ask(method, path)
        assert (reply.status_code, reply.json()["status"]) == (status, "failure")
        assert isinstance(reply.json()["message"], str)
    assert legacy.key not in gateway.log()
    assert "wrong-key-12345" not in gateway.log()
