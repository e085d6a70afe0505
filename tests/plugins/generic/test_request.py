"""Does a templated request say what it should, is one that cannot work refused when saved, and no secret shown?"""

import json
from typing import Any

import pytest
from gateway_plugins import generic
from gateway_plugins.generic.outbound import Words, document_of, examples
from gateway_plugins.generic.request import Parts, filled, filled_headers
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.api import (
    AddComment,
    Contact,
    CreateTicket,
    Priority,
    SaveContact,
    SetFields,
    SetStatus,
    Status,
    TicketRef,
)

SECRET = "s3cr3t-of-the-api"
REF = TicketRef("erp", "7")
WORDS = Words(statuses={Status.RESOLVED: "done"}, priorities={Priority.HIGH: "1"})
CREATE = CreateTicket(
    id="a1", reason="r", connection="erp", key="k", subject="Olá & <tchau>", description="<p>Bom <b>dia</b></p>",
    is_html=True, tags=("a", "b"), priority=Priority.HIGH, custom_fields={"plan": "Pro", "other": 1},
    contact=Contact(name="Ana", phones=("+5511",)),
)  # fmt: skip


def made(action: Any = CREATE, **parts: Any) -> Any:
    told = document_of(action, WORDS, {"plan": "plano", "size": 12})
    return filled(
        Parts.model_validate({"method": "POST", "path": "/x", **parts}), told, {"api_token": SECRET}
    )


def refused(**settings: Any) -> str:
    with pytest.raises(ValidationError) as refusal:
        saved(**settings)
    assert SECRET not in str(refusal.value)
    return str(refusal.value)


def saved(**settings: Any) -> generic.Settings:
    told = {"base_url": "https://erp.example/api", "api_token": SECRET, **settings}
    return generic.Settings.model_validate(told)


def requests(kind: str = "create_ticket", **request: Any) -> dict[str, Any]:
    return {"requests": {kind: {"method": "PUT", "path": "/x", **request}}}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ subject }}", "Olá & <tchau>"),
        ("{{ subject | upper }}!", "OLÁ & <TCHAU>!"),
        ("{{ text }}", "Bom dia"),
        ("{{ html }}", "<p>Bom <b>dia</b></p>"),
        ("{{ team }}", ""),
        ("{% if team %}{{ team }}{% else %}nobody{% endif %}", "nobody"),
        ("{{ is_html }}", "true"),
        ("= tags", ["a", "b"]),
        ("=tags[0]", "a"),
        ("= is_html", True),
        ("= remote_priority", "1"),
        ("= remote_fields", {"plano": "Pro"}),
        ("= contact.phones[0]", "+5511"),
        ("= length(tags)", 2),
    ],
)
def test_a_text_is_a_template_or_an_expression(template, value):
    assert made(body={"it": template}).body == {"it": value}


def test_what_an_expression_does_not_find_is_left_out_and_constants_stay():
    body = {
        "team": "= team",
        "fixed": None,
        "n": 1,
        "list": ["= team", "{{ team }}"],
        "deep": {"x": "= team"},
    }
    assert made(body=body).body == {"fixed": None, "n": 1, "list": [None, ""], "deep": {}}
    assert made(body="= tags").body == ["a", "b"]
    assert made(body=None).body is None


def test_params_headers_and_form_are_texts_and_empty_ones_are_not_sent():
    parts = made(
        params={"a": "{{ subject }}", "b": "= team"}, headers={"X-Kind": "{{ kind }}", "X-Team": "{{ team }}"}
    )
    assert (parts.params, parts.headers) == ({"a": "Olá & <tchau>"}, {"x-kind": "create_ticket"})
    assert made(form={"tags": "{{ tags | join(',') }}", "n": "= length(tags)"}).form == {
        "tags": "a,b",
        "n": "2",
    }


@pytest.mark.parametrize(
    ("id_", "path"),
    [
        ("7", "/t/7/c"), ("a b", "/t/a%20b/c"), ("7/../../users/1", "/t/7%2F..%2F..%2Fusers%2F1/c"),
        ("7?x=1#y", "/t/7%3Fx%3D1%23y/c"), ("é%2F", "/t/%C3%A9%252F/c"),
    ],
)  # fmt: skip
def test_no_id_chooses_another_endpoint(id_, path):
    comment = AddComment(id="a", reason="r", ticket=TicketRef("erp", id_), body="b")
    assert made(comment, path="/t/{{ ticket.id }}/c").path == path


@given(st.text(min_size=1, max_size=30))
def test_whatever_the_id_is_the_path_has_as_many_parts(id_):
    comment = AddComment(id="a", reason="r", ticket=TicketRef("erp", id_), body="b")
    path = made(comment, path="/t/{{ ticket.id }}/c").path
    assert path.count("/") == 3
    assert "?" not in path
    assert path.isascii()


def test_a_path_has_an_end():
    with pytest.raises(ValueError, match="path: is too long"):
        made(CREATE.model_copy(update={"subject": "x" * 5000}), path="/t/{{ subject }}")


def test_an_expression_that_does_not_fit_names_its_place():
    with pytest.raises(ValueError, match=r"body\.n: .*length"):
        made(body={"n": "= length(is_html)"})


def test_an_empty_part_of_a_path_is_an_error_rather_than_another_endpoint():
    with pytest.raises(ValueError, match="path: a part of it is empty"):
        made(path="/teams/{{ team }}/tickets")


def test_their_words_stand_beside_ours():
    told = document_of(SetStatus(id="a", reason="r", ticket=REF, status=Status.RESOLVED), WORDS, {})
    assert (told["status"], told["remote_status"]) == ("resolved", "done")
    labelled = SetStatus(id="a", reason="r", ticket=REF, status=Status.OPEN, remote_status="Aberto")
    assert document_of(labelled, WORDS, {})["remote_status"] == "Aberto"
    assert (
        document_of(labelled.model_copy(update={"remote_status": None}), WORDS, {})["remote_status"] == "open"
    )
    fields = SetFields(id="a", reason="r", ticket=REF, fields={"plan": "Pro", "size": 3, "odd": 1})
    assert document_of(fields, WORDS, {"plan": "plano", "size": 12})["remote_fields"] == {
        "plano": "Pro",
        "12": 3,
    }
    contact = SaveContact(
        id="a", reason="r", connection="erp", contact=Contact(custom_fields={"plan": "Pro"})
    )
    assert document_of(contact, WORDS, {"plan": "plano"})["remote_fields"] == {"plano": "Pro"}


@pytest.mark.parametrize(
    "kind",
    [
        "create_ticket", "add_comment", "set_status", "set_priority", "assign_to", "add_tags", "remove_tags",
        "set_fields", "save_contact",
    ],
)  # fmt: skip
def test_every_kind_of_action_can_be_sent_and_is_tried_when_it_is_saved(kind):
    assert all(action.kind == kind for action in examples(kind, {}))
    assert saved(**requests(kind, body={"id": "{{ id }}", "why": "{{ reason }}"})).is_called
    assert f"requests.{kind}.body.x: 'nothing' is undefined" in refused(
        **requests(kind, body={"x": "{{ nothing }}"})
    )


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (requests(body={"a": "{{ subject"}), "bad template"),
        (requests(body={"a": ["= [["]}), "bad JMESPath"),
        (requests(body={"a": "{{ contact.email }}"}), "requests.create_ticket.body.a: 'None' has no attribute 'email'"),
        (requests(path="x"), "should match pattern"),
        (requests(path="/{{ team }}"), "requests.create_ticket.path: a part of it is empty"),
        (requests(method="TRACE"), "GET"),
        (requests(kind="start_timer"), "create_ticket"),
        (requests(headers={"X": "{{ secrets.api_key }}"}), "requests.create_ticket.headers.x: 'dict object' has no"),
        (requests(body={"a": "{{ secrets.api_token }}"}), "body.a: 'secrets' is undefined"),
        (requests(path="/{{ secrets.api_token }}"), "path: 'secrets' is undefined"),
        (requests(body={}, form={"a": "b"}), "but not both"),
        (requests(method="POST"), "must not be sent twice: give `find`"),
        (requests(method="PATCH"), "must not be sent twice"),
        (requests(repeatable=False), "must not be sent twice"),
        (requests(method="POST", find={"path": "/x"}), "how it is seen that it was done"),
        (
            requests(method="POST", find={"path": "/{{ odd }}", "remote_id": "body.id"}),
            "requests.create_ticket.find.path: 'odd'",
        ),
        ({"requests": {}}, "say what comes in"),
        ({**requests(), "base_url": None}, "base_url: is required"),
        ({**requests(), "api": {"headers": {"A": "{{ secrets.api_key }}"}}}, "api.headers.a: 'dict object' has no"),
        ({**requests(), "api": {"basic_auth": {"user": "{{ secrets.api_user }}"}}}, "api.headers.user"),
        ({**requests(), "api": {"calls_per_minute": 0}}, "greater than or equal to 1"),
        ({"changed": {"path": "/t", "params": {"a": "{{ sinc }}"}, "ids": "body[].id"}}, "changed.params.a: 'sinc'"),
        ({**requests(), "collect": {"path": "/t/{{ ide }}"}}, "collect.path: 'ide'"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_work_is_refused_when_it_is_saved(settings, complaint):
    assert complaint in refused(**settings)


@pytest.mark.parametrize(
    "template",
    [
        "{{ secrets.api_token | int / 0 }}",
        "{{ {}[secrets.api_token] }}",
        "{{ secrets.api_token.nothing }}",
        "{{ secrets.api_token }}\nX-Other: y",
        "é{{ secrets.api_token }}",
    ],
)
def test_a_header_that_cannot_be_made_does_not_tell_the_secret(template):
    with pytest.raises(ValueError, match=r"headers\.x") as refusal:
        filled_headers({"x": template}, {}, {"api_token": SECRET})
    assert SECRET not in str(refusal.value)


def test_templates_are_sandboxed():
    for harm in (
        "{{ ''.__class__ }}",
        "{{ tags.__class__.__mro__ }}",
        "{% for i in range(9) %}{% endfor %}",
        "{{ 'x' * 10**9 }}",
    ):
        assert "requests.create_ticket.body.a" in refused(**requests(body={"a": harm}))


def test_the_settings_keep_secrets_out_of_what_is_shown():
    settings = saved(**requests(headers={"X-Key": "{{ secrets.api_token }}"}))
    assert SECRET not in repr(settings)
    assert SECRET not in settings.model_dump_json()
    assert (
        json.loads(settings.model_dump_json(exclude_unset=True))["requests"]["create_ticket"]["path"] == "/x"
    )


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=10)
    | st.sampled_from(["= tags", "{{ id }}", "= ["]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(["method", "path", "params", "headers", "body", "form", "find", "ok", "remote_id"]),
        JUNK,
    )
)
def test_any_request_is_saved_or_refused(request_):
    try:
        settings = saved(**requests(**request_))
    except ValidationError as refusal:
        assert SECRET not in str(refusal)  # noqa: PT017 - either way is right
        return
    told = document_of(CREATE, WORDS, {})
    assert json.dumps(filled(settings.requests["create_ticket"], told, {}).body) is not None
