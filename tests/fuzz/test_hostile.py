"""Hostile input at scale: nothing but our own errors, nothing outside the folder, bounded memory.

`make test` tries a few hundred cases of each; `make fuzz` 20,000 of each, with a new seed.
"""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pero_worker.clock import SystemClock
from pero_worker.cluster.pages.requestfolders import RequestFolders
from pero_worker.cluster.pages.resulttree import ResultTree
from pero_worker.cluster.settings import options_in, read_settings
from pero_worker.errors import PeroWorkerError
from pero_worker.formats import pagexml
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.models.unpack import Limits, unpack
from pero_worker.page import Line, Page, Region, Word
from pero_worker.request import Payload, Request, StageLog, StageStatus
from pero_worker.stage import parse_config
from pero_worker.wire import tree
from pero_worker.wire.requests import decode_request, encode_request
from pero_worker.wire.servers import parse_server

CASES = int(os.environ.get("PERO_WORKER_FUZZ", "150"))
many = settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    derandomize=CASES < 1000,
)
WHEN = datetime(2026, 1, 2, tzinfo=UTC)
SQUARE = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0))
PAGE = pagexml.write(
    Page(
        name="a.png",
        width=100,
        height=100,
        regions=(
            Region(
                id="r",
                polygon=SQUARE,
                lines=(
                    Line(
                        id="l",
                        baseline=SQUARE[:2],
                        polygon=SQUARE,
                        heights=(3.0, 1.0),
                        text="Žluť",
                        confidence=0.5,
                        words=(Word(text="Žluť", polygon=SQUARE, confidence=0.5),),
                    ),
                ),
            ),
        ),
    ),
    created=WHEN,
    creator="fuzz",
)
REQUEST = Request(
    uuid="u",
    page_uuid="p",
    stages=("ocr", "out"),
    results=(Payload(name="a.png", content=b"image"), Payload(name="a.xml", content=PAGE)),
    logs=(
        StageLog(
            host_id="w",
            stage="ocr",
            start=WHEN,
            end=WHEN,
            status=StageStatus.OK,
            log="fine",
            version="1",
            seconds={"ocr": 1.0},
        ),
    ),
    source="box/a",
)
MAX_ADDED_KB = 700_000


def _status_kb(name: str) -> int:
    """A figure of this process: VmRSS, or VmHWM, its peak since it was forgotten last."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


@pytest.fixture(autouse=True)
def bounded_memory() -> Iterator[None]:
    """What a test of this file adds to the memory of its process at any time is bounded."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _status_kb("VmRSS")
    yield
    assert _status_kb("VmHWM") - before < MAX_ADDED_KB


"""kB; torch, imported for the logits, is a third of it."""


def archives() -> list[bytes]:
    made = []
    for mode in ("w", "w:gz", "w:xz"):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode=mode) as archive:
            for name in ("config.ini", "model/a.pt", "../../evil"):
                entry = tarfile.TarInfo(name)
                entry.size = 5
                archive.addfile(entry, io.BytesIO(b"12345"))
        made.append(stream.getvalue())
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("config.ini", "12345" * 100)
        packed.writestr("a/b", "x")
    return [*made, stream.getvalue()]


ARCHIVES = archives()
LOGITS = pickle.dumps({"l": np.zeros((3, 4), np.float32), "line_characters": ["a", "b"]})


@st.composite
def mutated(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A valid input with a few bytes changed, cut, doubled or put in; or any bytes at all."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(st.sampled_from(("set", "cut", "insert", "double", "end")))
        if kind == "set" and data:
            data[at] = draw(st.sampled_from((0, 0xFF, 0x80, 0x7F, draw(st.integers(0, 255)))))
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 50))]
        elif kind == "insert":
            data[at:at] = draw(st.binary(max_size=20))
        elif kind == "double":
            data[at:at] = data[at : at + draw(st.integers(1, 200))]
        elif kind == "end":
            del data[at:]
    return bytes(data)


def only_ours(call: Any, *arguments: object) -> object:
    try:
        return call(*arguments)
    except PeroWorkerError:
        return None


@many
@given(mutated((encode_request(REQUEST), b"")) | st.binary(max_size=300))
def test_messages(body: bytes) -> None:
    request = only_ours(decode_request, body)
    if isinstance(request, Request):
        assert decode_request(encode_request(request)) == request


@many
@given(mutated((PAGE, b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>")))
def test_page_xml(data: bytes) -> None:
    page = only_ours(pagexml.read, data)
    if isinstance(page, Page):
        assert b"root:" not in data or "root:" not in str(page)
        again = pagexml.write(page, created=WHEN, creator="fuzz")
        assert isinstance(pagexml.read(again), Page)


@many
@given(mutated(tuple(ARCHIVES)))
def test_archives(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.tar").write_bytes(data)
        target = folder / "deep" / "in" / "target"
        only_ours(unpack, folder / "a.tar", target, Limits(files=100, bytes=1_000_000))
        inside = {path for path in folder.rglob("*") if path.is_relative_to(target)}
        others = {path.name for path in folder.rglob("*") if path not in inside and path.is_file()}
        assert others <= {"a.tar"}
        assert not any(path.is_symlink() for path in folder.rglob("*"))


@many
@given(
    mutated((b"[WORKER]\nzookeeper_servers = a:1 b\nusername = x\n", b"zookeeper_servers = ['a']\n[worker]\n")),
    st.booleans(),
)
def test_settings(data: bytes, toml: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / ("a.toml" if toml else "a.ini")
        path.write_bytes(data)
        values = only_ours(read_settings, path, "WORKER")
        if isinstance(values, dict):
            options_in(values)
    only_ours(parse_config, data.decode("utf-8", "replace"), "stage")


@many
@given(mutated((b"0x1.9cccccccccccdp-2", b"2026-11-24T16:51:02.116297+00:00", b"true", b'{"pages": 3}', b"\0\0\3")))
def test_values_in_zookeeper(value: bytes) -> None:
    for decode in (
        tree.decode_text,
        tree.decode_seconds,
        tree.decode_priority,
        tree.decode_time,
        tree.decode_flag,
        tree.decode_info,
    ):
        decode(value)
    text = value.decode("utf-8", "replace")
    only_ours(parse_server, text)
    only_ours(tree.check_name, text)


names = st.text(max_size=30) | st.sampled_from(
    ("../../evil", "/etc/evil", "..", "", "a/../../b", "\0", "\u202e", "x" * 400)
)


@many
@given(st.lists(st.tuples(names, st.binary(max_size=20)), max_size=4), names, names, names)
def test_results(results: list[tuple[str, bytes]], uuid: str, source: str, stage: str) -> None:
    payloads = tuple(Payload(name=name, content=content) for name, content in results)
    log = StageLog(host_id="w", stage=stage, start=WHEN, end=WHEN, status=StageStatus.OK)
    request = Request(uuid=uuid, page_uuid=uuid, stages=("out",), results=payloads, logs=(log,), source=source)
    # Syncing thousands of folders is what takes the time.
    with tempfile.TemporaryDirectory() as name, patch("os.fsync"):
        home = Path(name) / "deep" / "in"
        home.mkdir(parents=True)
        folders = RequestFolders(home / "requests")
        only_ours(folders.write, request, b"")
        folders.close()
        results_tree = ResultTree(OutputFolder(home / "tree"), ("page", "text"), SystemClock())
        only_ours(results_tree.write, request, b"")
        results_tree.close()
        written = [path for path in Path(name).rglob("*") if path.is_file()]
        assert all(path.is_relative_to(home / "requests") or path.is_relative_to(home / "tree") for path in written)


@many
@given(mutated((LOGITS,)))
def test_logits(data: bytes) -> None:
    pytest.importorskip("torch")
    from pero_worker.engines.pero.logits import load_logits  # noqa: PLC0415 - needs the engine's packages

    only_ours(load_logits, data)
