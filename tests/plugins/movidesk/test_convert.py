"""Does a ticket that was read back say the same in our words, and only what it says?"""

import copy
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from gateway_plugins.movidesk import convert, convert_webhook, marker
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.api import (
    CommentCreated,
    Priority,
    Status,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketRef,
    TicketStatusChanged,
    TicketTagged,
    TicketUpdated,
    UnreadableWebhook,
)


@pytest.fixture
def events_of(fixture, hook, connection):
    """The events of a fixture, told to somebody who knows the ticket as it was created (or not at all)."""

    def told(name, *, before="ticket_created"):
        known = convert.snapshot(fixture(before)["collected"], connection) if before else None
        return convert_webhook(hook(), fixture(name)["collected"], known, connection)

    return told


def test_a_created_ticket_is_told_whole(events_of):
    [event] = events_of("ticket_created", before=None)
    ticket = event.ticket
    assert isinstance(event, TicketCreated)
    assert event.complete
    assert event.occurred_at == datetime(2025, 3, 10, 12, 0, 0, 123456, tzinfo=UTC)
    assert (event.actor.id, event.actor.is_agent) == ("cli-77", False)
    assert ticket.ref == TicketRef("desk", "50812")
    assert ticket.url == "https://acme.movidesk.com/Ticket/Edit/50812"
    assert (ticket.subject, ticket.description, ticket.type) == (
        "Nota fiscal não emite",
        "Erro 539 ao emitir.",
        "Problema",
    )
    assert (ticket.status, ticket.remote_status) == (Status.NEW, "Novo")
    assert (ticket.priority, ticket.remote_priority) == (Priority.HIGH, "Alta")
    assert (ticket.team, ticket.assignee, ticket.channel) == ("N1", None, "email")
    assert ticket.tags == {"nota-fiscal"}
    assert ticket.due_at == datetime(2025, 3, 11, 12, tzinfo=UTC)
    assert ticket.resolved_at is None
    assert not ticket.deleted


def test_the_contact_has_the_phones_of_the_person_the_default_first(events_of):
    contact = events_of("ticket_created", before=None)[0].ticket.contact
    assert (contact.id, contact.name, contact.company) == ("cli-77", "Loja Aurora", "Grupo Aurora")
    assert contact.email == "contato@aurora.example"
    assert contact.document == "11222333000181"
    assert contact.phones == ("(11) 3555-0199", "(11) 98888-7777")


def test_custom_fields_have_our_names_and_the_others_their_ids(events_of):
    ticket = events_of("ticket_created", before=None)[0].ticket
    assert ticket.custom_fields == {"phone": "(11) 3555-0199", "plan": "Enterprise"}
    assert ticket.remote_fields["777"] == "1.530,75"
    assert ticket.remote_fields["777:2"] == "2,00"
    assert ticket.remote_fields["serviceFirstLevel"] == "Faturamento"


@pytest.mark.parametrize("mapped_first", [True, False])
def test_a_field_shown_by_two_rules_is_read_from_the_mapped_one(fixture, connection, mapped_first):
    collected = fixture("ticket_created")["collected"]
    other = {
        "customFieldId": 13485,
        "customFieldRuleId": 9,
        "line": 1,
        "value": "de outra regra",
        "items": [],
    }
    values = collected["ticket"]["customFieldValues"]
    values.insert(len(values) if mapped_first else 0, other)
    assert convert.snapshot(collected, connection).ticket.custom_fields["phone"] == "(11) 3555-0199"
    values[:] = [other]
    assert convert.snapshot(collected, connection).ticket.custom_fields["phone"] == "de outra regra"


def test_a_public_reply_is_one_new_comment(events_of):
    [event] = events_of("comment_public")
    comment = event.comment
    assert isinstance(event, CommentCreated)
    assert (comment.id, comment.body, comment.is_private) == ("50812:2", "Certificado renovado.", False)
    assert comment.html == "<p>Certificado <b>renovado</b>.</p>"
    assert (comment.author.id, comment.author.is_agent) == ("ag-9", True)
    assert [attachment.name for attachment in comment.attachments] == ["log.txt"]
    assert comment.created_at == datetime(2025, 3, 10, 13, 5, 9, 123456, tzinfo=UTC)


def test_a_note_is_private(events_of):
    [event] = events_of("comment_private")
    assert event.comment.is_private


def test_our_own_comment_has_our_id_and_shows_no_marker(events_of, connection):
    [event] = events_of("comment_ours")
    assert event.actor.id in connection.settings.own_ids()
    assert event.comment.body == "Falta o telefone."
    assert "gw:" not in event.comment.html
    assert event.ticket.tags == {"nota-fiscal"}


def test_a_changed_status_is_told_with_the_old_one(events_of):
    [event] = events_of("status_changed")
    assert isinstance(event, TicketStatusChanged)
    assert (event.old, event.new) == (Status.NEW, Status.PENDING)
    assert (event.old_remote, event.new_remote) == ("Novo", "Aguardando")
    assert event.actor is None
    assert event.ticket.remote_fields["justification"] == "Retorno do cliente"


def test_who_wrote_at_the_moment_of_closing_closed_it(events_of):
    comment, closed = events_of("ticket_closed")
    assert isinstance(comment, CommentCreated)
    assert (closed.new, closed.actor.id) == (Status.CLOSED, "ag-9")
    assert closed.ticket.closed_at == datetime(2025, 3, 10, 13, 5, 9, 400000, tzinfo=UTC)


def test_a_change_right_after_our_own_comment_is_not_taken_for_ours(fixture, hook, connection):
    before = convert.snapshot(fixture("ticket_created")["collected"], connection)
    collected = fixture("comment_ours")["collected"]
    collected["ticket"] |= {"status": "Fechado", "baseStatus": "Closed"}
    comment, closed = convert_webhook(hook(), collected, before, connection)
    assert comment.actor.id == "gateway"
    assert closed.actor is None


def test_assignment_tags_fields_and_deletion_are_told(events_of):
    [assigned] = events_of("ticket_assigned")
    assert isinstance(assigned, TicketAssigned)
    assert (assigned.assignee.id, assigned.team) == ("ag-9", "GR")
    [tagged] = events_of("ticket_tagged")
    assert isinstance(tagged, TicketTagged)
    assert (tagged.added, tagged.removed) == ({"VIP"}, set())
    [updated] = events_of("ticket_updated")
    assert isinstance(updated, TicketUpdated)
    assert set(updated.changed) == {"subject", "priority", "remote_priority"}
    [deleted] = events_of("ticket_deleted")
    assert isinstance(deleted, TicketDeleted)
    assert deleted.ticket.deleted


def test_told_twice_nothing_new_is_found(events_of):
    assert events_of("comment_public", before="comment_public") == []
    assert [e.id for e in events_of("ticket_closed")] == [e.id for e in events_of("ticket_closed")]


def test_deleted_actions_are_left_out(fixture, hook, connection):
    collected = fixture("comment_public")["collected"]
    collected["ticket"]["actions"][1]["isDeleted"] = True
    assert convert.snapshot(collected, connection).comments == ()


def test_an_internal_ticket_has_no_public_comment(fixture, connection):
    collected = fixture("comment_public")["collected"]
    collected["ticket"]["type"] = 1
    assert convert.snapshot(collected, connection).comments[0].is_private


@pytest.mark.parametrize(("base", "label", "justification", "status"), [
    ("New", "Novo", None, Status.NEW),
    ("InAttendance", "Em atendimento", None, Status.OPEN),
    ("InAttention", "Em atendimento", None, Status.OPEN),
    ("Stopped", "Aguardando", "Retorno do cliente", Status.PENDING),
    ("Stopped", "Aguardando", "Terceiros", Status.ON_HOLD),
    ("Stopped", "Parado", None, Status.PENDING),
    ("Resolved", "Resolvido", None, Status.RESOLVED),
    ("Closed", "Fechado", None, Status.CLOSED),
    ("Canceled", "Cancelado", None, Status.CANCELED),
    (None, "Em atendimento", None, Status.OPEN),
    ("Zurückgestellt", "Agendado", None, None),
])  # fmt: skip
def test_statuses_go_by_the_base_status_and_unknown_words_are_kept(
    fixture, connected, base, label, justification, status
):
    connection = connected(justifications={"pending": "Retorno do cliente", "on_hold": "Terceiros"})
    collected = fixture("status_changed")["collected"]
    collected["ticket"] |= {"status": label, "baseStatus": base, "justification": justification}
    ticket = convert.snapshot(collected, connection).ticket
    assert (ticket.status, ticket.remote_status) == (status, label)


def test_a_label_given_to_on_hold_alone_means_on_hold(fixture, connected):
    connection = connected(statuses={"on_hold": "Em análise"})
    collected = fixture("status_changed")["collected"]
    assert convert.snapshot(collected, connection).ticket.status is Status.PENDING
    collected["ticket"]["status"] = "Em análise"
    assert convert.snapshot(collected, connection).ticket.status is Status.ON_HOLD


def test_words_of_other_tenants_never_raise(fixture, connection):
    collected = fixture("comment_public")["collected"]
    collected["ticket"] |= {"urgency": "P1", "origin": 99, "category": None, "owner": None, "clients": []}
    collected["ticket"]["actions"][1] |= {"type": 0, "origin": 77, "createdBy": None, "createdDate": None}
    found = convert.snapshot(collected, connection)
    assert (found.ticket.priority, found.ticket.remote_priority) == (None, "P1")
    assert (found.ticket.channel, found.ticket.contact) == ("99", None)
    assert (found.comments[0].author, found.comments[0].is_private) == (None, True)


def test_what_the_ticket_does_not_say_stays_unknown(fixture, connection):
    collected = {"ticket": {"id": 7, "subject": "x"}, "person": None}
    assert convert.snapshot(collected, connection).ticket.model_fields_set == {
        "ref",
        "url",
        "subject",
        "remote_fields",
    }


@pytest.mark.parametrize(
    "written",
    ["2025-03-10T13:05:09.1234567", "2025-03-10T13:05:09.1234567Z", "2025-03-10T10:05:09.123456-03:00"],
)
def test_times_are_utc_whatever_their_zone_is_written_like(written):
    assert convert.instant(written) == datetime(2025, 3, 10, 13, 5, 9, 123456, tzinfo=UTC)


def test_dotnets_never_is_no_time():
    assert convert.instant("0001-01-01T00:00:00") is None
    assert convert.instant(None) is None


def test_without_a_ticket_read_back_the_webhook_is_unreadable(hook, connection):
    with pytest.raises(UnreadableWebhook, match="names no ticket"):
        convert_webhook(hook(b'{"Subject": "x"}'), None, None, connection)


def test_the_marker_is_recognised_with_and_without_its_span():
    marked = "<p>Olá</p>" + marker.hidden("some-action")
    assert marker.without(marked) == "<p>Olá</p>"
    assert marker.without(f"Olá {marker.text('some-action')}") == "Olá"
    assert marker.without("Olá gw: 12 e gw:xyz") == "Olá gw: 12 e gw:xyz"
    assert not marker.is_tag("gw-novo")
    assert marker.tag("a") != marker.tag("b")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(collected=JSON)
def test_garbage_is_unreadable_at_worst(hook, connection, collected):
    with suppress(UnreadableWebhook):
        convert_webhook(hook(), collected, None, connection)


@settings(max_examples=400)
@given(data=st.data())
def test_a_ticket_with_garbage_inside_is_unreadable_at_worst(fixture, hook, connection, data):
    collected = copy.deepcopy(fixture("comment_public")["collected"])
    part = collected
    while isinstance(part, dict | list) and part:
        key = data.draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
        if not isinstance(part[key], dict | list) or data.draw(st.booleans()):
            part[key] = data.draw(
                JSON | st.sampled_from(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
            )
            break
        part = part[key]
    before = convert.snapshot(fixture("ticket_created")["collected"], connection)
    for known in (None, before):
        with suppress(UnreadableWebhook):
            for event in convert_webhook(hook(), collected, known, connection):
                assert event.ticket.ref.connection == "desk"
                assert event.occurred_at.utcoffset() == timedelta(0)
