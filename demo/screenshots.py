"""Pictures of the gateway's pages for the documentation: `make screenshots`.

A gateway reads the demo's scans with two engines; Debian's Chromium looks at it.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

PATIENCE_MS = 180_000
SCANS = ("linn.png", "typewriter.png")


def main(scans: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        torn = Path(folder) / "torn.jpg"
        torn.write_bytes(b"\xff\xd8\xff no picture")
        command = [sys.executable, "-m", "pero_worker", "gateway", "--data", f"{folder}/data", "--port", "0", "-q"]
        engines = ["--pipeline", "print-latin", "--pipeline", "print-latin-small", "--jobs", "1"]
        gateway = subprocess.Popen([*command, *engines], stdout=subprocess.PIPE, text=True)
        try:
            url = next(iter(gateway.stdout or ()), "").removeprefix("listening on ").strip()
            with sync_playwright() as playwright:
                arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
                chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
                take_all(chromium, url, [*(scans / name for name in SCANS), torn], target)
                chromium.close()
        finally:
            gateway.send_signal(signal.SIGTERM)
            gateway.communicate(timeout=60)


def take_all(browser: Browser, url: str, files: list[Path], target: Path) -> None:
    page = opened(browser, url)
    for engine in ("print-latin-small", "print-latin"):
        page.goto("/web/jobs/new")
        page.locator("#files").set_input_files(files)
        page.get_by_label("Name (optional)").fill(f"Box 7, {engine}")
        page.get_by_label(engine, exact=True).check()
        page.get_by_role("button", name="Upload and read").click()
        expect(page.locator("#list li.failed")).to_have_count(1)
        if engine == "print-latin":
            expect(page.locator("#again")).to_be_focused()  # Which scrolls.
            page.evaluate("scrollTo(0, 0)")
            save(page, target / "new-job.webp")
        page.get_by_role("button", name="Start without them").click()
        expect(page.locator(".job .state")).to_have_text("Done")
    page.goto("/web/jobs")
    save(page, target / "jobs.webp")
    page.get_by_role("link", name="Box 7, print-latin", exact=True).click()
    page.get_by_role("link", name="linn.png").click()
    address = page.url
    look_at(page, address, target / "page.webp", line=True)
    look_at(
        opened(browser, url, viewport={"width": 390, "height": 844}, color_scheme="dark"),
        address,
        target / "phone.webp",
    )
    look_at(page, f"{address}?order=worst", target / "compare.webp", compare=True)
    page.goto("/web/cluster")
    expect(page.locator("#rates")).to_have_attribute("data-ready", "yes")
    save(page, target / "cluster.webp")


def opened(browser: Browser, url: str, **options: object) -> Page:
    wanted = {"base_url": url, "locale": "en-GB", "viewport": {"width": 1280, "height": 860}, **options}
    page = browser.new_context(**wanted).new_page()  # type: ignore[arg-type]
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    return page


def look_at(page: Page, address: str, path: Path, *, line: bool = False, compare: bool = False) -> None:
    page.goto(address)
    if compare:
        page.get_by_label("Compare with").select_option(index=1)
        page.get_by_role("button", name="Show").click()
        expect(page.locator(".words.second").first).to_be_visible()
    expect(page.locator("#viewer")).to_have_attribute("data-ready", "yes")
    expect(page.locator("#viewer-note")).to_be_hidden()
    if line:
        page.locator("#line-4").click()
    page.wait_for_load_state("networkidle")
    still = """() => { const now = document.querySelector(".outlines g").getAttribute("transform");
        const same = window.before === now; window.before = now; return same; }"""
    page.wait_for_function(still, polling=500)
    save(page, path)


def save(page: Page, path: Path) -> None:
    picture = Image.open(io.BytesIO(page.screenshot()))
    picture.convert("RGB").save(path, "WEBP", quality=72, method=6)
    print(f"{path}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
