"""By what is each system's contact known, and who else is known by the same?"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from .rows import packed

MANY = 50
"""Contacts that have a key in common from which on it says nothing about who they are."""

_MEET = text("""
    WITH sent AS MATERIALIZED (
        SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS sent (
            tenant text, key text, connection text, contact_id text)
    ), stored AS (
        INSERT INTO contact_keys (tenant, key, connection, contact_id)
        SELECT tenant, key, connection, contact_id FROM sent WHERE contact_id IS NOT NULL
        ON CONFLICT DO NOTHING
    )
    SELECT found.tenant, found.key, found.connection, found.contact_id
    FROM (SELECT DISTINCT tenant, key FROM sent) AS wanted CROSS JOIN LATERAL (
        SELECT k.* FROM contact_keys k WHERE k.tenant = wanted.tenant AND k.key = wanted.key LIMIT :many
    ) AS found
    UNION
    SELECT tenant, key, connection, contact_id FROM sent WHERE contact_id IS NOT NULL
""")


class Known(NamedTuple):
    """One contact of one system, and something it is known by."""

    tenant: str
    key: str
    connection: str
    contact_id: str

    @property
    def name(self) -> str:
        return name_of(self.connection, self.contact_id)


def name_of(connection: str, contact_id: str) -> str:
    """What links call a contact."""
    return f"contact:{connection}:{contact_id}"


def meet(db: Connection, rows: Iterable[Mapping[str, Any]]) -> list[Known]:
    """Keep by what these contacts are known, and give everybody who is known by the same, themselves among them.

    Rows of tenant, key, connection, contact_id; without a contact_id the key is only looked up. Keys that very many
    have in common are left out.
    """
    found = [Known(*row) for row in db.execute(_MEET, {"many": MANY, **packed(rows)})]
    sharers = Counter((known.tenant, known.key) for known in found)
    return [known for known in found if sharers[known.tenant, known.key] < MANY]
