"""Size of the gateway's pages and time to first paint, each in Chromium with an empty cache, over loopback.

python benchmarks/web_pages.py        (or: make bench-web)
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from pathlib import Path

from gateway.conftest import dummy_pipeline, picture, running
from playwright.sync_api import Browser, sync_playwright

ROUNDS = 5
MEASURE = """() => {
    const paint = performance.getEntriesByName("first-contentful-paint")[0];
    const loaded = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
    const bytes = loaded.filter(one => !one.name.includes("/scan")).reduce((sum, one) => sum + one.encodedBodySize, 0);
    return paint ? [paint.startTime, bytes] : null;
}"""
UPLOAD = """async content => {
    const made = await fetch("/v1/jobs", { method: "POST", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ images: [{ name: "a.png", order: 1 }] }) });
    const job = (await made.json()).data.id, body = new FormData();
    body.append("file", new Blob([new Uint8Array(content)]), "a.png");
    await fetch(`/v1/jobs/${job}/images/a.png/files/image`, { method: "PUT", body });
    for (let state = ""; state !== "done"; await new Promise(resolve => setTimeout(resolve, 100)))
        state = (await (await fetch(`/v1/jobs/${job}`)).json()).data.state;
    return job;
}"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        pipeline = dummy_pipeline(folder / "dummy")
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        with running(folder / "data", "--pipeline", str(pipeline), "--jobs", "1") as gateway:
            page = browser.new_context(base_url=gateway.url).new_page()
            page.goto("/web/jobs")
            job = page.evaluate(UPLOAD, list(picture("PNG")))
            print("page       first view    packed")
            for title, path in (
                ("Jobs", "/web/jobs"),
                ("New job", "/web/jobs/new"),
                ("Page", f"/web/jobs/{job}/pages/a.png"),
                ("Cluster", "/web/cluster"),
            ):
                seen = [measure(browser, gateway.url, path) for _ in range(ROUNDS)]
                milliseconds = statistics.median(paint for paint, _ in seen)
                print(f"{title:<10} {milliseconds:7.0f} ms {max(size for _, size in seen) / 1000:7.1f} kB")
        browser.close()


def measure(browser: Browser, url: str, path: str) -> tuple[float, float]:
    """Returns the milliseconds until the first paint, and the bytes received, not counting scans."""
    with browser.new_context(base_url=url) as context:
        page = context.new_page()
        page.goto(path)
        page.wait_for_function(f"({MEASURE})() !== null")
        paint, size = page.evaluate(MEASURE)
    return float(paint), float(size)


if __name__ == "__main__":
    main()
