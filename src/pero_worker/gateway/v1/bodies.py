"""Describes for OpenAPI what routes that read their requests themselves accept: files, and the headers of tus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_REF = "#/components/schemas/{name}"
_SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "FileForm": {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}},
    },
    "FileBytes": {"type": "string", "contentMediaType": "application/octet-stream"},
    "Metadata": {"description": "Any JSON document."},
}
"""Schemas of bodies, by their names in the description."""


def _body(name: str) -> dict[str, Any]:
    return {"schema": {"$ref": _REF.format(name=name)}}


_FILE = {"multipart/form-data": _body("FileForm")}
_RAW = _body("FileBytes")
_JOB = "/v1/jobs/{job_id}"
_BODIES: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("put", f"{_JOB}/images/{{image}}/files/image"): {**_FILE, "image/jpeg": _RAW, "image/tiff": _RAW},
    ("put", f"{_JOB}/images/{{image}}/files/alto"): _FILE,
    ("put", f"{_JOB}/images/{{image}}/files/page"): _FILE,
    ("put", f"{_JOB}/files/metadata"): {"application/json": {**_body("Metadata"), "example": {"shelf": 7}}},
    ("post", f"{_JOB}/result"): _FILE,
    ("post", f"{_JOB}/artifacts"): _FILE,
    ("put", "/v1/admin/engines/{name}/{version}/files"): _FILE,
    ("patch", "/v1/uploads/{upload_id}"): {"application/offset+octet-stream": _RAW},
}
_NUMBER = {"type": "string", "pattern": "^[0-9]{1,18}$"}
_VERSION = ("Tus-Resumable", {"const": "1.0.0"}, "")
_HEADERS: Mapping[tuple[str, str], tuple[tuple[str, Mapping[str, Any], str], ...]] = {
    ("post", "/v1/uploads"): (
        _VERSION,
        ("Upload-Length", _NUMBER, "The size of the whole file, in bytes."),
        (
            "Upload-Metadata",
            {"type": "string", "pattern": "^job [A-Za-z0-9+/=]+, ?name [A-Za-z0-9+/=]+$"},
            "The job's id and the image's name, each in base64.",
        ),
    ),
    ("head", "/v1/uploads/{upload_id}"): (_VERSION,),
    ("patch", "/v1/uploads/{upload_id}"): (_VERSION, ("Upload-Offset", _NUMBER, "How many bytes have arrived.")),
    ("delete", "/v1/uploads/{upload_id}"): (_VERSION,),
}


def describe_request(method: str, path: str, operation: dict[str, Any], models: dict[str, Any]) -> None:
    """Adds to an operation's description what FastAPI cannot see; named schemas go into `models`."""
    models.update({name: dict(schema) for name, schema in _SCHEMAS.items()})
    if content := _BODIES.get((method, path)):
        operation["requestBody"] = {"required": True, "content": dict(content)}
    for name, schema, description in _HEADERS.get((method, path), ()):
        parameter: dict[str, Any] = {"name": name, "in": "header", "required": True, "schema": dict(schema)}
        operation.setdefault("parameters", []).append({**parameter, "description": description or "The tus version."})
