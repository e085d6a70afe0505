"""Is a notice of Asaas believed by its token alone, and known by the whole of its id?"""

import hashlib
import json
from pathlib import Path

import pytest
from gateway_plugins import asaas
from gateway_plugins.asaas import accept
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import Connection, Verified, Webhook, WebhookRejected
from gateway.registry import assemble

TOKEN = "token-of-the-webhook-0123456789abcdef"
FIXTURES = Path(__file__).parent / "fixtures"
BODY = (FIXTURES / "PAYMENT_CONFIRMED.card.json").read_bytes()
HEADERS = {"asaas-access-token": TOKEN, "user-agent": "Asaas/3.0"}


def connection(*tokens: str, **settings: object) -> Connection[asaas.Settings]:
    told = {"access_token": list(tokens or (TOKEN,)), **settings}
    return Connection("acme", "asaas", "asaas", asaas.Settings.model_validate(told))


def verify(
    headers: dict[str, str] = HEADERS, body: bytes = BODY, *tokens: str, **settings: object
) -> Verified:
    return assemble({"asaas": asaas}, {}).ask(
        "asaas", "verify_webhook", webhook=Webhook(headers, body), connection=connection(*tokens, **settings)
    )


def test_the_token_proves_it_and_the_whole_id_names_it():
    proof = verify()
    assert proof == Verified("evt_15e444ff9b9ab9ec29294aa1abe68025&900001", subject="pay_0a1b2c3d4e5f6g7h")


@pytest.mark.parametrize("kind", ["PAYMENT_CONFIRMED", "PAYMENT_RECEIVED", "PAYMENT_OVERDUE"])
def test_what_stands_before_the_ampersand_is_the_same_for_all_notices_of_a_kind(kind):
    """So it names no notice, although it looks as if it did."""
    (found,) = FIXTURES.glob(f"{kind}.*.json")
    constant = f"evt_{hashlib.md5(kind.encode()).hexdigest()}&"
    assert json.loads(found.read_bytes())["id"].startswith(constant)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"asaas-access-token": ""},
        {"asaas-access-token": TOKEN[:-1]},
        {"access_token": TOKEN},
        {"authorization": TOKEN},
    ],
)
def test_any_other_proof_is_none(headers):
    with pytest.raises(WebhookRejected):
        verify(headers)


def test_two_tokens_are_believed_while_one_replaces_the_other():
    assert verify(HEADERS, BODY, "new", TOKEN)


def test_a_connection_without_a_token_is_refused_when_it_is_saved():
    with pytest.raises(ValueError, match="access_token"):
        asaas.Settings.model_validate({"api_key": "k"})


@pytest.mark.parametrize(
    ("event", "settings", "headers", "thin"),
    [
        ("PAYMENT_CONFIRMED", {}, HEADERS, False),
        ("PAYMENT_CONFIRMED", {"api_key": "k"}, HEADERS, True),
        ("PAYMENT_BANK_SLIP_VIEWED", {"api_key": "k"}, HEADERS, False),
        ([], {"api_key": "k"}, HEADERS, False),
        ("PAYMENT_CONFIRMED", {"api_key": "k"}, {**HEADERS, "user-agent": "Asaas_Hmlg/3.0"}, False),
        (
            "PAYMENT_CONFIRMED",
            {"api_key": "k", "sandbox": True},
            {**HEADERS, "user-agent": "Asaas_Hmlg/3.0"},
            False,
        ),
    ],
)
def test_with_a_key_for_the_api_what_matters_is_read_back(event, settings, headers, thin):
    body = json.dumps({**json.loads(BODY), "event": event}).encode()
    assert verify(headers, body, **settings).thin is thin


def test_an_invoices_address_that_is_none_is_no_sign_of_the_sandbox():
    body = {**json.loads(BODY), "payment": {"id": "pay_1", "invoiceUrl": "https://[sandbox.asaas.com"}}
    assert verify(HEADERS, json.dumps(body).encode(), api_key="k").thin


def test_a_notice_of_another_family_is_about_no_payment():
    proof = verify(HEADERS, b'{"id": "evt_1&2", "event": "TRANSFER_DONE", "transfer": {"id": "t_1"}}')
    assert proof == Verified("evt_1&2")


PAYMENTS = st.dictionaries(st.sampled_from(["id", "invoiceUrl"]), st.text() | st.integers())
BODIES = st.dictionaries(
    st.sampled_from(["id", "event", "payment"]), st.none() | st.lists(st.integers()) | st.text() | PAYMENTS
)


@given(st.binary(max_size=200) | BODIES.map(lambda told: json.dumps(told).encode()))
def test_whatever_comes_with_the_token_is_theirs(body):
    proof = verify(HEADERS, body, api_key="k")
    assert proof.subject is None or accept.PAYMENT_ID.fullmatch(proof.subject)


@given(st.text(max_size=60), st.binary(max_size=50))
def test_nothing_forged_is_believed(token, body):
    with pytest.raises(WebhookRejected):
        verify({"asaas-access-token": token}, body)
