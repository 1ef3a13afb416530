"""Health checks: whether the gateway is alive and ready, and its version; none of them needs a key."""

from __future__ import annotations

from fastapi import APIRouter, Request
from sqlalchemy import text
from starlette.responses import JSONResponse, Response

import pero_worker
from pero_worker.errors import TransientError
from pero_worker.gateway.auth import gateway_of

router = APIRouter(tags=["health"])


@router.get("/livez")
@router.get("/health", include_in_schema=False)
async def live() -> Response:
    """Check that the process answers."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
@router.get("/ready", include_in_schema=False)
def ready(request: Request) -> Response:
    """Check that the database and whoever processes the pages can be reached; 503 names what cannot."""
    gateway, reasons = gateway_of(request), []
    try:
        with gateway.database.read() as connection:
            connection.execute(text("SELECT 1"))
    except TransientError as error:
        reasons.append(str(error))
    if gateway.trouble():
        reasons.append(gateway.trouble())
    return JSONResponse({"status": "unavailable" if reasons else "ok", "reasons": reasons}, 503 if reasons else 200)


@router.get("/version")
async def version() -> Response:
    """Show the name and version of the program."""
    return JSONResponse({"name": "pero-worker", "version": pero_worker.__version__})
