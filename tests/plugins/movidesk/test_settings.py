"""Are wrong settings refused when they are saved, and does the rest have the usual defaults?"""

import pytest
from gateway_plugins import movidesk
from pydantic import ValidationError

from gateway.api import Priority, Status
from gateway.registry import assemble


def test_every_hook_of_a_vendor_is_answered():
    registry = assemble({"movidesk": movidesk}, {})
    for hook in (
        "vendor_info", "verify_webhook", "collect_ticket", "convert_webhook", "connect_api", "execute_action",
        "find_effect", "list_changed", "explain_error",
    ):  # fmt: skip
        assert registry.implements("movidesk", hook), hook


@pytest.mark.parametrize("wrong", [
    {"subdomain": "acme.evil.com"}, {"subdomain": "Acme/"}, {"subdomain": ""}, {"person_id": ""},
    {"hook_key": []}, {"custom_fields": {"phone": 13485}}, {"custom_fields": {"phone": {"id": 13485}}},
    {"custom_fields": {"phone": {"id": 13485, "rule": 1, "kind": "number"}}},
    {"custom_fields": {"phone": {"id": 0, "rule": 1}}},
    {"custom_fields": {"phone": {"id": 1, "rule": 1, "x": 1}}},
    {"statuses": {"waiting": "Aguardando"}}, {"urgencies": {"Alta": "important"}}, {"unknown": 1},
])  # fmt: skip
def test_wrong_settings_are_refused(connected, wrong):
    with pytest.raises(ValidationError):
        connected(**wrong)


def test_usual_labels_are_assumed_and_single_ones_replaced(connected):
    settings = connected(statuses={"pending": "Pausado"}).settings
    assert settings.statuses[Status.PENDING] == "Pausado"
    assert settings.statuses[Status.CLOSED] == "Fechado"
    assert settings.urgencies["Urgente"] is Priority.URGENT
    assert settings.own_ids() == {"gateway"}


def test_a_list_selection_is_described_by_its_kind(connected):
    field = connected(
        custom_fields={"csm": {"id": 5, "rule": 6, "line": 2, "kind": "items", "item": "personId"}}
    )
    assert field.settings.custom_fields["csm"].item == "personId"


def test_the_api_is_the_public_one_unless_another_is_named(connected):
    settings = connected().settings
    named = movidesk.connect_api(connected())
    assert named.base_url == "https://api.movidesk.com/public/v1"
    assert named.params == {"token": "sandbox-token"}
    assert (named.rate.calls, named.rate.seconds, named.rate.errors, named.rate.concurrency) == (10, 60, 3, 1)
    assert (
        movidesk.connect_api(connected(base_url="http://127.0.0.1:1/x/")).base_url == "http://127.0.0.1:1/x"
    )
    assert "sandbox-token" not in repr(settings)


def test_the_probe_is_a_call_that_only_reads(sandbox):
    assert sandbox.api.get(movidesk.vendor_info().probe).body == []
