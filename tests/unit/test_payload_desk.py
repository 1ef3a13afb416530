"""Payloads in a folder beside the broker: what travels, what is found, what is refused, what is removed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pero_worker.cluster.payloads import fetched
from pero_worker.cluster.payloads.desk import PayloadDesk
from pero_worker.cluster.payloads.fetched import FetchedAhead
from pero_worker.cluster.payloads.sweep import sweep
from pero_worker.cluster.payloads.watching import StoreWatch
from pero_worker.cluster.registry.payloads import PayloadSettings, decode_settings, encode_settings
from pero_worker.errors import PageError, StageError, StoreAwayError
from pero_worker.request import Payload, Request, StageLog, StageStatus
from pero_worker.stores.location import StoreAccess
from pero_worker.stores.objects import ObjectStore
from pero_worker.stores.transports.webdav import entries_in
from pero_worker.testing import StandingClock
from pero_worker.wire.references import PayloadReference, parse_reference
from pero_worker.wire.requests import decode_request, encode_request
from pero_worker.work import Delivery
from pero_worker.worker.helpers import Helpers
from pero_worker.worker.returns import MAX_RETURNS, Returns

IMAGE = b"an image " * 1000
CLOCK = StandingClock()
LOG = StageLog(host_id="w", stage="s1", start=CLOCK.now(), end=CLOCK.now(), status=StageStatus.OK)


class Place:
    """A store in a folder, and a desk that uses it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = PayloadSettings(url=f"file://{folder}", min_bytes=1000)
        self.store = ObjectStore(self.settings.url, StoreAccess())
        self.store.prepare()
        self.looked_up = 0
        self.desk = PayloadDesk(StoreAccess(), CLOCK, look_up=self._look_up)
        self.desk.told(self.settings)

    def _look_up(self) -> PayloadSettings:
        self.looked_up += 1
        return self.settings

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*/*") if path.is_file())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "store")
    yield made
    made.desk.close()


def page(*stages: str, content: bytes = IMAGE) -> Request:
    results = (Payload(name="a.png", content=content), Payload(name="a.xml", content=b"<small/>"))
    return Request(uuid="r", page_uuid="p", stages=stages or ("s1", "s2", "job.1"), results=results)


def test_what_is_large_travels_as_a_reference_and_comes_whole(place: Place) -> None:
    packed = place.desk.pack(page(), "s1")
    assert [bool(payload.reference) for payload in packed.results] == [True, False]
    assert not packed.results[0].content and len(encode_request(packed)) < 400
    assert place.desk.is_packed(packed, "s1") and place.desk.pack(packed, "s1") == packed
    again = decode_request(encode_request(packed))
    assert again == packed
    whole = place.desk.whole(again)
    assert whole.results == page().results
    assert whole.references == packed.references
    place.desk.release(whole.references)
    place.desk.close()
    assert place.files() == []


@pytest.mark.parametrize(
    ("queue", "by_reference"),
    [("s1", True), ("theirs", False), ("out", False), ("ours", True), ("job.7", True), ("gateway.results", True)],
)
def test_who_gets_references(place: Place, queue: str, by_reference: bool) -> None:
    place.desk.told(replace(place.settings, inline=("theirs",), outputs=("ours",)))
    stages = (queue, "out") if queue in {"s1", "theirs"} else (queue,)
    packed = place.desk.pack(page(*stages), queue)
    assert bool(packed.results[0].reference) is by_reference
    assert place.desk.is_packed(page(*stages), queue) is not by_reference


def test_a_stage_of_others_gets_contents_and_what_lay_there_is_removed_with_the_page(place: Place) -> None:
    place.desk.told(replace(place.settings, inline=("s2",)))
    packed = place.desk.pack(page(), "s1")
    onward = place.desk.pack(packed.advanced(packed.results, LOG), "s2")
    assert onward.results == page().results
    assert onward.superseded == packed.references
    assert len(place.files()) == 1


def test_results_that_take_others_place_are_kept_in_mind(place: Place) -> None:
    packed = place.desk.pack(page(), "s1")
    new = replace(packed.results[0], content=b"another " * 1000, reference="")
    after = place.desk.pack(packed.advanced((new, packed.results[1]), LOG), "s2")
    assert len(place.files()) == 2 and len(after.references) == 2
    place.desk.release(after.references)
    place.desk.close()
    assert place.files() == []


def test_without_a_store_everything_travels_in_messages(place: Place) -> None:
    place.desk.told(PayloadSettings())
    assert place.desk.pack(page(), "s1") == page()
    assert place.desk.is_packed(page(), "s1")


def test_a_store_of_earlier_times_is_still_read(place: Place, tmp_path: Path) -> None:
    packed = place.desk.pack(page(), "s1")
    place.desk.told(replace(place.settings, url=f"file://{tmp_path}/new", earlier=(place.settings.url,)))
    assert place.desk.whole(packed).results == page().results


def test_a_store_that_was_named_a_moment_ago_is_looked_up(place: Place) -> None:
    packed = place.desk.pack(page(), "s1")
    place.desk.told(PayloadSettings())
    assert place.desk.whole(packed).results == page().results
    assert place.looked_up == 1


def test_a_payload_that_is_gone_fails_its_page(place: Place) -> None:
    packed = place.desk.pack(page(), "s1")
    for path in place.files():
        path.unlink()
    with pytest.raises(PageError, match="is not in the payload store any more") as told:
        place.desk.bring(packed.results[0])
    assert told.value.permanent
    done = place.desk.whole(packed.advanced(packed.results, LOG))
    assert done.failed and "not in the payload store" in done.logs[-1].log
    assert [payload.name for payload in done.results] == ["a.xml"]
    assert done.references == packed.references


@pytest.mark.parametrize("content", [b"", IMAGE[:-1], IMAGE + b"!", IMAGE[::-1]])
def test_a_payload_that_was_changed_fails_its_page(place: Place, content: bytes) -> None:
    packed = place.desk.pack(page(), "s1")
    place.files()[0].write_bytes(content)
    with pytest.raises(PageError, match="is not what was put there"):
        place.desk.bring(packed.results[0])


def test_a_link_in_the_store_is_not_followed(place: Place, tmp_path: Path) -> None:
    packed = place.desk.pack(page(), "s1")
    (path,) = place.files()
    secret = tmp_path / "secret"
    secret.write_bytes(IMAGE)
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(PageError, match="not in the payload store"):
        place.desk.bring(packed.results[0])


def test_a_store_without_its_mark_is_away_and_has_lost_nothing(place: Place) -> None:
    """It is like an empty folder where a disk should be mounted."""
    packed = place.desk.pack(page(), "s1")
    aside = place.folder.rename(place.folder.with_name("aside"))
    place.folder.mkdir()
    for _ in range(2):
        with pytest.raises(StoreAwayError, match="mount its disk"):
            place.desk.bring(packed.results[0])
        with pytest.raises(StoreAwayError, match="mount its disk"):
            place.desk.pack(page(), "s1")
    assert list(place.folder.iterdir()) == []
    place.folder.rmdir()
    aside.rename(place.folder)
    assert place.desk.whole(packed).results == page().results


def test_watching_a_store(place: Place, tmp_path: Path) -> None:
    now = [0.0]
    watch = StoreWatch(StoreAccess(), 1.0, lambda: now[0])
    assert watch.trouble(place.settings.url) == ""
    (place.folder / "pero-payloads").unlink()
    assert watch.trouble(place.settings.url) == ""
    now[0] = 6.0
    assert "mount its disk" in watch.trouble(place.settings.url)
    assert "names no file" in watch.trouble("sftp://host")
    watch.close()


GOOD = PayloadReference(store="0" * 8, key=f"2026112520/{'a' * 32}", size=5, digest="b" * 64)


def test_references_are_read_as_they_were_written() -> None:
    assert parse_reference(str(GOOD)) == GOOD


@pytest.mark.parametrize(
    "text",
    [
        "",
        "payload:",
        "file:///etc/passwd",
        "http://169.254.169.254/latest",
        str(GOOD).replace("a" * 32, "../../../../../../../etc/passwd"),
        str(GOOD).replace("2026112520", ".........."),
        str(GOOD).replace("00000000", "//host00"),
        str(GOOD).upper(),
        str(GOOD) + "\n",
        str(GOOD) + "&x=1",
        str(GOOD).replace("bytes=5", "bytes=-5"),
        str(GOOD).replace("bytes=5", "bytes=9999999999"),
        str(GOOD).replace("bytes=5", "bytes=٥"),
        str(GOOD).replace("b" * 64, "b" * 63),
        str(GOOD) + "x" * 100_000,
    ],
)
def test_what_is_no_reference_is_not_followed(place: Place, text: str) -> None:
    assert parse_reference(text) is None
    if text.startswith("payload:"):
        with pytest.raises(PageError, match="none that can be followed"):
            place.desk.bring(Payload(name="a", reference=text))
    else:
        assert place.desk.bring(Payload(name="a", reference=text)).content == b""


def test_a_store_that_nobody_named_is_not_asked(place: Place) -> None:
    with pytest.raises(PageError, match="that this cluster does not name"):
        place.desk.bring(Payload(name="a", reference=str(GOOD)))


def test_settings_of_a_stranger() -> None:
    settings = PayloadSettings(url="s3://b/f", min_bytes=5, keep_days=0.5, inline=("a",), outputs=("o",))
    assert decode_settings(encode_settings(settings)) == settings
    for nonsense in (
        None,
        b"",
        b"[]",
        b"{",
        b'{"url": 7, "min_bytes": "x", "keep_days": -1, "inline": "a"}',
        b'{"keep_days": 0}',
    ):
        assert decode_settings(nonsense) == PayloadSettings()
    assert decode_settings(b'{"min_bytes": true, "outputs": [1, "x"]}') == PayloadSettings(outputs=("x",))


def test_what_is_old_is_removed_by_the_stores_own_clock(place: Place) -> None:
    for _ in range(3):
        place.desk.pack(page(), "s1")
    old, *young = place.files()
    # Folders are named by the clock of whoever wrote; files are dated by the store's.
    now = (place.folder / "pero-payloads").stat().st_mtime
    os.utime(old, (now - 90_000, now - 90_000))
    (place.folder / "2001010100").mkdir()
    (place.folder / "2001010100" / "somebody's.txt").write_text("stays")
    os.utime(place.folder / "2001010100" / "somebody's.txt", (0, 0))
    (place.folder / "2001010101").mkdir()
    assert sweep(place.store, timedelta(days=1), remove=False).objects == 1
    assert place.files()[-3:] == [old, *young] or old in place.files()
    gone = sweep(place.store, timedelta(days=1))
    assert (gone.objects, gone.size) == (1, len(IMAGE))
    assert set(place.files()) == {*young, place.folder / "2001010100" / "somebody's.txt"}
    assert not (place.folder / "2001010101").exists()


def test_a_folder_that_a_wrong_clock_named_is_looked_into(place: Place) -> None:
    folder = place.folder / "2999010100"
    folder.mkdir()
    (folder / ("c" * 32)).write_bytes(b"x")
    os.utime(folder / ("c" * 32), (0, 0))
    assert sweep(place.store, timedelta(days=1)).objects == 1
    assert not folder.exists()


def test_contents_come_beside_the_engine_and_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetched, "MOST_BYTES", 10)
    asked: list[str] = []
    let = threading.Event()

    def fetch(reference: PayloadReference) -> bytes:
        asked.append(reference.digest)
        assert let.wait(30)
        if reference.digest == "bad":
            raise StoreAwayError("away")
        return b"12345"

    helpers = Helpers("test", 2)
    ahead = FetchedAhead(fetch, helpers)
    one, bad, third = (replace(GOOD, digest=digest) for digest in ("one", "bad", "third"))
    for reference in (one, bad, one, third):
        ahead.expect(reference)
    let.set()
    assert ahead.take(one) == b"12345"
    assert ahead.take(bad) is None and ahead.take(third) is None and ahead.take(one) is None
    assert helpers.wait(30)
    assert sorted(asked) == ["bad", "one"]
    # Payloads that no one fetched make room.
    for digest in "abc":
        ahead.expect(replace(GOOD, digest=digest))
        assert helpers.wait(30)
    assert ahead.take(replace(GOOD, digest="a")) is None
    assert ahead.take(replace(GOOD, digest="c")) == b"12345"


def test_a_message_that_comes_tells_what_is_needed(place: Place) -> None:
    packed = place.desk.pack(page(), "s1")
    assert place.desk.expect("s1", encode_request(packed)) == len(IMAGE)
    place.desk.wants = lambda queue, payload: payload.name.endswith(".xml")
    assert place.desk.expect("s1", encode_request(packed)) == 0
    assert place.desk.expect("s1", encode_request(page())) == 0
    assert place.desk.expect("s1", b"payload: no request") == 0


def test_a_folder_as_webdav_lists_it() -> None:
    text = b"""<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">
      <d:response><d:href>/p/</d:href></d:response>
      <d:response><d:href>http://h/p/2026112520/</d:href><d:propstat><d:prop><d:resourcetype><d:collection/>
        </d:resourcetype></d:prop></d:propstat></d:response>
      <d:response><d:href>/p/a%20b</d:href><d:propstat><d:prop><d:getcontentlength>7</d:getcontentlength>
        <d:getlastmodified>Wed, 25 Nov 2026 20:00:00 GMT</d:getlastmodified></d:prop></d:propstat></d:response>
      <d:response><d:href>/elsewhere/x</d:href></d:response>
    </d:multistatus>"""
    folder, file = entries_in(text, "http://h/p/")
    assert (folder.name, folder.is_folder) == ("2026112520", True)
    assert (file.name, file.size, file.is_folder) == ("a b", 7, False)
    assert file.modified is not None and file.modified.hour == 20
    with pytest.raises(StageError, match="does not list folders"):
        entries_in(b"Index of /", "http://h/p/")


def test_a_store_that_is_away_is_never_held_against_a_page() -> None:
    """However often the page is given back while others go well."""
    returns, page_, other = Returns(), Delivery(tag=1, queue="s1", body=b"a"), Delivery(tag=2, queue="s1", body=b"b")
    for blameless, expected in ((True, 0), (False, 2 * MAX_RETURNS)):
        for _ in range(2 * MAX_RETURNS):
            found = returns.note(page_, "away", blameless=blameless)
            returns.went_well(other)
        assert found.times == expected
