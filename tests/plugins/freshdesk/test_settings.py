"""Are a connection's settings checked when they are saved, and used as they were meant?"""

import pytest
from gateway_plugins import freshdesk
from pydantic import ValidationError

from gateway.api import Status


def test_the_key_goes_to_the_accounts_own_host_only(connected):
    api = freshdesk.connect_api(connection=connected())
    assert api.base_url == "https://acme.freshdesk.com/api/v2"
    assert api.auth == ("sandbox-key", "X")
    assert (api.rate.calls, api.rate.seconds, api.settles) == (80, 60, 5)
    assert "sandbox-key" not in repr(connected().settings)


@pytest.mark.parametrize("wrong", [
    {"subdomain": "acme.freshdesk.com"}, {"subdomain": "evil.example/"}, {"subdomain": ""}, {"agent_id": "me"},
    {"agent_id": None}, {"custom_fields": {"phone": "phone"}}, {"custom_fields": {"phone": 7}}, {"hook_key": []},
    {"hook_key": ["a", "b", "c", "d"]}, {"calls_per_minute": 0}, {"statuses": {"x": {"id": 8, "means": "gone"}}},
    {"statuses": {"x": {"id": 1}}}, {"groups": {"x": "y"}}, {"phone_region": "Brasil"}, {"unheard_of": 1},
])  # fmt: skip
def test_senseless_settings_are_refused(connected, wrong):
    with pytest.raises(ValidationError):
        connected(**wrong)


def test_an_account_may_rename_the_usual_statuses(connected):
    named = connected(
        statuses={"Aberto": {"id": 2, "means": "open"}, "Open": {"id": 9}}
    ).settings.all_statuses()
    assert named["Aberto"].means is Status.OPEN
    assert named["Open"].id == 9
    assert [label for label, status in named.items() if status.id == 2] == ["Aberto"]
    assert named["Pending"].means is Status.PENDING


def test_agents_are_known_by_name_and_email(connection):
    settings = connection.settings
    assert settings.agent("43000002").known() == {
        "id": "43000002", "is_agent": True, "name": "Ana Dias", "email": "ana.dias@desk.example",
    }  # fmt: skip
    assert settings.agent("43000001").is_agent
    assert settings.agent("1") is None
    assert settings.own_ids() == {"43000001"}


def test_the_vendor_presents_itself():
    info = freshdesk.vendor_info()
    assert (info.label, info.probe, info.settings) == ("Freshdesk", "/agents/me", freshdesk.Settings)
