"""Pure: API keys: what they look like, and what is stored of them."""

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
    """What a key may do: `admin` everything; `worker` may also process jobs; `readonly` may only look."""

    READONLY = "readonly"
    USER = "user"
    WORKER = "worker"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as the gateway knows it, without its secret."""

    id: str
    """The id of the key."""
    label: str
    """What people call the key."""
    role: Role
    """What the key may do."""
    active: bool
    """Whether the key has not been revoked."""
    created: float
    """When the key was created, in seconds since 1970."""
    last_used: float | None = None
    """When the key was last used, in seconds since 1970; None if never."""
    expires: float | None = None
    """When the key expires, in seconds since 1970; None if never."""
    share: float = 1.0
    """The key's share of the workers' time, relative to other keys."""
    pages_per_day: int | None = None
    """How many pages a day the key may submit; None means no limit."""
    pages_waiting: int | None = None
    """How many pages of all its jobs together may wait; None means no limit."""
    requests_per_minute: int | None = None
    """How many requests a minute the key may make; None means no limit."""
    max_upload: int | None = None
    """The maximum size of one upload, in bytes; None means the gateway's limit."""

    def counts_at(self, now: float) -> bool:
        """Returns whether the key is valid: neither revoked nor expired."""
        return self.active and (self.expires is None or self.expires > now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """What is stored of a key's text: `kid` identifies it, or `whole` if the text was brought along."""

    kid: str | None
    salt: str
    """The salt of the hash, in hexadecimal digits."""
    digest: str
    """The hash, in hexadecimal digits."""
    whole: str | None


def make_key(prefix: str, random_bytes: Callable[[int], bytes], server_secret: str) -> tuple[str, Secret]:
    """Returns a new key's text, to be shown once, and what is stored of it."""
    kid, secret = _letters(random_bytes(6)), _letters(random_bytes(30))
    salt = random_bytes(16).hex()
    return f"{prefix}.{kid}.{secret}", Secret(
        kid=kid, salt=salt, digest=_digest(server_secret, salt, secret), whole=None
    )


def keep_whole(text: str, random_bytes: Callable[[int], bytes], server_secret: str) -> Secret:
    """Returns what is stored of a key that was made elsewhere, whatever its form."""
    salt = random_bytes(16).hex()
    return Secret(kid=None, salt=salt, digest=_digest(server_secret, salt, text), whole=whole_of(text, server_secret))


def split(text: str) -> tuple[str, str] | None:
    """Returns the `kid` and the secret of a text, if it has the form of our keys."""
    found = _FORM.fullmatch(text)
    return (found[1], found[2]) if found else None


def whole_of(text: str, server_secret: str) -> str:
    """Returns the HMAC by which a key that was brought along is looked up."""
    return hmac.new(f"{server_secret}whole".encode(), text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def matches(text: str, secret: Secret, server_secret: str) -> bool:
    """Returns whether `text` is the key that `secret` was derived from, in a time that does not depend on the
    answer."""
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
