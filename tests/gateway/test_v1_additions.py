"""What v1 has beyond DocAPI: pages one by one, retry, deletion, idempotency keys, quotas."""

from __future__ import annotations

import concurrent.futures
import hashlib
import io
import time
from datetime import UTC, datetime
from pathlib import Path

import pypdfium2 as pdfium
import pytest
from gateway.conftest import CLIENT, V1, Legacy, Roles, RunningGateway, picture, roles_of, running
from lxml import etree
from PIL import Image


@pytest.fixture(scope="module")
def job(roles: Roles) -> str:
    """One with a page that failed."""
    job = roles.user.create("c.jpg", "fail.jpg", "a.jpg", formats=["text"], name="Box 7", labels={"shelf": "7"})
    for name in ("c.jpg", "fail.jpg", "a.jpg"):
        roles.user.upload(job, name, picture())
    roles.user.wait(job)
    return job


def test_pages_one_by_one(roles: Roles, job: str) -> None:
    user = roles.user
    first = user.data("GET", f"/jobs/{job}/pages", expect="PAGES_RETRIEVED", params={"limit": 2})
    rest = user.data("GET", f"/jobs/{job}/pages", expect="PAGES_RETRIEVED", params={"cursor": first["next"]})
    items = [*first["items"], *rest["items"]]
    assert [(page["name"], page["state"]) for page in items] == [
        ("c.jpg", "done"),
        ("fail.jpg", "failed"),
        ("a.jpg", "done"),
    ]
    assert rest["next"] is None
    assert items[1]["error"]["class"] == "PROCESSING_FAILED"
    assert "told to fail" in items[1]["error"]["message"]
    assert (items[0]["attempts"], items[1]["attempts"], items[0]["lines"]) == (1, 3, 1)
    assert [result["format"] for result in items[0]["results"]] == ["page", "text"]
    for state, names in (("failed", ["fail.jpg"]), ("waiting", [])):
        found = user.data("GET", f"/jobs/{job}/pages", expect="PAGES_RETRIEVED", params={"state": state})
        assert [page["name"] for page in found["items"]] == names
    seen = user.job(job)
    assert (seen["name"], seen["labels"], seen["pages"], seen["pages_failed"]) == ("Box 7", {"shelf": "7"}, 3, 1)


def test_a_pages_results(roles: Roles, job: str) -> None:
    user = roles.user
    listed = user.data("GET", f"/jobs/{job}/pages", expect="PAGES_RETRIEVED")["items"][0]["results"][1]
    href = listed["href"].removeprefix("/v1")
    whole = user.ask("GET", href, headers={"accept-encoding": "identity"})
    assert whole.content == b"one line: c.jpg, 0 bytes\n"
    assert (len(whole.content), hashlib.sha256(whole.content).hexdigest()) == (listed["bytes"], listed["sha256"])
    assert whole.headers["etag"] == f'"{listed["sha256"]}"'
    assert user.ask("GET", href, headers={"if-none-match": whole.headers["etag"]}).status_code == 304
    part = user.ask("GET", href, headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"line", "bytes 4-7/25")
    packed = user.ask("GET", href, headers={"accept-encoding": "gzip"})
    assert (packed.headers["content-encoding"], packed.content) == ("gzip", whole.content)
    for kind, root in (("hocr", "html"), ("alto", "alto")):  # Not asked for: made on request.
        made = user.ask("GET", f"/jobs/{job}/pages/c.jpg/results/{kind}")
        assert etree.QName(etree.fromstring(made.content)).localname == root
    for path, status, code in (
        ("fail.jpg/results/text", 409, "PAGE_FAILED"),
        ("b.jpg/results/text", 404, "IMAGE_NOT_FOUND_FOR_JOB"),
        ("c.jpg/results/exe", 422, "REQUEST_VALIDATION_ERROR"),
    ):
        reply = user.ask("GET", f"/jobs/{job}/pages/{path}")
        assert (reply.status_code, reply.json()["code"]) == (status, code)
    new = user.create("a.jpg")
    assert user.ask("GET", f"/jobs/{new}/pages/a.jpg/results/text").status_code == 425
    assert roles.other.ask("GET", href).status_code == 403


def test_a_pages_scan(roles: Roles, job: str) -> None:
    reply = roles.user.ask("GET", f"/jobs/{job}/pages/c.jpg/image", params={"width": 100})
    with Image.open(io.BytesIO(reply.content)) as shown:
        assert (shown.format, shown.size) == ("JPEG", (100, 67))
    assert roles.other.ask("GET", f"/jobs/{job}/pages/c.jpg/image").status_code == 403


def test_trying_again(roles: Roles) -> None:
    user = roles.user
    job = user.create("fail1.jpg", "fail2.jpg", "a.jpg")
    for name in ("fail1.jpg", "fail2.jpg", "a.jpg"):
        user.upload(job, name, picture())
    assert user.wait(job)["pages_failed"] == 2
    body = {"pages": ["fail1.jpg", "a.jpg"]}
    assert user.data("POST", f"/jobs/{job}/retry", expect="JOB_RETRIED", json=body) == {"pages": 1}
    done = user.wait(job)
    assert (done["state"], done["pages_failed"], done["pages_open"], done["progress"]) == ("done", 2, 0, 1.0)
    assert user.data("POST", f"/jobs/{job}/retry", expect="JOB_RETRIED", json={}) == {"pages": 2}
    user.wait(job)
    nothing = user.ask("POST", f"/jobs/{job}/retry", json={"pages": ["a.jpg"]})
    assert (nothing.status_code, nothing.json()["code"]) == (409, "NOTHING_TO_RETRY")


def test_deleting(roles: Roles, gateway: RunningGateway) -> None:
    user = roles.user
    job = user.create("a.jpg")
    user.upload(job, "a.jpg", picture())
    user.wait(job)
    folder = gateway.data / "jobs" / job
    assert len(list(folder.iterdir())) == 4
    assert roles.other.ask("DELETE", f"/jobs/{job}").status_code == 403
    assert user.ask("DELETE", f"/jobs/{job}").status_code == 204
    assert not folder.exists()
    assert user.ask("GET", f"/jobs/{job}/result").json()["code"] == "JOB_RESULT_GONE"
    assert user.ask("GET", f"/jobs/{job}/pages/a.jpg/results/text").status_code == 410
    legacy = Legacy(gateway.url, user.key)
    assert legacy.states(job) == {"a.jpg": {"state": "EXPIRED", "quality": 100.0}}
    gone = legacy.ask("GET", f"/download_results/{job}/a.jpg/txt")
    assert gone.json()["message"] == "Page a.jpg has expired. All processed pages are stored one week."


def test_asking_twice_makes_one(roles: Roles, gateway: RunningGateway) -> None:
    user = roles.user
    headers = {"Idempotency-Key": "k1"}
    body = {"images": [{"name": "a.jpg", "order": 0}]}

    def ask(_number: int) -> tuple[int, str, str | None]:
        reply = CLIENT.post(f"{gateway.url}/v1/jobs", json=body, headers={"X-API-Key": user.key, **headers})
        return reply.status_code, reply.json()["data"]["id"], reply.headers.get("idempotency-replayed")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(ask, range(16)))
    assert {status for status, _, _ in replies} == {201}
    assert len({job for _, job, _ in replies}) == 1
    assert sorted(replayed or "" for _, _, replayed in replies) == ["", *["true"] * 15]
    other = user.ask("POST", "/jobs", json={"images": []}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    mine = roles.other.ask("POST", "/jobs", json=body, headers=headers).json()["data"]["id"]
    assert mine != replies[0][1]
    legacy = Legacy(gateway.url, user.key)
    ids = {
        legacy.ask(
            "POST", "/post_processing_request", json={"engine": 1, "images": {}}, headers={"idempotency-key": "k2"}
        ).json()["request_id"]
        for _ in range(3)
    }
    assert len(ids) == 1
    refused = user.ask("POST", "/jobs", json={"images": [], "engine_name": "no"}, headers={"Idempotency-Key": "k3"})
    assert refused.status_code == 404
    assert user.ask("POST", "/jobs", json=body, headers={"Idempotency-Key": "k3"}).status_code == 201


def test_quotas(gateway: RunningGateway) -> None:
    waiting = V1(gateway.url, gateway.keys("add", "waiting", "--pages-waiting", "3"))
    waiting.create("a", "b")
    refused = waiting.ask("POST", "/jobs", json={"images": [{"name": "a", "order": 0}, {"name": "b", "order": 1}]})
    assert (refused.status_code, refused.json()["code"]) == (429, "QUOTA_EXCEEDED")
    assert int(refused.headers["retry-after"]) > 0
    legacy = Legacy(gateway.url, waiting.key)
    many = legacy.ask("POST", "/post_processing_request", json={"engine": 1, "images": {"a": None, "b": None}})
    assert (many.status_code, many.json()["status"]) == (429, "failure")
    waiting.create("c")
    daily = V1(gateway.url, gateway.keys("add", "daily", "--pages-per-day", "1"))
    job = daily.create("a")
    daily.data("PATCH", f"/jobs/{job}", expect="JOB_CANCELLED", json={"state": "cancelled"})
    assert daily.ask("POST", "/jobs", json={"images": [{"name": "a", "order": 0}]}).status_code == 429
    slow = V1(gateway.url, gateway.keys("add", "slow", "--requests-per-minute", "2"))
    replies = [slow.ask("GET", "/me") for _ in range(4)]
    assert [reply.status_code for reply in replies][:2] == [200, 200]
    assert 429 in {reply.status_code for reply in replies}
    assert replies[0].headers["ratelimit-limit"] == "2"


def test_results_have_their_time(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--lease-only", "--retention-days", "0") as gateway:
        user = roles_of(gateway).user
        job = user.create("a.jpg")
        user.upload(job, "a.jpg", picture())
        user.data("PATCH", f"/jobs/{job}", expect="JOB_CANCELLED", json={"state": "cancelled"})
        abandoned = user.create("b.jpg")
        assert (gateway.data / "jobs" / job).is_dir()
        gateway.stop()
        gateway.start()
        deadline = time.monotonic() + 60
        user = V1(gateway.url, user.key)
        while (gateway.data / "jobs" / job).exists() or user.job(abandoned)["state"] != "cancelled":
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_documents_of_several_pages(roles: Roles, gateway: RunningGateway) -> None:
    user = roles.user
    sides = [Image.new("L", (200, 100 + number), 255) for number in range(3)]
    tiff, pdf = io.BytesIO(), io.BytesIO()
    sides[0].save(tiff, "TIFF", save_all=True, append_images=sides[1:])
    sides[0].save(pdf, "PDF", save_all=True, append_images=sides[1:2])
    job = user.create("book.tif", "paper.pdf", "a.jpg")
    assert user.upload(job, "book.tif", pdf.getvalue()).json()["code"] == "IMAGE_UPLOADED"
    assert user.upload(job, "book.tif", tiff.getvalue()).json()["code"] == "IMAGE_REUPLOADED"
    user.upload(job, "paper.pdf", pdf.getvalue())
    user.upload(job, "a.jpg", picture())
    done = user.wait(job)
    assert (done["state"], done["pages"], done["pages_open"]) == ("done", 6, 0)
    listed = user.data("GET", f"/jobs/{job}/pages", expect="PAGES_RETRIEVED")["items"]
    names = ["book.tif", "book_0002.tif", "book_0003.tif", "paper.pdf", "paper_0002.pdf", "a.jpg"]
    assert [page["name"] for page in listed] == names
    shown = user.ask("GET", f"/jobs/{job}/pages/book_0003.tif/image", params={"width": 4000})
    with Image.open(io.BytesIO(shown.content)) as side:
        assert side.size == (200, 102)
    text = user.ask("GET", f"/jobs/{job}/pages/paper_0002.pdf/results/text").text
    assert text.startswith("one line: paper_0002.pdf")
    for name, count in (("book.tif", 3), ("paper.pdf", 2), ("a.jpg", 1)):
        made = user.ask("GET", f"/jobs/{job}/pages/{name}/results/pdf")
        assert (made.status_code, made.headers["content-type"]) == (200, "application/pdf"), made.text
        with pdfium.PdfDocument(made.content) as shown:
            texts = [shown[number].get_textpage().get_text_bounded() for number in range(len(shown))]
        assert len(texts) == count
        assert all("one line" in text for text in texts)
    assert user.ask("GET", f"/jobs/{job}/pages/book_0002.tif/results/pdf").json()["code"] == "PAGE_FAILED"
    taken = user.create("x.tif", "x_0002.tif")
    refused = user.upload(taken, "x.tif", tiff.getvalue())
    assert (refused.status_code, refused.json()["code"]) == (409, "IMAGE_NAME_TAKEN")
    assert user.job(taken)["images"][0]["image_uploaded"] is False


def test_what_is_not_done_by_the_deadline_has_failed(roles: Roles) -> None:
    user = roles.user

    def at(seconds: float) -> str:
        return datetime.fromtimestamp(time.time() + seconds, UTC).isoformat()

    late = user.ask("POST", "/jobs", json={"images": [{"name": "a", "order": 0}], "deadline": at(-1)})
    assert (late.status_code, late.json()["details"][0]["loc"]) == (422, ["body", "deadline"])
    job = user.create("a.jpg", "b.jpg", deadline=at(1.5))
    user.upload(job, "a.jpg", picture())
    ended = user.wait(job)
    assert (ended["state"], ended["pages_failed"], ended["pages_open"]) == ("failed", 2, 0)
    pages = user.data("GET", f"/jobs/{job}/pages", expect="PAGES_RETRIEVED")["items"]
    assert {page["error"]["message"] for page in pages} == {"it was not done by the job's deadline"}
    assert user.upload(job, "b.jpg", picture()).json()["code"] == "JOB_NOT_IN_NEW"
    soon = user.create("a.jpg", deadline=at(3600))
    user.upload(soon, "a.jpg", picture())
    assert user.wait(soon)["state"] == "done"


def test_administrators_set_what_a_key_may_use(roles: Roles, gateway: RunningGateway) -> None:
    admin = roles.admin
    limits = {"quota_pages_waiting": 2, "max_upload_mb": 1, "share": 2.0, "expires": "2100-01-01T00:00:00+00:00"}
    body = {"label": "limited", "role": "user", **limits}
    limited = V1(gateway.url, admin.data("POST", "/admin/keys", expect="KEY_CREATED", json=body)["secret"])

    def listed() -> dict[str, object]:
        keys = admin.data("GET", "/admin/keys", expect="KEYS_RETRIEVED")
        return {
            name: value for name, value in next(k for k in keys if k["label"] == "limited").items() if name in limits
        }

    assert listed() == limits
    job = limited.create("a", "b")
    assert limited.ask("POST", "/jobs", json={"images": [{"name": "a", "order": 0}]}).status_code == 429
    assert limited.upload(job, "a", bytes(1_100_000)).status_code == 413
    change = {"quota_pages_waiting": None, "share": None, "expires": "2001-01-01T00:00:00"}
    admin.data("PATCH", "/admin/keys/limited", expect="KEY_UPDATED", json=change)
    assert listed() == {**limits, "quota_pages_waiting": None, "share": 1.0, "expires": "2001-01-01T00:00:00+00:00"}
    assert limited.ask("GET", "/me").json()["code"] == "API_KEY_INACTIVE"
    admin.data("PATCH", "/admin/keys/limited", expect="KEY_UPDATED", json={"expires": None})
    limited.create("a", "b", "c")
    for wrong in ({"share": 0}, {"quota_pages_per_day": -1}, {"max_upload_mb": 10**9}, {"quota": 1}):
        assert admin.ask("PATCH", "/admin/keys/limited", json=wrong).status_code == 422
