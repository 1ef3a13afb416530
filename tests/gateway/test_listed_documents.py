"""Jobs whose pages a IIIF manifest or a METS lists."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from gateway.conftest import V1, Roles, dummy_pipeline, roles_of, running
from library import HEIGHT, WIDTH, Library, Service, library
from PIL import Image


@pytest.fixture(scope="module")
def shelf() -> Iterator[Library]:
    with library() as here:
        yield here


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    folder = tmp_path_factory.mktemp("documents")
    pipeline = dummy_pipeline(folder / "dummy")
    with running(folder / "data", "--pipeline", str(pipeline), "--jobs", "1", "--allow-host", "127.0.0.1") as gateway:
        yield roles_of(gateway)


def canvas(number: int, body: dict[str, Any]) -> dict[str, Any]:
    name = f"HOME/canvas/{number}"
    painting = {"type": "Annotation", "motivation": "painting", "target": name, "body": body}
    page = {"type": "AnnotationPage", "items": [painting]}
    return {"id": name, "type": "Canvas", "label": {"none": [f"f. {number}"]}, "width": 9, "height": 9, "items": [page]}


def manifest(*bodies: dict[str, Any]) -> dict[str, Any]:
    return {
        "@context": "http://iiif.io/api/presentation/3/context.json",
        "id": "HOME/manifest",
        "type": "Manifest",
        "label": {"en": ["A book"]},
        "items": [canvas(number, body) for number, body in enumerate(bodies, 1)],
    }


def job_of(client: V1, **document: str) -> Any:
    return client.data("POST", "/jobs", expect="JOB_CREATED", json={"document": document})


def states(client: V1, job: str) -> dict[str, tuple[str, str | None]]:
    items = client.data("GET", f"/jobs/{job}/pages", expect="PAGES_RETRIEVED")["items"]
    return {page["name"]: (page["state"], page["error"] and page["error"]["class"]) for page in items}


def test_pages_of_a_manifest_are_read(roles: Roles, shelf: Library) -> None:
    user = roles.user
    shelf.services["/image/3/p1"] = Service(version=3)
    served = {"type": "Image", "id": "HOME/small.jpg", "service": [{"id": "HOME/image/3/p1", "type": "ImageService3"}]}
    plain = {"type": "Image", "id": shelf.put_picture("/p2.jpg", width=60, height=40)}
    missing = {"type": "Image", "id": "HOME/none.jpg"}
    inside = {"type": "Image", "id": "http://169.254.169.254/latest/meta-data"}
    url = shelf.put("/manifest", manifest(served, plain, missing, inside))
    made = job_of(user, iiif=url)
    assert (made["state"], made["pages"], made["document"]) == ("new", 0, {"iiif": url})
    done = user.wait(made["id"])
    assert (done["state"], done["pages"], done["pages_failed"], done["name"]) == ("done", 4, 2, "A book")
    assert states(user, made["id"]) == {
        "0001_f. 1": ("done", None),
        "0002_f. 2": ("done", None),
        "0003_f. 3": ("failed", "NOT_FOUND"),
        "0004_f. 4": ("failed", "NOT_FOUND"),
    }
    for name, size in (("0001_f. 1", (WIDTH, HEIGHT)), ("0002_f. 2", (60, 40))):
        scan = user.ask("GET", f"/jobs/{made['id']}/pages/{name}/image", params={"width": 4000})
        with Image.open(io.BytesIO(scan.content)) as shown:
            assert shown.size == size


METS = """<mets:mets xmlns:mets="http://www.loc.gov/METS/" xmlns:xlink="http://www.w3.org/1999/xlink"><mets:fileSec>
<mets:fileGrp USE="MAX"><mets:file ID="F1" MIMETYPE="image/jpeg"><mets:FLocat LOCTYPE="URL" xlink:href="HOME/m1.jpg"/>
</mets:file><mets:file ID="F2" MIMETYPE="image/jpeg"><mets:FLocat LOCTYPE="URL" xlink:href="file:///etc/passwd"/>
</mets:file></mets:fileGrp></mets:fileSec><mets:structMap TYPE="PHYSICAL"><mets:div TYPE="physSequence">
<mets:div TYPE="page" ID="P1" ORDER="1"><mets:fptr FILEID="F1"/></mets:div>
<mets:div TYPE="page" ID="P2" ORDER="2"><mets:fptr FILEID="F2"/></mets:div></mets:div></mets:structMap></mets:mets>"""


def test_pages_of_a_mets_are_read_and_no_files_of_the_server(roles: Roles, shelf: Library) -> None:
    shelf.put_picture("/m1.jpg")
    job = job_of(roles.user, mets=shelf.put("/mets.xml", METS, "application/xml"))["id"]
    assert roles.user.wait(job)["state"] == "done"
    assert sorted(states(roles.user, job).values()) == [("done", None), ("failed", "NOT_FOUND")]


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("/none", None, "nothing at that address"),
        ("/broken", '{"type": "Manifest", ', "cannot be used"),
        ("/empty", {"type": "Manifest", "id": "HOME/empty", "items": []}, "without canvases"),
        ("/collection", {"type": "Collection", "id": "HOME/collection", "items": []}, "is a collection"),
        ("/film", manifest({"type": "Video", "id": "HOME/film.mp4"}), "has 0 pages"),
    ],
)
def test_documents_that_cannot_be_read_say_why(
    roles: Roles, shelf: Library, path: str, content: object, reason: str
) -> None:
    url = shelf.put(path, content) if content else shelf.home + path
    job = roles.user.wait(job_of(roles.user, iiif=url)["id"])
    assert (job["state"], job["pages"]) == ("failed", 0)
    assert reason in job["log_user"]


@pytest.mark.parametrize(
    "inside", ["http://127.0.0.2/m", "https://localhost/m", "http://example.org/m", "https://[::1]/"]
)
def test_documents_inside_the_network_are_not_asked_for(roles: Roles, shelf: Library, inside: str) -> None:
    shelf.faults["/leads"] = [(302, {"Location": inside})]
    for url in (inside, f"{shelf.home}/leads"):
        job = roles.user.wait(job_of(roles.user, mets=url)["id"])
        assert job["state"] == "failed"
        assert "address" in job["log_user"]


def test_what_a_job_with_a_document_cannot_be(roles: Roles) -> None:
    url = "https://example.org/m"
    wrongs: list[dict[str, Any]] = [
        {"document": {"iiif": url, "mets": url}},
        {"document": {}},
        {"document": {"iiif": "file:///etc/passwd"}},
        {"document": {"iiif": url}, "images": [{"name": "a", "order": 0}]},
        {"document": {"iiif": url}, "alto_required": True},
        {},
    ]
    for wrong in wrongs:
        assert roles.user.ask("POST", "/jobs", json=wrong).status_code == 422, wrong
    engine = {"name": "theirs", "version": "1", "description": "", "definition": {}}
    roles.admin.data("POST", "/admin/engines", expect="ENGINE_CREATED", json=engine)
    body = {"document": {"iiif": url}, "engine_name": "theirs"}
    assert roles.user.ask("POST", "/jobs", json=body).json()["code"] == "ENGINE_TAKES_NO_DOCUMENTS"
