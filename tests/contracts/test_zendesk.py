"""Does what the Zendesk plugin sends, and what its sandbox answers, fit Zendesk's own description of its API?"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from gateway_plugins import zendesk
from gateway_plugins.zendesk.desk import Desk
from gateway_plugins.zendesk.sandbox import Front, create_app

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
    TicketRef,
)
from gateway.clock import utc_now
from gateway.testing import api_for, serving

SPEC = "zendesk-support-2.0.0.yaml"
WHY = "a contract"

# --- where the description is wrong or silent ---------------------------------------------------------------

TICKETS = {
    "GET /api/v2/incremental/tickets/cursor": r"\$\.tickets\[\d+\]",
    "GET /api/v2/tickets": r"\$\.tickets\[\d+\]",
    "GET /api/v2/tickets/{ticket_id}": r"\$\.ticket",
    "POST /api/v2/tickets": r"\$\.ticket",
    "PUT /api/v2/tickets/{ticket_id}": r"\$\.ticket",
}
"""Where an answer has tickets."""
NULL_IN_TICKETS = (
    "assignee_id|external_id|organization_id|priority|problem_id|recipient|satisfaction_rating|type"
)
USERS = {
    "GET /api/v2/users/search": r"\$\.users\[\d+\]",
    "POST /api/v2/users/create_or_update": r"\$\.user",
    "PUT /api/v2/users/{user_id}": r"\$\.user",
}
"""Where an answer has users without e-mail."""
NULL = r"None (for not nullable|is not of type '\w+'|is not one of \[[^]]*\])"
CUSTOM_FIELD = r"^\$\.ticket\.custom_fields\[\d+\]"

REFUSALS = {
    "DELETE /api/v2/tickets/{ticket_id}/tags": "404",
    "GET /api/v2/incremental/tickets/cursor": "400",
    "GET /api/v2/tickets/{ticket_id}": "404",
    "GET /api/v2/tickets/{ticket_id}/audits": "404",
    "GET /api/v2/tickets/{ticket_id}/tags": "404",
    "GET /api/v2/users/me": "401|429",
    "POST /api/v2/tickets": "400",
    "POST /api/v2/users": "422",
    "PUT /api/v2/tickets/{ticket_id}": "404|422",
    "PUT /api/v2/tickets/{ticket_id}/tags": "404",
    "PUT /api/v2/users/{user_id}": "404",
}

UNDESCRIBED = (
    ("GET /api/v2/tickets/{ticket_id}", "parameter include", "side-loading has a page of its own"),
    ("GET /api/v2/tickets/{ticket_id}/audits", r"parameter (sort|page\[size\])", "cursors have a page of their own"),
    ("GET /api/v2/tickets/{ticket_id}/comments", r"parameter page\[(size|after)\]", "cursors have a page of their own"),
    ("POST /api/v2/tickets", r"\$\.ticket\.requester$", "a requester given by name and e-mail is in the text only"),
    ("PUT /api/v2/tickets/{ticket_id}", r"\$\.ticket\.metadata$", "metadata of an update is in the text only"),
    ("PUT /api/v2/tickets/{ticket_id}/tags", "a body$", "the tags to add are in the text only"),
    ("DELETE /api/v2/tickets/{ticket_id}/tags", "a body$", "the tags to remove are in the text only"),
    ("POST /api/v2/tickets/{ticket_id}/tags", "a body$", "the tags to set are in the text only"),
)  # fmt: skip


def departures() -> Iterator[dict[str, str]]:
    """Each with its operation and its reason."""
    for operation, at in TICKETS.items():
        yield {
            "operation": operation, "side": "answer", "where": rf"^20[01] {at}\.({NULL_IN_TICKETS}): {NULL}$",
            "reason": "what a ticket does not have is null, as in Zendesk's own examples and every recording",
        }  # fmt: skip
        yield {
            "operation": operation, "side": "answer",
            "where": rf"^20[01] {at}\.custom_fields\[\d+\]\.value: (True|False|\[.*\]) is not of type 'string'$",
            "reason": "a check box is a boolean and a multi-select a list, says the text beside it",
        }  # fmt: skip
    for operation, at in USERS.items():
        nulls = rf"({at}\.(email|organization_id|shared_phone_number): {NULL}(; )?)+"
        yield {
            "operation": operation, "side": "answer",
            "where": rf"^20[01] {at}: .* is not valid under any of the given schemas \({nulls}\)$",
            "reason": "a user who only has a phone has a null where the e-mail would be",
        }  # fmt: skip
    for operation in ("POST /api/v2/tickets", "PUT /api/v2/tickets/{ticket_id}"):
        for where in (
            rf"{CUSTOM_FIELD}\.id: Tried to write read-only property",
            rf"{CUSTOM_FIELD}: '(key|title|type)' is a required property$",
            r"^undescribed: \$\.ticket\.custom_fields\[\d+\]\.value$",
        ):
            yield {
                "operation": operation, "side": "request", "where": where,
                "reason": "described is the definition of a field instead of `{id, value}`, its value in a ticket",
            }  # fmt: skip
    for operation, what, reason in UNDESCRIBED:
        yield {"operation": operation, "side": "request", "where": f"^undescribed: {what}", "reason": reason}
    for operation, statuses in REFUSALS.items():
        yield {
            "operation": operation, "side": "answer", "where": f"^({statuses}) Unknown response http status",
            "reason": "no refusal is described; their shapes are those of recordings",
        }  # fmt: skip
    yield {
        "operation": "PUT /api/v2/tickets/{ticket_id}", "side": "request",
        "where": rf"^\$\.ticket\.assignee_id: {NULL}$", "reason": "null takes a ticket from its agent",
    }  # fmt: skip
    yield {
        "operation": "PUT /api/v2/tickets/{ticket_id}", "side": "answer",
        "where": r"^200 \$\.audit\.events\[\d+\]\.value: (None|True|False|\[.*\]) is not valid under any",
        "reason": "an audit repeats the value that was set, whatever its type",
    }  # fmt: skip
    yield {
        "operation": "GET /api/v2/incremental/tickets/cursor", "side": "request",
        "where": "^Missing required query parameter: start_time$",
        "reason": "a cursor says where to go on, and Zendesk's own `after_url` has no start_time",
    }  # fmt: skip
    yield {
        "operation": "DELETE /api/v2/tickets/{ticket_id}/tags", "side": "answer",
        "where": "^200 Unknown response http status: 200$",
        "reason": "recorded is 200 with the tags that are left; described is 204 without a word",
    }  # fmt: skip
    yield {
        "operation": "GET /api/v2/users/me", "side": "request", "where": "Security not found",
        "reason": "OAuth tokens, which replace passwords and API tokens, are described elsewhere",
    }  # fmt: skip


# --- what is asked of it ------------------------------------------------------------------------------------

ANA = Contact(name="Ana Lima", email="ana@customer.example", phones=("+5511988887777",))
RUI = Contact(name="Rui Dias", phones=("+5511977776666",), document="52998224725")


def connect(url: str, **settings: Any) -> Connection[zendesk.Settings]:
    given = {
        "base_url": f"{url}/api/v2", "subdomain": "acme", "user_id": "90001", "signing_secret": "a-secret",
        "email": "ana.souza@desk.example", "api_token": "sandbox-api-token", "groups": {"Financeiro": 8002},
        "custom_fields": {"order": 360001, "plan": 360002, "paid": 360009},
    }  # fmt: skip
    return Connection("acme", "zd", "zendesk", zendesk.Settings.model_validate(given | settings))


def client(url: str, **settings: Any) -> ApiClient:
    return api_for(zendesk, connect(url, **settings), rate=RateLimit(10_000, 60))


def new_tickets() -> Iterator[CreateTicket]:
    """With as much and as little as a ticket can have, for everybody that a requester can be."""
    told: dict[str, Any] = {"connection": "zd", "subject": "Onboarding", "description": "Olá", "reason": WHY}
    yield CreateTicket(id="new-1", key="1", **told)
    yield CreateTicket(
        id="new-2", key="2", contact=ANA, team="Financeiro", assignee="80005", tags=("VIP", "a b"), type="Task",
        priority=Priority.HIGH, custom_fields={"order": "A-77", "plan": ["um", "dois"], "paid": True},
        is_html=True, **told,
    )  # fmt: skip
    yield CreateTicket(
        id="new-3", key="3", contact=Contact(name="Eva Reis", email="eva@customer.example"), **told
    )
    known = Contact(name="Eva", email="eva@customer.example", phones=("+5511966665555",))
    yield CreateTicket(id="new-8", key="8", contact=known, **told)
    yield CreateTicket(id="new-4", key="4", contact=Contact(name="Sem Contato"), **told)
    yield CreateTicket(id="new-5", key="5", contact=RUI, **told)
    yield CreateTicket(id="new-6", key="6", contact=RUI, assignee="ana.souza@desk.example", **told)


def changes(ref: TicketRef) -> Iterator[Action]:
    told: dict[str, Any] = {"ticket": ref, "reason": WHY}
    yield AddComment(id="said-1", body="Falta o telefone", is_private=True, **told)
    yield AddComment(id="said-2", body="<p>Já vimos</p>", is_html=True, is_private=False, **told)
    yield AddTags(id="tags-1", tags=("um", "dois"), **told)
    yield RemoveTags(id="tags-2", tags=("um",), **told)
    yield SetStatus(id="status-1", status=Status.PENDING, **told)
    yield SetStatus(id="status-2", status=Status.PENDING, remote_status="Aguardando boleto", **told)
    yield SetPriority(id="priority", priority=Priority.URGENT, **told)
    yield AssignTo(id="assign-1", assignee="80005", team="Financeiro", **told)
    yield AssignTo(id="assign-2", **told)
    yield AssignTo(id="assign-3", assignee="ana.souza@desk.example", **told)
    yield SetFields(id="fields", fields={"order": "B-78", "plan": ["um"], "paid": False}, **told)
    yield SaveContact(id="contact-1", connection="zd", contact=ANA, reason=WHY)
    yield SaveContact(id="contact-2", connection="zd", contact=RUI, reason=WHY)


@pytest.fixture(scope="module")
def contract(contract_of: Callable[..., Any], departure: type[Any]) -> Any:
    """All that the plugin can do was done, and much that Zendesk refuses was tried, at a watched sandbox."""
    known = [departure(**known) for known in departures()]
    watched = contract_of(SPEC, "https://acme.zendesk.com", known, lambda path: path.removesuffix(".json"))
    app = create_app(calls_per_minute=None, export_delay=0, largest_page=2)
    with serving(watched.watching(app)) as url, httpx.Client(base_url=url, trust_env=False) as people:
        everything_is_done(url, people)
        much_is_refused(url)
        what_only_the_sandbox_can(url, people)
    with serving(watched.watching(create_app(calls_per_minute=1))) as url:
        look(client(url))
        refused(429, look, client(url))
    return watched


def everything_is_done(url: str, people: httpx.Client) -> None:
    api = client(url)
    for action in new_tickets():
        assert zendesk.execute_action(action=action, api=api)
        assert zendesk.find_effect(action=action, api=api)
    person = {"name": "Lia", "email": "lia@customer.example"}
    opened = people.post(
        "/_sandbox/human/tickets", json={"subject": "Boleto", "description": "Cadê?", "requester": person}
    )
    ref = TicketRef("zd", str(opened.json()["ticket"]["id"]))
    for action in changes(ref):
        assert zendesk.execute_action(action=action, api=api)
        found = zendesk.find_effect(action=action, api=api)
        assert found or isinstance(action, SaveContact) or "@" in (getattr(action, "assignee", "") or "")
    assert zendesk.collect_ticket(ref=ref, api=api)
    assert ref in list(zendesk.list_changed(since=datetime.fromtimestamp(0, UTC), api=api))
    look(api)
    look(client(url, email=None, api_token=None, oauth_token="sandbox-token"))


def much_is_refused(url: str) -> None:
    api = client(url)
    first, *_ = new_tickets()
    ref = TicketRef("zd", "1")
    for action in changes(ref):
        if not isinstance(action, SaveContact):
            refused(404, lambda action=action: zendesk.execute_action(action=action, api=api))
            refused(404, lambda action=action: zendesk.find_effect(action=action, api=api))
    refused(404, lambda: zendesk.collect_ticket(ref=ref, api=api))
    nobody = SaveContact(id="contact-3", connection="zd", contact=Contact(id="1", name="Ana"), reason=WHY)
    refused(404, lambda: zendesk.execute_action(action=nobody, api=api))
    other_words = first.model_copy(update={"subject": "Outro"})
    refused(400, lambda: zendesk.execute_action(action=other_words, api=api))
    refused(400, lambda: list(zendesk.list_changed(since=utc_now() + timedelta(hours=1), api=api)))
    made = zendesk.execute_action(action=first.model_copy(update={"id": "new-7"}), api=api)
    closed: dict[str, Any] = {"ticket": TicketRef("zd", str(made and made.remote_id)), "reason": WHY}
    zendesk.execute_action(action=SetStatus(id="closing", status=Status.CLOSED, **closed), api=api)
    late = AddComment(id="late", body="Tarde demais", **closed)
    refused(422, lambda: zendesk.execute_action(action=late, api=api))
    refused(401, look, client(url, api_token="old"))
    refused(401, look, client(url, email=None, api_token=None, oauth_token="old"))


def what_only_the_sandbox_can(url: str, people: httpx.Client) -> None:
    """The plugin does not need it, but whoever tries something by hand finds it there."""
    people.auth = ("ana.souza@desk.example/token", "sandbox-api-token")
    user = {"user": {"name": "Nova Pessoa", "email": "nova@customer.example"}}
    made = people.post(f"{url}/api/v2/users.json", json=user).raise_for_status().json()["user"]
    assert people.post(f"{url}/api/v2/users.json", json=user).status_code == 422
    assert people.get(f"{url}/api/v2/users/{made['id']}.json").is_success
    assert people.post(f"{url}/api/v2/tickets/4711/tags.json", json={"tags": ["novo"]}).status_code == 201
    assert people.delete(f"{url}/api/v2/tickets/4711.json").status_code == 204


def look(api: ApiClient) -> None:
    api.get(str(zendesk.vendor_info().probe))


def refused(status: int, call: Callable[..., Any], *given: Any) -> None:
    with pytest.raises(ApiError) as why:
        call(*given)
    assert why.value.status == status


def test_all_that_is_sent_and_answered_fits_the_description(contract: Any) -> None:
    assert contract.unexplained() == []


def test_no_exception_is_listed_that_nothing_needs(contract: Any) -> None:
    assert contract.unused() == []


def test_every_operation_of_the_sandbox_was_tried_and_succeeded(contract: Any) -> None:
    """So a new operation is held against the description as well."""
    routes = [
        route
        for route in Front(Desk(lambda bodies: None, "events", False, False), 0, 1).routes()
        if "/api/" in route.path
    ]
    assert len(routes) > 10
    for route in routes:
        shape = re.sub(r"\{[^}]*\}", "[^/]+", route.path)
        for method in (route.methods or set()) - {"HEAD"}:
            assert [seen for seen in contract.seen if re.fullmatch(f"{method} {shape} 20[0-9]", seen)], route


def test_what_does_not_fit_is_seen(contract_of: Callable[..., Any]) -> None:
    """Or the tests above would prove nothing."""
    contract = contract_of(SPEC, "https://acme.zendesk.com", (), lambda path: path.removesuffix(".json"))
    with serving(contract.watching(create_app())) as url:
        api = client(url)
        api.call(
            "POST", "/tickets.json", json={"ticket": {"comment": {"body": "x"}, "subjekt": "x", "subject": 5}}
        )
        with suppress(ApiError):
            api.get("/tickets/4711/sideways.json")
    told = "\n".join(contract.unexplained())
    assert "POST /api/v2/tickets request: $.ticket.subject: 5 is not of type 'string'" in told
    assert "POST /api/v2/tickets request: undescribed: $.ticket.subjekt" in told
    assert "POST /api/v2/tickets answer: 201 $.ticket.priority: None for not nullable" in told
    assert "GET /api/v2/tickets/4711/sideways request: " in told
