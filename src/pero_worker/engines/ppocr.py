"""Finds and verifies the PP-OCR weights inside the wheel of rapidocr 3.10.0."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

from pero_worker.errors import StageError

# The classifier turns good lines upside down and is never used; it is named here only because the package would fetch
# it otherwise.
MODELS = {
    "Det": ("PP-OCRv6_det_small.onnx", "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f"),
    "Rec": ("PP-OCRv6_rec_small.onnx", "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884"),
    "Cls": ("ch_ppocr_mobile_v2.0_cls_mobile.onnx", "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c"),
}


def model(part: str) -> Path:
    """Returns the file of "Det", "Rec" or "Cls".

    Raises `StageError` if rapidocr is not installed or its weights are different ones.
    """
    found = find_spec("rapidocr")
    if found is None or not found.submodule_search_locations:
        raise StageError("rapidocr is not installed: pip install 'pero-worker[rapidocr]'")
    name, digest = MODELS[part]
    return verified(Path(found.submodule_search_locations[0]) / "models" / name, digest)


def verified(path: Path, digest: str) -> Path:
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise StageError(f"rapidocr's model {path.name} is missing: pip install --force-reinstall rapidocr") from error
    if found != digest:
        raise StageError(f"rapidocr's model {path.name} is not that of rapidocr 3.10.0: install that version")
    return path
