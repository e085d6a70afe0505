"""Bad input, and what it gets."""

import json
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import func, select
from tests_town import NOW, Settings, rows, settle_in, town

from gateway.api import hookimpl
from gateway.runtime import Runtime
from gateway.store import tenants
from gateway.store.tables import deliveries
from gateway.testing import serving
from gateway.web.app import App

KEY = {"X-Gateway-Key": "town-key"}
BODY = json.dumps({"id": "d1", "events": []}).encode()


@pytest.fixture
def hooks(gateway: Runtime) -> Iterator[httpx.Client]:
    settle_in(gateway)
    with serving(App(gateway)) as url, httpx.Client(base_url=url) as client:
        yield client


def stored(gateway: Runtime) -> int:
    with gateway.db.connect() as db:
        return db.execute(select(func.count()).select_from(deliveries)).scalar_one()


def test_an_authentic_webhook_is_a_row_before_it_is_acknowledged(hooks, gateway):
    answer = hooks.post("/hooks/acme/desk", content=BODY, headers=KEY)
    assert answer.status_code == 202
    (row,) = rows(gateway, deliveries)
    assert answer.json() == {"delivery": row.id}
    assert row.body == BODY
    assert row.received_at == NOW
    assert row.headers["x-gateway-key"] == "[redacted]"


def test_a_vendor_that_takes_only_200_for_a_success_gets_it(hooks, gateway, monkeypatch):
    monkeypatch.setattr(Settings, "accepted_status", lambda _: 200)
    answer = hooks.post("/hooks/acme/desk", content=BODY, headers=KEY)
    (row,) = rows(gateway, deliveries)
    assert (answer.status_code, answer.json()) == (200, {"delivery": row.id})


def test_the_same_delivery_again_is_a_duplicate(hooks, gateway):
    first = hooks.post("/hooks/acme/desk", content=BODY, headers=KEY).json()
    again = hooks.post("/hooks/acme/desk", content=BODY, headers=KEY)
    assert again.status_code == 200
    assert again.json() == {"delivery": first["delivery"], "duplicate": True}
    assert [row.duplicates for row in rows(gateway, deliveries)] == [1]


@pytest.mark.parametrize(
    "path", ["/hooks/acme/other", "/hooks/nobody/desk", "/hooks/acme", "/hooks/", "/hooks//x"]
)
def test_an_unknown_address_is_404_and_never_410(hooks, gateway, path):
    assert hooks.post(path, content=BODY, headers=KEY).status_code == 404
    assert stored(gateway) == 0


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_a_wrong_method_is_405_and_says_which_are_right(hooks, method):
    answer = hooks.request(method, "/hooks/acme/desk")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST, HEAD"


def test_head_is_200_for_a_vendor_that_looks_before_it_sends(hooks):
    assert hooks.head("/hooks/acme/desk").status_code == 200
    assert hooks.head("/hooks/acme/other").status_code == 404


@pytest.mark.parametrize(
    "proof",
    [
        {},
        {"X-Gateway-Key": "wrong"},
        {"X-Gateway-Key": ""},
        {"Authorization": "Basic !!"},
        {"Authorization": "x"},
    ],
)
def test_no_or_wrong_proof_is_401_and_leaves_no_row(hooks, gateway, proof):
    answer = hooks.post("/hooks/acme/desk", content=BODY, headers=proof)
    assert answer.status_code == 401
    assert stored(gateway) == 0


@pytest.mark.parametrize("way", ["query", "header", "basic"])
def test_the_key_may_come_three_ways_and_is_kept_nowhere(hooks, gateway, way):
    given = {
        "query": {"params": {"key": "town-key"}},
        "header": {"headers": KEY},
        "basic": {"auth": ("anybody", "town-key")},
    }[way]
    assert hooks.post("/hooks/acme/desk", content=BODY, **given).status_code == 202
    (row,) = rows(gateway, deliveries)
    assert "town-key" not in json.dumps([row.headers, row.query])
    assert row.query == ({"key": "[redacted]"} if way == "query" else {})


def test_a_body_that_is_too_large_is_413_also_without_a_declared_size(hooks, gateway):
    large = b"x" * (gateway.settings.max_body + 1)
    assert hooks.post("/hooks/acme/desk", content=large, headers=KEY).status_code == 413

    def chunks():
        yield from (large[at : at + 65_536] for at in range(0, len(large), 65_536))

    try:
        answer = hooks.post("/hooks/acme/desk", content=chunks(), headers=KEY)
    except httpx.TransportError:  # the server may hang up before the last chunk is sent
        pass
    else:
        assert answer.status_code == 413
    assert stored(gateway) == 0


def test_a_declared_size_that_is_too_large_is_refused_before_the_body_is_read(hooks):
    with socket.create_connection((urlsplit(str(hooks.base_url)).hostname, hooks.base_url.port)) as raw:
        raw.settimeout(5)
        raw.sendall(b"POST /hooks/acme/desk HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 413")


def test_a_right_proof_with_an_unreadable_body_is_accepted_and_kept(hooks, gateway):
    assert hooks.post("/hooks/acme/desk", content=b"\xff\x00{", headers=KEY).status_code == 202
    assert rows(gateway, deliveries)[0].body == b"\xff\x00{"


def test_characters_that_postgresql_refuses_take_no_other_webhook_down(hooks):
    odd = json.dumps({"id": "nul-\x00-\ud800", "events": []}).encode()
    assert hooks.post("/hooks/acme/desk?note=%00", content=odd, headers=KEY).status_code == 202
    assert hooks.post("/hooks/acme/desk", content=BODY, headers=KEY).status_code == 202


def test_a_plugin_that_fails_while_verifying_refuses(gateway):
    @hookimpl
    def verify_webhook():
        raise ZeroDivisionError

    settle_in(gateway, town(verify_webhook=verify_webhook))
    with serving(App(gateway)) as url:
        assert httpx.post(f"{url}/hooks/acme/desk", content=BODY, headers=KEY).status_code == 401


def test_a_plugin_that_gives_no_proof_refuses(gateway):
    @hookimpl
    def verify_webhook():
        return None

    settle_in(gateway, town(verify_webhook=verify_webhook))
    with serving(App(gateway)) as url:
        assert httpx.post(f"{url}/hooks/acme/desk", content=BODY, headers=KEY).status_code == 401


def test_a_rotated_key_and_a_new_connection_work_at_the_next_webhook(hooks, gateway):
    assert hooks.post("/hooks/acme/desk", content=BODY, headers={"X-Gateway-Key": "new"}).status_code == 401
    with gateway.db.begin() as db:
        for name in ("desk", "second"):
            settings = gateway.registry.vendor_info("town").settings(hook_key=["new", "town-key"])
            connection = tenants.Connection("acme", name, "town", settings)
            tenants.save_connection(db, connection, gateway.keyring)
        tenants.changed(db, ["rotated"])

    time.sleep(0.6)
    for name in ("desk", "second"):
        told = json.dumps({"id": name, "events": []}).encode()
        assert (
            hooks.post(f"/hooks/acme/{name}", content=told, headers={"X-Gateway-Key": "new"}).status_code
            == 202
        )


def test_health_and_metrics_tell_the_truth(hooks):
    hooks.post("/hooks/acme/desk", content=BODY, headers=KEY)
    hooks.post("/hooks/acme/desk", content=BODY, headers={})
    assert hooks.get("/healthz").json() == {"status": "alive"}
    assert hooks.get("/readyz").json()["checks"]["store"]["ok"]
    text = hooks.get("/metrics").text
    assert 'gateway_refused_total{reason="proof"} 1.0' in text
    assert "gateway_received_total 1.0" in text
    assert 'gateway_rows{state="decide",what="deliveries"} 1.0' in text


def test_a_body_that_trickles_in_is_given_up_and_nothing_is_stored(hooks, gateway, monkeypatch):
    monkeypatch.setattr("gateway.web.hooks.BODY_PATIENCE", 0.2)
    address = urlsplit(str(hooks.base_url))
    with socket.create_connection((address.hostname, address.port), timeout=10) as slow:
        slow.sendall(b"POST /hooks/acme/desk HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert slow.recv(100).startswith(b"HTTP/1.1 408")
    assert stored(gateway) == 0
    assert hooks.post("/hooks/acme/desk", content=BODY, headers=KEY).status_code == 202
