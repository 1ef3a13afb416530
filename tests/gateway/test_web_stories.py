"""More stories in a real browser: by keyboard alone, by thumb, over a slow line, in a tab that nobody looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway.conftest import RunningGateway, dummy_pipeline, picture, running
from gateway.test_listed_documents import METS, manifest
from gateway.test_web_browser import browser, drop, faults, local, make_job, visit
from library import Library, library
from playwright.sync_api import Page, expect

__all__ = ["browser", "local", "visit"]
DONE = {"en": "Done", "de": "Fertig", "cs": "Hotovo"}
MAX_TABS = 60


@pytest.fixture(scope="module")
def two_engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Whose texts differ by a word; scans may be fetched from this machine."""
    folder = tmp_path_factory.mktemp("two")
    first = dummy_pipeline(folder / "first", LINE="one line of words")
    second = dummy_pipeline(folder / "second", LINE="one line of worlds")
    options = ("--pipeline", str(first), "--pipeline", str(second), "--jobs", "1", "--allow-host", "127.0.0.1")
    with running(folder / "data", *options) as started:
        yield started


@pytest.fixture(scope="module")
def shelf() -> Iterator[Library]:
    with library() as here:
        yield here


def tab_to(page: Page, selector: str) -> None:
    """As somebody without a mouse gets there."""
    for _ in range(MAX_TABS):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} cannot be reached")


def test_a_page_is_read_again_by_another_engine(visit: Callable[..., Page], two_engines: RunningGateway) -> None:
    """From the scan that was kept: nobody uploads it a second time, and what differs is marked."""
    page = visit("/web/jobs/new", base=two_engines.url)
    page.get_by_label("first").check()
    make_job_here(page, "Box 7", {"a.png": picture("PNG")})
    page.get_by_role("link", name="a.png").click()
    expect(page.get_by_label("Compare with")).to_have_count(0)
    again = page.get_by_label("Read again with")
    assert again.locator("option").all_inner_texts() == ["second"]
    page.get_by_role("button", name="Read", exact=True).click()
    expect(page.locator("#lines .words.second mark")).to_have_text("words:")  # By itself, as soon as it is read.
    expect(page.locator("#lines .words:not(.second)")).to_contain_text("worlds")
    expect(page.locator(".crumbs a").nth(1)).to_have_text("Box 7, second")
    assert faults(page) == []
    page.go_back()
    page.reload()
    expect(page.get_by_label("Compare with").locator("option")).to_have_count(2)


def make_job_here(page: Page, name: str, files: dict[str, bytes]) -> None:
    drop(page, files)
    page.get_by_label("Name (optional)").fill(name)
    page.get_by_role("button", name="Upload and read").click()
    expect(page.locator(".job .state")).to_have_text("Done")


@pytest.mark.parametrize("kind", ["iiif", "mets"])
def test_a_book_is_read_from_its_address(
    visit: Callable[..., Page], two_engines: RunningGateway, shelf: Library, kind: str
) -> None:
    shelf.put_picture("/m1.jpg", width=60, height=40)
    picture_here = {"type": "Image", "id": shelf.put_picture("/p1.jpg", width=60, height=40)}
    mets = METS if "</mets:mets>" in METS else METS + "</mets:fileGrp></mets:fileSec></mets:mets>"
    url = shelf.put(f"/{kind}", manifest(picture_here) if kind == "iiif" else mets)
    page = visit("/web/jobs/new", base=two_engines.url)
    address = page.get_by_label("Address of a IIIF manifest or a METS file")
    page.get_by_label("Kind").select_option(kind)
    address.fill(url)
    drop(page, {"a.png": picture("PNG")})
    page.get_by_role("button", name="Upload and read").click()
    expect(page.locator("#fault")).to_have_text("Give files or an address, not both.")
    page.get_by_role("button", name="Leave out a.png").click()
    page.get_by_role("button", name="Upload and read").click()
    expect(page.locator(".job .state")).to_have_text("Done")
    expect(page.locator("tbody tr").first).to_contain_text("Done")


def test_by_keyboard_alone(visit: Callable[..., Page], local: RunningGateway, tmp_path: Path) -> None:
    """From the list of jobs to a line of a page, and back to cancel nothing: each step is reached with the Tab key."""
    (tmp_path / "scan.png").write_bytes(picture("PNG"))
    page = visit("/web/jobs")
    tab_to(page, "nav a[href='/web/jobs/new']")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("New job")
    tab_to(page, "#files")
    with page.expect_file_chooser() as chosen:
        page.keyboard.press("Space")
    chosen.value.set_files(tmp_path / "scan.png")
    tab_to(page, "#name")
    page.keyboard.type("typed")
    tab_to(page, "#send")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("typed")
    expect(page.locator(".job .state")).to_have_text("Done")
    tab_to(page, "td a, th a")
    page.keyboard.press("Enter")
    expect(page.locator("#viewer")).to_have_attribute("data-ready", "yes")
    tab_to(page, "[data-zoom=in]")
    page.keyboard.press("Enter")
    tab_to(page, "#line-1")
    page.keyboard.press("Enter")
    expect(page.locator("#line-1")).to_have_attribute("aria-current", "true")
    shown = page.evaluate(
        "getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).boxShadow"
    )
    assert shown != "nonenone", "who has no mouse sees where they are"
    tab_to(page, ".downloads a")
    with page.expect_download():
        page.keyboard.press("Enter")


def test_by_thumb(visit: Callable[..., Page], local: RunningGateway, tmp_path: Path) -> None:
    """A phone of 360 by 640: nothing reaches over its edge, what is tapped is large enough."""
    name = "Einwohnerverzeichnis_der_Stadt_1897_" * 4 + ".png"
    (tmp_path / name).write_bytes(picture("PNG"))
    page = visit("/web/jobs/new", viewport={"width": 360, "height": 640}, has_touch=True, locale="de-DE")
    page.locator("#files").set_input_files(tmp_path / name)
    page.locator("#name").fill("Ein Name ohne jede Lücke".replace(" ", "") * 6)
    page.locator("#send").tap()
    expect(page.locator(".job .state")).to_have_text("Fertig")
    inside(page)
    page.locator("th a").tap()
    expect(page.locator("#viewer")).to_have_attribute("data-ready", "yes")
    inside(page)
    page.locator("#line-1").tap()
    expect(page.locator("#line-1")).to_have_attribute("aria-current", "true")
    for path in ("/web/jobs", "/web/jobs/new", "/web/cluster"):
        page.goto(path)
        inside(page)
        small = page.evaluate(
            """() => [...document.querySelectorAll("button, [role=button], select, .top nav a")]
                .filter(one => one.offsetParent && !one.matches(".link") && one.getBoundingClientRect().height < 24)
                .map(one => one.outerHTML.slice(0, 100))"""
        )
        assert small == [], path


def inside(page: Page) -> None:
    wide = page.evaluate(
        """() => document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("body *")]
            .filter(one => one.getBoundingClientRect().right > innerWidth).map(one => one.outerHTML.slice(0, 120))"""
    )
    assert wide == []


STREAMS = """
window.streams = [];
const Real = EventSource;
window.EventSource = class extends Real { constructor(...rest) { super(...rest); window.streams.push(this); } };
"""
LOOK = """hidden => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
OPEN = "streams.filter(one => one.readyState === EventSource.OPEN).length"


def test_a_tab_that_nobody_looks_at_keeps_no_stream(visit: Callable[..., Page]) -> None:
    """And shows what has happened meanwhile, once somebody does."""
    looking = visit("/web/jobs")
    looking.add_init_script(STREAMS)
    looking.reload()
    looking.wait_for_function(f"{OPEN} === 1")
    looking.evaluate(LOOK, True)
    assert looking.evaluate(OPEN) == 0
    working = visit("/web/jobs/new")
    make_job(working, "behind the curtain", {"a.png": picture("PNG")})
    expect(working.locator(".job .state")).to_have_text("Done")
    assert looking.get_by_text("behind the curtain").count() == 0
    looking.evaluate(LOOK, False)
    expect(looking.locator("li.job", has_text="behind the curtain").locator(".state")).to_have_text("Done")
    looking.wait_for_function(f"{OPEN} === 1")


def test_over_a_slow_line(visit: Callable[..., Page]) -> None:
    """20 kB/s and half a second each way: the list is live all the same, and others are not kept waiting."""
    looking = visit("/web/jobs")
    line = looking.context.new_cdp_session(looking)
    slow: dict[str, Any] = {"offline": False, "latency": 500, "downloadThroughput": 20_000, "uploadThroughput": 20_000}
    line.send("Network.emulateNetworkConditions", slow)
    looking.reload()
    working = visit("/web/jobs/new")
    make_job(working, "slowly seen", {f"{number}.png": picture("PNG") for number in range(8)})
    expect(working.locator(".job .state")).to_have_text("Done")
    expect(looking.locator("li.job", has_text="slowly seen").locator(".state")).to_have_text("Done")
