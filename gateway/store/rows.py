"""How do many rows, or many keys, travel in one journey? As one JSON text that PostgreSQL unfolds itself.

A statement for each row, or a list of keys in the statement, costs several times as much, here and there: the text of
these never changes, so neither side has to think about it again.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    JSON,
    Column,
    ColumnElement,
    FromClause,
    Select,
    Table,
    Text,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    true,
)
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


def among(table: Table, *names: str, **fixed: str) -> Select[Any]:
    """The rows of the table that have one of the packed keys, which consist of the fields `names` and differ; and
    these `fixed` values besides, by which a partial index can be used.

    Looked up key by key: left alone, PostgreSQL would read the whole table as long as it is not really large.
    """
    keys = sent(*(table.c[name] for name in names))
    same = [table.c[name] == keys.c[name] for name in names]
    same += [table.c[name] == literal_column(f"'{value}'") for name, value in fixed.items()]
    found = select(table).where(*same).offset(literal_column("0")).correlate(keys).lateral("found")
    return select(found).select_from(keys.join(found, true()))


def one_of(column: Column[Any]) -> ColumnElement[bool]:
    """Is the column one of the values given as `ids`, however many they are?"""
    return column == any_(bindparam("ids", type_=ARRAY(column.type)))


def put(table: Table, *names: str) -> Insert:
    """An INSERT of the packed rows, each with these fields; what else the table has takes its default."""
    given = sent(*(table.c[name] for name in names))
    return insert(table).from_select(names, select(*given.c), include_defaults=False)
