"""The webhook is a row, and only then is it acknowledged; together they are one statement."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from secrets import token_urlsafe
from typing import Any

import pytest
from sqlalchemy import Engine, text
from tests_town import NOW, rows, settle_in, town

from gateway.api import Verified, Webhook, WebhookRejected, hookimpl
from gateway.pipeline import accept
from gateway.pipeline.accept import HIDDEN, Inbox, StoreBusy, admit
from gateway.runtime import Runtime
from gateway.store import database
from gateway.store import inbox as store_inbox
from gateway.store.deliveries import Arrival, Stored
from gateway.store.tables import deliveries


def arrival(key: str, **other: Any) -> Arrival:
    usual = Arrival("acme", "desk", key, NOW, None, None, False, {}, {}, b"{}", "t")
    return replace(usual, **other)


@asynccontextmanager
async def inbox(db: Engine, told: list[Stored] | None = None, writers: int = 1) -> AsyncIterator[Inbox]:
    found = Inbox(db, (told if told is not None else []).extend, writers=writers)
    yield found
    await found.close()


async def put_all(box: Inbox, arrivals: list[Arrival]) -> list[Any]:
    return await asyncio.gather(*(box.put(each) for each in arrivals), return_exceptions=True)


# --- is it them? ------------------------------------------------------------------------------------------------


def webhook(body: Any, **headers: str) -> Webhook:
    return Webhook(
        {"x-gateway-key": "old-key", **headers}, json.dumps(body).encode(), {"key": "town-key", "a": "b"}, NOW
    )


def admitted(gateway: Runtime, told: Webhook, vendor: Any = None) -> Arrival:
    settle_in(gateway, vendor)
    with gateway.db.begin() as db:
        connection = gateway.directory.current(db).connection("acme", "desk")
    return admit(gateway.registry, told, connection)


def test_what_was_proved_is_what_is_stored(gateway):
    found = admitted(gateway, webhook({"id": "d1", "subject": "7", "thin": True}))
    assert (found.tenant, found.connection, found.dedup_key, found.received_at) == ("acme", "desk", "d1", NOW)
    assert (found.subject, found.thin) == ("7", True)


def test_secrets_are_in_no_row(gateway):
    found = admitted(gateway, webhook({}, authorization="Basic abc", cookie="a=b", accept="*/*"))
    assert found.headers == {
        "x-gateway-key": HIDDEN, "authorization": HIDDEN, "cookie": HIDDEN, "accept": "*/*",
    }  # fmt: skip
    assert found.query == {"key": HIDDEN, "a": "b"}


def test_a_vendor_that_writes_its_token_into_the_body_says_what_is_kept_of_it(gateway):
    vendor = town(verify_webhook=hookimpl(lambda: Verified(kept=b"token=[redacted]")))
    assert admitted(gateway, webhook({"token": "secret"}), vendor).body == b"token=[redacted]"


def test_where_the_vendor_names_no_delivery_every_request_counts(gateway):
    one, two = (admitted(gateway, webhook({})) for _ in range(2))
    assert one.dedup_key != two.dedup_key
    assert one.trace_id != two.trace_id


@pytest.mark.parametrize("answer", [None, True, {"delivery_id": "x"}, Verified])
def test_anything_but_a_proof_is_no_proof(gateway, answer):
    vendor = town(verify_webhook=hookimpl(lambda: answer))
    with pytest.raises(WebhookRejected, match="no proof"):
        admitted(gateway, webhook({}), vendor)


def test_a_wrong_proof_is_rejected_with_the_plugins_own_reason(gateway):
    told = Webhook({}, b"{}", {"key": "wrong"}, NOW)
    with pytest.raises(WebhookRejected, match="wrong key"):
        admitted(gateway, told)


def test_a_plugin_that_fails_proves_nothing(gateway):
    @hookimpl
    def verify_webhook():
        raise KeyError("sign")

    with pytest.raises(WebhookRejected, match="could not be checked"):
        admitted(gateway, webhook({}), town(verify_webhook=verify_webhook))


def test_a_vendor_without_the_hook_rejects_everything(gateway):
    vendor = town()
    del vars(vendor)["verify_webhook"]
    with pytest.raises(WebhookRejected, match="no proof"):
        admitted(gateway, webhook({}), vendor)


# --- group commit -----------------------------------------------------------------------------------------------


def test_what_arrives_together_is_one_transaction(gateway):
    told: list[Stored] = []

    async def arriving() -> list[Any]:
        async with inbox(gateway.db, told) as box:
            return await put_all(box, [arrival(f"k{n}") for n in range(300)])

    stored = asyncio.run(arriving())
    assert len({item.id for item in stored}) == 300
    with gateway.db.connect() as db:
        transactions = db.execute(text("SELECT count(DISTINCT xmin::text) FROM deliveries")).scalar_one()
    assert transactions <= 2, "the first may already be on its way while the others arrive"
    assert sorted(item.id for item in told) == sorted(item.id for item in stored)


def test_each_is_answered_with_its_own_row(gateway):
    async def arriving() -> list[Any]:
        async with inbox(gateway.db, writers=2) as box:
            return await put_all(box, [arrival(f"k{n % 50}") for n in range(100)])

    stored = asyncio.run(arriving())
    by_id = {row.id: row.dedup_key for row in rows(gateway, deliveries)}
    assert [by_id[item.id] for item in stored] == [f"k{n % 50}" for n in range(100)]
    assert sum(item.duplicate for item in stored) == 50


def test_a_webhook_is_acknowledged_only_after_its_commit(gateway):
    async def arriving() -> bool:
        async with inbox(gateway.db) as box:
            stored = await box.put(arrival("k"))
            return stored.id in {row.id for row in rows(gateway, deliveries)}

    assert asyncio.run(arriving())


POISON = [
    pytest.param({"tenant": "nul\x00"}, id="a character that PostgreSQL refuses"),
    pytest.param({"tenant": token_urlsafe(6000)}, id="a name too long for an index"),
    pytest.param({"received_at": "never"}, id="no moment"),
]


@pytest.mark.parametrize("poison", POISON)
def test_one_that_cannot_be_stored_takes_no_other_down(gateway, poison):
    told: list[Stored] = []

    async def arriving() -> list[Any]:
        async with inbox(gateway.db, told) as box:
            return await put_all(box, [arrival("a"), arrival("bad", **poison), arrival("b")])

    one, bad, two = asyncio.run(arriving())
    assert isinstance(one, Stored)
    assert isinstance(two, Stored)
    assert isinstance(bad, Exception)
    assert not isinstance(bad, StoreBusy)
    assert {item.id for item in told} == {one.id, two.id}


def test_while_the_store_is_away_nothing_is_acknowledged(database_url):
    nowhere = database.engine(database_url.replace("/test_", "/gone_"))

    async def arriving() -> list[Any]:
        async with inbox(nowhere) as box:
            return await put_all(box, [arrival("a"), arrival("b")])

    for answer in asyncio.run(arriving()):
        assert isinstance(answer, StoreBusy)


def test_a_connection_that_died_meanwhile_refuses_nobody(gateway):
    async def arriving() -> list[Any]:
        async with inbox(gateway.db) as box:
            first = await box.put(arrival("a"))
            cut(gateway)
            return [first, *await put_all(box, [arrival("b"), arrival("c")])]

    assert all(isinstance(answer, Stored) for answer in asyncio.run(arriving()))
    assert len(rows(gateway, deliveries)) == 3


def cut(gateway: Runtime) -> None:
    """End every connection to this database but our own."""
    other = database.engine(gateway.settings.database_url)
    with other.begin() as db:
        db.execute(
            text("""
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()
            """)
        )
    other.dispose()


def test_a_copy_of_what_a_hanging_worker_holds_keeps_nobody_waiting(gateway, monkeypatch):
    monkeypatch.setattr(store_inbox, "LOCK_TIMEOUT", "SET lock_timeout = '200ms'")

    async def arriving() -> list[Any]:
        async with inbox(gateway.db) as box:
            await box.put(arrival("held"))
            with gateway.db.begin() as hanging:
                hanging.execute(text("SELECT FROM deliveries FOR UPDATE"))
                copy = await put_all(box, [arrival("held")])
                return copy + await put_all(box, [arrival("other")])

    copy, other = asyncio.run(arriving())
    assert isinstance(copy, StoreBusy)
    assert isinstance(other, Stored)


def test_closing_stores_and_answers_what_still_waits(gateway):
    told: list[Stored] = []

    async def arriving() -> list[Any]:
        box = Inbox(gateway.db, told.extend, writers=1)
        waiting = [asyncio.create_task(box.put(arrival(f"k{n}"))) for n in range(900)]
        await asyncio.sleep(0)
        await box.close()
        return await asyncio.gather(*waiting)

    stored = asyncio.run(arriving())
    assert len(rows(gateway, deliveries)) == len(stored) == len(told) == 900


def test_too_many_that_wait_are_refused_at_once(gateway, monkeypatch):
    monkeypatch.setattr(accept, "QUEUE", 5)

    async def arriving() -> list[Any]:
        async with inbox(gateway.db) as box:
            return await put_all(box, [arrival(f"k{n}") for n in range(20)])

    answers = asyncio.run(arriving())
    refused = [answer for answer in answers if isinstance(answer, StoreBusy)]
    assert len(refused) >= 10
    assert len(rows(gateway, deliveries)) == 20 - len(refused), "what was refused left no row"


def test_a_store_that_takes_too_long_is_busy(gateway, monkeypatch):
    monkeypatch.setattr(accept, "PATIENCE", 0.3)

    async def arriving() -> Any:
        async with inbox(gateway.db) as box:
            with gateway.db.begin() as db:
                db.execute(text("LOCK TABLE deliveries IN EXCLUSIVE MODE"))
                late, gone = await put_all(box, [arrival("a"), arrival("b")])
            return late, gone, await box.put(arrival("c"))

    late, gone, after = asyncio.run(arriving())
    assert isinstance(late, StoreBusy)
    assert isinstance(gone, StoreBusy)
    assert isinstance(after, Stored)
