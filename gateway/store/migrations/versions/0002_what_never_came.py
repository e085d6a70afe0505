"""Reconciliation, the habits of sources, and contacts by what they are known by."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE reconciliations (
    tenant TEXT NOT NULL,
    connection TEXT NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE NOT NULL,
    looked_until TIMESTAMP WITH TIME ZONE NOT NULL,
    next_at TIMESTAMP WITH TIME ZONE NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    listed INTEGER DEFAULT 0 NOT NULL,
    queued INTEGER DEFAULT 0 NOT NULL,
    missed BIGINT DEFAULT 0 NOT NULL,
    missed_at TIMESTAMP WITH TIME ZONE,
    error TEXT,
    CONSTRAINT pk_reconciliations PRIMARY KEY (tenant, connection)
);

CREATE TABLE caught_up (
    tenant TEXT NOT NULL,
    connection TEXT NOT NULL,
    ticket_id TEXT NOT NULL,
    up_to TIMESTAMP WITH TIME ZONE NOT NULL,
    delivery_id BIGINT NOT NULL,
    made_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_caught_up PRIMARY KEY (tenant, connection, ticket_id)
);

CREATE INDEX ix_caught_up_made_at ON caught_up (made_at);

CREATE TABLE traffic (
    hour TIMESTAMP WITH TIME ZONE NOT NULL,
    tenant TEXT NOT NULL,
    connection TEXT NOT NULL,
    number INTEGER NOT NULL,
    CONSTRAINT pk_traffic PRIMARY KEY (hour, tenant, connection)
);

CREATE TABLE bookmarks (
    name TEXT NOT NULL,
    counted BIGINT NOT NULL,
    seen BIGINT NOT NULL,
    CONSTRAINT pk_bookmarks PRIMARY KEY (name)
);

CREATE TABLE contact_keys (
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    connection TEXT NOT NULL,
    contact_id TEXT NOT NULL,
    CONSTRAINT pk_contact_keys PRIMARY KEY (tenant, key, connection, contact_id)
);
"""

NINTH_DIGIT = r"""
UPDATE customer_keys k SET key = regexp_replace(k.key, '^(phone:\+55\d{2})', '\19')
WHERE k.key ~ '^phone:\+55\d{2}[6-9]\d{7}$' AND NOT EXISTS (
    SELECT FROM customer_keys o
    WHERE o.tenant = k.tenant AND o.key = regexp_replace(k.key, '^(phone:\+55\d{2})', '\19')
);
"""
"""Mobile numbers in Brazil are known with their ninth digit from now on, however they were written."""


def upgrade() -> None:
    op.execute(SCHEMA)
    op.execute(NINTH_DIGIT)
