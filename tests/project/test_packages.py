"""Wheel and source archive hold what they must and nothing else, and the wheel runs by itself."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import pero_worker

HOME = Path(__file__).parents[2]
PIPELINES = {"print-best", "print-latin", "print-latin-small", "rapidocr"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(HOME)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


def test_the_wheel_holds_the_program_its_pipelines_and_its_licence(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "pero_worker/py.typed" in names
    assert {name.split("/")[2] for name in names if name.startswith("pero_worker/pipelines/")} >= PIPELINES
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "training", "benchmarks")) or "__pycache__" in name]
    assert wheel.stat().st_size < 40_000_000


def test_the_source_archive_holds_what_the_wheel_is_made_of(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "src/pero_worker/py.typed"} <= names
    assert not [name for name in names if name.startswith((".venv", "build/", "demo-out"))]


def test_the_wheel_runs_where_nothing_of_this_checkout_is(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")  # noqa: S202 - built a moment ago
    program = "import sys; from pero_worker.__main__ import main; sys.argv = ['pero-worker', '--version']; main()"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); {program}"],
        cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == f"pero-worker {pero_worker.__version__}", done.stderr
