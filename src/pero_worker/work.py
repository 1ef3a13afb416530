"""Records that pass between packages while pages are processed; `ports.py` says which one takes and returns them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pero_worker.page import Image, Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message that was received and not yet settled."""

    tag: int
    """The broker's own number for the message."""
    queue: str
    """The queue that the message came from."""
    body: bytes
    """The message's bytes, unchanged."""
    attempts: int = 0
    """Earlier deliveries during which the worker died without a word, if the broker counts them."""
    redelivered: bool = False
    """Whether another worker had the message before; how far it got is not known."""
    traceparent: str = ""
    """The place in a trace that came with the message and is passed on with its outcome (W3C); '' = none."""
    bytes_beside: int = 0
    """Size of the payloads that the message refers to."""

    @property
    def weight(self) -> int:
        """Bytes that the message takes, with everything that belongs to it."""
        return len(self.body) + self.bytes_beside


class QueueKind(StrEnum):
    """How a broker with several nodes keeps a queue."""

    CLASSIC = "classic"
    """The queue is kept on one node, as upstream declares it."""
    QUORUM = "quorum"
    """The queue is kept on several nodes, of which the majority must be up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """What a broker knows about a queue at this moment."""

    messages: int
    """Number of messages that are ready, without those in hand."""
    consumers: int
    """Number of consumers that take messages from the queue."""


class WorkerStatus(StrEnum):
    """Names of the statuses that a worker reports (upstream's words)."""

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
    """False: the worker should stop."""
    revision: int = 0
    """A new number asks the worker to try again what failed."""
    cancelled: frozenset[str] = frozenset()
    """Jobs whose pages must not be processed, named as by `wire.tree.job_node`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInput:
    """A page as an engine sees it."""

    name: str
    """The image's file name."""
    size: int
    """Length of the encoded image in bytes."""
    image: Image | None = None
    """The decoded image; None only for engines with needs_image = False."""
    page: Page | None = None
    """The layout or text that earlier stages found, if any."""
    logits: bytes | None = None
    """Logits that earlier stages left, as pero-ocr writes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOutput:
    """What an engine made of a page; None = nothing new."""

    page: Page | None = None
    """What is on the page; None: nothing new."""
    logits: bytes | None = None
    """Logits as pero-ocr writes them to a file; None: nothing new."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each phase took, by its name."""


class Rotate(StrEnum):
    """What happens to pages whose text lies sideways or upside down."""

    AUTO = "auto"
    """They are turned for the engine."""
    OFF = "off"
    """They are read as they lie."""
