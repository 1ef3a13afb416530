"""Models that would do more than compute are refused before any part of them runs."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pero_worker.engines.pero.compat import no_warnings
from pero_worker.engines.pero.safeload import checked_script, load_language_model, load_script
from pero_worker.errors import StageError

with no_warnings():
    from brnolm.language_models.vocab import Vocabulary


pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


class Harmless(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.relu(x) * 2


class Mapping(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_file("victim", True, 22, dtype=torch.uint8).copy_(x)


class Saving(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, "victim")
        return x


class WhileLoading(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.training = False

    @torch.jit.export
    def __getstate__(self) -> bool:
        return self.training

    @torch.jit.export
    def __setstate__(self, state: bool) -> None:
        self.training = state
        torch.save(torch.ones(2), "victim")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def scripted(module: torch.nn.Module) -> bytes:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(module), stream)
    return stream.getvalue()


def edited(content: bytes, edit: Callable[[str, bytes], bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, edit(info.filename, old.read(info)))
    return stream.getvalue()


def test_a_harmless_model_computes_the_same(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    path.write_bytes(scripted(Harmless()))
    x = torch.arange(-3.0, 3.0)
    assert torch.equal(load_script(path, "cpu")(x), torch.jit.load(path)(x))


@pytest.mark.parametrize("module", [Mapping, Saving, WhileLoading])
def test_a_model_that_touches_files_is_refused_before_it_runs(
    module: type[torch.nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.pt").write_bytes(scripted(module()))
    with pytest.raises(StageError, match="touches files"):
        load_script("net.pt", "cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt"]


@pytest.mark.parametrize(
    "line",
    [
        'b = getattr(torch, "from_file")("v", True, 2)',
        'b = getattr(torch, "\\x73ave")(x, "v")',
        "t = torch\n    b = t.save(x, 'v')",
        "b = ops.inductor._alloc_from_pool(x, 0, 6, [1], [1])",
        "b = ops.c10d.barrier(x)",
        "b = __torch__.torch.classes.quantized.Conv2dPackedParamsBase(x)",
        "b = 'unterminated",
    ],
)
def test_hidden_ways_to_the_same_operators_are_refused(line: str) -> None:
    def edit(name: str, text: bytes) -> bytes:
        if not name.endswith(".py"):
            return text
        return text.replace(b"    _0 = ", f"    {line}\n    _0 = ".encode(), 1).replace(
            b"    return", f"    {line}\n    return".encode(), 1
        )

    changed = edited(scripted(Harmless()), edit)
    assert changed != edited(scripted(Harmless()), lambda _, text: text)
    with pytest.raises(StageError, match="is refused"):
        checked_script(changed, "net.pt")


def test_what_torch_reads_is_what_was_looked_at() -> None:
    """A second archive behind the first: readers differ in which of them counts."""
    both = scripted(Mapping()) + scripted(Harmless())
    assert b"from_file" not in checked_script(both, "net.pt")


def test_no_path_of_the_author_is_left() -> None:
    content = scripted(Harmless())
    with zipfile.ZipFile(io.BytesIO(checked_script(content, "net.pt"))) as archive:
        assert not any(name.endswith(".debug_pkl") for name in archive.namelist())


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x02}q\x00.", bytes(range(99))])
def test_what_is_no_torchscript_is_refused(content: bytes) -> None:
    with pytest.raises(StageError, match=r"no TorchScript|damaged"):
        checked_script(content, "net.pt")


def language_model(tmp_path: Path, vocabulary: bytes, module: torch.nn.Module | None = None) -> str:
    path = tmp_path / "lm.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("decoder.zip", "model.zip"):
            archive.writestr(name, scripted(module or Harmless()))
        archive.writestr("vocabulary.pickle", vocabulary)
    return str(path)


def test_a_language_model_is_read(tmp_path: Path) -> None:
    vocabulary = Vocabulary("<unk>", 0)
    vocabulary.add_from_text("a b c")
    model = load_language_model(language_model(tmp_path, pickle.dumps(vocabulary)))
    assert model.vocab["b"] == 2 and len(model.vocab) == 4


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("pwned",))


@pytest.mark.parametrize(
    "vocabulary",
    [pickle.dumps(Evil()), b"cos\nsystem\n(S'mkdir pwned'\ntR.", b"garbage", b"", pickle.dumps({"a": 1})[:-1]],
)
def test_a_vocabulary_that_is_none_is_refused_without_running_it(
    vocabulary: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StageError, match="language model"):
        load_language_model(language_model(tmp_path, vocabulary))
    assert [path.name for path in tmp_path.iterdir()] == ["lm.zip"]


def test_a_language_model_with_a_net_that_touches_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="touches files"):
        load_language_model(language_model(tmp_path, pickle.dumps(Vocabulary("<unk>", 0)), Saving()))
