"""Whether replies are what the gateway's OpenAPI says of them."""

from __future__ import annotations

import functools
import re
from typing import Any

import httpx
from jsonschema import Draft202012Validator

MET: set[tuple[str, str, str]] = set()
"""Method, path and status of every reply that was looked at."""


@functools.cache
def schema_of(url: str) -> dict[str, Any]:
    return dict(httpx.get(f"{url}/v1/openapi.json", timeout=60).json())


def check_reply(url: str, method: str, path: str, reply: httpx.Response) -> None:
    """AssertionError: the reply is of a kind that is not described, or not as it is described."""
    schema = schema_of(url)
    template = _template(schema, method.lower(), path)
    if template is None:
        assert reply.status_code in {404, 405}, (method, path, reply.status_code)
        return
    responses = schema["paths"][template][method.lower()]["responses"]
    status = str(reply.status_code)
    described = responses.get(status) or responses.get(f"{status[0]}XX")
    if described is None and status in {"206", "500", "503", "507"}:
        return
    assert described is not None, f"{method} {template} answers {status}, which is not described"
    if "$ref" in described:
        described = schema["components"]["responses"][described["$ref"].rpartition("/")[2]]
    MET.add((method, template, status))
    content = described.get("content", {}).get("application/json")
    if content is None or not reply.content or "json" not in reply.headers.get("content-type", ""):
        return
    faults = [fault.message for fault in validator(schema, content["schema"]).iter_errors(reply.json())]
    assert not faults, (method, template, faults[:3])


def validator(schema: dict[str, Any], part: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**part, "components": schema["components"]})


def _template(schema: dict[str, Any], method: str, path: str) -> str | None:
    """The path with the fewest variables that fits."""
    found = [
        template
        for template, operations in schema["paths"].items()
        if method in operations and re.fullmatch(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(template)), path)
    ]
    return min(found, key=lambda template: template.count("{"), default=None)
