"""The long form of the fuzz tests: atheris looks for inputs that reach new lines of the decoders.

    python tests/fuzz/guided.py TARGET [libFuzzer's options, as -max_total_time=60 or -runs=100000]

Whatever is raised but an error of ours about this input is a finding: libFuzzer stops and keeps the input as crash-*.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))

with atheris.instrument_imports(include=["pero_worker"]):
    from pero_worker.engines.pero.logits import load_logits
    from pero_worker.errors import OutputError, PeroWorkerError
    from pero_worker.formats import pagexml
    from pero_worker.inputs.images import decode_scan
    from pero_worker.inputs.tiff import tiff_pages
    from pero_worker.models.unpack import Limits, unpack
    from pero_worker.stage import parse_config
    from pero_worker.wire import tree
    from pero_worker.wire.requests import decode_request, encode_request

from fuzz import test_hostile as hostile

PLACE = Path(tempfile.mkdtemp(prefix="pero-guided-"))


def message(data: bytes) -> None:
    encode_request(decode_request(data))


def archive(data: bytes) -> None:
    (PLACE / "archive").write_bytes(data)
    with tempfile.TemporaryDirectory(dir=PLACE) as name:
        unpack(PLACE / "archive", Path(name) / "target", Limits(files=100, bytes=1_000_000))


def image(data: bytes) -> None:
    decode_scan(data, max_pixels=1_000_000)


def directories(data: bytes) -> None:
    (PLACE / "a.tif").write_bytes(data)
    with (PLACE / "a.tif").open("rb") as stream:
        tiff_pages(stream)


def value(data: bytes) -> None:
    for decode in (tree.decode_text, tree.decode_seconds, tree.decode_priority, tree.decode_time, tree.decode_info):
        decode(data)
    parse_config(data.decode("utf-8", "replace"), "stage")


TARGETS: dict[str, tuple[Callable[[bytes], object], tuple[bytes, ...]]] = {
    "message": (message, (encode_request(hostile.REQUEST),)),
    "page": (pagexml.read, (hostile.PAGE,)),
    "archive": (archive, tuple(hostile.ARCHIVES)),
    "logits": (load_logits, (hostile.LOGITS,)),
    "image": (image, ()),
    "tiff": (directories, ()),
    "value": (value, (b"0x1.8p-2", b'{"pages": 3}', b"[WORKER]\nDUMMY=1\n")),
}
"""By name: what is called, and what it begins with."""


def main() -> None:
    target, valid = TARGETS[sys.argv.pop(1)]
    seeds = PLACE / "seeds"
    seeds.mkdir()
    for number, content in enumerate(valid):
        (seeds / str(number)).write_bytes(content)

    def one(data: bytes) -> None:
        try:
            target(data)
        except PeroWorkerError as error:
            if isinstance(error, OutputError):
                raise

    atheris.Setup([*sys.argv, str(seeds)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
