"""Scripts and styles of the pages: read once, sent compressed, and cached by browsers for ever, as their addresses
change with their content."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from pero_worker.gateway.errors import ApiError

router = APIRouter(prefix="/web/assets", include_in_schema=False)
FOLDER = Path(__file__).parent / "static"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file as it is sent."""

    content: bytes
    """The content as it is in the package."""
    packed: bytes
    """The content compressed with gzip."""
    digest: str
    """The part of its address that changes with its content."""
    media: str
    """Its media type."""


@cache
def assets() -> Mapping[str, Asset]:
    """Returns all files below `static/` that browsers can use, by name."""
    return {path.name: _asset(path) for path in sorted(FOLDER.rglob("*")) if path.suffix in _TYPES}


def _asset(path: Path) -> Asset:
    content = path.read_bytes()
    return Asset(
        content=content,
        packed=gzip.compress(content, 9, mtime=0),
        digest=hashlib.sha256(content).hexdigest()[:12],
        media=_TYPES[path.suffix],
    )


def address(name: str) -> str:
    return f"/web/assets/{assets()[name].digest}/{name}"


@router.get("/{digest}/{name}")
async def get_asset(request: Request, digest: str, name: str) -> Response:
    asset = assets().get(name)
    if asset is None or asset.digest != digest:
        raise ApiError(404, "NOT_FOUND", "There is no such file.")
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=asset.media)
    return Response(asset.content, headers=headers, media_type=asset.media)
