"""Reads pero-ocr's logits (a pickle) without executing anything that the pickle names.

Classes of NumPy and SciPy become inert stand-ins, every other name is refused, and the arrays are built here from
their raw bytes once type, shape and index ranges have been checked.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pero_worker.errors import PageError

Array = NDArray[Any]

MAX_PICKLE_BYTES = 256 * 2**20
MAX_MATRIX_VALUES = 2**27
"""Elements of one line's matrix when dense (frames times characters)."""
MAX_OPCODES = 2_000_000

_DTYPES: dict[str, np.dtype[Any]] = {
    "f4": np.dtype("<f4"),
    "f8": np.dtype("<f8"),
    "i4": np.dtype("<i4"),
    "i8": np.dtype("<i8"),
}
_HARMLESS = """
    PROTO FRAME STOP MARK MEMOIZE BINPUT LONG_BINPUT BINGET LONG_BINGET NONE NEWTRUE NEWFALSE BININT BININT1 BININT2
    LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_DICT
    EMPTY_LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 APPEND APPENDS SETITEM SETITEMS GLOBAL STACK_GLOBAL NEWOBJ
    REDUCE BUILD"""
_OPCODES = frozenset(_HARMLESS.split())
_TABLES = ("line_characters", "logit_coords")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LineLogits:
    """One line's raw logits as a compressed sparse column matrix of (frames, characters), the last character being the
    blank: its parts `data`, `indices`, `indptr` and `shape`.

    `characters` has one string per column or is None; `coords` are the frames where the line's crop begins and ends.
    """

    data: Array
    indices: Array
    indptr: Array
    shape: tuple[int, int]
    characters: tuple[str, ...] | None = None
    coords: tuple[int, int] | None = None


def load_logits(data: bytes) -> dict[str, LineLogits]:
    """Returns the logits of each line by its id. Raises `PageError` if `data` is anything but a page's logits."""
    if len(data) > MAX_PICKLE_BYTES:
        raise PageError(f"the logits are larger than {MAX_PICKLE_BYTES >> 20} MiB: run the OCR stage again")
    try:
        _scan(data)
        content = _Unpickler(io.BytesIO(data)).load()
        return _lines(content)
    except PageError:
        raise
    except Exception as error:  # unpickling damaged bytes may raise anything
        raise PageError(f"the logits cannot be read ({error}): run the OCR stage again") from error


class _Dtype:
    """Stands in for numpy.dtype: only its code counts, and must be one of four."""

    def __init__(self, code: object, *_options: object) -> None:
        self.dtype: np.dtype[Any] | None = _DTYPES.get(str(code))

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] != "<":
            self.dtype = None


class _Array:
    """Stands in for numpy.ndarray: raw bytes, type and shape as they came."""

    content: tuple[object, object, object, object] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran, raw = state
        self.content = (raw, dtype, shape, "F" if fortran else "C")

    def build(self) -> Array:
        if self.content is None:
            raise PageError("the logits hold an array without content")
        raw, dtype, shape, _order = self.content
        kind = dtype.dtype if isinstance(dtype, _Dtype) else None
        if kind is None or not isinstance(raw, bytes | bytearray):
            raise PageError("the logits hold an array that is not made of numbers")
        if not isinstance(shape, tuple) or len(shape) != 1 or type(shape[0]) is not int or shape[0] < 0:
            raise PageError("the logits hold an array of a wrong shape")
        if shape[0] * kind.itemsize != len(raw):
            raise PageError("the logits hold an array whose size is not what it claims")
        return np.frombuffer(raw, dtype=kind)


class _Matrix:
    """Stands in for scipy.sparse.csc_matrix: its attributes as they came."""

    state: Mapping[str, object]

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise PageError("the logits hold a matrix that is not a csc_matrix")
        self.state = state


def _from_buffer(raw: object, dtype: object, shape: object, order: object) -> _Array:
    array = _Array()
    array.content = (raw, dtype, shape, order)
    return array


def _reconstruct(*_arguments: object) -> _Array:
    return _Array()


def _scalar(dtype: object, raw: object) -> int:
    return int(_from_buffer(raw, dtype, (1,), "C").build()[0])


_STAND_INS: dict[tuple[str, str], object] = {("numpy", "ndarray"): _Array, ("numpy", "dtype"): _Dtype}
for _core in ("numpy.core", "numpy._core"):
    _STAND_INS[f"{_core}.multiarray", "_reconstruct"] = _reconstruct
    _STAND_INS[f"{_core}.multiarray", "scalar"] = _scalar
    _STAND_INS[f"{_core}.numeric", "_frombuffer"] = _from_buffer
for _module in ("scipy.sparse", "scipy.sparse._csc", "scipy.sparse.csc"):
    _STAND_INS[_module, "csc_matrix"] = _Matrix


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        stand_in = _STAND_INS.get((module, name))
        if stand_in is None:
            raise PageError(f"the logits name {module}.{name}, which does not belong there: they are refused")
        return stand_in


def _scan(data: bytes) -> None:
    # The C unpickler trusts lengths and memo numbers and allocates at once, so the opcodes are checked beforehand.
    for count, (opcode, argument, _position) in enumerate(pickletools.genops(data)):
        if count >= MAX_OPCODES:
            raise PageError("the logits hold too many objects")
        if opcode.name not in _OPCODES:
            raise PageError(f"the logits hold the pickle instruction {opcode.name}: they are refused")
        if opcode.name.endswith("PUT") and isinstance(argument, int) and argument > count:
            raise PageError("the logits number their objects wrongly")


def _lines(content: object) -> dict[str, LineLogits]:
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise PageError("the logits are not a table of lines")
    characters, coords = (content.get(key, {}) for key in _TABLES)
    if not isinstance(characters, dict) or not isinstance(coords, dict):
        raise PageError("the logits lack a table of characters or coordinates")
    return {
        line: _line(matrix, characters.get(line), coords.get(line))
        for line, matrix in content.items()
        if line not in _TABLES
    }


def _line(matrix: object, characters: object, coords: object) -> LineLogits:
    if not isinstance(matrix, _Matrix):
        raise PageError("the logits hold something that is not a csc_matrix")
    state = matrix.state
    shape = _integers(state.get("_shape"), 2)
    if shape is None or min(shape) < 0 or math.prod(shape) > MAX_MATRIX_VALUES:
        raise PageError("the logits hold a matrix of an impossible shape")
    rows, columns = shape
    data, indices, indptr = (_array(state.get(key)) for key in ("data", "indices", "indptr"))
    if data.dtype.kind != "f" or indices.dtype.kind != "i" or indptr.dtype.kind != "i":
        raise PageError("the logits hold a matrix of wrong types")
    if (
        len(indptr) != columns + 1
        or indptr[0] != 0
        or indptr[-1] != len(data)
        or len(data) != len(indices)
        or bool(np.any(np.diff(indptr) < 0))
        or (len(indices) and (indices.min() < 0 or indices.max() >= rows))
    ):
        raise PageError("the logits hold a matrix whose indices do not fit")
    return LineLogits(
        data=data,
        indices=indices,
        indptr=indptr,
        shape=(rows, columns),
        characters=_strings(characters, columns),
        coords=_span(coords),
    )


def _array(value: object) -> Array:
    if not isinstance(value, _Array):
        raise PageError("the logits hold a matrix without its arrays")
    return value.build()


def _integers(value: object, count: int) -> tuple[int, int] | None:
    if not isinstance(value, list | tuple) or len(value) != count or any(type(item) is not int for item in value):
        return None
    return value[0], value[1]


def _strings(value: object, count: int) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, Sequence) or len(value) != count or not all(isinstance(item, str) for item in value):
        raise PageError("the logits' characters do not fit their matrix")
    return tuple(value)


def _span(value: object) -> tuple[int, int] | None:
    return _integers(value, 2)
