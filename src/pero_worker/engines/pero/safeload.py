"""Inspects models before torch or pickle may run anything in them.

A TorchScript file is a program, in a language that can also map and write files; torch runs parts of it while loading.
So its source is first searched for the operators that do that. What else a model computes is its own business.
"""

from __future__ import annotations

import ast
import io
import pickle
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import torch

from pero_worker.errors import StageError

MAX_SOURCE_BYTES = 32 << 20
"""Maximum size of all source in a TorchScript file; recognisers have about 50 kB."""
MAX_VOCABULARY_BYTES = 64 << 20
MAX_RATIO = 100
"""Maximum ratio of unpacked to packed size."""
_DEBUG_SUFFIX = ".debug_pkl"
"""Members that say where in the author's files the source was; nobody needs them."""
_FILE_OPERATORS = frozenset({"from_file", "save", "load_tensor"})
"""All operators of torch 2.13 that take a file name."""
_NAMESPACES = frozenset({"aten", "prim", "quantized", "prepacked", "sparse", "mkldnn"})
"""Namespaces of operators that compute; others call into programs, devices or networks."""
_VOCABULARY = "brnolm.language_models.vocab"
_VOCABULARY_CLASSES = frozenset({"Vocabulary", "IndexGenerator"})


def load_script(path: Path | str, device: Any) -> Any:
    """Inspects a file, then loads it with `torch.jit.load`.

    Raises `StageError` if it would touch files or is not TorchScript.
    """
    with Path(path).open("rb") as stream:
        content = stream.read()
    return _load_script(content, Path(path).name, device)


def load_language_model(path: str) -> Any:
    """Reads what brnolm's `torchscript_import` reads, without running what its pickle names.

    Raises `StageError` if the model is refused.
    """
    # Imported here, because not every stage has a decoder. It warns about its own escapes.
    with warnings.catch_warnings(action="ignore"):
        from brnolm.language_models.language_model import LanguageModel  # noqa: PLC0415

    name = Path(path).name
    try:
        with zipfile.ZipFile(path) as archive:
            decoder, model = (_load_script(archive.read(part), f"{name}/{part}", "cpu") for part in _SCRIPTS)
            if archive.getinfo("vocabulary.pickle").file_size > MAX_VOCABULARY_BYTES:
                raise StageError(f"the language model {name} is refused: its vocabulary is too large")
            with archive.open("vocabulary.pickle") as stream:
                vocabulary = _Vocabulary(stream, name).load()
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise StageError(f"the language model {name} cannot be read: {error}: export it as TorchScript") from error
    except StageError:
        raise
    except Exception as error:  # a damaged pickle raises all kinds
        raise StageError(f"the vocabulary of the language model {name} is damaged: {error}") from error
    return LanguageModel(model, decoder, vocabulary)


_SCRIPTS = ("decoder.zip", "model.zip")


def checked_script(content: bytes, name: str) -> bytes:
    """Returns the same TorchScript file, repacked: torch then reads what was inspected, whatever else the original
    bytes could be taken for.

    Raises `StageError` if it is not a TorchScript archive, or names an operator that touches files.
    """
    packed = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(packed, "w") as copy:
            members = archive.infolist()
            if len({info.filename for info in members}) < len(members):
                raise StageError(f"the model {name} is refused: it holds a file twice")
            if sum(info.file_size for info in members) > MAX_RATIO * len(content):
                raise StageError(f"the model {name} is refused: it unpacks to many times its size")
            sources = sum(info.file_size for info in members if info.filename.endswith(".py"))
            if sources > MAX_SOURCE_BYTES:
                raise StageError(f"the model {name} is refused: it holds {sources >> 20} MiB of source")
            for info in members:
                if info.filename.endswith(_DEBUG_SUFFIX):
                    continue
                text = archive.read(info)
                if info.filename.endswith(".py") and (reason := _reason_to_refuse(text)) is not None:
                    raise StageError(f"the model {name} is refused: {reason} ({info.filename})")
                copy.writestr(info.filename, text)
    except zipfile.BadZipFile:
        raise StageError(f"the model {name} is no TorchScript file, or was not copied completely") from None
    except (OSError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise StageError(f"the model {name} is damaged: {error}") from error
    return packed.getvalue()


def _load_script(content: bytes, name: str, device: Any) -> Any:
    return torch.jit.load(io.BytesIO(checked_script(content, name)), map_location=device)


def _reason_to_refuse(source: bytes) -> str | None:
    """Returns why the source is refused; None if nothing was found in it."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source.decode("utf-8")).readline))
        names = [_name_in(token) for token in tokens]
    except (UnicodeDecodeError, tokenize.TokenError, SyntaxError, ValueError):
        return "its source cannot be read"
    if found := _FILE_OPERATORS.intersection(names):
        return f"it uses {', '.join(sorted(found))}, which touches files"
    for first, dot, second in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if first.string == "ops" and dot.string == "." and second.string not in _NAMESPACES:
            return f"it uses operators of {second.string}"
    return "it uses classes of a program" if "classes" in names else None


def _name_in(token: tokenize.TokenInfo) -> str:
    """Returns what the token may name: itself, or the text in its quotes, as getattr takes it.

    Raises `ValueError` if it is not a token.
    """
    if token.type == tokenize.ERRORTOKEN and token.string.strip():
        raise ValueError(token.string)
    if token.type == tokenize.STRING:
        return str(ast.literal_eval(token.string))
    return token.string


class _Vocabulary(pickle._Unpickler):  # the unpickler in C can be made to take all memory
    """Reads a vocabulary and nothing else."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        super().__init__(stream)
        self._name = name

    def find_class(self, module: str, name: str) -> Any:
        if module != _VOCABULARY or name not in _VOCABULARY_CLASSES:
            raise StageError(f"the language model {self._name} is refused: its vocabulary names {module}.{name}")
        return super().find_class(module, name)
