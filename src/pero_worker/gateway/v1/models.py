"""The bodies of requests to v1."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from pero_worker.formats import PageFormat, installed_formats
from pero_worker.gateway.keys import Role
from pero_worker.gateway.names import LINE_PATTERN, PAGE_NAME_PATTERN, page_name_fault, storable, text_fault
from pero_worker.gateway.states import ProcessingState
from pero_worker.gateway.v1.replies import seconds_of

_INT = 2**31 - 1
PDF = "pdf"
"""A format that is made on request, so a job need not name it beforehand."""


def _line(text: str) -> str:
    if text_fault(text):
        raise ValueError(text_fault(text))
    return text


def _stored(text: str) -> str:
    if not storable(text):
        raise ValueError("there are characters in it that cannot be stored")
    return text


def _page_name(name: str) -> str:
    if page_name_fault(name):
        raise ValueError(page_name_fault(name))
    return name


def _when(time: datetime) -> datetime:
    if not 1971 <= time.year <= 9000:
        raise ValueError("the year is out of range")
    return time


_LINE = {"pattern": LINE_PATTERN}
"""For readers of the API description; the validator says in words what is wrong."""
Label = Annotated[str, Field(min_length=1, max_length=255, json_schema_extra=_LINE), AfterValidator(_line)]
Text = Annotated[str, Field(max_length=100_000), AfterValidator(_stored)]
PageName = Annotated[
    str,
    Field(max_length=255, examples=["page_001.jpg"], json_schema_extra={"pattern": PAGE_NAME_PATTERN}),
    AfterValidator(_page_name),
]
Time = Annotated[datetime, AfterValidator(_when)]
Url = Annotated[
    str, Field(max_length=4000, pattern=r"^https?://", examples=["https://example.org/scan.jpg"]), AfterValidator(_line)
]
Part = Annotated[float, Field(allow_inf_nan=False)]


def _one_of(given: str, kind: str, missing: str) -> dict[str, Any]:
    return {"required": [given], "properties": {given: {"type": kind}, missing: {"type": "null"}}}


class Model(BaseModel):
    """Refuses unknown fields: a typo must not silently become a default."""

    model_config = ConfigDict(extra="forbid")


def _some_formats(names: list[str] | None) -> list[str] | None:
    known = {name for name, form in installed_formats().items() if isinstance(form, PageFormat)} | {PDF}
    for name in names or ():
        if name not in known:
            raise ValueError(f"choose from {', '.join(sorted(known))}")
    return names


class NewImage(Model):
    """A page of a job; its scan is uploaded, or fetched from `url`."""

    name: PageName
    order: Annotated[int, Field(ge=-_INT, le=_INT, examples=[1])]
    url: Url | None = None


class Webhook(Model):
    """The address that is notified when a job ends; without `events`, however it ends."""

    url: Url
    events: Annotated[list[Literal["job.done", "job.failed", "job.cancelled"]] | None, Field(max_length=3)] = None


class ListedDocument(Model):
    """A document that lists the pages of a job, fetched from one of these addresses."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"oneOf": [_one_of("iiif", "string", "mets"), _one_of("mets", "string", "iiif")]},
    )

    iiif: Annotated[Url | None, Field(examples=["https://iiif.example.org/book/manifest.json"])] = None
    mets: Url | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.iiif is None) == (self.mets is None):
            raise ValueError("give the address of a IIIF manifest or of a METS")
        return self


class JobDefinition(Model):
    """A job to create; it starts by itself with the last upload that it requires, or once the gateway has read the
    document that lists its pages."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"oneOf": [_one_of("images", "array", "document"), _one_of("document", "object", "images")]},
    )
    images: Annotated[list[NewImage] | None, Field(description="Required unless there is a document.")] = None
    document: ListedDocument | None = None
    meta_json_required: bool = False
    alto_required: bool = False
    page_required: bool = False
    engine_name: Annotated[Label | None, Field(examples=["print-latin"])] = None
    engine_version: Label | None = None
    name: Annotated[Label | None, Field(examples=["Box 7"])] = None
    formats: Annotated[
        list[str] | None, Field(max_length=20, examples=[["page", "alto", "text"]]), AfterValidator(_some_formats)
    ] = None
    priority: Annotated[int, Field(ge=-1, le=1)] = 0
    labels: Annotated[dict[Label, Label] | None, Field(max_length=50)] = None
    webhook: Webhook | None = None
    deadline: Annotated[Time | None, Field(description="Jobs due sooner go first; pages not done by then fail.")] = None
    expires_after_days: Annotated[float | None, Field(gt=0, le=3650)] = None

    @model_validator(mode="after")
    def _pages_from_one_place(self) -> Self:
        if self.document is not None and (self.images or self.alto_required or self.page_required):
            raise ValueError("the document lists the images, and nothing is uploaded")
        return self


class Retry(Model):
    """Which failed pages to retry; all if none are named."""

    pages: Annotated[list[PageName] | None, Field(max_length=20_000)] = None


class JobProgress(Model):
    """Changes to a job by its owner or its worker."""

    state: ProcessingState | None = None
    progress: Annotated[Part | None, Field(examples=[0.5])] = None
    log: Text | None = None
    log_user: Text | None = None


class JobForced(BaseModel):
    """Changes to a job by an administrator."""

    state: ProcessingState | None = None
    progress: Part | None = None
    previous_attempts: Annotated[int | None, Field(ge=0, le=_INT)] = None
    meta_json_uploaded: bool | None = None
    meta_json_required: bool | None = None
    alto_required: bool | None = None
    page_required: bool | None = None
    created_date: Time | None = None
    started_date: Time | None = None
    last_change: Time | None = None
    finished_date: Time | None = None
    log: Text | None = None
    log_user: Text | None = None


class KeyLimits(Model):
    """What a key may use; null means no limit."""

    quota_pages_per_day: Annotated[int | None, Field(ge=1, le=_INT, examples=[2000])] = None
    quota_pages_waiting: Annotated[int | None, Field(ge=1, le=_INT)] = None
    requests_per_minute: Annotated[int | None, Field(ge=1, le=_INT)] = None
    max_upload_mb: Annotated[int | None, Field(ge=1, le=1_000_000, description="The maximum per upload.")] = None
    share: Annotated[
        float | None,
        Field(ge=0.001, le=1000, allow_inf_nan=False, description="The share of the workers' time; null means 1."),
    ] = None
    expires: Annotated[Time | None, Field(description="When the key stops being valid.")] = None

    def columns(self) -> dict[str, object]:
        """Returns the limits that were given, as database columns."""
        said = self.model_dump(exclude_unset=True, include=set(KeyLimits.model_fields))
        stored: dict[str, object] = {}
        for name, value in said.items():
            if name == "max_upload_mb":
                stored["max_upload"] = None if value is None else value * 1_000_000
            elif name == "expires":
                stored["expires"] = None if value is None else seconds_of(value)
            elif name == "share":
                stored["share"] = 1.0 if value is None else value
            else:
                stored[name.removeprefix("quota_")] = value
        return stored


class NewKey(KeyLimits):
    """A key to create."""

    label: Label
    role: Role


class KeyChange(KeyLimits):
    """Changes to a key."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1})

    label: Label | None = None
    role: Role | None = None
    active: bool | None = None


class NewEngine(Model):
    """An engine for workers that lease jobs."""

    name: Label
    version: Label
    description: Text
    definition: dict[str, Any]
    default: bool | None = False
    active: bool | None = True


class EngineChange(Model):
    """Changes to an engine."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1})

    name: Label | None = None
    version: Label | None = None
    description: Text | None = None
    definition: dict[str, Any] | None = None
    default: bool | None = None
    active: bool | None = None
