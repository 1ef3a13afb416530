"""Fetches the scripts and styles that the gateway's pages are made with, as `SOURCES.toml` beside them lists them.

    python scripts/vendor.py src/pero_worker/gateway/web/static/vendor tests/gateway/vendor

Files that are there already with the right checksum are left. For a new version change version, address and checksum.
"""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
import tomllib
import urllib.request
from pathlib import Path


def fetch(folder: Path) -> None:
    """SystemExit: what came is not what was expected."""
    for entry in tomllib.loads((folder / "SOURCES.toml").read_text("utf-8"))["file"]:
        target = folder / entry["name"]
        if target.is_file() and _digest(target.read_bytes()) == entry["sha256"]:
            continue
        with urllib.request.urlopen(entry["address"]) as reply:  # noqa: S310 - addresses are ours
            package = tarfile.open(fileobj=io.BytesIO(reply.read()))  # noqa: SIM115
        member = package.extractfile(entry["member"])
        content = member.read() if member else b""
        if _digest(content) != entry["sha256"]:
            sys.exit(f"{entry['name']}: {entry['address']} holds something else (SHA-256 {_digest(content)})")
        target.write_bytes(content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        fetch(Path(argument))
