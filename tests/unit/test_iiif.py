"""Manifests of both versions: which pages, which pictures, at which addresses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pero_worker.errors import NoInputError, UsageError
from pero_worker.inputs.books import Book, chosen, safe_name
from pero_worker.inputs.iiif.image import candidates, check_size, description_of, description_urls, tiles
from pero_worker.inputs.iiif.presentation import kind_of, members, read_manifest
from pero_worker.inputs.iiif.resources import label_of
from pero_worker.inputs.jsontext import parse_json

SERVICE3 = {"id": "https://x/i/p1", "type": "ImageService3", "profile": "level2"}


def canvas3(*bodies: Any, label: str = "1", target: str = "https://x/c") -> dict[str, Any]:
    painted = [{"type": "Annotation", "motivation": "painting", "body": body, "target": target} for body in bodies]
    items = [{"type": "AnnotationPage", "items": painted}]
    return {
        "id": "https://x/c",
        "type": "Canvas",
        "label": {"none": [label]},
        "width": 20,
        "height": 30,
        "items": items,
    }


def manifest3(*canvases: Any) -> dict[str, Any]:
    return {"id": "https://x/m", "type": "Manifest", "label": {"cs": ["Kniha"]}, "items": list(canvases)}


def image3(name: str = "p1", **more: Any) -> dict[str, Any]:
    return {"id": f"https://x/{name}.jpg", "type": "Image", "format": "image/jpeg", **more}


def read(*canvases: Any) -> Book:
    return read_manifest(manifest3(*canvases), "m.json")


def test_the_type_decides_what_a_document_is_not_its_context() -> None:
    assert kind_of({"type": "Manifest"}) == kind_of({"@type": "sc:Manifest", "@context": []}) == "manifest"
    assert kind_of({"@type": "sc:Collection"}) == "collection"
    assert kind_of({"protocol": "http://iiif.io/api/image", "@id": "x"}) == "image"
    old = "http://library.stanford.edu/iiif/image-api/1.1/context.json"
    assert kind_of({"@context": old, "@id": "x"}) == "image"
    assert kind_of({"type": "Canvas"}) == kind_of([]) == kind_of("Manifest") == ""


def test_a_page_is_called_by_its_place_and_its_label() -> None:
    book = read(*(canvas3(image3(), label=text) for text in ("f. 3r", " - ", "../../etc\x1b[2J", "1", "1")))
    assert [page.name for page in book.pages] == ["0001_f. 3r", "0002", "0003__.._etc [2J", "0004_1", "0005_1"]
    assert book.name == "Kniha"
    assert len(safe_name("ů" * 400).encode()) <= 120


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("a", "a"),
        (["", {"@value": "b", "@language": "cs"}], "b"),
        ({"@value": "c"}, "c"),
        ({"en": [], "cs": ["d", "e"]}, "d"),
        ({"none": ["f"], "cs": ["d"]}, "f"),
        (7, "7"),
        ({"en": {"x": 1}}, ""),
        (None, ""),
    ],
)
def test_labels_come_in_many_forms(label: Any, text: str) -> None:
    assert label_of({"label": label}) == text


def test_the_first_of_a_choice_is_taken() -> None:
    (page,) = read(canvas3({"type": "Choice", "items": [image3("natural"), image3("uv")]})).pages
    assert page.picture is not None
    assert page.picture.url == "https://x/natural.jpg"


def test_a_part_of_a_picture_is_asked_for_or_left_to_be_cut_out() -> None:
    selector = {"type": "ImageApiSelector", "region": "200,0,200,300", "rotation": "90"}
    body = {"type": "SpecificResource", "source": image3("spread", service=[SERVICE3]), "selector": selector}
    picture = read(canvas3(body)).pages[0].picture
    assert picture is not None
    description = description_of({"type": "ImageService3", "width": 400, "height": 300, "profile": "level2"})
    first, *_, last = candidates(picture, description)
    assert first.url == "https://x/i/p1/200,0,200,300/max/90/default.jpg"
    assert (first.region, first.rotation) == ("", 0)
    assert (last.url, last.region, last.rotation) == ("https://x/spread.jpg", "200,0,200,300", 90)


def test_in_version_2_the_resource_itself_is_the_part() -> None:
    whole = {
        "@id": "https://x/whole.jpg",
        "@type": "dctypes:Image",
        "service": {"@id": "https://x/i", "profile": "http://iiif.io/api/image/2/level2.json"},
    }
    part = {
        "@id": "https://x/part.jpg",
        "@type": "oa:SpecificResource",
        "full": whole,
        "selector": {"region": "1,2,3,4"},
    }
    canvas = {"@id": "c", "images": [{"motivation": "sc:painting", "resource": part, "on": "c"}]}
    picture = read_manifest({"@type": "sc:Manifest", "sequences": [{"canvases": [canvas]}]}, "m").pages[0].picture
    assert picture is not None
    (only,) = candidates(picture, None) if picture.service is None else list(candidates(picture, None))[:1]
    assert (only.url, only.region) == ("https://x/part.jpg", "")


def test_the_largest_of_several_pictures_is_the_page() -> None:
    page = {"type": "AnnotationPage", "items": [
        {"motivation": ["painting"], "body": image3("patch"), "target": "https://x/c#xywh=1,1,5,5"},
        {"motivation": ["painting"], "body": image3("ground"), "target": {"source": "https://x/c"}},
        {"motivation": "commenting", "body": image3("comment"), "target": "https://x/c"},
    ]}  # fmt: skip
    (found,) = read({"id": "c", "type": "Canvas", "width": 20, "height": 30, "items": [page]}).pages
    assert found.picture is not None
    assert found.picture.url == "https://x/ground.jpg"
    assert found.note == "2 pictures are on the canvas; the largest was taken"


def test_what_is_no_picture_is_listed_with_the_reason() -> None:
    film = {"id": "https://x/film.mp4", "type": "Video", "format": "video/mp4"}
    text = {"type": "TextualBody", "value": "no"}
    book = read(canvas3(film), canvas3(text), canvas3(), {"type": "Canvas"}, "https://x/c9", 5)
    assert [page.picture for page in book.pages] == [None] * 6
    assert all(page.skipped for page in book.pages)
    assert book.pages[0].problem == "the canvas shows no picture but video (video/mp4)"
    assert book.pages[3].problem == "the canvas has no picture"


def test_manifests_without_canvases_are_refused() -> None:
    empties: tuple[dict[str, Any], ...] = (
        {"items": []},
        {"sequences": ["https://x/s"]},
        {},
        {"items": {"a": 1}, "sequences": 3},
    )
    for empty in empties:
        if empty.get("items") != {"a": 1}:
            with pytest.raises(NoInputError, match="no pages"):
                read_manifest(empty, "m.json")


def test_the_second_sequence_may_be_a_bare_reference() -> None:
    canvas = {"@id": "c", "images": [{"resource": "https://x/1.jpg"}]}
    book = read_manifest({"sequences": [{"@id": "first", "canvases": [canvas]}, "https://x/second"]}, "m")
    assert [page.picture.url for page in book.pages if page.picture] == ["https://x/1.jpg"]


def test_members_of_collections_of_both_versions() -> None:
    three = {
        "items": [
            {"id": "a", "type": "Manifest", "label": {"en": ["A"]}},
            {"id": "b", "type": "Collection"},
            {"type": "Manifest"},
            3,
        ]
    }
    two = {
        "manifests": [{"@id": "a", "@type": "sc:Manifest"}],
        "collections": [{"@id": "b"}],
        "members": [{"@id": "d", "@type": "sc:Collection"}],
    }
    assert [(m.id, m.is_collection) for m in members(three)] == [("a", False), ("b", True)]
    assert {(m.id, m.is_collection) for m in members(two)} == {("a", False), ("b", True), ("d", True)}


def test_pages_by_number_and_id() -> None:
    book = read(*({**canvas3(image3()), "id": f"c{number}"} for number in range(1, 8)))
    for text, numbers in [
        ("2", [2]),
        ("2-3,6-", [2, 3, 6, 7]),
        ("-2", [1, 2]),
        ("c3..c5", [3, 4, 5]),
        ("c7,1", [1, 7]),
    ]:
        assert [page.number for page in chosen(book, text).pages] == numbers
    for text in ("9", "0", "a-b", "3..c5"):
        with pytest.raises(NoInputError, match="--pages"):
            chosen(book, text)


def urls(description: dict[str, Any], size: str = "max", url: str = "https://x/body.jpg") -> list[str]:
    service = {"id": "https://x/i%2Fp1", "type": "ImageService2"}
    picture = read(canvas3({**image3(), "id": url, "service": service})).pages[0].picture
    assert picture is not None
    return [
        found.url.removeprefix("https://x/i%2Fp1") for found in candidates(picture, description_of(description), size)
    ]


def test_each_version_has_its_own_words_for_the_whole_picture() -> None:
    size = {"width": 2000, "height": 3000}
    assert urls({**size, "type": "ImageService3", "profile": "level2"})[0] == "/full/max/0/default.jpg"
    two = {**size, "@context": "http://iiif.io/api/image/2/context.json", "protocol": "http://iiif.io/api/image"}
    level1 = "http://iiif.io/api/image/2/level1.json"
    assert urls({**two, "profile": level1})[:2] == ["/full/full/0/default.jpg", "/full/max/0/default.jpg"]
    one = {**size, "@context": "http://library.stanford.edu/iiif/image-api/1.1/context.json"}
    assert urls({**one, "profile": "http://x#level2"})[0] == "/full/full/0/native.jpg"


def test_limits_of_version_2_are_asked_for_by_width() -> None:
    info = {"width": 2000, "height": 3000, "@context": "http://iiif.io/api/image/2/context.json"}
    found = urls({**info, "profile": ["http://iiif.io/api/image/2/level1.json", {"maxWidth": 1000}]})
    assert found[:3] == ["/full/1000,/0/default.jpg", "/full/666,/0/default.jpg", "/full/full/0/default.jpg"]
    found = urls({**info, "profile": ["http://iiif.io/api/image/2/level1.json", {"maxArea": 60000}]})
    assert found[0] == "/full/200,/0/default.jpg"


def test_level_0_falls_back_to_the_body_and_then_to_the_sizes_that_are_listed() -> None:
    info = {"type": "ImageService3", "profile": "level0", "width": 2000, "height": 3000}
    sizes = [{"width": 250, "height": 375}, {"width": 1000, "height": 1500}]
    assert urls({**info, "sizes": sizes})[:3] == [
        "/full/max/0/default.jpg",
        "https://x/body.jpg",
        "/full/1000,1500/0/default.jpg",
    ]


def test_a_size_that_was_asked_for() -> None:
    assert (
        urls({"type": "ImageService3", "profile": "level2", "width": 9, "height": 9}, "pct:50")[0]
        == "/full/pct:50/0/default.jpg"
    )
    for good in ("max", "2000,", ",300", "!20,20", "pct:50"):
        assert check_size(good) == good
    for bad in ("full", "0,", "../..", "pct:", "2000"):
        with pytest.raises(UsageError, match="--iiif-size"):
            check_size(bad)


def test_tiles_cover_the_picture() -> None:
    picture = read(canvas3(image3(service=[SERVICE3]))).pages[0].picture
    assert picture is not None
    limited = {
        "type": "ImageService3",
        "profile": "level1",
        "width": 1000,
        "height": 700,
        "maxWidth": 512,
        "tiles": [{"width": 512, "scaleFactors": [1, 2]}],
    }
    found = tiles(picture, description_of(limited))
    assert sum(tile.width * tile.height for tile in found) == 700_000
    assert found[-1].url == "https://x/i/p1/512,512,488,188/488,188/0/default.jpg"
    assert tiles(picture, description_of({**limited, "maxWidth": 1000})) == ()


def test_addresses_of_services_are_kept_as_they_are_written() -> None:
    assert description_urls("https://x/a%2Fb") == ("https://x/a%2Fb/info.json",)
    assert description_urls("https://x/a/") == ("https://x/a/info.json", "https://x/a//info.json")
    assert description_urls("https://x/a/info.json") == ("https://x/a/info.json",)


@pytest.mark.parametrize(
    "wrong", [{}, [], "x", {"width": -1, "height": 5}, {"width": "a", "height": 1}, {"width": 1e300, "height": 1}]
)
def test_descriptions_without_a_size_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="picture"):
        description_of(wrong)


def test_json_is_bounded() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
    for bad in (b"{", b"\xff\xfe", b"[" * 100_000, b"[" * 150 + b"]" * 150, b""):
        with pytest.raises(ValueError, match=r"^it is"):
            parse_json(bad)


def test_hostile_values_anywhere_in_a_manifest_raise_nothing_else() -> None:
    whole = json.dumps(
        manifest3(canvas3(image3(service=[SERVICE3], width=5)), canvas3({"type": "Choice", "items": [image3()]}))
    )
    for old in (
        '"painting"',
        '"Image"',
        '"image/jpeg"',
        '[{"type": "Annotation',
        '"https://x/c"',
        "20",
        "5",
        '"level2"',
        '{"none": ["1"]}',
    ):
        for new in ("null", "[]", "{}", "-1", "1e999", '"\\ud800"', "[[[]]]", "true"):
            text = whole.replace(old, new if not old.startswith("[{") else old, 1)
            try:
                document = json.loads(text)
            except ValueError:
                continue
            if kind_of(document) == "manifest":
                for page in read_manifest(document, "m").pages:
                    assert page.picture or page.problem
