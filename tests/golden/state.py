"""The golden state of released versions (`make.py`), as tests take it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from golden.make import HERE, MTIME, TEXTS

FOLDER = Path(__file__).parent
VERSIONS = sorted(path.name for path in FOLDER.iterdir() if path.name[0].isdigit())


def laid_out(version: str, part: str, target: Path) -> Path:
    """A copy of a part of the state in `target`, as it lay when that version was stopped."""
    shutil.copytree(FOLDER / version / part, target)
    for path in target.rglob("*"):
        if path.suffix in TEXTS:
            path.write_text(path.read_text("utf-8").replace(HERE, str(target)), "utf-8")
        if path.parent.name == "scans":
            os.utime(path, (MTIME, MTIME))
    return target
