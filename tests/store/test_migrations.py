"""The schema: what the migrations make is what the code expects, however often and by however many they are run."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from gateway.model.errors import GatewayError
from gateway.store import database
from gateway.store.tables import metadata


@pytest.fixture
def empty(database_url: str) -> Iterator[Engine]:
    """A database without any table."""
    made = database.engine(database_url)
    with made.begin() as db:
        db.execute(text("DROP SCHEMA public CASCADE"))
        db.execute(text("CREATE SCHEMA public"))
    yield made
    made.dispose()


def difference(engine: Engine) -> list[Any]:
    with engine.connect() as db:
        context = MigrationContext.configure(db, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))


def indexes(engine: Engine) -> dict[str, str]:
    """Also what alembic does not compare: the conditions of partial indexes."""
    with engine.connect() as db:
        rows = db.execute(text("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"))
        return {row.indexname: row.indexdef for row in rows if not row.indexname.startswith("alembic")}


def test_what_the_migrations_make_is_what_the_tables_say(empty):
    database.migrate(empty)
    assert difference(empty) == []
    migrated = indexes(empty)
    with empty.begin() as db:
        metadata.drop_all(db)
        metadata.create_all(db)
    assert indexes(empty) == migrated


def test_migrating_says_from_where_to_where_and_again_changes_nothing(empty):
    assert database.revision(empty) is None
    assert database.migrate(empty) == (None, database.head())
    assert database.migrate(empty) == (database.head(), database.head())
    assert database.revision(empty) == database.head()


def test_the_files_are_named_after_their_revisions_in_order():
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    assert database.revisions() == tuple(found.revision for found in script.walk_revisions())[::-1]
    assert database.head() == script.get_current_head()


def test_two_who_migrate_at_once_take_turns(empty, database_url):
    outcomes: list[Any] = []

    def migrate() -> None:
        mine = database.engine(database_url)
        try:
            outcomes.append(database.migrate(mine))
        except Exception as error:  # noqa: BLE001 - it is looked at below
            outcomes.append(error)
        finally:
            mine.dispose()

    threads = [threading.Thread(target=migrate) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    head = database.head()
    assert sorted(outcomes, key=str) == sorted([(None, head), (head, head), (head, head)], key=str)


def test_a_migration_that_fails_leaves_nothing_behind_and_can_be_run_again(empty):
    with empty.begin() as db:
        db.execute(text("CREATE TABLE timers (mine text)"))
    with pytest.raises(Exception, match="already exists"):
        database.migrate(empty)
    assert inspect(empty).get_table_names() == ["timers"]
    with empty.begin() as db:
        db.execute(text("DROP TABLE timers"))
    assert database.migrate(empty) == (None, database.head())


def test_a_database_that_was_not_migrated_is_told_so(empty):
    with pytest.raises(
        GatewayError, match=rf"at revision none, this code needs {database.head()}: run `gateway migrate`"
    ):
        database.check_schema(empty)
    database.migrate(empty)
    database.check_schema(empty)


def test_a_database_of_a_newer_version_is_left_alone_and_told_apart(empty):
    database.migrate(empty)
    with empty.begin() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for ask in (database.check_schema, database.migrate):
        with pytest.raises(
            GatewayError, match=r"revision 9999, which this version does not know: install a newer one"
        ):
            ask(empty)


@pytest.mark.parametrize("place", ["postgresql://postgres@127.0.0.1:1/x", "postgres://127.0.0.1:1/x"])
def test_a_database_that_is_away_is_one_clear_line(place):
    nowhere = database.engine(place)
    with pytest.raises(GatewayError) as raised:
        database.check_schema(nowhere)
    assert str(raised.value).startswith("PostgreSQL does not answer: ")
    assert "\n" not in str(raised.value)
