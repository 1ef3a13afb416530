"""The replies of v1: envelopes, and jobs, engines and keys as clients see them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import RowMapping
from starlette.responses import Response

from pero_worker.gateway.keys import Key, Role
from pero_worker.jobs.costs import Expense, Prices

INSIDERS = frozenset({Role.WORKER, Role.ADMIN})
"""Roles that see ids, definitions and logs, and fields without a value as null."""


def ok(
    code: str,
    detail: str,
    data: object = None,
    *,
    status: int = 200,
    key: Key | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Returns an envelope; for roles of `key` other than `INSIDERS`, fields without a value are left out."""
    if key is not None and key.role not in INSIDERS:
        data = _without_nulls(data)
    body: dict[str, object] = {"status": status, "code": code, "detail": detail}
    if data is not None or key is None or key.role in INSIDERS:
        body["data"] = data
    return Response(json.dumps(body).encode(), status, dict(headers or {}), "application/json")


def _without_nulls(data: object) -> object:
    if isinstance(data, dict):
        return {name: _without_nulls(value) for name, value in data.items() if value is not None}
    if isinstance(data, list):
        return [_without_nulls(one) for one in data]
    return data


def date(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def seconds_of(time: datetime) -> float:
    """Returns a time as seconds since 1970; without a time zone it is taken as UTC."""
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def job_data(
    job: RowMapping, images: Sequence[RowMapping] | None, engine: RowMapping | None, key: Key
) -> dict[str, Any]:
    """Returns a job as this key may see it; with `images` None, as it appears in a list of jobs."""
    insider = key.role in INSIDERS
    data: dict[str, Any] = {
        "id": job["id"],
        "state": job["state"],
        "progress": job["progress"],
        "previous_attempts": job["previous_attempts"],
        "meta_json_uploaded": job["meta_json_uploaded"],
        "meta_json_required": job["meta_json_required"],
        "alto_required": job["alto_required"],
        "page_required": job["page_required"],
        "created_date": date(job["created"]),
        "started_date": date(job["started"]),
        "last_change": date(job["changed"]),
        "finished_date": date(job["finished"]),
        "log_user": job["log_user"],
        "engine_name": engine["name"] if engine else None,
        "engine_version": engine["version"] if engine else None,
        "name": job["name"],
        "labels": job["labels"],
        "priority": job["priority"],
        "deadline": date(job["deadline"]),
        "document": job["document"],
        "pages": job["pages"],
        "pages_open": job["open"],
        "pages_failed": job["failed"],
    }
    if insider or images is None:
        data["log"] = job["log"] if insider else None
    if images is None:
        return data
    if insider:
        data["engine_id"] = engine["id"] if engine else None
        data["engine_files_updated"] = date(engine["files_updated"]) if engine else None
        data["engine_definition"] = engine["definition"] if engine else None
    data["images"] = [_image(image, insider=insider) for image in images]
    return data


def _image(image: RowMapping, *, insider: bool) -> dict[str, Any]:
    data = {"id": image["id"]} if insider else {}
    return {
        **data,
        "name": image["name"],
        "order": image["position"],
        "image_uploaded": image["image_uploaded"],
        "alto_uploaded": image["alto_uploaded"],
        "page_uploaded": image["page_uploaded"],
    }


def engine_data(engine: RowMapping, *, admin: bool, definition: bool) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": engine["name"],
        "version": engine["version"],
        "description": engine["description"],
        "default": engine["default"],
    }
    if admin:
        data |= {
            "id": engine["id"],
            "active": engine["active"],
            "created_date": date(engine["created"]),
            "last_used": date(engine["last_used"]),
            "files_updated": date(engine["files_updated"]),
        }
        if definition:
            data["definition"] = engine["definition"]
    return data


def cost_data(cost: Expense, prices: Prices) -> dict[str, Any]:
    return {
        "energy_joules": None if cost.joules is None else round(cost.joules, 3),
        "energy_is": cost.basis.value,
        "cost": None if cost.money is None else round(cost.money, 8),
        "currency": prices.currency or None,
    }


def limits_data(key: Key) -> dict[str, Any]:
    """Returns what the key may use; null means no limit."""
    return {
        "quota_pages_per_day": key.pages_per_day,
        "quota_pages_waiting": key.pages_waiting,
        "requests_per_minute": key.requests_per_minute,
        "max_upload_mb": None if key.max_upload is None else key.max_upload / 1_000_000,
        "share": key.share,
        "expires": date(key.expires),
    }


def key_data(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "label": key.label,
        "role": key.role.value,
        "active": key.active,
        "created_date": date(key.created),
        "last_used": date(key.last_used),
    }
