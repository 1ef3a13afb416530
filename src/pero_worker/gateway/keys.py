"""API keys: what they look like, and what is kept of them. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

_FORM = re.compile(r"[^.\s]{1,32}\.([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{1,256})")
MAX_KEY_LENGTH = 512


class Role(StrEnum):
    """`admin` may do everything; `worker` may also work off jobs; `readonly` only look."""

    READONLY = "readonly"
    USER = "user"
    WORKER = "worker"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as the gateway knows it; its secret is nowhere."""

    id: str
    """Public part of the key."""
    label: str
    """What people call it."""
    role: Role
    """What it may do."""
    active: bool
    """Not revoked."""
    created: float
    """When it was made, in seconds since 1970."""
    last_used: float | None = None
    """Seconds since 1970."""
    expires: float | None = None
    """Seconds since 1970; None: never."""
    share: float = 1.0
    """Of the workers' time, beside other keys."""
    pages_per_day: int | None = None
    """None: no limit."""
    pages_waiting: int | None = None
    """Of all its jobs together; None: no limit."""
    requests_per_minute: int | None = None
    """None: no limit."""
    max_upload: int | None = None
    """Bytes of one upload."""

    def counts_at(self, now: float) -> bool:
        """Whether it opens anything: it was not revoked, and has not run out."""
        return self.active and (self.expires is None or self.expires > now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """What is stored of a key's text: `kid` names it, or `whole` does when the text was brought along."""

    kid: str | None
    salt: str
    """Of the hash, in hexadecimal digits."""
    digest: str
    """The hash, in hexadecimal digits."""
    whole: str | None


def make_key(prefix: str, random_bytes: Callable[[int], bytes], server_secret: str) -> tuple[str, Secret]:
    """A new key's text, to be shown once, and what is kept of it."""
    kid, secret = _letters(random_bytes(6)), _letters(random_bytes(30))
    salt = random_bytes(16).hex()
    return f"{prefix}.{kid}.{secret}", Secret(
        kid=kid, salt=salt, digest=_digest(server_secret, salt, secret), whole=None
    )


def keep_whole(text: str, random_bytes: Callable[[int], bytes], server_secret: str) -> Secret:
    """What is kept of a key of any form that was made elsewhere."""
    salt = random_bytes(16).hex()
    return Secret(kid=None, salt=salt, digest=_digest(server_secret, salt, text), whole=whole_of(text, server_secret))


def split(text: str) -> tuple[str, str] | None:
    """The name of the key and its secret, if it has the form of ours."""
    found = _FORM.fullmatch(text)
    return (found[1], found[2]) if found else None


def whole_of(text: str, server_secret: str) -> str:
    """What a key that was brought along is looked up by."""
    return hmac.new(f"{server_secret}whole".encode(), text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def matches(text: str, secret: Secret, server_secret: str) -> bool:
    """Whether `text` is the key that `secret` was kept of; takes as long whatever the answer."""
    parts = split(text) if secret.kid else None
    expected = _digest(server_secret, secret.salt, parts[1] if parts else text)
    return hmac.compare_digest(expected, secret.digest)


def new_id() -> str:
    return str(uuid.uuid4())


def _digest(server_secret: str, salt: str, secret: str) -> str:
    message = secret.encode("utf-8", "surrogatepass")
    return hmac.new(f"{server_secret}{salt}".encode(), message, hashlib.sha256).hexdigest()


def _letters(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
