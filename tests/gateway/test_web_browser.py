"""The pages in a real browser: every story that people come with, by mouse, by keyboard, on a phone, in the dark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway.conftest import RunningGateway, dummy_pipeline, picture, running
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

AXE = Path(__file__).parent / "vendor/axe.min.js"
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSerif.ttf"
PATIENCE_MS = 90_000
EVIL = "<img src=x onerror=alert(1)>.png"
TEXT = ("The old house stood", "at the end of a lane", "with nine tall trees", "and a garden of herbs.")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. Of this module alone: Playwright's loop runs as long as it does."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        program = shutil.which("chromium")
        assert program, "apt install chromium"
        chromium = playwright.chromium.launch(executable_path=program, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway without keys, with an engine that takes no time; `fail` fails, `kill` kills its worker."""
    folder = tmp_path_factory.mktemp("web")
    pipeline = dummy_pipeline(folder / "quick", FAIL_NAME="*fail*", KILL_NAME="*kill*")
    with running(folder / "data", "--pipeline", str(pipeline), "--jobs", "1") as started:
        yield started


@pytest.fixture
def visit(browser: Browser, local: RunningGateway) -> Iterator[Callable[..., Page]]:
    """Opens pages; whatever the browser complains of fails the test."""
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    def open_page(path: str, *, base: str = "", **options: Any) -> Page:
        context = browser.new_context(base_url=base or local.url, **{"locale": "en-GB", **options})
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(path)
        return page

    expect.set_options(timeout=PATIENCE_MS)
    yield open_page
    for context in contexts:
        context.close()
    # A file that is refused is told by status, which the browser logs as an error of loading.
    assert [text for text in complaints if "status of 415" not in text] == []


def drop(page: Page, files: dict[str, bytes]) -> None:
    """As if somebody let these files fall onto the page."""
    contents = {name: list(content) for name, content in files.items()}
    page.evaluate(
        """files => {
            const transfer = new DataTransfer();
            for (const [name, bytes] of Object.entries(files)) transfer.items.add(new File([new Uint8Array(bytes)], name));
            document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
        }""",
        contents,
    )


def make_job(page: Page, name: str, files: dict[str, bytes]) -> None:
    """Through the page; ends where the job's own page has opened."""
    page.goto("/web/jobs/new")
    drop(page, files)
    page.get_by_label("Name (optional)").fill(name)
    page.get_by_role("button", name="Upload and read").click()
    expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()


def faults(page: Page) -> list[str]:
    """What keeps people out of the page."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [f"{one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]


def test_scans_are_dropped_and_become_text(visit: Callable[..., Page]) -> None:
    """Four files, one of them no scan: its reason is told, the others go on without it, and nobody reloads a page."""
    page = visit("/web/jobs/new")
    send = page.get_by_role("button", name="Upload and read")
    expect(send).to_be_disabled()
    drop(
        page,
        {
            "c2.png": picture("PNG"),
            "c10.png": picture("PNG"),
            "c1.png": picture("PNG"),
            "bad.png": b"no scan",
            ".hidden": b"",
        },
    )
    expect(page.locator("#list li .name")).to_have_text(["bad.png", "c1.png", "c2.png", "c10.png"])
    page.get_by_label("Name (optional)").fill("Box <7>")
    send.click()
    expect(page.locator("#list li.failed")).to_contain_text("not an image")
    expect(page.locator("#list li.ready")).to_have_count(3)
    assert faults(page) == []
    page.get_by_role("button", name="Start without them").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Box <7>")
    expect(page.locator(".job .state")).to_have_text("Done")
    expect(page.locator("tbody tr")).to_have_count(4)
    expect(page.locator("tbody tr", has_text="bad.png")).to_contain_text("not an image")
    expect(page.get_by_role("button", name="Retry failed")).to_have_count(0)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download (zip)").click()
    assert download.value.path().read_bytes().startswith(b"PK")
    assert faults(page) == []


def test_folders_are_taken_with_what_is_in_them(visit: Callable[..., Page], tmp_path: Path) -> None:
    for name in ("one/a.png", "two/a.png", "two/notes.doc", "two/.DS_Store"):
        (tmp_path / "box" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "box" / name).write_bytes(picture("PNG"))
    page = visit("/web/jobs/new")
    page.locator("#folder").set_input_files(tmp_path / "box")
    expect(page.locator("#list li .name")).to_have_text(["box_one_a.png", "box_two_a.png"])
    expect(page.locator("#summary")).to_contain_text("1 file that is no scan was left out")
    page.get_by_role("button", name="Leave out box_one_a.png").click()
    expect(page.locator("#list li .name")).to_have_text(["a.png"])


def test_jobs_change_while_one_looks_and_are_cancelled_and_retried(visit: Callable[..., Page]) -> None:
    looking = visit("/web/jobs")
    working = visit("/web/jobs/new")
    make_job(working, "to be retried", {"fail.png": picture("PNG"), "fine.png": picture("PNG")})
    job = looking.locator("li.job", has_text="to be retried")
    expect(job.locator(".state")).to_have_text("Done")
    expect(job.locator(".failures")).to_contain_text("fail.png: the dummy engine was told to fail on fail.png")
    finished = "fetch('/v1/jobs').then(reply => reply.json()).then(reply => reply.data[0].last_change)"
    before = looking.evaluate(finished)
    job.get_by_role("button", name="Retry failed").click()
    looking.wait_for_function(f"before => {finished}.then(now => now > before)", arg=before)
    expect(job.locator(".state")).to_have_text("Done")
    working.evaluate(
        """() => fetch("/v1/jobs", { method: "POST", headers: { "Content-Type": "application/json" },
            body: JSON.stringify({ name: "to be cancelled", images: [{ name: "a.png", order: 1 }] }) })"""
    )
    job = looking.locator("li.job", has_text="to be cancelled")
    expect(job.locator(".state")).to_have_text("Waiting for files")
    job.get_by_role("button", name="Cancel").click()
    expect(job.locator(".state")).to_have_text("Cancelled")
    assert faults(looking) == []


def test_a_worker_dies_and_another_comes(visit: Callable[..., Page]) -> None:
    cluster = visit("/web/cluster")
    worker = cluster.locator("table", has_text="last error").locator("tbody th")
    expect(worker).to_have_text("local-1")
    page = visit("/web/jobs/new")
    make_job(page, "deadly", {"kill.png": picture("PNG")})
    expect(page.locator(".job .state")).to_have_text("Failed")
    expect(cluster.locator(".notice.warn")).to_contain_text(
        "3 worker processes died and were replaced; the last by SIGKILL"
    )
    expect(worker).to_have_text("local-1.3")
    expect(cluster.locator("#rates")).to_have_attribute("data-ready", "yes")
    assert faults(cluster) == []


def test_hostile_names_stay_text(visit: Callable[..., Page]) -> None:
    """The dummy engine writes the name into the text of the page, too."""
    page = visit("/web/jobs/new")
    make_job(page, EVIL, {EVIL: picture("PNG"), f"fail{EVIL}": picture("PNG")})
    expect(page.locator(".job .state")).to_have_text("Done")
    page.get_by_role("link", name=EVIL, exact=True).click()
    expect(page.locator("#lines .words")).to_contain_text(f"one line: {EVIL}")
    expect(page.locator("#viewer")).to_have_attribute("data-ready", "yes")
    page.goto("/web/jobs")
    expect(page.locator(".failures").first).to_contain_text(EVIL)
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("way", ["keyboard", "phone"])
def test_without_a_mouse(visit: Callable[..., Page], way: str) -> None:
    options: dict[str, Any] = {"color_scheme": "dark", "locale": "cs-CZ"} if way == "keyboard" else {
        "viewport": {"width": 360, "height": 640}, "has_touch": True, "locale": "de-DE"
    }  # fmt: skip
    page = visit("/web/jobs", **options)
    expect(page.locator("h1")).to_have_text("Úlohy" if way == "keyboard" else "Aufträge")
    if way == "keyboard":
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        page.keyboard.press("Enter")
        page.locator(".top nav a").nth(1).focus()
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("Nová úloha")
        dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert max(map(int, dark.strip("rgb()").split(","))) < 60
    for path in ("/web/jobs", "/web/jobs/new", "/web/cluster"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert faults(page) == [], path


def scan(path: Path) -> None:
    """A page that an engine can read."""
    image = Image.new("L", (900, 560), 245)
    draw, font = ImageDraw.Draw(image), ImageFont.truetype(FONT, 44)
    for place, line in enumerate(TEXT):
        draw.text((90, 70 + 110 * place), line, font=font, fill=25)
    image.save(path)


def test_a_page_is_looked_at_with_two_engines(browser: Browser, visit: Callable[..., Page], tmp_path: Path) -> None:
    """With a real engine: outlines and lines choose each other, the worst come first, another engine stands beside."""
    scan(tmp_path / "page.png")
    content = (tmp_path / "page.png").read_bytes()
    quick = dummy_pipeline(tmp_path / "quick")
    options = ("--pipeline", "print-latin-small", "--pipeline", str(quick), "--jobs", "1")
    with running(tmp_path / "data", *options) as gateway:
        page = visit("/web/jobs/new", base=gateway.url)
        expect(page.get_by_label("print-latin-small")).to_be_checked()
        make_job(page, "read well", {"page.png": content})
        page.get_by_role("link", name="page.png").click()
        expect(page.locator("#lines li")).to_have_count(len(TEXT))  # By itself, as soon as it is read.
        expect(page.locator("#lines .words").nth(1)).to_have_text(TEXT[1])
        expect(page.locator("#viewer")).to_have_attribute("data-ready", "yes")
        page.locator("#line-2").click()
        expect(page.locator("#line-2")).to_have_attribute("aria-current", "true")
        chosen = page.locator(".outlines polygon.chosen")
        expect(chosen).to_have_attribute("points", page.locator("#line-2").get_attribute("data-points") or "")
        page.keyboard.press("ArrowDown")
        expect(page.locator("#line-3")).to_be_focused()
        expect(chosen).to_have_attribute("points", page.locator("#line-3").get_attribute("data-points") or "")
        page.get_by_role("button", name="Whole page").click()
        settled = """() => { const box = document.querySelector(".outlines g").getAttribute("transform");
            const same = window.before === box; window.before = box; return same; }"""
        page.wait_for_function(settled, polling=300)
        target = page.locator(".outlines polygon").first
        box, points = target.bounding_box(), target.get_attribute("points")
        assert box is not None
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        expect(page.locator(f'#lines button[data-points="{points}"]')).to_have_attribute("aria-current", "true")
        assert faults(page) == []

        page.get_by_role("link", name="Worst lines first").click()
        per_cent = [
            int(text.removeprefix("! ").split()[0]) for text in page.locator("#lines .percent").all_inner_texts()
        ]
        assert per_cent == sorted(per_cent)
        with page.expect_download() as download:
            page.get_by_role("link", name="ALTO 4").click()
        assert download.value.suggested_filename == "page.alto.xml"
        assert b"<alto" in download.value.path().read_bytes()

        first = page.url
        page.goto("/web/jobs/new")
        drop(page, {"page.png": content})
        page.get_by_label("quick").check()
        page.get_by_role("button", name="Upload and read").click()
        expect(page.locator(".job .state")).to_have_text("Done")
        page.goto(first.split("?")[0])
        page.get_by_label("Compare with").select_option(index=1)
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#lines .words.second")).to_have_count(len(TEXT))
        assert faults(page) == []
