"""A run that an earlier version started is resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden.state import VERSIONS, laid_out
from test_ocr_command import files, ocr, report


@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_of_an_earlier_version_goes_on(version: str, tmp_path: Path) -> None:
    """It was killed on its fifth page, after noting that it would write it; the third page had failed."""
    book = laid_out(version, "book", tmp_path / "book")
    out = book / "out"
    before = report(out)
    (out / "slow5.txt").write_text("half a page")  # Noted as begun, so it may be overwritten.
    # What made the fifth page hang is gone; name and version of the pipeline are the same.
    (book / "scans/slow5.png").rename(book / "scans/quick5.png")
    (out / ".pero-worker/begun").write_text((out / ".pero-worker/begun").read_text().replace("slow5", "quick5"))
    (out / "slow5.txt").rename(out / "quick5.txt")
    command = (book / "scans", "-o", out, "--pipeline", book / "pipeline", "--formats", "page,text", "--jobs", "1")
    done = ocr(*command, expect=3)
    assert "1 page done" in done.stdout and "3 done before" in done.stdout and "1 failed" in done.stdout
    after = report(out)
    assert {name: after[name] for name in ("p1", "p2", "p4")} == {name: before[name] for name in ("p1", "p2", "p4")}
    assert after["quick5"]["status"] == "done" and "quick5" in (out / "quick5.txt").read_text()
    pages = ("p1", "p2", "p4", "quick5")
    assert files(out) == {f"{name}{suffix}" for name in pages for suffix in (".page.xml", ".txt")} | {"report.jsonl"}
