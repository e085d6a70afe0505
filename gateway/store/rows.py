"""How do many rows reach their table in one journey? As one JSON text that PostgreSQL unfolds itself.

A statement for each row costs several times as much, here and there: see `python -m bench.flow`.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Column, FromClause, Table, Text, bindparam, cast, func, select
from sqlalchemy.dialects.postgresql import Insert, insert

from .database import cleaned


def _plain(value: Any) -> str:
    """Raises TypeError for what no column holds."""
    match value:
        case datetime():
            return value.isoformat()
        case UUID():
            return str(value)
    raise TypeError(f"{type(value).__name__} is no value of a row")


_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain).encode


def packed(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What a statement built on `sent` takes as its parameters."""
    return {"rows": cleaned(_dumps(list(rows)))}


def sent(*columns: Column[Any]) -> FromClause:
    """The packed rows as something to select from; each has a field by the name of each of these columns."""
    given = cast(bindparam("rows", type_=Text), JSON)
    unfolded = func.json_to_recordset(given).table_valued(*(Column(c.name, c.type) for c in columns))
    return unfolded.render_derived(name="sent", with_types=True)


def put(table: Table, *names: str) -> Insert:
    """An INSERT of the packed rows, each with these fields; what else the table has takes its default."""
    given = sent(*(table.c[name] for name in names))
    return insert(table).from_select(names, select(*given.c), include_defaults=False)
