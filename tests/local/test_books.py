"""`pero-worker ocr` on manifests and METS, as a user runs it, against a library's server."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from library import Library, Service, library, picture

from pero_worker.formats import pagexml
from pero_worker.inputs.iiif.presentation import read_manifest

XLINK = 'xmlns="http://www.loc.gov/METS/" xmlns:xlink="http://www.w3.org/1999/xlink"'
METS = f"""<mets {XLINK}><fileSec><fileGrp USE="image"><file ID="i0"><FLocat xlink:href="0001.jpg"/></file></fileGrp></fileSec>
<structMap TYPE="physical"><div TYPE="document"><div TYPE="page"><fptr FILEID="i0"/></div></div></structMap></mets>"""
Ocr = Callable[..., tuple[subprocess.CompletedProcess[str], dict[str, dict[str, Any]]]]


@pytest.fixture(scope="module")
def server() -> Iterator[Library]:
    with library() as here:
        for name in ("p1", "p2", "p3"):
            here.services[f"/image/3/{name}"] = Service()
        here.services["/image/3/locked"] = Service(locked="Reading room")
        yield here


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    folder = tmp_path / "pipeline"
    folder.mkdir()
    (folder / "config.ini").write_text("[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nLINE = ocr\n")
    return folder


@pytest.fixture
def ocr(tmp_path: Path, pipeline: Path, server: Library) -> Ocr:
    def run(*arguments: object, expect: int = 0, out: str = "out", engine: object = pipeline) -> Any:
        server.asked.clear()
        folder = tmp_path / out
        command = [
            sys.executable,
            "-m",
            "pero_worker",
            "ocr",
            *map(str, arguments),
            "-o",
            str(folder),
            "-p",
            str(engine),
        ]
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
        done = subprocess.run(
            [*command, "-j", "1", "--fetch-rate", "1000"], capture_output=True, text=True, check=False, env=environment
        )
        assert done.returncode == expect, done.stdout + done.stderr
        assert "Traceback" not in done.stderr + done.stdout
        report = folder / "report.jsonl"
        lines = report.read_text().splitlines() if report.is_file() else []
        return done, {record["page"]: record for record in map(json.loads, lines)}

    return run


def canvas(number: int, body: Any, label: str = "") -> dict[str, Any]:
    annotation = {"type": "Annotation", "motivation": "painting", "body": body, "target": f"HOME/c/{number}"}
    items = [{"type": "AnnotationPage", "items": [annotation]}]
    return {"id": f"HOME/c/{number}", "type": "Canvas", "label": {"none": [label or str(number)]}, "items": items}


def served(name: str) -> dict[str, Any]:
    service = {"id": f"HOME/image/3/{name}", "type": "ImageService3", "profile": "level2"}
    return {"id": f"HOME/image/3/{name}/full/100,/0/default.jpg", "type": "Image", "service": [service]}


def manifest(*canvases: Any) -> dict[str, Any]:
    return {"id": "HOME/m", "type": "Manifest", "label": {"en": ["Codex"]}, "items": list(canvases)}


def test_a_manifest_becomes_text_and_a_second_run_fetches_nothing(ocr: Ocr, server: Library, tmp_path: Path) -> None:
    film = {"id": "HOME/film.mp4", "type": "Video"}
    secret = {"id": "file:///etc/passwd", "type": "Image"}
    bodies = (served("p1"), film, served("locked"), served("p2"), secret)
    address = server.put("/manifest.json", manifest(*(canvas(n, body, f"f. {n}r") for n, body in enumerate(bodies, 1))))
    done, report = ocr(address, "--formats", "page,text,pdf", expect=3, engine="rapidocr")
    assert {name: record["status"] for name, record in report.items()} == {
        "0001_f. 1r": "done",
        "0002_f. 2r": "skipped",
        "0003_f. 3r": "failed",
        "0004_f. 4r": "done",
        "0005_f. 5r": "failed",
    }
    assert report["0001_f. 1r"]["source"] == f"{server.home}/image/3/p1"
    assert report["0001_f. 1r"]["source_id"] == f"{server.home}/c/1"
    assert report["0001_f. 1r"]["label"] == "f. 1r"
    assert "film" not in report["0002_f. 2r"]["source"] and "video" in report["0002_f. 2r"]["error"]
    assert "needs a login at Reading room" in report["0003_f. 3r"]["error"]
    assert "file:///etc/passwd" in report["0005_f. 5r"]["error"]
    page = pagexml.read((tmp_path / "out/0001_f. 1r.page.xml").read_bytes())
    assert (page.width, page.height, page.name) == (400, 600, "0001_f. 1r.jpg")
    assert (tmp_path / "out/Codex.pdf").read_bytes().startswith(b"%PDF")
    assert "1 page without anything to read" in done.stdout
    again, _ = ocr(address, "--formats", "page,text,pdf", expect=3, engine="rapidocr")
    assert "0 pages done" in again.stdout and "2 done before" in again.stdout
    assert [path for path, _ in server.asked if "locked" not in path] == ["/manifest.json"]


def test_collections_are_followed_when_asked_for(ocr: Ocr, server: Library) -> None:
    server.put("/one", manifest(canvas(1, served("p1"))))
    inner = {"id": "HOME/top", "type": "Collection"}
    members = [{"id": f"HOME/{name}", "type": "Manifest", "label": {"en": [name]}} for name in ("one", "gone")]
    address = server.put("/top", {"type": "Collection", "id": "HOME/top", "items": [*members, inner]})
    done, _ = ocr(address, expect=4)
    assert "--follow-collections" in done.stderr
    _, report = ocr(address, "--follow-collections", expect=3)
    assert {name: record["status"] for name, record in report.items()} == {"one/0001_1": "done", "gone": "failed"}
    assert "nothing at that address" in report["gone"]["error"]


def test_a_mets_of_files_with_pages_that_were_chosen(ocr: Ocr, server: Library, tmp_path: Path) -> None:
    files = "".join(
        f'<file ID="f{n}" MIMETYPE="image/jpeg"><FLocat LOCTYPE="OTHER" xlink:href="img/{n}.jpg"/></file>'
        for n in range(4)
    )
    files += f'<file ID="f4" MIMETYPE="image/jpeg"><FLocat LOCTYPE="URL" xlink:href="{server.put_picture("/five.jpg")}"/></file>'
    pages = "".join(f'<div TYPE="page" ID="P{n}"><fptr FILEID="f{n}"/></div>' for n in range(5))
    (tmp_path / "img").mkdir()
    for number in range(3):
        picture(str(number)).save(tmp_path / f"img/{number}.jpg")
    path = tmp_path / "mets.xml"
    path.write_text(
        f'<mets {XLINK}><fileSec><fileGrp USE="MAX">{files}</fileGrp></fileSec><structMap TYPE="PHYSICAL"><div>{pages}</div></structMap></mets>'
    )
    _, report = ocr(path, "--pages", "P1..P4", expect=3)
    assert {name: record["status"] for name, record in report.items()} == {
        "P1": "done",
        "P2": "done",
        "P3": "failed",
        "P4": "failed",
    }
    assert "img/3.jpg" in report["P3"]["error"]
    assert "--allow-private" in report["P4"]["error"]
    _, report = ocr(path, "--pages", "P1..P4", "--allow-private", expect=3)
    assert report["P4"]["status"] == "done"


def test_an_export_as_zip(ocr: Ocr, tmp_path: Path) -> None:
    archive = tmp_path / "export.zip"
    picture("one").save(tmp_path / "0001.jpg")
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("METS.xml", METS)
        packed.write(tmp_path / "0001.jpg", "0001.jpg")
    _, report = ocr(archive)
    assert report["0001"]["status"] == "done"
    for name in ("../evil.jpg", "/etc/evil.jpg", "C:/evil.jpg"):
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr("METS.xml", METS)
            packed.writestr(name, b"x")
        done, _ = ocr(archive, expect=4)
        assert "leads out" in done.stderr


def test_a_pdf_at_an_address(ocr: Ocr, server: Library) -> None:
    stream = io.BytesIO()
    picture("one").save(stream, "PDF", save_all=True, append_images=[picture("two")])
    address = server.put("/codex.pdf", stream.getvalue(), "application/pdf")
    _, report = ocr(address, "--formats", "text")
    assert {name: record["source"] for name, record in report.items()} == dict.fromkeys(
        ("codex_0001", "codex_0002"), address
    )
    again, _ = ocr(address, "--formats", "text")
    assert "2 done before" in again.stdout


def test_mistakes_get_one_line_and_their_exit_status(ocr: Ocr, server: Library, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text('{ "a": 1 ')
    (tmp_path / "other.json").write_text('{"a": 1}')
    (tmp_path / "broken.xml").write_text("<mets>")
    page = server.put("/page", "<!DOCTYPE html><html></html>", "text/html")
    cases = [
        ("broken.json", "not JSON"),
        ("other.json", "neither a manifest"),
        ("broken.xml", "XML"),
        (page, "web page"),
        (server.home + "/none", "404"),
    ]
    for name, reason in cases:
        done, _ = ocr(name if "://" in name else tmp_path / name, expect=4)
        assert reason in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    done, _ = ocr(page, "--iiif-size", "big", expect=2)
    assert "--iiif-size" in done.stderr


def test_10000_canvases_are_listed_before_anything_is_fetched(tmp_path: Path) -> None:
    """Images are requested as pages are needed; memory is bounded by the manifest, not by what it refers to."""
    path = tmp_path / "large.json"
    canvases = [canvas(number, served("p1")) for number in range(10_000)]
    path.write_text(json.dumps(manifest(*canvases)).replace("HOME", "http://127.0.0.1:9"))
    code = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from pero_worker.clock import SystemClock\n"
        "from pero_worker.inputs.discover import discover\n"
        "from pero_worker.jobs.books import BookSettings, opened_books\n"
        "from pero_worker.jobs.plan import open_documents\n"
        "with opened_books(BookSettings(cache=Path(sys.argv[2])), SystemClock()) as books:\n"
        "    found = discover([sys.argv[1]], open_book=books.open)\n"
        "    (opened,) = open_documents(found.documents, 'p', 'v', 300, apart=None)\n"
        "    status = Path('/proc/self/status').read_text()\n"
        "    print(len(opened.pages), re.search(r'VmHWM:\\s+(\\d+)', status)[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path, tmp_path / "cache"], capture_output=True, text=True, check=True
    )
    pages, peak = map(int, done.stdout.split())
    assert pages == 10_000
    assert peak < 600_000


def test_what_was_read_goes_back_to_viewers_and_to_escriptorium(ocr: Ocr, server: Library, tmp_path: Path) -> None:
    film = {"id": "HOME/film.mp4", "type": "Video"}
    canvases = [
        canvas(n, body, f"f. {n}r") | {"width": 4000, "height": 6000}
        for n, body in enumerate((served("p1"), film, served("p2")), 1)
    ]
    address = server.put("/export.json", manifest(*canvases))
    _, report = ocr(address, "--formats", "page,alto")
    out = tmp_path / "out"

    def export(*arguments: object, expect: int = 0) -> str:
        command = [sys.executable, "-m", "pero_worker", "export", *map(str, arguments)]
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    export("iiif", out, address, "--base-url", "https://texts.example/7/")
    made = json.loads((out / "iiif/manifest.json").read_text())
    assert [item["id"] for item in made["items"]] == [f"{server.home}/c/1", f"{server.home}/c/3"]
    first = made["items"][0]
    assert {entry["format"] for entry in first["seeAlso"]} == {"application/xml+alto", "application/alto+xml"}
    assert first["seeAlso"][0]["id"] == "https://texts.example/7/0001_f.%201r.alto.xml"
    # Our manifest can be read like anyone's.
    again = read_manifest(made, "m")
    assert [page.picture and page.picture.service and page.picture.service.id for page in again.pages] == [
        f"{server.home}/image/3/p{n}" for n in (1, 2)
    ]
    older = json.loads((out / "iiif/manifest-2.json").read_text())
    assert (
        older["sequences"][0]["canvases"][0]["images"][0]["resource"]["service"]["@id"] == f"{server.home}/image/3/p1"
    )
    assert len(read_manifest(older, "m").pages) == 2
    text = json.loads((out / "iiif/annotations/0001_f. 1r.json").read_text())
    assert text["id"] == "https://texts.example/7/iiif/annotations/0001_f.%201r.json" == first["annotations"][0]["id"]
    # The dummy engine's page is 1000 pixels wide and its line begins at 10, 20: four times and six times that here.
    assert text["items"][0]["target"] == f"{server.home}/c/1#xywh=40,120,3920,90"
    assert text["items"][0]["motivation"] == "supplementing"
    assert len(report) == 3

    archive = tmp_path / "e.zip"
    assert "2 pages" in export("escriptorium", out, archive)
    assert "already" in export("escriptorium", out, archive, expect=2)
    with zipfile.ZipFile(archive) as packed:
        assert sorted(packed.namelist()) == ["0001_f. 1r.xml", "0003_f. 3r.xml"]
        page = pagexml.read(packed.read("0001_f. 1r.xml"))
    assert page.name == "0001_f. 1r.jpg"
    assert all(len(line.baseline) >= 2 for line in page.lines())
    assert "neither" in export("iiif", out, tmp_path / "e.zip.none", "--base-url", "https://x", expect=4)


def test_a_login_in_an_address_opens_what_is_locked_and_is_seen_nowhere(
    ocr: Ocr, server: Library, tmp_path: Path
) -> None:
    """Whether the user or a document gives the address."""
    service, own = Service(locked="Reading room"), "Basic bWU6c2VAY3JldA=="  # me:se@cret
    key, server.key = server.key, own
    server.services["/image/3/closed"] = service
    hidden = server.home.replace("http://", "http://me:se%40cret@")
    plain = server.home.replace("http://", "http://me:se@cret@")
    mets = (
        f'<mets {XLINK}><fileSec><fileGrp USE="MAX"><file ID="a"><FLocat xlink:href="none.jpg"/></file><file ID="b">'
        f'<FLocat xlink:href="ftp://me:se@cret@x.example/b.jpg"/></file></fileGrp></fileSec></mets>'
    )
    try:
        server.put(
            "/relative.json", manifest(canvas(1, {"id": "image/3/closed/full/max/0/default.jpg", "type": "Image"}))
        )
        inside = json.dumps(manifest(canvas(1, served("closed")), canvas(2, {"id": "HOME/none", "type": "Image"})))
        server.put("/inside.json", inside.replace("HOME", plain))
        server.put("/mets.xml", mets, "text/xml")
        server.put("/broken.json", b"{")
        said = []
        for number, (address, status, answers) in enumerate(
            [
                (f"{hidden}/relative.json", 0, ["done"]),
                (f"{plain}/inside.json", 3, ["done", "failed"]),
                (f"{plain}/mets.xml", 3, ["failed", "failed"]),
                (f"{plain}/broken.json", 4, []),
                (f"{plain}/nowhere", 4, []),
            ]
        ):
            out = f"out{number}"
            done, report = ocr(address, "--formats", "page,tei,markdown,pdf", out=out, expect=status)
            assert sorted(record["status"] for record in report.values()) == answers, report
            said += [done.stdout, done.stderr, *map(json.dumps, report.values())]
            if "failed" not in answers[:1] and answers:
                command = [sys.executable, "-m", "pero_worker", "export", "iiif", str(tmp_path / out), address]
                command += ["--base-url", "https://texts.example.org"]
                environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
                exported = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
                said += [exported.stdout, exported.stderr]
    finally:
        server.key = key
    said += [
        path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file() and "cache" not in path.parts
    ]
    assert len(said) > 20 and not [text for text in said if "cret" in text]
    assert sum("image/3/closed" in text for text in said) >= 2, "addresses are told, without their login"
    given = {headers.get("Authorization") for path, headers in server.asked if path == "/nowhere"}
    assert given == {own}
