"""What `import pero_worker` gives, and what it costs."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import pero_worker

PUBLIC = [
    "ClusterClient",
    "Document",
    "DocumentFormat",
    "Engine",
    "EngineFactory",
    "EngineInput",
    "EngineOutput",
    "ExitCode",
    "Image",
    "Job",
    "JobState",
    "JobStatus",
    "Line",
    "NoInputError",
    "OutputError",
    "Page",
    "PageError",
    "PageFormat",
    "PageRecord",
    "PageStatus",
    "PeroWorkerError",
    "Point",
    "Polygon",
    "Reader",
    "Region",
    "RequestError",
    "StageError",
    "Summary",
    "TransientError",
    "UsageError",
    "Word",
    "__version__",
    "connect",
    "ocr",
    "read",
    "read_page_xml",
    "read_report",
    "submit",
]
"""Programs of others use these names: one that goes, or changes its meaning, is a new major version."""


def test_the_public_names_are_these() -> None:
    assert sorted(pero_worker.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(pero_worker))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_there_and_says_what_it_is(name: str) -> None:
    value = getattr(pero_worker, name)
    if callable(value):
        assert value.__doc__


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = pero_worker.nothing_of_this_name


def test_importing_the_package_loads_nothing_but_it() -> None:
    program = "import sys; before = set(sys.modules); import pero_worker; print(*(set(sys.modules) - before))"
    # Without site there are no packages but what is named.
    environment = {**os.environ, "PYTHONPATH": str(Path(pero_worker.__file__).parents[1])}
    command = [sys.executable, "-S", "-c", program]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert {name for name in loaded if "." not in name} <= sys.stdlib_module_names | {"pero_worker"}
    assert {name for name in loaded if name.startswith("pero_worker")} == {"pero_worker"}


def test_records_of_pages_and_errors_load_no_numpy() -> None:
    program = (
        "import sys, pero_worker; pero_worker.Page, pero_worker.PageError, pero_worker.EngineInput; "
        "assert not {'numpy', 'torch', 'lxml', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_package_tells_its_types() -> None:
    assert import_module("importlib.resources").files("pero_worker").joinpath("py.typed").is_file()
