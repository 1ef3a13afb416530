"""How libraries' servers are queried, tested against a server of our own."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pytest
from library import HEIGHT, WIDTH, Library, Service, library
from PIL import Image

from pero_worker.errors import PageError, UsageError
from pero_worker.inputs.books import ImageService, Picture
from pero_worker.inputs.iiif.image import description_of
from pero_worker.inputs.pictures import PictureBringer, PictureOptions
from pero_worker.inputs.web.addresses import AddressRules
from pero_worker.inputs.web.cache import WebCache
from pero_worker.inputs.web.fetch import AnswerError, Fetcher, FetchOptions
from pero_worker.inputs.web.logins import parse_header
from pero_worker.inputs.web.pace import HostPace, pause_before_try, retry_after_of
from pero_worker.testing import StandingClock

NAMED = AddressRules(named=frozenset({"127.0.0.1"}))


class WaitingClock(StandingClock):
    """Remembers how long it slept."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        super().sleep(seconds)


@pytest.fixture(scope="module")
def server() -> Iterator[Library]:
    with library() as here:
        yield here


@pytest.fixture
def clock() -> WaitingClock:
    return WaitingClock()


Make = Callable[..., Fetcher]


@pytest.fixture
def make(tmp_path: Path, clock: WaitingClock, server: Library) -> Iterator[Make]:
    server.asked.clear()
    made: list[Fetcher] = []

    def fetcher(**options: Any) -> Fetcher:
        wanted = FetchOptions(**{"rules": NAMED, "rate": 1000.0, **options})
        made.append(Fetcher(wanted, WebCache(tmp_path / "cache", 10_000_000), clock, random.Random(1)))
        return made[-1]

    yield fetcher
    for each in made:
        each.close()


def bring(fetcher: Fetcher, picture: Picture, **options: Any) -> Image.Image:
    path = PictureBringer(fetcher=fetcher, options=PictureOptions(**options)).bring(picture)
    with Image.open(path) as found:
        found.load()
    return found


def is_dark(found: Image.Image, corner: str) -> bool:
    x = 5 if "left" in corner else found.width - 6
    y = 5 if "top" in corner else found.height - 6
    return found.convert("L").getpixel((x, y)) < 100


def served(server: Library, service: Service, name: str) -> Picture:
    path = f"/image/{service.version}/{name}"
    server.services[path] = service
    return Picture(
        service=ImageService(id=server.home + path), url=server.put_picture(f"/small/{name}.jpg", width=100, height=150)
    )


@pytest.mark.parametrize(
    ("service", "size"),
    [
        (Service(3, 2), (WIDTH, HEIGHT)),
        (Service(3, 0, sizes=((200, 300),)), (WIDTH, HEIGHT)),
        (Service(2, 1), (WIDTH, HEIGHT)),
        (Service(2, 1, max_width=300), (300, 450)),
        (Service(3, 2, max_width=300), (300, 450)),
        (Service(1, 2), (WIDTH, HEIGHT)),
        (Service(2, 0, sizes=((200, 300),)), (WIDTH, HEIGHT)),
    ],
)
def test_every_kind_of_service_gives_its_largest_picture(
    server: Library, make: Make, service: Service, size: tuple[int, int]
) -> None:
    name = f"v{service.version}l{service.level}m{service.max_width}"
    assert bring(make(), served(server, service, name)).size == size


@pytest.mark.parametrize(
    "service", [Service(3, 1, max_width=300, tile=128), Service(2, 1, max_width=300, tile=128), Service(3, 0, tile=128)]
)
def test_tiles_give_the_real_size(server: Library, make: Make, service: Service) -> None:
    found = bring(make(), served(server, service, f"tiles{service.version}{service.level}"), tiles=True)
    assert found.size == (WIDTH, HEIGHT)
    assert is_dark(found, "top left") and not is_dark(found, "top right") and not is_dark(found, "bottom left")


@pytest.mark.parametrize("with_service", [True, False])
def test_parts_and_turned_pictures(server: Library, make: Make, with_service: bool) -> None:
    path = "/image/3/turned"
    server.services[path] = Service(3, 2)
    whole = (
        {"service": ImageService(id=server.home + path)} if with_service else {"url": server.put_picture("/whole.jpg")}
    )
    right = bring(make(), Picture(**whole, region="200,0,200,600"))
    assert right.size == (200, 600) and not is_dark(right, "top left")
    turned = bring(make(), Picture(**whole, rotation=90))
    assert turned.size == (600, 400) and is_dark(turned, "top right") and not is_dark(turned, "top left")


def test_a_service_that_is_away_leaves_the_picture_itself(server: Library, make: Make) -> None:
    picture = Picture(
        service=ImageService(id=f"{server.home}/image/3/gone"), url=server.put_picture("/own.jpg", width=90, height=80)
    )
    assert bring(make(), picture).size == (90, 80)


def test_a_login_is_asked_for_by_its_name_and_may_be_given(server: Library, make: Make) -> None:
    server.key = "Bearer abc"
    picture = served(server, Service(2, 2, locked="Reading room"), "locked")
    with pytest.raises(PageError, match="needs a login at Reading room"):
        bring(make(), picture)
    found = bring(make(headers=(("", "Authorization", "Bearer abc"),)), picture)
    assert found.size == (WIDTH, HEIGHT)
    with pytest.raises(PageError, match="login"):
        bring(make(headers=(("x.example", "Authorization", "Bearer abc"),)), picture)


def test_a_login_does_not_follow_to_another_host(server: Library, make: Make) -> None:
    with library() as other:
        there = other.put_picture("/there.jpg")
        server.faults["/moved.jpg"] = [(302, {"Location": there})]
        make(headers=(("", "Authorization", "Bearer abc"),)).picture(server.home + "/moved.jpg")
        assert "Authorization" in server.asked[-1][1]
        assert "Authorization" not in other.asked[-1][1]


def test_cookies_out_of_a_file(server: Library, make: Make, tmp_path: Path) -> None:
    jar = tmp_path / "cookies.txt"
    jar.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tabc\n")
    make(cookies=jar).picture(server.put_picture("/cookie.jpg"))
    assert server.asked[-1][1]["Cookie"] == "session=abc"
    with pytest.raises(UsageError, match="--iiif-cookies"):
        make(cookies=tmp_path / "none.txt")


def test_nothing_is_fetched_twice_and_documents_are_asked_about(server: Library, make: Make) -> None:
    address, document = server.put_picture("/once.jpg"), server.put("/m.json", {"a": 1})
    for _ in range(2):
        fetcher = make()
        fetcher.picture(address)
        fetcher.document(document, accept="application/json")
    assert server.counts["/once.jpg"] == 1
    assert server.counts["/m.json"] == 2
    assert "If-None-Match" in server.asked[-1][1]
    server.put("/m.json", {"a": 2})
    assert b"2" in make().document(document, accept="application/json").path.read_bytes()


def test_a_server_in_trouble_is_asked_again_after_the_time_it_wants(
    server: Library, make: Make, clock: WaitingClock
) -> None:
    server.faults["/busy.jpg"] = [(503, {}), (429, {"Retry-After": "7"}), (500, {})]
    make().picture(server.put_picture("/busy.jpg"))
    assert server.counts["/busy.jpg"] == 4
    assert any(6.9 < pause <= 7 for pause in clock.slept)


def test_a_server_that_stays_in_trouble_is_given_up(server: Library, make: Make, clock: WaitingClock) -> None:
    server.faults["/dead.jpg"] = [(502, {})] * 9
    with pytest.raises(AnswerError, match="502"):
        make().picture(server.home + "/dead.jpg")
    assert server.counts["/dead.jpg"] == 5
    server.faults["/later.jpg"] = [(503, {"Retry-After": "86400"})] * 9
    with pytest.raises(AnswerError, match="503"):
        make().picture(server.home + "/later.jpg")
    assert server.counts["/later.jpg"] == 1
    assert max(clock.slept) < 120


def test_what_is_not_there_is_asked_for_once(server: Library, make: Make) -> None:
    with pytest.raises(AnswerError, match="nothing at that address"):
        make().picture(server.home + "/nothing.jpg")
    assert server.counts["/nothing.jpg"] == 1


def test_a_host_that_takes_no_connection(make: Make) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(PageError, match="cannot be reached"):
        make().picture(f"http://127.0.0.1:{port}/1.jpg")


def test_pictures_are_bounded(server: Library, make: Make) -> None:
    address = server.put_picture("/large.jpg", width=1000, height=1000)
    with pytest.raises(PageError, match="--max-megabytes"):
        make(max_bytes=1000).picture(address)
    assert not list((make().cache._folder).rglob("*.part"))


def test_a_web_page_in_place_of_a_picture(server: Library, make: Make) -> None:
    address = server.put("/page.jpg", "<!DOCTYPE html><html>please log in</html>", "image/jpeg")
    with pytest.raises(PageError, match="web page"):
        bring(make(), Picture(url=address))


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://[::1]/",
        "http://10.1.2.3/",
        "http://192.168.1.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://printer.local/",
        "http://0.0.0.0/",
    ],
)
def test_private_addresses_are_not_followed_unless_allowed(make: Make, address: str) -> None:
    with pytest.raises(PageError, match="--allow-private"):
        make(rules=AddressRules()).picture(address)
    AddressRules(allow_private=True).check_url(address)


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest",
        "http://[fe80::1]/",
        "http://100.100.100.200/",
        "http://[::ffff:169.254.169.254]/",
    ],
)
def test_metadata_services_are_never_followed(address: str) -> None:
    with pytest.raises(PageError, match="never followed"):
        AddressRules(allow_private=True).check_url(address)


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "ftp://x.example/a", "http://", "https://x:99999999/", "gopher://x", ""]
)
def test_other_kinds_of_addresses_are_refused(make: Make, address: str) -> None:
    with pytest.raises(PageError, match="address"):
        make().picture(address)


def test_a_name_that_stands_for_a_private_address_is_not_followed(
    make: Make, server: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its resolver returns this machine's address, whatever it returned before."""
    private = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: private)
    with pytest.raises(PageError, match="--allow-private"):
        make(rules=AddressRules()).picture("http://library.example.org/1.jpg")
    assert not server.asked


def test_a_redirect_into_the_private_network_is_not_followed(make: Make, server: Library) -> None:
    server.faults["/out.jpg"] = [(302, {"Location": "http://localhost:1/secret"})]
    with pytest.raises(PageError, match="--allow-private"):
        make().picture(server.home + "/out.jpg")
    server.faults["/round.jpg"] = [(302, {"Location": "/round.jpg"})] * 20
    with pytest.raises(PageError, match="redirects"):
        make().picture(server.home + "/round.jpg")


def test_a_host_is_asked_so_many_times_a_second() -> None:
    clock = WaitingClock()
    pace = HostPace(4, 2, clock)
    for _ in range(9):
        with pace.turn():
            pass
    assert clock.seconds == pytest.approx(2.0)
    pace.hold_off(30)
    with pace.turn():
        pass
    assert clock.seconds == pytest.approx(32.0)


def test_pauses_grow_unless_the_server_names_one() -> None:
    now = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    assert retry_after_of("30", now) == 30
    assert retry_after_of("Thu, 01 Jan 2026 12:01:00 GMT", now) == 60
    assert retry_after_of("Thu, 01 Jan 2015 12:01:00 GMT", now) == 0
    for useless in (None, "", "soon", "-5", "Thu, 99 Foo", "١"):
        assert retry_after_of(useless, now) is None
    pauses = [pause_before_try(attempt, None, random.Random(1)) for attempt in (1, 2, 3, 4)]
    assert pauses == sorted(pauses) and 3 <= pauses[-1] <= 5
    assert pause_before_try(1, 9, random.Random(1)) == 9


def test_headers_of_a_login() -> None:
    assert parse_header("Authorization: Bearer a=b:c") == ("", "Authorization", "Bearer a=b:c")
    assert parse_header("X.Example=X-Key: 1") == ("x.example", "X-Key", "1")
    for wrong in ("Authorization", "a b: c", "A: b\nC: d", ": x"):
        with pytest.raises(UsageError, match="--iiif-header"):
            parse_header(wrong)


def test_the_cache_makes_room_and_survives_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pero_worker.inputs.web.cache._ALWAYS_KEPT", 3)
    cache = WebCache(tmp_path, 5000)

    def fill(stream: IO[bytes]) -> None:
        stream.write(bytes(1000))

    for number in range(20):
        cache.put(str(number), fill, url="u")
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.data")) <= 6000
    assert cache.get("19") is not None
    for path in tmp_path.rglob("*.json"):
        path.write_text("{")
    assert cache.get("19") is None


@pytest.mark.parametrize("path", ["none", "very/none"])
def test_no_message_tells_a_login(server: Library, make: Make, path: str) -> None:
    """A document, or a user, may name an address with one in it."""
    address = f"{server.home.replace('http://', 'http://me:se@cret@')}/{path}"
    with pytest.raises(PageError) as caught:
        make().picture(address)
    assert "cret" not in str(caught.value) and f"{server.home}/{path}" in str(caught.value)


def test_a_description_without_context_tells_its_version_by_its_profile() -> None:
    """Quality is called 'native' in version 1 alone."""
    info = {"@id": "x", "width": "400", "height": "600", "profile": "http://iiif.io/api/image/2/level2.json"}
    assert description_of(info).version == 2
    assert (
        description_of({**info, "profile": "http://library.stanford.edu/iiif/image-api/compliance.html#level1"}).version
        == 1
    )
