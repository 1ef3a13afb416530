"""The tables. Times are seconds since 1970 in UTC, ids are UUIDs as text, and `number` grows and gives the order."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text, text
from sqlalchemy import UniqueConstraint as Unique

metadata = MetaData()
NEVER = 1e18
"""A time after all others, for columns where null would not sort correctly."""
_Number = BigInteger().with_variant(Integer, "sqlite")
"""SQLite autoincrements only columns of type INTEGER."""


def _flag(name: str, value: bool = False) -> Column[bool]:
    return Column(name, Boolean, nullable=False, default=value)


schema_version = Table("schema_version", metadata, Column("version", Integer, nullable=False))
"""Has one row; see `migrations.py`."""

keys = Table(
    "keys",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("kid", String(64), unique=True),
    Column("salt", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("whole", String(64), unique=True),
    Column("label", String(255), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    _flag("active", True),
    Column("created", Float, nullable=False),
    Column("last_used", Float),
    Column("expires", Float),
    Column("share", Float, nullable=False, default=1.0),
    Column("pages_per_day", Integer),
    Column("pages_waiting", Integer),
    Column("requests_per_minute", Integer),
    Column("max_upload", BigInteger),
    Column("webhook_secrets", JSON),
)
"""`kid` finds keys that we generated, and `whole` (an HMAC of the whole text) finds keys that were brought along."""

engines = Table(
    "engines",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("version", String(255), nullable=False),
    Column("description", Text, nullable=False, default=""),
    Column("definition", JSON, nullable=False),
    Column("backend", String(16), nullable=False),
    _flag("default"),
    _flag("active", True),
    Column("created", Float, nullable=False),
    Column("last_used", Float),
    Column("files_updated", Float),
    Unique("name", "version"),
)

engine_numbers = Table(
    "engine_numbers",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("name", String(255), nullable=False, unique=True),
    sqlite_autoincrement=True,
)
"""The legacy API's ids: one per engine name, whatever the version, and never reused."""

jobs = Table(
    "jobs",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("api", String(8), nullable=False),
    Column("owner", String(36), nullable=False),
    Column("worker", String(36)),
    Column("engine", String(36)),
    Column("backend", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("progress", Float, nullable=False, default=0.0),
    Column("previous_attempts", Integer),
    _flag("meta_json_required"),
    _flag("meta_json_uploaded"),
    _flag("alto_required"),
    _flag("page_required"),
    Column("pages", Integer, nullable=False),
    Column("missing", Integer, nullable=False),
    Column("open", Integer, nullable=False),
    Column("failed", Integer, nullable=False, default=0),
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("changed", Float, nullable=False),
    Column("finished", Float),
    Column("log", Text),
    Column("log_user", Text),
    Column("name", String(255)),
    Column("formats", JSON),
    Column("priority", Integer, nullable=False, default=0),
    Column("webhook", JSON),
    Column("labels", JSON),
    Column("retention_days", Float),
    _flag("files_gone"),
    Column("progress_told", Float),
    Column("deadline", Float),
    Column("document", JSON),
    _flag("document_unread"),
    Index("jobs_by_deadline", "state", "deadline"),
    Index("jobs_with_documents", "document_unread", "number"),
    Index("jobs_of_owner", "owner", "number"),
    Index("jobs_of_day", "owner", "created"),
    Index("jobs_to_lease", "backend", "state", "priority", "number"),
    Index("jobs_by_end", "files_gone", "finished"),
    sqlite_autoincrement=True,
)
"""`missing` counts the uploads still required, and `open` the pages that are not final. `document` names the IIIF
manifest or METS that the pages come from; `document_unread` holds until the gateway has fetched it."""

pages = Table(
    "pages",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("job", String(36), nullable=False),
    Column("owner", String(36), nullable=False),
    Column("backend", String(16), nullable=False),
    Column("engine", String(36)),
    Column("name", String(1020), nullable=False),
    Column("position", Integer, nullable=False),
    Column("priority", Integer, nullable=False, default=0),
    Column("state", String(16), nullable=False),
    Column("failure", String(24)),
    Column("error", Text),
    Column("url", Text),
    Column("document", String(36)),
    Column("frame", Integer, nullable=False, default=0),
    Column("frames", Integer),
    _flag("image_uploaded"),
    _flag("alto_uploaded"),
    _flag("page_uploaded"),
    Column("image_bytes", BigInteger),
    Column("image_sha256", String(64)),
    Column("trace", String(64)),
    Column("sent_by", String(36)),
    Column("sent", Float),
    Column("changed", Float, nullable=False),
    Column("finished", Float),
    Column("attempts", Integer, nullable=False, default=0),
    Column("quality", Float),
    Column("worst_line", Float),
    Column("lines", Integer),
    Column("engine_text", Text),
    Column("worker", Text),
    Column("seconds", JSON),
    Column("worker_seconds", Float, nullable=False, default=0.0),
    Column("stage", String(255)),
    Column("sends", Integer, nullable=False, default=0),
    Column("energy_joules", Float),
    Column("picture", JSON),
    Column("due", Float, nullable=False, default=NEVER),
    Unique("job", "name"),
    Index("pages_of_job", "job", "position", "number"),
    Index("pages_in_turn", "backend", "state", "owner", text("priority DESC"), "due", "number"),
    Index("pages_sent", "state", "sent_by"),
    Index("pages_of_owner", "owner", "finished"),
    sqlite_autoincrement=True,
)
"""`document` is the page whose file also holds this one, as page `frame` (from 0) of `frames`; `trace` is the id of the
HTTP request that brought the image; `sent_by` is the gateway that gave the page to workers; `stage` is the last stage
that worked on it; `sends` is how often the cluster lost it; `energy_joules` is what was measured, null if nothing was;
`picture` is where a document says the scan is; `due` is the deadline of its job, `NEVER` if it has none."""

results = Table(
    "results",
    metadata,
    Column("page", String(36), primary_key=True),
    Column("format", String(16), primary_key=True),
    Column("job", String(36), nullable=False, index=True),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
)

instances = Table(
    "instances",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("seen", Float, nullable=False),
)
"""The gateways that use this database, and when each was last heard from."""

idempotency = Table(
    "idempotency",
    metadata,
    Column("owner", String(36), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("reply", Text, nullable=False),
    Column("created", Float, nullable=False, index=True),
)
"""Replies kept for clients that repeat a request."""

rates = Table(
    "rates",
    metadata,
    Column("owner", String(36), primary_key=True),
    Column("tokens", Float, nullable=False),
    Column("filled", Float, nullable=False),
)
"""How many requests each rate-limited key has left, where several gateways share the database."""

events = Table(
    "events",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("time", Float, nullable=False, index=True),
    Column("owner", String(36), nullable=False),
    Column("job", String(36), nullable=False),
    Column("kind", String(24), nullable=False),
    Column("data", JSON, nullable=False),
    Index("events_of_job", "job", "number"),
    sqlite_autoincrement=True,
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("owner", String(36), nullable=False, index=True),
    Column("job", String(36), nullable=False),
    Column("name", String(1020), nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("expires", Float, nullable=False, index=True),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("owner", String(36), nullable=False),
    Column("job", String(36), nullable=False),
    Column("url", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next", Float),
    Column("created", Float, nullable=False),
    Column("status", Integer),
    Column("error", Text),
    Index("deliveries_due", "state", "next"),
    Index("deliveries_of_owner", "owner", "number"),
    sqlite_autoincrement=True,
)
"""Webhook deliveries: what was sent, or is to be sent, to whom."""
