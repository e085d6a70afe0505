"""Which tables are there, and which index answers which question?

`deliveries`, `events` and `attempts` only grow and are never the target of a foreign key, so that they can be
partitioned by month and dropped whole: `attempts` as it stands, the other two once their unique keys have moved to
tables of their own (docs/scaling.md says how).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Moment = DateTime(timezone=True)
now = text("now()")
empty = text("'{}'::jsonb")

# --- configuration ----------------------------------------------------------------------------------------------

tenants = Table(
    "tenants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("locale", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("created_at", Moment, nullable=False, server_default=now),
)

connections = Table(
    "connections",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("vendor", Text, nullable=False),
    Column("settings", JSONB, nullable=False),
    Column("secrets", LargeBinary, nullable=False),
)

channels = Table(
    "channels",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("secrets", LargeBinary, nullable=False),
)

rule_settings = Table(
    "rule_settings",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("rule", Text, primary_key=True),
    Column("enabled", Boolean, nullable=False),
    Column("settings", JSONB, nullable=False),
)

config_changes = Table(
    "config_changes",
    metadata,
    Column("version", BigInteger, Identity(), primary_key=True),
    Column("at", Moment, nullable=False, server_default=now),
    Column("changes", JSONB, nullable=False),
)

# --- the inbox --------------------------------------------------------------------------------------------------

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("connection", Text, nullable=False),
    Column("dedup_key", Text, nullable=False),
    Column("origin", Text, nullable=False, server_default=text("'webhook'")),
    Column("received_at", Moment, nullable=False),
    Column("sent_at", Moment),
    Column("subject", Text),
    Column("thin", Boolean, nullable=False),
    Column("reading", Text),
    Column("query", JSONB, nullable=False),
    Column("headers", JSONB, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("trace_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("not_before", Moment, nullable=False),
    Column("error", Text),
    Column("collected", JSONB(none_as_null=True)),
    Column("notes", JSONB(none_as_null=True)),
    Column("decided_at", Moment),
    Column("duplicates", Integer, nullable=False, server_default=text("0")),
    UniqueConstraint("tenant", "connection", "dedup_key"),
    Index("ix_deliveries_tenant_id", "tenant", "id"),
    Index("ix_deliveries_waiting", "not_before", "id", postgresql_where=text("state = 'received'")),
    Index(
        "ix_deliveries_lane",
        "tenant",
        "connection",
        "subject",
        "id",
        postgresql_where=text("state = 'received'"),
    ),
    Index("ix_deliveries_parked", "tenant", "id", postgresql_where=text("state = 'parked'")),
)

# --- what we know -----------------------------------------------------------------------------------------------

events = Table(
    "events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("connection", Text, nullable=False),
    Column("delivery_id", BigInteger, nullable=False),
    Column("ticket_id", Text),
    Column("kind", Text, nullable=False),
    Column("fact", Text, nullable=False),
    Column("occurred_at", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("ours", Boolean, nullable=False),
    Column("body", JSONB, nullable=False),
    Column("decisions", JSONB, nullable=False),
    Index("ix_events_delivery_id", "delivery_id"),
    Index("ix_events_ticket", "tenant", "connection", "ticket_id", "occurred_at"),
)

tickets = Table(
    "tickets",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("connection", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("body", JSONB, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("updated_at", Moment),
    Column("seen_at", Moment, nullable=False),
)

comments = Table(
    "comments",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("connection", Text, primary_key=True),
    Column("ticket_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("body", JSONB, nullable=False),
    Column("created_at", Moment),
)

customers = Table(
    "customers",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("body", JSONB, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

customer_keys = Table(
    "customer_keys",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("customer_id", Text, nullable=False),
    Index("ix_customer_keys_customer", "tenant", "customer_id"),
)

contact_keys = Table(
    "contact_keys",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("connection", Text, primary_key=True),
    Column("contact_id", Text, primary_key=True),
)

links = Table(
    "links",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("target", Text, primary_key=True),
    Column("relation", Text, primary_key=True),
    Column("made_at", Moment, nullable=False),
    Index("ix_links_target", "tenant", "target"),
)

timers = Table(
    "timers",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("connection", Text),
    Column("ticket_id", Text),
    Column("payload", JSONB, nullable=False, server_default=empty),
    Column("state", Text, nullable=False),
    Column("changed_at", Moment, nullable=False),
    Index("ix_timers_due", "at", postgresql_where=text("state = 'waiting'")),
    Index(
        "ix_timers_ticket", "tenant", "connection", "ticket_id", postgresql_where=text("state = 'waiting'")
    ),
)

# --- the outbox -------------------------------------------------------------------------------------------------

actions = Table(
    "actions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("seq", BigInteger, Identity(), nullable=False),
    Column("tenant", Text, nullable=False),
    Column("connection", Text, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("delivery_id", BigInteger, nullable=False),
    Column("rule", Text, nullable=False),
    Column("ordinal", SmallInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("ticket_id", Text),
    Column("key", Text),
    Column("body", JSONB, nullable=False),
    Column("reason", Text, nullable=False),
    Column("trace_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("uncertain", Boolean, nullable=False, server_default=text("false")),
    Column("not_before", Moment, nullable=False),
    Column("started_at", Moment),
    Column("worker", Integer),
    Column("receipt", JSONB(none_as_null=True)),
    Column("error", Text),
    Column("created_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Index(
        "uq_actions_key", "tenant", "connection", "key", unique=True, postgresql_where=text("key IS NOT NULL")
    ),
    Index(
        "ix_actions_waiting", "tenant", "connection", "not_before", postgresql_where=text("state = 'pending'")
    ),
    Index("ix_actions_executing", "started_at", postgresql_where=text("state = 'executing'")),
    Index("ix_actions_lane", "tenant", "connection", "ticket_id", "seq"),
    Index("ix_actions_delivery_id", "delivery_id"),
    Index("ix_actions_tenant_seq", "tenant", "seq"),
    Index(
        "ix_actions_stopped",
        "tenant",
        "state",
        "seq",
        postgresql_where=text("state IN ('dead', 'held', 'unsupported')"),
    ),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("connection", Text, nullable=False),
    Column("action_id", Uuid),
    Column("delivery_id", BigInteger),
    Column("started_at", Moment, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("error", Text),
    Column("calls", JSONB, nullable=False),
    Index("ix_attempts_action_id", "action_id", postgresql_where=text("action_id IS NOT NULL")),
    Index("ix_attempts_delivery_id", "delivery_id", postgresql_where=text("delivery_id IS NOT NULL")),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("opened_at", Moment, nullable=False),
    Column("last_at", Moment, nullable=False),
    Column("count", Integer, nullable=False, server_default=text("1")),
    Column("closed_at", Moment),
    Index(
        "uq_incidents_open",
        "tenant",
        "kind",
        "subject",
        unique=True,
        postgresql_where=text("closed_at IS NULL"),
    ),
)

# --- what never came --------------------------------------------------------------------------------------------

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("connection", Text, primary_key=True),
    Column("began_at", Moment, nullable=False),
    Column("looked_until", Moment, nullable=False),
    Column("next_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    Column("listed", Integer, nullable=False, server_default=text("0")),
    Column("queued", Integer, nullable=False, server_default=text("0")),
    Column("missed", BigInteger, nullable=False, server_default=text("0")),
    Column("missed_at", Moment),
    Column("error", Text),
)

caught_up = Table(
    "caught_up",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("connection", Text, primary_key=True),
    Column("ticket_id", Text, primary_key=True),
    Column("up_to", Moment, nullable=False),
    Column("delivery_id", BigInteger, nullable=False),
    Column("made_at", Moment, nullable=False),
    Index("ix_caught_up_made_at", "made_at"),
)

traffic = Table(
    "traffic",
    metadata,
    Column("hour", Moment, primary_key=True),
    Column("tenant", Text, primary_key=True),
    Column("connection", Text, primary_key=True),
    Column("number", Integer, nullable=False),
)

bookmarks = Table(
    "bookmarks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("counted", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
)
