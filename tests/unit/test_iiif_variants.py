"""Manifests and collections as libraries publish them, in both versions and before the first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from library import Library, Service, library
from PIL import Image

from pero_worker.clock import SystemClock
from pero_worker.errors import NoInputError, PageError
from pero_worker.inputs.books import Book, BookReference
from pero_worker.inputs.iiif.image import description_of
from pero_worker.inputs.iiif.presentation import read_manifest
from pero_worker.inputs.mets.pages import MetsOptions
from pero_worker.inputs.opening import BookOpener, BookOptions
from pero_worker.inputs.pictures import PictureBringer, PictureOptions
from pero_worker.inputs.web.addresses import AddressRules
from pero_worker.inputs.web.cache import WebCache
from pero_worker.inputs.web.fetch import Fetcher, FetchOptions

V1 = "http://library.stanford.edu/iiif/image-api/1.1/compliance.html#level2"
V2 = "http://iiif.io/api/image/2/level1.json"


def canvas2(*images: Any, label: Any = "1", **more: Any) -> dict[str, Any]:
    return {
        "@id": "https://x/c1",
        "@type": "sc:Canvas",
        "label": label,
        "width": 100,
        "height": 200,
        "images": list(images),
    } | more


def painting2(resource: Any, **more: Any) -> dict[str, Any]:
    return {"@type": "oa:Annotation", "motivation": "sc:painting", "resource": resource, "on": "https://x/c1"} | more


def image2(address: str = "https://x/i/1/full/full/0/default.jpg", **more: Any) -> dict[str, Any]:
    return {"@id": address, "@type": "dctypes:Image", "format": "image/jpeg", "width": 100, "height": 200} | more


def manifest2(*canvases: Any, **more: Any) -> dict[str, Any]:
    found = {"@context": "http://iiif.io/api/presentation/2/context.json", "@id": "https://x/m", "@type": "sc:Manifest"}
    return found | {"label": "Book", "sequences": [{"@type": "sc:Sequence", "canvases": list(canvases)}]} | more


def canvas3(*bodies: Any, target: Any = "https://x/c1", **more: Any) -> dict[str, Any]:
    painted = [{"type": "Annotation", "motivation": "painting", "body": body, "target": target} for body in bodies]
    found = {"id": "https://x/c1", "type": "Canvas", "label": {"en": ["1"]}, "width": 100, "height": 200}
    return found | {"items": [{"type": "AnnotationPage", "items": painted}]} | more


def image3(address: str = "https://x/1.jpg", **more: Any) -> dict[str, Any]:
    return {"id": address, "type": "Image", "format": "image/jpeg", "width": 100, "height": 200} | more


def manifest3(*canvases: Any, **more: Any) -> dict[str, Any]:
    found = {"@context": "http://iiif.io/api/presentation/3/context.json", "id": "https://x/m", "type": "Manifest"}
    return found | {"label": {"en": ["Book"]}, "items": list(canvases)} | more


def service(place: str = "https://x/i/1", **more: Any) -> dict[str, Any]:
    return {"@context": "http://iiif.io/api/image/2/context.json", "@id": place, "profile": V2} | more


def first(document: Mapping[str, Any]) -> tuple[str, str, str, int, str]:
    """Returns the service, address, region and rotation of the first picture, or why there is none."""
    page = read_manifest(dict(document), "m.json").pages[0]
    if page.picture is None:
        return "", "", "", 0, page.problem
    found = page.picture
    return found.service.id if found.service else "", found.url, found.region, found.rotation, page.note


ADDRESS = "https://x/i/1/full/full/0/default.jpg"
SERVED = ("https://x/i/1", ADDRESS, "", 0, "")
PLAIN = ("", "https://x/1.jpg", "", 0, "")


@pytest.mark.parametrize(
    ("canvas", "found"),
    [
        # Gallica, e-codices: version 1 of the Image API.
        (canvas2(painting2(image2(service={"@context": V1.partition("#")[0], "@id": "https://x/i/1", "profile": V1}))), SERVED),
        # BSB, Vatican, British Library: one object; Wellcome: several, logins among them.
        (canvas2(painting2(image2(service=service()))), SERVED),
        (canvas2(painting2(image2(service=[{"@id": "https://x/login", "profile": "http://iiif.io/api/auth/1/login"}, service()]))), SERVED),
        (canvas2(painting2(image2(service=[{"@id": "https://x/dim", "profile": "http://iiif.io/api/annex/services/physdim"}, service()]))), SERVED),
        (canvas2(painting2(image2(service=service(profile=[V2, {"maxWidth": 2000}])))), SERVED),
        # Nothing says what the service is, but the picture is there.
        (canvas2(painting2(image2(service={"@id": "https://x/i/1"}))), SERVED),
        (canvas2(painting2(image2(service={"@id": "https://y/stories"}))), ("", ADDRESS, "", 0, "")),
        # The picture is given by its description.
        (canvas2(painting2(image2("https://x/i/1/info.json"))), ("https://x/i/1", "", "", 0, "")),
        (canvas2({"resource": image2(service=service())}), SERVED),
        (canvas2(painting2(image2(service=service()), motivation=["oa:tagging", "SC:Painting"])), SERVED),
        (canvas2(painting2(image2(**{"@type": "dcTypes:Image"}, service=service()))), SERVED),
        (canvas2(painting2(image2(**{"@type": "http://purl.org/dc/dcmitype/Image"}, service=service()))), SERVED),
        (canvas2(painting2({"@type": "oa:Choice", "default": image2(service=service()), "item": [image2("https://x/uv.jpg")]})), SERVED),
        (canvas2(painting2({"@type": "oa:Choice", "default": "rdf:nil", "item": image2(service=service())})), SERVED),
        # Layers, lists of transcriptions and thumbnails are not pictures of the page.
        (canvas2(thumbnail=image2(), otherContent=[{"@id": "https://x/l", "@type": "sc:AnnotationList", "within": {"@type": "sc:Layer"}}]),
         ("", "", "", 0, "the canvas has no picture but a thumbnail")),
        (canvas2("https://x/a/1"), ("", "", "", 0, "its picture is told of in another document, https://x/a/1, which is not read: name a manifest that holds it")),
        (canvas2({"@id": "https://x/a/1", "@type": "oa:Annotation", "motivation": "sc:painting"}),
         ("", "", "", 0, "its picture is told of in another document, https://x/a/1, which is not read: name a manifest that holds it")),
        # Parts of pictures.
        (canvas2(painting2({"@id": "https://x/i/1/10,20,30,40/full/0/default.jpg", "@type": "oa:SpecificResource", "full": image2(service=service()),
                            "selector": {"@type": "iiif:ImageApiSelector", "region": "10,20,30,40"}})),
         ("https://x/i/1", "https://x/i/1/10,20,30,40/full/0/default.jpg", "10,20,30,40", 0, "")),
        (canvas2(painting2({"@type": "oa:SpecificResource", "full": image2(), "selector": {"@type": "oa:FragmentSelector", "value": "xywh=10,20,30,40"}})),
         ("", ADDRESS, "10,20,30,40", 0, "")),
        (canvas2(painting2(image2("https://x/1.jpg#xywh=10,20,30,40"))), ("", "https://x/1.jpg", "10,20,30,40", 0, "")),
        # Halves of an opening on one canvas.
        (canvas2(painting2(image2("https://x/left.jpg"), on="https://x/c1#xywh=0,0,49,200"), painting2(image2("https://x/1.jpg"), on="https://x/c1#xywh=49,0,51,200")),
         (*PLAIN[:4], "2 pictures are on the canvas; the largest was taken")),
    ],
)  # fmt: skip
def test_the_picture_of_a_canvas_of_version_2(canvas: dict[str, Any], found: tuple[str, ...]) -> None:
    assert first(manifest2(canvas)) == found


@pytest.mark.parametrize(
    ("canvas", "found"),
    [
        (canvas3(image3()), PLAIN),
        (canvas3("https://x/1.jpg"), PLAIN),
        (canvas3(image3(id=None) | {"@id": "https://x/1.jpg"}), PLAIN),
        (canvas3(image3(" https://x/1.jpg\n")), PLAIN),
        (canvas3(image3(format="image/avif")), PLAIN),
        (canvas3(image3(ADDRESS, service={"id": "https://x/i/1", "type": "ImageService3", "profile": "level0"})), SERVED),
        (canvas3(image3(ADDRESS, service=[{"@id": "https://x/i/1", "@type": "ImageService2", "profile": "level2"}])), SERVED),
        (canvas3(image3(ADDRESS, service=[{"id": "https://x/s", "type": "SearchService2"}, {"id": "https://x/i/1", "type": "ImageService3"}])), SERVED),
        (canvas3({"type": "Choice", "items": [image3(), image3("https://x/2.jpg")]}), PLAIN),
        (canvas3({"type": "SpecificResource", "source": image3(), "selector": {"type": "ImageApiSelector", "rotation": "90"}}), (*PLAIN[:3], 90, "")),
        (canvas3({"type": "SpecificResource", "source": "https://x/1.jpg", "selector": [{"type": "FragmentSelector", "value": "xywh=pixel:1,2,30,40"}]}),
         ("", "https://x/1.jpg", "1,2,30,40", 0, "")),
        (canvas3({"type": "SpecificResource", "source": image3(), "selector": {"type": "ImageApiSelector", "region": "pct:50,0,50,100"}}),
         ("", "https://x/1.jpg", "50,0,50,200", 0, "")),
        (canvas3({"type": "SpecificResource", "source": image3(), "selector": {"type": "ImageApiSelector", "region": "full"}}), PLAIN),
        (canvas3({"type": "SpecificResource", "source": image3(), "selector": {"type": "ImageApiSelector", "region": "square"}}),
         (*PLAIN[:4], "which part of the picture is meant is not clear (square): all of it was taken")),
        (canvas3({"type": "SpecificResource", "source": "https://x/1.jpg#xywh=percent:50,0,50,100"}),
         (*PLAIN[:4], "which part of the picture is meant is not clear (pct:50,0,50,100): all of it was taken")),
        (canvas3({"type": "TextualBody", "value": "x"}, image3()), PLAIN),
        (canvas3({"id": "https://x/1.mp4", "type": "Video", "format": "video/mp4"}), ("", "", "", 0, "the canvas shows no picture but video (video/mp4)")),
        (canvas3(items=[{"id": "https://x/p/1", "type": "AnnotationPage"}]),
         ("", "", "", 0, "its picture is told of in another document, https://x/p/1, which is not read: name a manifest that holds it")),
        (canvas3(items=[], placeholderCanvas=canvas3(image3())), ("", "", "", 0, "the canvas has no picture")),
        (canvas3(items=[{"type": "AnnotationPage", "items": []}], thumbnail=[image3()]), ("", "", "", 0, "the canvas has no picture but a thumbnail")),
        (canvas3(image3("https://x/inset.jpg"), target={"type": "SpecificResource", "source": "https://x/c1", "selector": {"type": "FragmentSelector", "value": "xywh=0,0,10,10"}}),
         ("", "https://x/inset.jpg", "", 0, "")),
    ],
)  # fmt: skip
def test_the_picture_of_a_canvas_of_version_3(canvas: dict[str, Any], found: tuple[str, ...]) -> None:
    assert first(manifest3(canvas)) == found


def test_pages_whose_pictures_are_elsewhere_failed_and_were_not_empty() -> None:
    elsewhere, empty = canvas3(items=[{"id": "https://x/p/1", "type": "AnnotationPage"}]), canvas3(items=[])
    assert [page.skipped for page in read_manifest(manifest3(elsewhere, empty), "m").pages] == [False, True]


@pytest.mark.parametrize(
    "document",
    [
        manifest2(canvas2(painting2(image2()))),
        manifest2(canvas2(painting2(image2()))) | {"@context": ["https://y/context.json", "http://iiif.io/api/presentation/2/context.json"]},
        manifest2(canvas2(painting2(image2()))) | {"@type": "http://iiif.io/api/presentation/2#Manifest"},
        manifest2(canvas2(painting2(image2()))) | {"@type": ["sc:Manifest"], "items": []},
        manifest2(canvas2(painting2(image2()))) | {"@context": "http://www.shared-canvas.org/ns/context.json"},
        manifest2(canvas2(painting2(image2())), structures=[{"@type": "sc:Range", "ranges": ["https://x/r2"], "canvases": ["https://x/c9"]}]),
        manifest2() | {"sequences": {"canvases": canvas2(painting2(image2()))}},
        manifest2() | {"sequences": [{"@id": "https://x/s1"}, {"canvases": [canvas2(painting2(image2()))]}]},
        manifest3(canvas3(image3(ADDRESS)), structures=[{"type": "Range", "items": [{"type": "Range", "items": [{"type": "Canvas", "id": "https://x/c9"}]}]}]),
        manifest3(canvas3(image3(ADDRESS)), viewingDirection="right-to-left", behavior=["paged"], start={"id": "https://x/c9", "type": "Canvas"}),
    ],
)  # fmt: skip
def test_manifests_of_all_ages_have_their_page(server: Library, opener: BookOpener, document: dict[str, Any]) -> None:
    (book,) = opener.open(server.put("/age.json", document), True) or ()
    assert isinstance(book, Book)
    assert [(page.id, page.label, page.picture and page.picture.url) for page in book.pages] == [
        ("https://x/c1", "1", ADDRESS)
    ]
    assert (book.label, book.name) == ("Book", "Book")


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("f. 3r", "f. 3r"), (3, "3"), ("", ""), (None, ""), (["f. 3r", "other"], "f. 3r"),
        ({"@value": "f. 3r", "@language": "en"}, "f. 3r"), ([{"@value": "", "@language": "de"}, {"@value": "3"}], "3"),
        ({"none": [""], "cs": ["3r"]}, "3r"), ({"en": ["page"], "none": ["3r"]}, "3r"), ({"de": "Blatt 3"}, "Blatt 3"),
        ({"de": ["  Blatt\n3 "]}, "Blatt 3"), ({}, ""), ([[]], ""), ({"none": [None, {"a": 1}]}, ""),
    ],
)  # fmt: skip
def test_labels(label: Any, text: str) -> None:
    assert [page.label for page in read_manifest(manifest3(canvas3(label=label)), "m").pages] == [text]


# -- through a server ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Library]:
    with library() as here:
        yield here


@pytest.fixture
def fetcher(tmp_path: Path, server: Library) -> Iterator[Fetcher]:
    server.asked.clear()
    rules = AddressRules(named=frozenset({"127.0.0.1"}))
    made = Fetcher(FetchOptions(rules=rules, rate=1000), WebCache(tmp_path / "cache", 10**9), SystemClock())
    yield made
    made.close()


@pytest.fixture
def opener(tmp_path: Path, fetcher: Fetcher) -> BookOpener:
    options = BookOptions(follow_collections=True, mets=MetsOptions())
    return BookOpener(fetcher=fetcher, options=options, scratch=tmp_path / "scratch")


def brought(fetcher: Fetcher, book: Any, number: int = 0) -> tuple[int, int]:
    """Returns the size of a page's picture."""
    assert isinstance(book, Book)
    picture = book.pages[number].picture
    assert picture is not None
    with Image.open(PictureBringer(fetcher=fetcher, options=PictureOptions()).bring(picture)) as found:
        return found.size


def test_addresses_begin_where_a_redirect_ends(server: Library, opener: BookOpener, fetcher: Fetcher) -> None:
    server.put("/iiif/7/manifest.json", manifest3(canvas3(image3("pictures/1.jpg"))))
    server.put_picture("/iiif/7/pictures/1.jpg")
    server.faults["/purl/7"] = [(302, {"Location": "/iiif/7/manifest.json"})] * 2
    (book,) = opener.open(f"{server.home}/purl/7", True) or ()
    assert brought(fetcher, book) == (400, 600)
    assert isinstance(book, Book) and book.source == f"{server.home}/purl/7"
    mets = (
        '<mets xmlns="http://www.loc.gov/METS/" xmlns:x="http://www.w3.org/1999/xlink"><fileSec><fileGrp USE="MAX">'
        '<file ID="F" MIMETYPE="image/jpeg"><FLocat LOCTYPE="URL" x:href="pictures/1.jpg"/></file></fileGrp></fileSec></mets>'
    )
    server.put("/iiif/7/mets.xml", mets, "text/xml")
    server.faults["/purl/m"] = [(301, {"Location": "/iiif/7/mets.xml"})]
    (book,) = opener.open(f"{server.home}/purl/m", True) or ()
    assert brought(fetcher, book) == (400, 600)


def names(found: Any) -> list[str]:
    return [one.name for one in found]


def test_collections_in_pages_within_each_other_and_with_loops(server: Library, opener: BookOpener) -> None:
    def collection(name: str, *items: Any, **more: Any) -> None:
        server.put(
            f"/{name}",
            {"type": "Collection", "id": f"HOME/{name}", "label": {"en": [name]}, "items": list(items)} | more,
        )

    def manifest(name: str) -> dict[str, Any]:
        return {"id": f"HOME/{name}", "type": "Manifest", "label": {"en": [name]}}

    inside = {
        "type": "Collection",
        "id": "HOME/nowhere",
        "items": [manifest("b"), {"type": "Collection", "id": "HOME/top"}],
    }
    collection(
        "top",
        manifest("a"),
        inside,
        {"type": "Collection", "id": "HOME/gone", "label": "Gone"},
        manifest("a"),
        first="HOME/page1",
    )
    server.put(
        "/page1",
        {
            "@id": "HOME/page1",
            "@type": "sc:Collection",
            "manifests": [{"@id": "HOME/c", "@type": "sc:Manifest", "label": "c"}],
            "next": "page2",
        },
    )
    server.put(
        "/page2",
        {
            "@id": "HOME/page2",
            "@type": "sc:Collection",
            "members": [{"@id": "HOME/d", "@type": "sc:Manifest"}],
            "next": {"@id": "HOME/page1"},
        },
    )
    found = opener.open(f"{server.home}/top", True) or ()
    assert sorted(names(found)) == ["Gone", "a", "b", "c", "d"]
    assert server.counts["/page1"] == server.counts["/page2"] == server.counts["/top"] == 1
    gone = next(one for one in found if one.name == "Gone")
    assert isinstance(gone, BookReference)
    with pytest.raises(
        NoInputError, match=r"the collection http://[^ ]*/gone cannot be read: .*nothing at that address"
    ):
        gone.load()


def test_a_deep_tree_of_collections_says_where_it_stopped(server: Library, opener: BookOpener) -> None:
    for depth in range(8):
        inner = {"type": "Collection", "id": f"HOME/deep{depth + 1}", "label": {"en": ["deeper"]}}
        server.put(f"/deep{depth}", {"type": "Collection", "id": f"HOME/deep{depth}", "items": [inner]})
    (found,) = opener.open(f"{server.home}/deep0", True) or ()
    assert isinstance(found, BookReference)
    with pytest.raises(NoInputError, match="more than 5 collections deep: name it by itself"):
        found.load()


@pytest.mark.parametrize(
    "wait", [{"Retry-After": "0"}, {"Retry-After": format_datetime(datetime(2020, 1, 1, tzinfo=UTC))}, {}]
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_is_busy_is_asked_again(
    server: Library, opener: BookOpener, status: int, wait: dict[str, str]
) -> None:
    server.put("/busy.json", manifest3(canvas3(image3())))
    server.faults["/busy.json"] = [(status, wait)]
    assert names(opener.open(f"{server.home}/busy.json", True)) == ["Book"]
    assert server.counts["/busy.json"] == 2


def test_a_server_that_wants_hours_is_left_alone_and_a_login_is_asked_for(server: Library, opener: BookOpener) -> None:
    tomorrow = format_datetime(datetime.now(UTC) + timedelta(days=1))
    server.faults["/later"] = [(503, {"Retry-After": tomorrow})] * 9
    with pytest.raises(NoInputError, match="503"):
        opener.open(f"{server.home}/later", True)
    assert server.counts["/later"] == 1
    server.faults["/closed"] = [(401, {})]
    with pytest.raises(NoInputError, match=r"a login is needed.*--iiif-header or --iiif-cookies"):
        opener.open(f"{server.home}/closed", True)


@pytest.mark.parametrize(
    "described",
    [
        {"identifier": "x", "width": 400, "height": 600, "scale_factors": [1, 2], "tile_width": 256, "profile": V1.replace("/1.1/", "/")},
        {"@context": "http://library.stanford.edu/iiif/image-api/1.1/context.json", "@id": "HOME/old/1", "width": 400, "height": 600, "profile": V1},
    ],
    ids=["1.0", "1.1"],
)  # fmt: skip
def test_descriptions_of_the_first_image_api(
    server: Library, opener: BookOpener, fetcher: Fetcher, described: dict[str, Any]
) -> None:
    server.put("/old/1/info.json", described)
    server.put_picture("/old/1/full/full/0/native.jpg")
    (book,) = opener.open(f"{server.home}/old/1/info.json", True) or ()
    assert brought(fetcher, book) == (400, 600)
    assert description_of(described).version == 1


def test_a_server_of_avif_alone_gives_the_picture_of_the_manifest(
    server: Library, opener: BookOpener, fetcher: Fetcher, tmp_path: Path
) -> None:
    Image.new("L", (40, 60), 200).save(tmp_path / "1.avif")
    server.put("/avif/1/full/max/0/default.avif", (tmp_path / "1.avif").read_bytes(), "image/avif")
    server.put("/avif/1/info.json", {
        "@context": "http://iiif.io/api/image/3/context.json", "id": "HOME/avif/1", "type": "ImageService3", "profile": "level0",
        "protocol": "http://iiif.io/api/image", "width": 40, "height": 60, "preferredFormats": ["avif"],
    })  # fmt: skip
    own = {"id": "HOME/avif/1", "type": "ImageService3", "profile": "level0"}
    body = image3("HOME/avif/1/full/max/0/default.avif", format="image/avif", service=[own])
    (book,) = opener.open(server.put("/avif.json", manifest3(canvas3(body))), True) or ()
    assert brought(fetcher, book) == (40, 60)


def test_services_with_sizes_and_without_tiles(server: Library, opener: BookOpener, fetcher: Fetcher) -> None:
    server.services["/image/2/sizes"] = Service(version=2, level=0, sizes=((200, 300), (100, 150)))
    body = image2(
        "HOME/image/2/sizes/full/77,/0/default.jpg",
        service=service("HOME/image/2/sizes", profile="http://iiif.io/api/image/2/level0.json"),
    )
    (book,) = opener.open(server.put("/sizes.json", manifest2(canvas2(painting2(body)))), True) or ()
    assert brought(fetcher, book) in {(400, 600), (200, 300)}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"), (b"<html><body>Login</body></html>", "is a web page"), (b"{'a': 1}", "cannot be used: it is not JSON"),
        (b"[]", "neither a manifest"), (json.dumps({"type": "Canvas"}).encode(), "neither a manifest"),
        (json.dumps({"@type": "sc:Range"}).encode(), "neither a manifest"), (json.dumps(manifest3()).encode(), "without canvases"),
        (json.dumps({"label": "Bühne"}, ensure_ascii=False).encode("latin-1"), "not JSON"),
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_refused_in_a_sentence(
    server: Library, opener: BookOpener, data: bytes, reason: str
) -> None:
    with pytest.raises(NoInputError, match=reason) as caught:
        opener.open(server.put("/no.json", data), True)
    assert "\n" not in str(caught.value) and f"{server.home}/no.json" in str(caught.value)


def test_names_with_spaces_accents_and_percent_signs_are_asked_for_as_written(
    server: Library, opener: BookOpener, fetcher: Fetcher
) -> None:
    server.put_picture("/b%C3%BChne%201.jpg")
    server.put_picture("/a%2Fb.jpg")
    canvases = [
        canvas3(image3(f"HOME/{name}")) for name in ("bühne 1.jpg", "b%C3%BChne%201.jpg", "a%2Fb.jpg", "none.jpg")
    ]
    (book,) = opener.open(server.put("/names.json", manifest3(*canvases)), True) or ()
    assert all(brought(fetcher, book, number) == (400, 600) for number in range(3))
    with pytest.raises(PageError, match=r"none\.jpg: there is nothing at that address"):
        brought(fetcher, book, 3)
