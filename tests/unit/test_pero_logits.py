from __future__ import annotations

import os
import pickle
from typing import Any

import numpy as np
import pytest

from pero_worker.engines.pero import logits as logits_module
from pero_worker.engines.pero.logits import load_logits
from pero_worker.errors import PageError

sparse = pytest.importorskip("scipy.sparse")

CHARACTERS = ["a", "b", "č", "\u200b"]


def matrix(seed: int = 0, frames: int = 30) -> Any:
    generator = np.random.default_rng(seed)
    dense = generator.normal(size=(frames, len(CHARACTERS))).astype(np.float32)
    return sparse.csc_matrix(np.where(generator.random(dense.shape) < 0.6, dense, 0))


def page_logits() -> dict[str, Any]:
    lines = {"l1": matrix(1), "l2": matrix(2, 50)}
    return {
        **lines,
        "line_characters": dict.fromkeys(lines, CHARACTERS),
        "logit_coords": {"l1": [8, 25], "l2": [None, None]},
    }


@pytest.mark.parametrize("protocol", [4, 5])
def test_matrices_come_back_identical(protocol: int) -> None:
    content = page_logits()
    loaded = load_logits(pickle.dumps(content, protocol))
    assert list(loaded) == ["l1", "l2"]
    for name, line in loaded.items():
        expected = content[name]
        again = sparse.csc_matrix((line.data, line.indices, line.indptr), shape=line.shape)
        assert again.dtype == np.float32
        assert np.array_equal(again.toarray(), expected.toarray())
        assert line.characters == tuple(CHARACTERS)
    assert loaded["l1"].coords == (8, 25)
    assert loaded["l2"].coords is None


def test_pero_own_bytes_are_read() -> None:
    pytest.importorskip("pero_ocr")
    from pero_worker.engines.pero import compat  # noqa: PLC0415

    compat.import_pero()
    from pero_ocr.core.layout import PageLayout, RegionLayout, TextLine  # noqa: PLC0415

    layout = PageLayout(id="page", page_size=(10, 10))
    region = RegionLayout("r", np.zeros((4, 2)))
    region.lines = [TextLine(id="x", logits=matrix(3), characters=CHARACTERS, logit_coords=[8, 20])]
    layout.regions = [region]
    line = load_logits(layout.save_logits_bytes())["x"]
    assert np.array_equal(line.data, matrix(3).data)
    assert np.array_equal(line.indices, matrix(3).indices)
    assert np.array_equal(line.indptr, matrix(3).indptr)
    assert line.coords == (8, 20)


class Shell:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch pwned",)


class Evaluation:
    def __reduce__(self) -> tuple[object, ...]:
        return eval, ("open('pwned', 'w')",)


@pytest.mark.parametrize("foreign", [Shell(), Evaluation(), print, np.random.default_rng, np.array])
def test_foreign_names_are_refused_and_nothing_runs(
    foreign: object, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(PageError):
            load_logits(pickle.dumps({**page_logits(), "evil": foreign}, protocol))
    assert os.listdir() == []  # noqa: PTH208


def test_object_arrays_are_refused() -> None:
    broken = matrix()
    broken.data = np.array([None] * len(broken.data), dtype=object)
    with pytest.raises(PageError):
        load_logits(pickle.dumps({"l": broken}))


def bad_matrices() -> dict[str, Any]:
    made = {name: matrix() for name in ("row", "negative", "pointer", "decreasing", "shape", "count", "type", "big")}
    made["row"].indices[0] = 30
    made["negative"].indices[0] = -1
    made["pointer"].indptr[-1] += 1
    made["decreasing"].indptr[1] = 10**6
    made["shape"]._shape = (10**9, 10**9)
    made["count"].data = made["count"].data[:-1]
    made["type"].data = made["type"].data.astype(np.complex64)
    made["big"].data = made["big"].data.astype(">f4")
    return made


@pytest.mark.parametrize("name", sorted(bad_matrices()))
def test_matrices_that_do_not_fit_are_refused(name: str) -> None:
    with pytest.raises(PageError):
        load_logits(pickle.dumps({"l": bad_matrices()[name]}))


def test_an_array_that_claims_another_size_is_refused() -> None:
    data = pickle.dumps({"l": matrix()}, 5)
    count = len(matrix().data)
    lie = data.replace(bytes([ord("K"), count, 0x85]), bytes([ord("K"), count + 1, 0x85]))
    assert lie != data
    with pytest.raises(PageError):
        load_logits(lie)


def test_every_truncation_is_refused() -> None:
    data = pickle.dumps(page_logits())
    for length in range(0, len(data) - 1, 7):
        with pytest.raises(PageError):
            load_logits(data[:length])


def test_flipped_bytes_never_raise_anything_else() -> None:
    data = bytearray(pickle.dumps(page_logits()))
    generator = np.random.default_rng(5)
    for _ in range(300):
        damaged = data.copy()
        damaged[generator.integers(len(data))] = generator.integers(256)
        try:
            load_logits(bytes(damaged))
        except PageError as error:
            assert str(error)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        pickle.dumps([1, 2]),
        pickle.dumps({1: 2}),
        pickle.dumps({"l": 3}),
        pickle.dumps({"l": np.zeros(3, np.float32)}),
        pickle.dumps({"l": matrix(), "line_characters": 5}),
        pickle.dumps({"l": matrix(), "line_characters": {"l": ["a"]}}),
        b"\x80\x04\x96\xff\xff\xff\xff\xff\xff\x00\x00x.",
        b"\x80\x04Nr\xff\xff\xff\x7f.",
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(PageError):
        load_logits(data)


def test_limits_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickle.dumps(page_logits())
    with monkeypatch.context() as patch, pytest.raises(PageError, match="larger"):
        patch.setattr(logits_module, "MAX_PICKLE_BYTES", 100)
        load_logits(data)
    with monkeypatch.context() as patch, pytest.raises(PageError, match="too many"):
        patch.setattr(logits_module, "MAX_OPCODES", 20)
        load_logits(data)


def test_no_lines_is_an_empty_table() -> None:
    assert load_logits(pickle.dumps({"line_characters": {}, "logit_coords": {}})) == {}
