"""The data in v1's replies, for OpenAPI. Users do not get fields without a value, so few fields are required."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from pero_worker.gateway.keys import Role
from pero_worker.gateway.states import PageState, ProcessingState
from pero_worker.jobs.costs import Basis

JOB_ID = "5f0f4f2e-6d0e-4a53-9d5c-2f1a8f0c7b11"
_TIME = "2026-01-31T12:00:00+00:00"


class Told(BaseModel):
    """Data of a reply, with no fields beyond those described."""

    model_config = ConfigDict(extra="forbid", title=None)


class ImageTold(Told):
    """An image of a job."""

    id: UUID | None = Field(None, description="Workers fetch it by this id.")
    name: str = Field(examples=["page_001.jpg"])
    order: int
    image_uploaded: bool
    alto_uploaded: bool
    page_uploaded: bool


class JobTold(Told):
    """A job."""

    id: UUID = Field(examples=[JOB_ID])
    state: ProcessingState
    progress: float = Field(ge=0, le=1)
    previous_attempts: int | None = None
    meta_json_uploaded: bool
    meta_json_required: bool
    alto_required: bool
    page_required: bool
    created_date: AwareDatetime = Field(examples=[_TIME])
    started_date: AwareDatetime | None = None
    last_change: AwareDatetime
    finished_date: AwareDatetime | None = None
    deadline: AwareDatetime | None = None
    log: str | None = Field(None, description="For workers and administrators.")
    log_user: str | None = Field(None, description="What the owner is told.")
    engine_name: str | None = Field(None, examples=["print-latin"])
    engine_version: str | None = None
    engine_id: UUID | None = None
    engine_files_updated: AwareDatetime | None = None
    engine_definition: dict[str, Any] | None = None
    name: str | None = Field(None, examples=["Box 7"])
    labels: dict[str, str] | None = None
    document: dict[str, str] | None = Field(None, description="The IIIF manifest or METS that lists the pages.")
    priority: int
    pages: int
    pages_open: int = Field(description="How many pages are not final yet.")
    pages_failed: int
    images: list[ImageTold] | None = Field(None, description="Left out of lists of jobs.")


class JobsTold(Told):
    """One page of a list of jobs."""

    items: list[JobTold]
    next: int | None = Field(None, description="The `cursor` of the next page.")


class ErrorTold(Told):
    """Why a page failed."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, title=None)
    kind: str = Field(alias="class", examples=["INVALID_FILE"])
    message: str | None


class ResultTold(Told):
    """A result of a page."""

    format: str = Field(examples=["alto"])
    href: str
    bytes: int
    sha256: str


class PageTold(Told):
    """A page, and what became of it."""

    name: str = Field(examples=["page_001.jpg"])
    order: int
    state: PageState
    stage: str | None = Field(description="The stage that has the page, or had it last; null if not known.")
    attempts: int
    quality: float | None = Field(description="How likely a letter is to be right, in percent.")
    worst_line: float | None
    lines: int | None
    engine: str | None
    worker: str | None
    seconds: dict[str, float] | None = Field(description="How long each phase of the work took.")
    worker_seconds: float
    energy_joules: float | None
    energy_is: Basis
    cost: float | None
    currency: str | None
    finished: AwareDatetime | None
    error: ErrorTold | None
    results: list[ResultTold]


class PagesTold(Told):
    """Some pages of a job."""

    items: list[PageTold]
    next: str | None = Field(description="The `cursor` of the next pages.")


class RetriedTold(Told):
    """How many pages are retried."""

    pages: int


class LeaseTold(Told):
    """A job that a worker has leased."""

    id: UUID
    lease_expire_at: AwareDatetime
    server_time: AwareDatetime


class EngineTold(Told):
    """An engine; the fields from `id` on are for administrators."""

    name: str = Field(examples=["print-latin"])
    version: str
    description: str | None = None
    default: bool
    id: UUID | None = None
    active: bool | None = None
    created_date: AwareDatetime | None = None
    last_used: AwareDatetime | None = None
    files_updated: AwareDatetime | None = None
    definition: dict[str, Any] | None = None


class KeyTold(Told):
    """A key; where limits are shown, null means no limit."""

    id: UUID
    label: str = Field(examples=["reading-room"])
    role: Role
    active: bool
    created_date: AwareDatetime
    last_used: AwareDatetime | None
    quota_pages_per_day: int | None = None
    quota_pages_waiting: int | None = None
    requests_per_minute: int | None = None
    max_upload_mb: float | None = None
    share: float | None = None
    expires: AwareDatetime | None = None


class SecretTold(Told):
    """A secret, which is shown only once."""

    secret: str


class UsageTold(Told):
    """The usage of one day, engine, key or job."""

    day: str | None = None
    engine: str | None = None
    key: str | None = None
    job: UUID | None = None
    pages: int
    failed: int
    worker_seconds: float
    image_bytes: int
    energy_joules: float | None
    energy_is: Basis
    cost: float | None
    currency: str | None


class UsagesTold(Told):
    """A list of usage by day, engine, key or job."""

    items: list[UsageTold]
    next: None


class DeliveryTold(Told):
    """A webhook delivery, and how it went."""

    id: str
    job: UUID
    url: str
    state: str = Field(examples=["delivered"])
    attempts: int
    status: int | None
    error: str | None
    created: AwareDatetime
    next: AwareDatetime | None


class DeliveriesTold(Told):
    """Webhook deliveries, newest first."""

    items: list[DeliveryTold]
    next: int | None


JOB = {
    "id": JOB_ID,
    "state": "processing",
    "progress": 0.5,
    "meta_json_uploaded": False,
    "meta_json_required": False,
    "alto_required": False,
    "page_required": False,
    "created_date": _TIME,
    "last_change": _TIME,
    "engine_name": "print-latin",
    "engine_version": "v3",
    "name": "Box 7",
    "priority": 0,
    "pages": 2,
    "pages_open": 1,
    "pages_failed": 0,
}
IMAGE = {"name": "page_001.jpg", "order": 0, "image_uploaded": True, "alto_uploaded": False, "page_uploaded": False}
PAGE = {
    "name": "page_001.jpg",
    "order": 0,
    "state": "done",
    "stage": "print-latin",
    "attempts": 1,
    "quality": 98.4,
    "worst_line": 81.2,
    "lines": 37,
    "engine": "pero-ocr 0.7.0",
    "worker": "local-1",
    "seconds": {"read": 0.05, "total": 0.9},
    "worker_seconds": 0.9,
    "energy_joules": 21.5,
    "energy_is": "measured",
    "cost": 0.0000018,
    "currency": "EUR",
    "finished": _TIME,
    "error": None,
    "results": [
        {
            "format": "text",
            "href": f"/v1/jobs/{JOB_ID}/pages/page_001.jpg/results/text",
            "bytes": 1200,
            "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        }
    ],
}
USAGE = {
    "day": "2026-01-31",
    "pages": 420,
    "failed": 2,
    "worker_seconds": 391.5,
    "image_bytes": 398000000,
    "energy_joules": None,
    "energy_is": "unknown",
    "cost": None,
    "currency": None,
}
KEY = {
    "id": "0a3cbb0e-93d7-4f6f-9a4d-4f2f9c1d2e33",
    "label": "reading-room",
    "role": "user",
    "active": True,
    "created_date": _TIME,
    "last_used": None,
}
ENGINE = {"name": "print-latin", "version": "v3", "description": "Latin print", "default": True}
LEASE = {"id": JOB_ID, "lease_expire_at": _TIME, "server_time": _TIME}
DELIVERY = {
    "id": "msg_1",
    "job": JOB_ID,
    "url": "https://example.org/hook",
    "state": "delivered",
    "attempts": 1,
    "status": 200,
    "error": None,
    "created": _TIME,
    "next": None,
}
