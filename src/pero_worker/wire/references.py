"""References to content in the cluster's payload store: `payload:STORE/HOUR/NAME?bytes=N&sha256=HEX`.

They name neither host nor path: each program knows by itself where the store is. Anything in another form is not a
reference, and no program follows it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from pero_worker.wire.queues import MAX_MESSAGE_BYTES

SCHEME = "payload:"
_FORM = re.compile(
    r"payload:(?P<store>[0-9a-f]{8})/(?P<key>[0-9]{10}/[0-9a-f]{32})"
    r"\?bytes=(?P<size>[0-9]{1,10})&sha256=(?P<digest>[0-9a-f]{64})"
)
HOUR_FORM = "%Y%m%d%H"
HOUR = re.compile(r"[0-9]{10}")
NAME = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadReference:
    """Where a piece of content is stored, and what it is."""

    store: str
    """The store that it is in, as marked by `store_mark`."""
    key: str
    """Its folder and its name there."""
    size: int
    """Its size in bytes."""
    digest: str
    """Its SHA-256 in hexadecimal."""

    def __str__(self) -> str:
        return f"{SCHEME}{self.store}/{self.key}?bytes={self.size}&sha256={self.digest}"

    def fits(self, content: bytes) -> bool:
        """Whether `content` is what was stored."""
        return len(content) == self.size and hashlib.sha256(content).hexdigest() == self.digest


def parse_reference(text: str) -> PayloadReference | None:
    """Returns the reference; None if `text` is not one, or is one to more than a message could hold."""
    found = _FORM.fullmatch(text) if text.startswith(SCHEME) else None
    if found is None or int(found["size"]) > MAX_MESSAGE_BYTES:
        return None
    return PayloadReference(store=found["store"], key=found["key"], size=int(found["size"]), digest=found["digest"])


def store_mark(url: str) -> str:
    """Returns a mark that tells the store at `url` from others."""
    return hashlib.sha256(url.encode()).hexdigest()[:8]
