"""Only who knows a token of the portal is believed, and only as far as the thing that it names."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from gateway_plugins import bitrix
from gateway_plugins.bitrix.accept import decimal, parted
from gateway_plugins.bitrix.forms import parsed
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import Webhook, WebhookRejected

FIXTURES = Path(__file__).parent / "fixtures"
TOKENS = ("outgoingwebhooktoken000000000001", "applicationtoken0000000000000001")
MEMBER = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"

ABOUT = {
    "ONAPPINSTALL": (None, False),
    "ONAPPUNINSTALL": (None, False),
    "ONCRMACTIVITYADD": (None, False),
    "ONCRMCONTACTADD": ("contact:305", True),
    "ONCRMDEALADD": ("deal:1234", True),
    "ONCRMDEALMOVETOCATEGORY": ("deal:1234", True),
    "ONCRMDEALUPDATE": ("deal:1234", True),
    "ONCRMDYNAMICITEMADD": (None, False),
    "ONCRMLEADADD": (None, False),
    "ONCRMTIMELINECOMMENTADD.fields": ("timeline:5150", True),
    "onCrmTimelineCommentAdd.mixedcase": ("timeline:5150", True),
    "ONIMCONNECTORMESSAGEADD": ("chat:4321", True),
    "ONOPENLINEMESSAGEADD.array": ("chat:4321", True),
    "ONSESSIONFINISH.object": ("chat:4321", False),
    "ONSESSIONSTART.array": ("chat:4321", True),
    "ONTASKADD": ("task:8899", True),
    "ONTASKCOMMENTADD.newcard": ("task:8899", True),
    "ONTASKCOMMENTADD.oldcard": ("task:8899", True),
    "ONTASKDELETE": ("task:8899", False),
    "ONTASKUPDATE": ("task:8899", True),
    "ONVOXIMPLANTCALLEND": (None, False),
}


def verify(webhook, connection):
    return bitrix.verify_webhook(webhook=webhook, connection=connection)


def test_there_is_a_case_for_every_example():
    assert {path.name.removesuffix(".form.txt") for path in FIXTURES.glob("*.form.txt")} == ABOUT.keys()


@pytest.mark.parametrize(("name", "about"), ABOUT.items(), ids=ABOUT.keys())
def test_what_a_webhook_is_about_and_whether_it_must_be_read_back(told, connection, name, about):
    proof = verify(told(name), connection)
    assert (proof.subject, proof.thin) == about
    assert proof.delivery_id is None, "every notice counts: two changes may share a second"
    assert proof.sent_at in (
        datetime(2026, 9, 14, 0, 0, 0, tzinfo=UTC),
        datetime(2026, 9, 14, 0, 0, 31, tzinfo=UTC),
    )


@pytest.mark.parametrize("name", ABOUT)
def test_no_token_is_kept(told, connection, name):
    kept = verify(told(name), connection).kept
    assert b"[redacted]" in kept
    for secret in (*TOKENS, "acc0000000", "ref0000000"):
        assert secret.encode() not in kept
    given_, left = parsed(told(name).body), parsed(kept)
    assert (given_["event"], given_["data"], given_["ts"]) == (left["event"], left["data"], left["ts"])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("outgoingwebhooktoken000000000001", "outgoingwebhooktoken000000000002"), "wrong application token"),
        (("outgoingwebhooktoken000000000001", ""), "no auth"),
        (("auth%5Bapplication_token%5D", "auth%5Bother%5D"), "no auth"),
        (("auth%5Bapplication_token%5D", "application_token"), "no auth"),
        (("auth%5Bapplication_token%5D", "auth%5Bapplication_token%5D%5B0%5D"), "no auth"),
    ],
)
def test_without_the_token_nothing_is_believed(told, connection, change, why):
    with pytest.raises(WebhookRejected, match=why):
        verify(told("ONTASKADD", change), connection)


def test_of_two_tokens_the_last_one_counts_as_it_does_for_php(told, connection):
    body = told("ONTASKADD").body
    with pytest.raises(WebhookRejected, match="wrong application token"):
        verify(told(body + b"&auth[application_token]=x"), connection)


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"\xff\xfe", b"{", b"event=ONTASKADD"])
def test_a_body_that_proves_nothing_is_refused(told, connection, body):
    with pytest.raises(WebhookRejected):
        verify(told(body), connection)


def test_a_body_too_large_to_be_read_is_refused_before_it_is(told, connection):
    with pytest.raises(WebhookRejected, match="larger than"):
        verify(told(told("ONTASKADD").body + b"&x=" + b"y" * 600_000), connection)


@given(st.text(max_size=40))
def test_no_other_token_is_right(claimed):
    connection = bitrix.Connection(
        "t1", "b24", "bitrix",
        bitrix.Settings(portal_host="a.example", user_id=1, webhook_secret="s", application_token=TOKENS),
    )  # fmt: skip
    body = json.dumps({"auth": {"application_token": claimed}}).encode()
    if claimed not in TOKENS:
        with pytest.raises(WebhookRejected):
            verify(Webhook({}, body), connection)


def test_another_portal_is_refused_although_it_knows_the_token(told, connected):
    assert verify(told("ONTASKADD"), connected(member_id=MEMBER))
    with pytest.raises(WebhookRejected, match="another portal"):
        verify(told("ONTASKADD"), connected(member_id="f" * 32))
    with pytest.raises(WebhookRejected, match="another portal"):
        verify(told("ONTASKADD", ("member_id", "else")), connected(member_id=MEMBER))


def test_a_second_proof_in_the_address_is_demanded_where_it_is_set(told, connected):
    connection = connected(hook_key="second-proof")
    assert verify(told("ONTASKADD", query={"key": "second-proof"}), connection)
    for query in ({}, {"key": "second-proofs"}):
        with pytest.raises(WebhookRejected, match="key"):
            verify(told("ONTASKADD", query=query), connection)


def test_what_the_webhook_says_of_addresses_is_never_used(told, connection):
    webhook = told("ONTASKADD", ("acme.bitrix24.com.br", "evil.example"))
    assert verify(webhook, connection).subject == "task:8899"
    assert (
        bitrix.connect_api(connection=connection).base_url
        == "https://acme.bitrix24.com.br/rest/15/portal-secret-1"
    )


def test_json_is_believed_like_a_form(told, connection):
    body = {
        "event": "onTaskAdd",
        "data": {"FIELDS_AFTER": {"ID": 7}},
        "auth": {"application_token": TOKENS[0]},
    }
    proof = verify(told(json.dumps(body).encode()), connection)
    assert (proof.subject, proof.thin, proof.sent_at) == ("task:7", True, None)
    assert TOKENS[0].encode() not in proof.kept


@pytest.mark.parametrize("ts", ["", "x", "0", "99999999999999999", "-1", "1.5"])
def test_a_moment_that_is_none_is_not_known(told, connection, ts):
    assert verify(told("ONTASKADD", ("ts=1789344000", f"ts={ts}")), connection).sent_at is None


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ONTASKADD", ("=8899", "=0")),
        ("ONTASKADD", ("=8899", "=88a")),
        ("ONCRMDEALADD", ("=1234", "=")),
        ("ONCRMDEALADD", ("=1234", "=-1")),
        ("ONCRMDEALADD", ("=1234", "=" + "9" * 20)),
        ("ONOPENLINEMESSAGEADD.array", ("=4321", "=x")),
    ],
)
def test_a_thing_that_is_not_named_cannot_be_read_back(told, connection, name, change):
    proof = verify(told(name, change), connection)
    assert (proof.subject, proof.thin) == (None, False)


def test_a_notice_about_several_chats_is_taken_as_it_is(told, connection):
    body = (
        told("ONOPENLINEMESSAGEADD.array").body
        + b"&data[DATA][1][chat][id]=4322&data[DATA][1][message][id]=9"
    )
    proof = verify(told(body), connection)
    assert (proof.subject, proof.thin) == (None, False)
    same_chat = body.replace(b"=4322", b"=4321")
    assert verify(told(same_chat), connection).subject == "chat:4321"


@pytest.mark.parametrize(
    ("value", "id_"),
    [("12", "12"), (12, "12"), ("012", "12"), ("0", None), (0, None), ("", None), ("١٢", None), (None, None),
     ("1" * 20, None), (1.0, None), ("-1", None)],
)  # fmt: skip
def test_an_id_is_a_number_above_nothing(value, id_):
    assert decimal(value) == id_


def test_a_bare_number_is_a_tasks():
    assert parted("8899") == ("task", "8899")
    assert parted("spa:1040:9") == ("spa", "1040:9")
