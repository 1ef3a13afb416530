"""Records that pass between the rooms while pages are processed; `ports.py` says which room takes and returns them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pero_worker.page import Image, Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message in hand."""

    tag: int
    """The broker's own number for it."""
    queue: str
    """The queue that it came from."""
    body: bytes
    """As it came."""
    attempts: int = 0
    """Earlier deliveries during which the worker died without a word, where the broker counts them."""
    redelivered: bool = False
    """Whether another worker had it before, of which it is not known how far it got."""
    traceparent: str = ""
    """The place in a trace that came with it, and goes on with what becomes of it (W3C); '' = none."""
    bytes_beside: int = 0
    """Of payloads that the message refers to."""

    @property
    def weight(self) -> int:
        """Bytes that it takes, with all that belongs to it."""
        return len(self.body) + self.bytes_beside


class QueueKind(StrEnum):
    """How a broker of several nodes keeps a queue."""

    CLASSIC = "classic"
    """On one node, as upstream declares it."""
    QUORUM = "quorum"
    """On several nodes, the majority of which must be there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """What a broker knows of a queue at this moment."""

    messages: int
    """Those that are ready; not those in hand."""
    consumers: int
    """Who take messages from it."""


class WorkerStatus(StrEnum):
    """Names of the statuses a worker reports (upstream's words)."""

    STARTING = "STARTING"
    CONFIGURING = "CONFIGURING"
    IDLE = "IDLE"
    PROCESSING = "PROCESSING"
    CONFIGURATION_FAILED = "CONFIGURATION_FAILED"
    MQ_CONNECTION_FAILED = "MQ_CONNECTION_FAILED"
    PROCESSING_FAILED = "PROCESSING_FAILED"
    DEAD = "DEAD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a worker should do."""

    stages: tuple[str, ...] = ()
    """The stages to hold."""
    enabled: bool = True
    """False: stop."""
    revision: int = 0
    """A new one asks to try again what failed."""
    cancelled: frozenset[str] = frozenset()
    """Jobs of which no page is to be processed, by `wire.tree.job_node`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInput:
    """A page as an engine sees it."""

    name: str
    """The image's file name."""
    size: int
    """Length of the encoded image in bytes."""
    image: Image | None = None
    """None only for engines with needs_image = False."""
    page: Page | None = None
    """The layout or text that the stages before found, if any."""
    logits: bytes | None = None
    """What the stages before left, as pero-ocr writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOutput:
    """What an engine made of a page; None = nothing new."""

    page: Page | None = None
    """What is on it; None: nothing new."""
    logits: bytes | None = None
    """pero-ocr's file of logits; None: nothing new."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each phase took, by its name."""


class Rotate(StrEnum):
    """What becomes of pages whose text lies sideways or upside down."""

    AUTO = "auto"
    """They are turned for the engine."""
    OFF = "off"
    """They are read as they lie."""
