"""A connection's settings name one portal, and nothing else may choose where its secret is sent."""

import pytest
from gateway_plugins import bitrix
from pydantic import ValidationError

from gateway.api import RateLimit


def settings(**changes):
    given = {
        "portal_host": "acme.bitrix24.com.br",
        "user_id": 15,
        "webhook_secret": "s1",
        "application_token": "t1",
    }
    return bitrix.Settings(**{**given, **changes})


@pytest.mark.parametrize(
    ("host", "kept"),
    [
        ("acme.bitrix24.com.br", "acme.bitrix24.com.br"), ("Acme.Bitrix24.COM.BR.", "acme.bitrix24.com.br"),
        ("intranet.acme.example:8443", "intranet.acme.example:8443"), ("acme.example:443", "acme.example"),
        ("localhost", "localhost"),
    ],
)  # fmt: skip
def test_a_host_is_kept_as_links_are_compared(host, kept):
    assert settings(portal_host=host).portal_host == kept
    assert kept in settings(former_hosts=[host]).hosts()


@pytest.mark.parametrize(
    "host",
    [
        "https://acme.bitrix24.com.br",
        "acme.bitrix24.com.br/crm",
        "a@b.example",
        "a b",
        "",
        "-a.example",
        "a.example:x",
        "á.example",
    ],
)
def test_what_is_no_host_is_refused_in_words(host):
    with pytest.raises(ValidationError, match="is no host"):
        settings(portal_host=host)
    with pytest.raises(ValidationError, match="is no host"):
        settings(former_hosts=[host])


@pytest.mark.parametrize("wrong", [
    {"user_id": 0}, {"member_id": "x"}, {"base_path": "portal"}, {"base_path": "/a/../b"}, {"application_token": []},
    {"deal_tag_field": "TAGS"}, {"calls_per_second": 0}, {"task_card": "both"}, {"phone_region": "br"},
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        settings(**wrong)


def test_a_portal_may_have_many_outgoing_webhooks():
    assert len(settings(application_token=[f"t{number}" for number in range(20)]).application_token) == 20
    assert len(settings(application_token="one").application_token) == 1


def test_secrets_are_shown_nowhere():
    shown = repr(settings(webhook_secret="hidden-1", application_token=["hidden-2"], hook_key="hidden-3"))
    assert "hidden" not in shown


def api(**changes):
    return bitrix.connect_api(connection=bitrix.Connection("t1", "b24", "bitrix", settings(**changes)))


def test_the_api_is_where_the_settings_say():
    assert api().base_url == "https://acme.bitrix24.com.br/rest/15/s1"
    assert api(base_path="/b24").base_url == "https://acme.bitrix24.com.br/b24/rest/15/s1"
    assert api(base_url="http://127.0.0.1:8/rest/").base_url == "http://127.0.0.1:8/rest/15/s1"


def test_the_pace_never_fills_the_bucket():
    for per_second, capacity in ((2, 50), (5, 250)):
        rate = api(calls_per_second=per_second).rate
        assert rate == RateLimit(calls=20 * per_second, seconds=20, concurrency=2)
        assert rate.calls < capacity


def test_fields_may_have_another_name_in_each_kind():
    mapped = settings(custom_fields={"plan": "UF_CRM_PLAN", "url": {"deal": "UF_CRM_1", "task": "UF_AUTO_2"}})
    assert mapped.fields_of("deal") == {"plan": "UF_CRM_PLAN", "url": "UF_CRM_1"}
    assert mapped.fields_of("task") == {"plan": "UF_CRM_PLAN", "url": "UF_AUTO_2"}
    assert mapped.fields_of("contact") == {"plan": "UF_CRM_PLAN"}
