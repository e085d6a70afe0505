"""Does what the Intercom plugin sends, and what its sandbox answers, fit Intercom's own description of its API?"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from gateway_plugins import intercom
from gateway_plugins.intercom.sandbox import create_app

from gateway.api import (
    Action,
    AddComment,
    AddTags,
    ApiClient,
    ApiError,
    AssignTo,
    Connection,
    Contact,
    CreateTicket,
    Priority,
    RateLimit,
    RemoveTags,
    SaveContact,
    SetFields,
    SetPriority,
    SetStatus,
    Status,
    TicketKind,
    TicketRef,
)
from gateway.clock import utc_now
from gateway.testing import api_for, serving

SPEC, HOST = "intercom-2.15.yaml", "https://api.intercom.io"
WHY = "a contract"

# --- where the description is wrong or silent ---------------------------------------------------------------

NOBODY = (
    "that there is nothing of that id is described for conversations, and for contacts and tickets left out"
)
DEPARTURES: tuple[dict[str, str], ...] = (
    {
        "operation": "POST /conversations", "side": "request",
        "where": r"^\$\.from\.id: '[0-9a-f]{24}' is not a 'uuid'$",
        "reason": "a contact's id has 24 characters, as the same schema says; a UUID has 36",
    },
    {
        "operation": "POST /contacts", "side": "answer", "where": "^409 Unknown response http status",
        "reason": "a contact that is there already is a conflict; the description leaves it out, says its README",
    },
    {
        "operation": "GET /contacts/find_by_external_id/{external_id}", "side": "answer",
        "where": "^404 Unknown response http status", "reason": NOBODY,
    },
    {
        "operation": "GET /contacts/{contact_id}", "side": "answer", "where": "^404 Unknown response http status",
        "reason": NOBODY,
    },
    {
        "operation": "GET /tickets/{ticket_id}", "side": "answer", "where": "^404 Unknown response http status",
        "reason": NOBODY,
    },
    {
        "operation": "GET /me", "side": "answer", "where": "^401 Unknown response http status",
        "reason": "a wrong token is described for every other operation",
    },
)  # fmt: skip


def connect(url: str, **settings: Any) -> Connection[intercom.Settings]:
    given = {
        "base_url": url, "app_id": "abc123", "admin_id": "700", "access_token": "sandbox-token",
        "client_secret": "sandbox-secret", "custom_fields": {"order": "Order", "seats": "Seats"},
        "teams": {"Suporte": "801"}, "priority_attribute": "Prioridade", "priorities": {"high": "Alta"},
        "document_attribute": "cpf", "search_lag_seconds": 0,
    }  # fmt: skip
    return Connection("acme", "ic", "intercom", intercom.Settings.model_validate(given | settings))


def client(url: str, **settings: Any) -> ApiClient:
    return api_for(intercom, connect(url, **settings), rate=RateLimit(10_000, 60))


# --- what is asked of it ------------------------------------------------------------------------------------

ANA = Contact(
    name="Ana Lima", email="ana@customer.example", phones=("(11) 3555-0199",), document="52998224725"
)
RUI = Contact(name="Rui Dias", phones=("+5511977776666",))


def openings() -> Iterator[CreateTicket]:
    """For everybody that a ticket can be for, with as much and as little as it can have."""
    told: dict[str, Any] = {"connection": "ic", "subject": "CORE - Ana", "description": "Olá", "reason": WHY}
    yield CreateTicket(id="new-1", key="1", contact=RUI, **told)
    yield CreateTicket(
        id="new-2", key="2", contact=ANA, team="Suporte", assignee="702", tags=("vip", "core"), is_html=True,
        priority=Priority.HIGH, custom_fields={"order": "A-77", "seats": 3}, **told,
    )  # fmt: skip
    yield CreateTicket(id="new-3", key="3", contact=ANA, ticket_kind=TicketKind.CONVERSATION, **told)


def changes(ref: TicketRef) -> Iterator[Action]:
    told: dict[str, Any] = {"ticket": ref, "reason": WHY}
    yield AddComment(id="said-1", body="Falta o telefone", **told)
    yield AddComment(id="said-2", body="<p>Já <b>vimos</b></p>", is_html=True, is_private=False, **told)
    yield AddTags(id="tags-1", tags=("um", "dois"), **told)
    yield RemoveTags(id="tags-2", tags=("um",), **told)
    yield SetStatus(id="status-1", status=Status.ON_HOLD, **told)
    yield SetStatus(id="status-2", status=Status.OPEN, **told)
    yield SetStatus(id="status-3", status=Status.CLOSED, **told)
    yield SetStatus(id="status-4", status=Status.OPEN, **told)
    yield SetPriority(id="priority", priority=Priority.HIGH, **told)
    yield AssignTo(id="assign-1", assignee="bia@desk.example", team="Suporte", **told)
    yield AssignTo(id="assign-2", **told)
    yield SetFields(id="fields", fields={"order": "B-78", "seats": 4}, **told)


def contacts() -> Iterator[Contact]:
    yield ANA
    yield ANA.model_copy(update={"name": "Ana Maria Lima"})
    yield RUI
    yield Contact(document="11144477735", custom_fields={"plan": "Pro"})


def do_all(api: ApiClient, actions: Iterator[Action]) -> list[str]:
    """Each action, and the look for it afterwards; the ids of what was opened."""
    opened = []
    for action in actions:
        receipt = intercom.execute_action(action=action, api=api)
        assert receipt is not None
        intercom.find_effect(action=action, api=api)
        opened += [receipt.remote_id] if isinstance(action, CreateTicket) and receipt.remote_id else []
    return opened


def people_do(url: str) -> None:
    """So that answers have what only people can bring there."""
    with httpx.Client(base_url=url, trust_env=False) as http:
        opening = {
            "contact": {"email": "eva@customer.example"},
            "body": "Oi",
            "subject": "Boleto",
            "type": "email",
        }
        ref = http.post("/_sandbox/human/tickets", json=opening).raise_for_status().json()["id"]
        for change in (
            {"message_type": "comment", "type": "user", "body": "Alguém?"},
            {"message_type": "comment", "type": "admin", "body": "Sim"},
            {"message_type": "assignment", "type": "team", "assignee_id": "801", "tags": ["vip"]},
            {"message_type": "close", "body": "Pronto", "priority": "priority"},
        ):
            http.post(f"/_sandbox/human/tickets/{ref}", json=change).raise_for_status()


def refusals(url: str) -> None:
    api, stranger = client(url, ticket_type_id="29"), client(url, access_token="another-token")
    gone, ticket = TicketRef("ic", "1"), TicketRef("ic", "ticket:1")
    asked: tuple[Callable[[], Any], ...] = (
        lambda: stranger.get("/me"),
        lambda: intercom.collect_ticket(ref=gone, api=api),
        lambda: intercom.collect_ticket(ref=ticket, api=api),
        lambda: do_all(api, iter([AddComment(id="x", reason=WHY, ticket=gone, body="x")])),
        lambda: do_all(api, iter([AddComment(id="x", reason=WHY, ticket=ticket, body="x")])),
        lambda: do_all(api, iter([AssignTo(id="x", reason=WHY, ticket=gone, assignee="701")])),
        lambda: do_all(api, iter([AddTags(id="x", reason=WHY, ticket=gone, tags=("a",))])),
        lambda: do_all(api, iter([SetFields(id="x", reason=WHY, ticket=gone, fields={"order": "1"})])),
        lambda: do_all(api, iter([SetFields(id="x", reason=WHY, ticket=ticket, fields={"order": "1"})])),
    )
    for ask in asked:
        with pytest.raises(ApiError):
            ask()
    foreign = Contact(id="66aa0000000000000000ffff", email="new@customer.example")
    assert do_all(api, iter([SaveContact(id="x", reason=WHY, connection="ic", contact=foreign)])) == []


USED = {
    "DELETE /conversations/{conversation_id}/tags/{tag_id}", "DELETE /tickets/{ticket_id}/tags/{tag_id}",
    "GET /admins", "GET /contacts/find_by_external_id/{external_id}", "GET /contacts/{contact_id}",
    "GET /conversations/{conversation_id}", "GET /me", "GET /tags", "GET /ticket_states", "GET /tickets/{ticket_id}",
    "POST /contacts", "POST /contacts/search", "POST /contacts/{contact_id}/unarchive", "POST /conversations",
    "POST /conversations/search", "POST /conversations/{conversation_id}/parts",
    "POST /conversations/{conversation_id}/reply", "POST /conversations/{conversation_id}/tags", "POST /messages",
    "POST /tags", "POST /tickets", "POST /tickets/search", "POST /tickets/{ticket_id}/reply",
    "POST /tickets/{ticket_id}/tags", "PUT /contacts/{contact_id}", "PUT /conversations/{conversation_id}",
    "PUT /tickets/{ticket_id}",
}  # fmt: skip
"""Every operation that the plugin has a call for."""


def test_requests_and_answers_fit_the_description(
    contract_of: Callable[..., Any], departure: Callable[..., Any]
) -> None:
    contract = contract_of(SPEC, HOST, [departure(**given) for given in DEPARTURES])
    with serving(contract.watching(create_app(search_lag=0, largest_page=2))) as url:
        api = client(url)
        api.get("/me")
        people_do(url)
        do_all(
            api, (SaveContact(id="c", reason=WHY, connection="ic", contact=contact) for contact in contacts())
        )
        opened = do_all(client(url, ticket_type_id="29"), openings())
        opened += do_all(client(url, open_as="admin"), iter([next(openings())]))
        archived = api.call("POST", "/contacts", json={"role": "user", "email": "old@customer.example"}).body[
            "id"
        ]
        httpx.post(f"{url}/_sandbox/human/contacts/{archived}", json={"archived": True}).raise_for_status()
        back = SaveContact(id="c", reason=WHY, connection="ic", contact=Contact(email="old@customer.example"))
        do_all(api, iter([back]))
        assert {ref.partition(":")[0] for ref in opened} > {"ticket"}
        for ref in opened:
            do_all(api, changes(TicketRef("ic", ref)))
            intercom.collect_ticket(ref=TicketRef("ic", ref), api=api)
        assert (
            len(list(intercom.list_changed(since=utc_now() - timedelta(hours=1), api=api))) == len(opened) + 1
        )
        refusals(url)
    assert {operation for operation in contract.seen if re.search(r" \d+$", operation) is None} == USED
    assert contract.unexplained() == []
    assert [departure.where for departure in contract.unused()] == []


def test_the_limit_is_told_as_described(contract_of: Callable[..., Any]) -> None:
    contract = contract_of(SPEC, HOST)
    with (
        serving(contract.watching(create_app(calls_per_minute=6))) as url,
        httpx.Client(trust_env=False) as http,
    ):
        for _ in range(3):
            http.get(f"{url}/me", headers={"Authorization": "Bearer sandbox-token"})
    assert contract.seen["GET /me 429"] >= 1
    assert all("429" in fault for fault in contract.unexplained())


@pytest.mark.parametrize(
    ("method", "path", "body", "fault"),
    [
        ("POST", "/conversations/1/reply", {"message_type": "comment", "admin_id": "700"}, "not valid under"),
        ("POST", "/conversations/1/parts", {"message_type": "close", "admin_id": "700"}, "not valid under"),
        ("PUT", "/tickets/1", {"admin_id": "700"}, r"\$\.admin_id: '700' is not of type 'integer'"),
        ("PUT", "/tickets/1", {"admin_id": 700, "state": "open"}, r"undescribed: \$\.state"),
        ("POST", "/tickets", {"contacts": [{"id": "1"}]}, "'ticket_type_id' is a required property"),
        ("GET", "/conversations/1?plain=1", None, "undescribed: parameter plain"),
        ("GET", "/threads/1", None, "Path not found"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_noticed(
    contract_of: Callable[..., Any], method: str, path: str, body: Any, fault: str
) -> None:
    contract = contract_of(SPEC, HOST)
    with (
        serving(contract.watching(create_app())) as url,
        httpx.Client(trust_env=False) as http,
        suppress(httpx.HTTPError),
    ):
        http.request(method, url + path, json=body, headers={"Authorization": "Bearer sandbox-token"})
    requests = [str(found) for found in contract.faults if found.side == "request"]
    assert any(re.search(fault, text) for text in requests), requests


def test_times_of_answers_are_of_this_century(contract_of: Callable[..., Any]) -> None:
    """The description calls them integers; milliseconds would fit as well."""
    contract_of(SPEC, HOST)
    with serving(create_app()) as url:
        ref = TicketRef("ic", do_all(client(url), iter([next(openings())]))[0])
        ticket = intercom.collect_ticket(ref=ref, api=client(url))["conversation"]
    assert abs(datetime.fromtimestamp(ticket["updated_at"], UTC) - utc_now()) < timedelta(minutes=1)
