from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import select

from gateway.store.rows import packed, put
from gateway.store.tables import actions, links

NOW = datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def db(gateway):
    with gateway.db.begin() as db:
        yield db


ADD_LINKS = put(links, "tenant", "source", "target", "relation", "made_at")


def link(source: str, **other: object) -> dict[str, object]:
    return {"tenant": "acme", "source": source, "target": "b", "relation": "same", "made_at": NOW, **other}


def test_rows_come_back_as_they_were_given(db):
    db.execute(ADD_LINKS, packed([link("olá, 'mundo' \\ \"x\""), link("c", made_at=NOW.replace(year=2027))]))
    rows = db.execute(select(links.c.source, links.c.made_at).order_by(links.c.made_at)).all()
    assert rows == [("olá, 'mundo' \\ \"x\"", NOW), ("c", NOW.replace(year=2027))]


def test_what_postgresql_cannot_keep_is_replaced_and_nothing_else(db):
    db.execute(ADD_LINKS, packed([link("nul \0, half \ud800, told \\u0000")]))
    assert db.scalars(select(links.c.source)).all() == ["nul \ufffd, half ?, told \\u0000"]


def test_a_field_that_a_row_leaves_out_or_says_none_is_null_and_others_take_their_default(db):
    row = {
        "id": UUID(int=1), "tenant": "acme", "connection": "desk", "event_id": UUID(int=2), "delivery_id": 2**40,
        "rule": "r", "ordinal": 0, "kind": "add_tags", "ticket_id": None, "body": {"tags": ["é", None, 1.5]},
        "reason": "", "trace_id": "t", "state": "pending", "not_before": NOW, "error": None, "created_at": NOW,
    }  # fmt: skip
    db.execute(put(actions, *row, "key"), packed([row]))
    kept = db.execute(select(actions)).one()
    assert (kept.id, kept.delivery_id, kept.key, kept.error) == (UUID(int=1), 2**40, None, None)
    assert (kept.body, kept.attempts, kept.uncertain) == ({"tags": ["é", None, 1.5]}, 0, False)


def test_rows_get_their_numbers_in_the_order_they_were_given(db):
    common = {
        "tenant": "acme", "connection": "desk", "event_id": UUID(int=2), "delivery_id": 1, "rule": "r", "ordinal": 0,
        "kind": "add_tags", "body": {}, "reason": "", "trace_id": "", "state": "pending", "not_before": NOW,
        "created_at": NOW,
    }  # fmt: skip
    given = [UUID(int=number) for number in (5, 1, 900, 3, *range(1000, 1300))]
    db.execute(put(actions, "id", *common), packed(common | {"id": id_} for id_ in given))
    assert db.scalars(select(actions.c.id).order_by(actions.c.seq)).all() == given


def test_a_value_that_no_column_holds_is_a_type_error():
    with pytest.raises(TypeError, match="set is no value of a row"):
        packed([link("a", made_at={NOW})])
