"""References to contents that lie in the cluster's payload store: `payload:STORE/HOUR/NAME?bytes=N&sha256=HEX`.

They say neither host nor path: where the store is, each program knows by itself. What has any other form is no
reference, and is followed by nobody.
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
    """Where a content lies, and what it is."""

    store: str
    """Which store, as `store_mark` tells."""
    key: str
    """Its folder and its name there."""
    size: int
    """Bytes."""
    digest: str
    """SHA-256, hexadecimal."""

    def __str__(self) -> str:
        return f"{SCHEME}{self.store}/{self.key}?bytes={self.size}&sha256={self.digest}"

    def fits(self, content: bytes) -> bool:
        """Whether it is what was stored."""
        return len(content) == self.size and hashlib.sha256(content).hexdigest() == self.digest


def parse_reference(text: str) -> PayloadReference | None:
    """None: it is none, or of more than a message could hold."""
    found = _FORM.fullmatch(text) if text.startswith(SCHEME) else None
    if found is None or int(found["size"]) > MAX_MESSAGE_BYTES:
        return None
    return PayloadReference(store=found["store"], key=found["key"], size=int(found["size"]), digest=found["digest"])


def store_mark(url: str) -> str:
    """What tells the store at `url` from others."""
    return hashlib.sha256(url.encode()).hexdigest()[:8]
