"""What an operator may set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pero_worker.jobs.costs import Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Sizes are bytes, times seconds."""

    data: Path
    """The folder for scans and results; with SQLite also for the database."""
    database: str = ""
    """URL of the database as SQLAlchemy writes it; '' = SQLite in the data folder."""
    host: str = "127.0.0.1"
    """The address that it listens on."""
    port: int = 8000
    """0 = any free one."""
    realm: str = "pero-worker"
    """Named to clients that come without a key."""
    key_prefix: str = "pero"
    """What new keys begin with."""
    lease_seconds: float = 300.0
    """A lease ends so long after its worker was last heard of."""
    lease_grace: float = 10.0
    """After a lease has ended, before its job is given to somebody else."""
    max_attempts: int = 3
    """How often a page is tried."""
    max_upload: int = 500_000_000
    """Of a file."""
    max_json: int = 16_000_000
    """Of a body in JSON."""
    max_pages: int = 20_000
    """Of one job."""
    retention_days: float = 7.0
    """After a job's last page, before its results go."""
    legacy_strict: bool = False
    """Failed pages are `not processed yet`, as PERO's own server says."""
    instance_timeout: float = 30.0
    """After another gateway's last sign of life, before its pages are taken over."""
    resend_after: float = 3600.0
    """After a page went to a cluster, before it is sent again."""
    client_timeout: float = 60.0
    """After the last byte of a request that is not whole, before its client is given up."""
    request_log: bool = True
    """Whether each request is a line of the log."""
    allowed_hosts: frozenset[str] = frozenset()
    """Hosts that scans may be fetched from and webhooks sent to although they are private, or without TLS."""
    prices: Prices = field(default_factory=Prices)
    """What energy and workers cost."""
    trusted_proxies: str = ""
    """Addresses, with commas, whose X-Forwarded headers count."""
    certificate: Path | None = None
    """For TLS, as PEM; None: it speaks HTTP."""
    private_key: Path | None = None
    """The certificate's, as PEM."""

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.data.absolute() / 'gateway.sqlite'}"

    @property
    def uses_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")
