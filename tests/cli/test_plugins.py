"""Does `gateway plugins` say what is installed, and where it comes from?"""

import json
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest

from gateway import registry

Command = Callable[..., Any]


@pytest.fixture
def listed(command: Command) -> dict[tuple[str, str], dict[str, Any]]:
    ran = command("plugins", "--json")
    assert (ran.code, ran.err) == (0, "")
    return {(row["kind"], row["name"]): row for row in json.loads(ran.out)}


def test_every_vendor_and_rule_is_listed(listed: dict[tuple[str, str], dict[str, Any]]) -> None:
    installed = registry.load()

    assert set(listed) == {("vendor", name) for name in installed.vendors} | {
        ("rule", name) for name in installed.rules
    }


def test_a_vendor_is_listed_with_origin_hooks_and_settings(
    listed: dict[tuple[str, str], dict[str, Any]],
) -> None:
    zendesk = listed["vendor", "zendesk"]

    assert zendesk["label"] == "Zendesk"
    assert (zendesk["distribution"], zendesk["version"]) == ("helpdesk-gateway", version("helpdesk-gateway"))
    assert {"vendor_info", "verify_webhook", "convert_webhook", "execute_action"} <= set(zendesk["hooks"])
    settings = {row["name"]: row for row in zendesk["settings"]}
    assert settings["signing_secret"]["secret"]
    assert settings["signing_secret"]["required"]
    assert not settings["subdomain"]["secret"]
    assert settings["tolerance_seconds"]["type"] == "integer (>= 10, <= 86400)"


def test_hooks_that_a_vendor_does_not_implement_are_not_listed(
    listed: dict[tuple[str, str], dict[str, Any]],
) -> None:
    assert listed["vendor", "stripe"]["hooks"] == [
        "collect_ticket", "connect_api", "convert_webhook", "vendor_info", "verify_webhook",
    ]  # fmt: skip


def test_a_rule_is_listed_with_its_titles(listed: dict[tuple[str, str], dict[str, Any]]) -> None:
    rule = listed["rule", "core_ticket_on_payment"]

    assert rule["hooks"] == ["on_event"]
    assert rule["label"] == rule["title"]["en"] == "CORE ticket on payment"
    assert set(rule["description"]) == {"pt-BR", "en"}


def test_people_get_three_lines_for_each(command: Command) -> None:
    ran = command("plugins")

    assert "vendor zendesk: Zendesk\n    from helpdesk-gateway " in ran.out
    assert len(ran.out.splitlines()) == 3 * len([*registry.load().vendors, *registry.load().rules])
