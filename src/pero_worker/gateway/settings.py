"""The settings that an operator may change."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pero_worker.jobs.costs import Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """The settings of a gateway. Sizes are in bytes, times in seconds."""

    data: Path
    """The folder for scans and results, and for the database if it is SQLite."""
    database: str = ""
    """The URL of the database as SQLAlchemy writes it; '' means SQLite in the data folder."""
    host: str = "127.0.0.1"
    """The address that the gateway listens on."""
    port: int = 8000
    """The port that the gateway listens on; 0 means any free one."""
    realm: str = "pero-worker"
    """The realm named to clients that send no key."""
    key_prefix: str = "pero"
    """The prefix of new keys."""
    lease_seconds: float = 300.0
    """How long after the last sign of life of its worker a lease ends."""
    lease_grace: float = 10.0
    """How long after the end of a lease its job is given to another worker."""
    max_attempts: int = 3
    """How many times a page is tried."""
    max_upload: int = 500_000_000
    """The maximum size of an uploaded file."""
    max_json: int = 16_000_000
    """The maximum size of a JSON body."""
    max_pages: int = 20_000
    """The maximum number of pages in a job."""
    retention_days: float = 7.0
    """How many days after a job's end its results are removed."""
    legacy_strict: bool = False
    """Whether the legacy API reports failed pages as `not processed yet`, as PERO's own server does."""
    instance_timeout: float = 30.0
    """How long after another gateway's last sign of life its pages are taken over."""
    resend_after: float = 3600.0
    """How long after a page was sent to a cluster it is sent again."""
    client_timeout: float = 60.0
    """How long after the last byte of an incomplete request its client is given up on."""
    request_log: bool = True
    """Whether each request is logged."""
    allowed_hosts: frozenset[str] = frozenset()
    """Hosts that scans may be fetched from and webhooks sent to even though they are private, or without TLS."""
    prices: Prices = field(default_factory=Prices)
    """The prices of energy and workers."""
    trusted_proxies: str = ""
    """The addresses, separated by commas, whose X-Forwarded headers are trusted."""
    certificate: Path | None = None
    """The certificate for TLS, as PEM; None means plain HTTP."""
    private_key: Path | None = None
    """The private key of the certificate, as PEM."""

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.data.absolute() / 'gateway.sqlite'}"

    @property
    def uses_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")
