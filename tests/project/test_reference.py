"""The reference tells everything that the program has: options, variables, exit statuses, keys, fields."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from pero_worker.errors import ExitCode
from pero_worker.jobs.records import PageRecord

HOME = Path(__file__).parents[2]
DOCS = HOME / "docs"
SOURCES = {path: path.read_text("utf-8") for path in (HOME / "src/pero_worker").rglob("*.py")}
INTERNAL = {"PERO_WORKER_TEST_SERVERS"}


def rows(page: str) -> set[str]:
    """What stands in backticks in the first column of the page's tables."""
    cells = re.findall(r"^\| ([^|]+) \|", (DOCS / "reference" / page).read_text("utf-8"), re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_environment_variable_is_documented_and_no_other() -> None:
    used = {name for text in SOURCES.values() for name in re.findall(r"PERO_WORKER_[A-Z][A-Z_]*[A-Z]", text)}
    prefixed = {f"PERO_WORKER_{name}" for text in SOURCES.values() for name in re.findall(r'said\("([A-Z_]+)"\)', text)}
    assert (used | prefixed) - INTERNAL == rows("environment.md")


def test_the_exit_statuses_are_those_of_the_program() -> None:
    for page in (DOCS / "reference/exit-statuses.md", HOME / "README.md"):
        found = set(re.findall(r"^\| (\d+) \|", page.read_text("utf-8"), re.MULTILINE))
        assert found == {str(int(code)) for code in ExitCode}, page.name


def test_every_field_of_the_report_is_documented() -> None:
    assert {field.name for field in fields(PageRecord)} == rows("report.md")


def test_every_key_of_a_stages_worker_section_is_documented() -> None:
    """Keys are capital words that are looked up in the section."""
    texts = [text for text in SOURCES.values() if re.search(r'"WORKER"', text) and "configparser" in text.lower()]
    assert texts
    keys = {key for text in texts for key in re.findall(r'"((?:[A-Z]+_)*[A-Z]{3,})"', text)} - {"WORKER"}
    layout = {"PAGE_PARSER", "LAYOUT_PARSER", "OCR", "DECODER", "LINE_CROPPER"}
    missing = {key for key in keys - layout if not key.startswith(("RUN_", "METHOD"))} - rows("stage-configuration.md")
    assert not missing


def test_every_command_and_option_says_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    from commands import missing_descriptions  # noqa: PLC0415 - lies beside the documentation

    assert missing_descriptions() == []


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html", str(DOCS), str(tmp_path)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "pero-worker ocr" in (tmp_path / "reference/commands.html").read_text("utf-8")


@pytest.mark.parametrize("module", ["Levenshtein"])
def test_the_engine_runs_without_the_package_under_the_gpl(module: str) -> None:
    program = f"import sys; sys.modules[{module!r}] = None; import pero_worker.engines.pero.engine"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0
