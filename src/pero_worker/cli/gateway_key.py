"""The key that commands present to a gateway."""

from __future__ import annotations

import os
from pathlib import Path

from pero_worker.errors import UsageError

KEY_VARIABLE = "PERO_WORKER_GATEWAY_KEY"


def gateway_key(file: Path | None) -> str:
    """Reads the key from a file or the environment, because everybody on the machine can read command lines."""
    if file is not None:
        try:
            return file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the key file {file}: {error}") from error
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise UsageError(f"a gateway needs a key: put it into {KEY_VARIABLE}, or into a file for --key-file")
    return key
