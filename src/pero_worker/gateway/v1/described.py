"""Describes for OpenAPI what every route answers: codes, schemas and examples, and the refusal common to all routes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from pydantic import TypeAdapter

from pero_worker.gateway.v1 import schemas as told
from pero_worker.gateway.v1.bodies import describe_request

_REF = "#/components/schemas/{model}"
_KEYLESS = frozenset({"/livez", "/readyz", "/version"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer to a request that was not refused."""

    codes: tuple[str, ...] = ()
    """The codes that the envelope may hold; () if there is no envelope."""
    data: Any = None
    """The type of the envelope's data; None if it has none."""
    example: Any = None
    """An example of the data, or of the body."""
    media: str = ""
    """The media type of a body without an envelope; '' if there is an envelope or no body."""


def _answer(*codes: str, data: Any = None, example: Any = None) -> Answer:
    return Answer(codes=codes, data=data, example=example)


def _file(media: str, example: str = "") -> Answer:
    return Answer(media=media, example=example or None)


_NOTHING = Answer()
_JOB = {**told.JOB, "images": [told.IMAGE]}
_UPLOADED = {kind: (f"{kind}_UPLOADED", f"{kind}_REUPLOADED") for kind in ("IMAGE", "ALTO", "PAGE", "META_JSON")}
_XML = "<PcGts/>"
_IMAGES, _JOB_PATH = "/v1/jobs/{job_id}/images", "/v1/jobs/{job_id}"
ANSWERS: Mapping[tuple[str, str], Mapping[int, Answer]] = {
    ("get", "/livez"): {200: Answer(media="application/json", example={"status": "ok"})},
    ("get", "/readyz"): {
        200: Answer(media="application/json", example={"status": "ok", "reasons": []}),
        503: Answer(
            media="application/json",
            example={"status": "unavailable", "reasons": ["the gateway's database does not answer"]},
        ),
    },
    ("get", "/version"): {200: Answer(media="application/json", example={"name": "pero-worker", "version": "0.1.0"})},
    ("get", "/metrics"): {200: _file("text/plain", 'pero_worker_gateway_jobs{state="done"} 7')},
    ("get", "/v1/me"): {200: _answer("API_KEY_VALID", data=told.KeyTold, example=told.KEY)},
    ("get", "/v1/engines"): {
        200: _answer("ENGINES_RETRIEVED", data=list[told.EngineTold], example=[told.ENGINE]),
    },
    ("get", "/v1/engines/{engine_id}/files"): {200: _file("application/zip")},
    ("post", "/v1/jobs"): {201: _answer("JOB_CREATED", data=told.JobTold, example=_JOB)},
    ("get", "/v1/jobs"): {
        200: _answer("JOBS_RETRIEVED", data=list[told.JobTold] | told.JobsTold, example=[told.JOB]),
    },
    ("get", _JOB_PATH): {200: _answer("JOB_RETRIEVED", data=told.JobTold, example=_JOB)},
    ("patch", _JOB_PATH): {
        200: _answer(
            "JOB_UPDATED",
            "JOB_CANCELLED",
            "JOB_COMPLETED",
            "JOB_ALREADY_COMPLETED",
            "JOB_MARKED_ERROR",
            "JOB_ALREADY_MARKED_ERROR",
            data=told.LeaseTold | None,
            example=told.LEASE,
        ),
    },
    ("delete", _JOB_PATH): {204: _NOTHING},
    ("get", f"{_JOB_PATH}/pages"): {
        200: _answer("PAGES_RETRIEVED", data=told.PagesTold, example={"items": [told.PAGE], "next": None}),
    },
    ("get", f"{_JOB_PATH}/pages/{{name}}/results/{{kind}}"): {200: _file("*/*", "one line"), 304: _NOTHING},
    ("get", f"{_JOB_PATH}/pages/{{name}}/image"): {200: _file("image/jpeg")},
    ("post", f"{_JOB_PATH}/retry"): {202: _answer("JOB_RETRIED", data=told.RetriedTold, example={"pages": 3})},
    ("get", f"{_JOB_PATH}/result"): {
        200: _file("application/zip"),
        503: Answer(
            media="application/json",
            example={
                "status": 503,
                "code": "PDF_LATER",
                "detail": "Other jobs' PDFs are being made: please try again.",
            },
        ),
    },
    ("get", f"{_JOB_PATH}/events"): {
        200: _file("text/event-stream", 'id: 7\nevent: job.state\ndata: {"state": "done"}\n\n'),
    },
    ("get", "/v1/events"): {
        200: _file("text/event-stream", 'id: 7\nevent: job.state\ndata: {"state": "done"}\n\n'),
    },
    ("put", f"{_IMAGES}/{{image}}/files/image"): {
        201: _answer(_UPLOADED["IMAGE"][0]),
        200: _answer(_UPLOADED["IMAGE"][1]),
    },
    ("put", f"{_IMAGES}/{{image}}/files/alto"): {
        201: _answer(_UPLOADED["ALTO"][0]),
        200: _answer(_UPLOADED["ALTO"][1]),
    },
    ("put", f"{_IMAGES}/{{image}}/files/page"): {
        201: _answer(_UPLOADED["PAGE"][0]),
        200: _answer(_UPLOADED["PAGE"][1]),
    },
    ("put", f"{_JOB_PATH}/files/metadata"): {
        201: _answer(_UPLOADED["META_JSON"][0]),
        200: _answer(_UPLOADED["META_JSON"][1]),
    },
    ("get", f"{_IMAGES}/{{image}}/files/image"): {200: _file("image/*")},
    ("get", f"{_IMAGES}/{{image}}/files/alto"): {200: _file("application/xml", "<alto/>")},
    ("get", f"{_IMAGES}/{{image}}/files/page"): {200: _file("application/xml", _XML)},
    ("get", f"{_JOB_PATH}/files/metadata"): {200: Answer(media="application/json", example={"shelf": 7})},
    ("post", "/v1/jobs/lease"): {
        200: _answer("JOB_LEASED", "JOB_QUEUE_EMPTY", data=told.LeaseTold | None, example=told.LEASE),
    },
    ("patch", f"{_JOB_PATH}/lease"): {
        200: _answer("JOB_LEASE_EXTENDED", data=told.LeaseTold, example=told.LEASE),
    },
    ("delete", f"{_JOB_PATH}/lease"): {204: _NOTHING},
    ("post", f"{_JOB_PATH}/result"): {
        201: _answer("JOB_RESULT_UPLOADED"),
        200: _answer("JOB_RESULT_REUPLOADED"),
    },
    ("post", f"{_JOB_PATH}/artifacts"): {
        201: _answer("JOB_ARTIFACTS_UPLOADED"),
        200: _answer("JOB_ARTIFACTS_REUPLOADED"),
    },
    ("options", "/v1/uploads"): {204: _NOTHING},
    ("post", "/v1/uploads"): {201: _NOTHING},
    ("head", "/v1/uploads/{upload_id}"): {200: _NOTHING},
    ("patch", "/v1/uploads/{upload_id}"): {204: _NOTHING},
    ("delete", "/v1/uploads/{upload_id}"): {204: _NOTHING},
    ("get", "/v1/usage"): {
        200: _answer("USAGE_RETRIEVED", data=told.UsagesTold, example={"items": [told.USAGE], "next": None}),
    },
    ("post", "/v1/webhooks/secret"): {
        201: _answer("WEBHOOK_SECRET_CREATED", data=told.SecretTold, example={"secret": "whsec_..."}),
    },
    ("get", "/v1/webhooks/deliveries"): {
        200: _answer(
            "DELIVERIES_RETRIEVED", data=told.DeliveriesTold, example={"items": [told.DELIVERY], "next": None}
        ),
    },
    ("post", "/v1/admin/keys"): {
        201: _answer("KEY_CREATED", data=told.SecretTold, example={"secret": "pero.abcd.secret"}),
    },
    ("get", "/v1/admin/keys"): {200: _answer("KEYS_RETRIEVED", data=list[told.KeyTold], example=[told.KEY])},
    ("patch", "/v1/admin/keys/{label}"): {200: _answer("KEY_UPDATED")},
    ("post", "/v1/admin/keys/{label}/secret"): {
        201: _answer("KEY_SECRET_CREATED", data=told.SecretTold, example={"secret": "pero.abcd.secret"}),
    },
    ("post", "/v1/admin/engines"): {201: _answer("ENGINE_CREATED")},
    ("patch", "/v1/admin/engines/{name}/{version}"): {200: _answer("ENGINE_UPDATED")},
    ("put", "/v1/admin/engines/{name}/{version}/files"): {
        201: _answer("ENGINE_FILES_UPLOADED"),
        200: _answer("ENGINE_FILES_REUPLOADED"),
    },
    ("get", "/v1/admin/jobs/{job_id}/artifacts"): {200: _file("application/zip")},
    ("patch", "/v1/admin/jobs/{job_id}"): {200: _answer("JOB_UPDATED")},
}
_REFUSAL = {
    "description": "The request was refused: `code` says why for programs, `detail` for people.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["status", "code", "detail"],
                "properties": {
                    "status": {"type": "integer"},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                    "details": {"description": "Where in the request the problem is, or what else is known."},
                },
            },
            "example": {"status": 404, "code": "JOB_NOT_FOUND", "detail": "There is no such job."},
        }
    },
}


def describe(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Returns a replacement for `app.openapi`: FastAPI's own description with the answers of this table."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _filled(plain())
        return app.openapi_schema

    return openapi


def _filled(schema: dict[str, Any]) -> dict[str, Any]:
    components = schema.setdefault("components", {})
    components.setdefault("responses", {})["Refusal"] = _REFUSAL
    models = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own error format, which we do not use.
        models.pop(name, None)
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            answers = ANSWERS.get((method, path), {})
            responses: dict[str, Any] = {str(status): _response(status, one, models) for status, one in answers.items()}
            if path not in _KEYLESS:
                responses["4XX"] = {"$ref": "#/components/responses/Refusal"}
            operation["responses"] = responses
            describe_request(method, path, operation, models)
    return schema


def _response(status: int, answer: Answer, models: dict[str, Any]) -> dict[str, Any]:
    if answer.media:
        content: dict[str, Any] = {"schema": {} if answer.media == "application/json" else {"type": "string"}}
        if answer.example is not None:
            content["example"] = answer.example
        return {"description": "The content itself.", "content": {answer.media: content}}
    if not answer.codes:
        return {"description": "Only headers, no body."}
    properties: dict[str, Any] = {
        "status": {"const": status},
        "code": {"enum": list(answer.codes)},
        "detail": {"type": "string"},
    }
    example: dict[str, Any] = {"status": status, "code": answer.codes[0], "detail": "A sentence for people."}
    if answer.data is None:
        properties["data"] = {"type": "null"}
    else:
        found = TypeAdapter(answer.data).json_schema(mode="serialization", by_alias=True, ref_template=_REF)
        models.update(found.pop("$defs", {}))
        if "properties" in found:  # A model on its own comes without a name.
            models[answer.data.__name__] = found
            found = {"$ref": _REF.format(model=answer.data.__name__)}
        properties["data"] = found
        example["data"] = answer.example
    envelope = {
        "type": "object",
        "required": ["status", "code", "detail"],
        "properties": properties,
        "additionalProperties": False,
    }
    return {
        "description": " or ".join(f"`{code}`" for code in answer.codes),
        "content": {"application/json": {"schema": envelope, "example": example}},
    }
