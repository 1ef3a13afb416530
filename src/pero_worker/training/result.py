"""The pipeline that a training produces: a folder as `--pipeline` and `stage upload` take it, with a model card."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pero_worker.errors import OutputError, UsageError
from pero_worker.models.pipelines import Pipeline
from pero_worker.names import counted
from pero_worker.training.alphabet import Alphabet
from pero_worker.training.network import save_network

_CONFIG, _CARD, _MANIFEST = "config.ini", "MODEL_CARD.md", "pipeline.toml"
_OCR, _JSON = "OCR", "OCR_JSON"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The pipeline whose recogniser is tuned."""

    name: str
    """The pipeline's name, as the user gave it."""
    version: str
    """The version of its files."""
    folder: Path
    """The folder of its stage."""
    config: ConfigParser
    """The configuration of its stage."""

    @classmethod
    def of(cls, pipeline: Pipeline) -> Base:
        """Returns the base of `pipeline`. Raises `UsageError` unless its only stage has both layout and a
        recogniser."""
        (stage, *others) = pipeline.stages
        config = stage.parsed()
        if others or stage.directory is None or not config.get(_OCR, _JSON, fallback=""):
            raise UsageError(
                f"the pipeline {pipeline.name} has no recogniser in one stage: name print-latin, print-latin-small or a"
                " folder made by pero-worker train"
            )
        return cls(name=pipeline.name, version=pipeline.version, folder=stage.directory, config=config)

    @property
    def description(self) -> Path:
        """Path of the recogniser's ocr.json."""
        return self.folder / self.config[_OCR][_JSON]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOutcome:
    """The result of a training."""

    before: float
    """CER on the held-out lines before the training, as a share."""
    after: float
    """The same CER with the new recogniser."""
    lines: int
    """Number of lines learnt from."""
    held_out: int
    """Number of lines held out for evaluation."""
    pages: int
    """Number of images that the lines came from."""
    characters: Sequence[str]
    """Characters that the recogniser did not know before."""


def write_pipeline(
    output: Path, base: Base, net: Any, alphabet: Alphabet, height: int, outcome: TrainingOutcome
) -> None:
    """Writes the pipeline, config.ini last: a folder without it is not taken for a complete pipeline."""
    config = _config(base.config)
    try:
        for section in config.sections():
            if (model := config[section].get("MODEL_PATH")) is not None:
                config[section]["MODEL_PATH"] = f"./{Path(model).name}"
                shutil.copy(base.folder / model, output / Path(model).name)
        save_network(net, alphabet, height, output / "ocr.json")
        (output / _MANIFEST).write_text(
            f'description = "{base.name}, tuned on {counted(outcome.lines, "line")}"\n', "utf-8"
        )
        (output / _CARD).write_text(_card(output.absolute().name, base, outcome), "utf-8")
        unfinished = output / f".{_CONFIG}"
        with unfinished.open("w", encoding="utf-8") as stream:
            config.write(stream)
        unfinished.replace(output / _CONFIG)
    except OSError as error:
        raise OutputError(f"the model cannot be written: {error}") from error


def _config(base: ConfigParser) -> ConfigParser:
    """Returns the base's configuration with this reader alone: another one would take over what this one has learnt."""
    config = ConfigParser(interpolation=None)
    config.read_dict({name: dict(base.items(name, raw=True)) for name in base.sections()})
    for name in config.sections():
        if name.startswith("READER_"):
            config.remove_section(name)
    config[_OCR][_JSON] = "./ocr.json"
    return config


def _card(name: str, base: Base, outcome: TrainingOutcome) -> str:
    new = (
        f"\nIt learnt {len(outcome.characters)} characters that {base.name} does not know.\n"
        if outcome.characters
        else ""
    )
    return f"""# Model card: {name}

The recogniser of `{base.name}` (version {base.version}), tuned with `pero-worker train`; the layout is that of
`{base.name}`.
{new}
| | |
| --- | --- |
| lines learnt from | {outcome.lines}, out of {outcome.pages} images |
| lines held out | {outcome.held_out} |
| CER on these before | {outcome.before:.2%} |
| CER on these after | {outcome.after:.2%} |

The CER is the edit distance over the length of the truth, without layout: lines were cut out along the baselines of the
truth. Pages unlike those that it learnt from may be read worse than by `{base.name}`. Whoever passes this model on says
where those pages come from, and keeps to the licence and the model card of `{base.name}`.
"""
