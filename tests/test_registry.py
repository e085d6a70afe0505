"""Which vendors and rules are installed, and what a broken one is told."""

import sys
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest
from tests_town import rule, town

from gateway import registry
from gateway.api import RuleInfo, RuleSettings, hookimpl
from gateway.model.errors import PluginError
from gateway.registry import RULES, VENDORS, assemble, of_tenant, of_vendor, rule_name


def nothing(event: Any, facts: Any) -> Any:
    return ()


def module(name: str, **content: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(content)
    return made


# --- vendors ----------------------------------------------------------------------------------------------------


def test_a_hook_is_asked_of_one_vendor_only():
    @hookimpl
    def vendor_info():
        return "of the other"

    plugins = assemble({"town": town(), "other": module("other", vendor_info=vendor_info)}, {})
    assert plugins.vendor_info("town").label == "Town"
    assert plugins.ask("other", "vendor_info") == "of the other"


def test_what_a_vendor_does_not_implement_is_answered_by_nobody():
    plugins = assemble({"town": town()}, {})
    assert plugins.ask("town", "list_changed", since=None, api=None) is None
    assert not plugins.implements("town", "list_changed")
    assert plugins.implements("town", "execute_action")


def test_an_unknown_vendor_is_an_error_that_names_those_there_are():
    plugins = assemble({"town": town(), "city": town()}, {})
    with pytest.raises(PluginError, match=r"unknown vendor 'twon'; installed: city, town"):
        of_vendor(plugins.pm, "twon", "vendor_info")
    with pytest.raises(PluginError, match="unknown vendor"):
        plugins.ask("twon", "verify_webhook", webhook=None, connection=None)


def test_a_vendor_must_say_who_it_is():
    with pytest.raises(PluginError, match=r"vendor 'mute'.*vendor_info"):
        assemble({"mute": module("mute")}, {})


def test_a_misspelt_hook_stops_with_the_name_of_the_plugin_and_of_the_hook():
    @hookimpl
    def convert_webhok(webhook):
        return []

    with pytest.raises(PluginError, match=r"vendor 'town' \(town\).*convert_webhok"):
        assemble({"town": town(convert_webhok=convert_webhok)}, {})


def test_an_argument_that_a_hook_does_not_have_stops_with_its_name():
    @hookimpl
    def convert_webhook(webhook, tenant):
        return []

    with pytest.raises(PluginError, match=r"(?s)vendor 'town' \(town\).*tenant"):
        assemble({"town": town(convert_webhook=convert_webhook)}, {})


# --- rules ------------------------------------------------------------------------------------------------------


INFO = RuleInfo(title={"en": "x"}, description={"en": "x"})


@pytest.mark.parametrize(
    ("content", "lacks"),
    [
        ({"Settings": RuleSettings}, "INFO"),
        ({"Settings": RuleSettings, "INFO": {"title": "x"}}, "INFO"),
        ({"INFO": INFO}, "Settings"),
        ({"INFO": INFO, "Settings": RuleSettings()}, "Settings"),
        ({"INFO": INFO, "Settings": dict}, "Settings"),
    ],
)
def test_a_rule_that_lacks_a_part_stops_with_both_names(content, lacks):
    broken = module("pack.broken", on_event=hookimpl(nothing), **content)
    with pytest.raises(PluginError, match=rf"rule 'broken' \(pack\.broken\) has no {lacks}"):
        assemble({}, {"broken": broken})


def test_a_rule_that_hears_nothing_is_refused():
    def unmarked(event, facts):
        return ()

    deaf = module("pack.deaf", on_event=unmarked, INFO=INFO, Settings=RuleSettings)
    with pytest.raises(PluginError, match=r"rule 'deaf' \(pack\.deaf\) does not implement on_event"):
        assemble({}, {"deaf": deaf})


def test_rules_are_asked_in_the_order_in_which_they_are_listed():
    names = ["c", "a", "d", "b"]
    plugins = assemble({"town": town()}, {name: rule(name, nothing) for name in names})
    asked = [rule_name(impl.plugin_name) for impl in of_tenant(plugins.pm, frozenset()).get_hookimpls()]
    assert asked == names
    asked = [
        rule_name(impl.plugin_name)
        for impl in of_tenant(plugins.pm, frozenset({"a", "gone"})).get_hookimpls()
    ]
    assert asked == ["c", "d", "b"]


def test_switching_rules_off_for_one_tenant_leaves_them_on_for_the_others():
    plugins = assemble({}, {"a": rule("a", nothing), "b": rule("b", nothing)})
    assert [i.plugin_name for i in of_tenant(plugins.pm, frozenset({"b"})).get_hookimpls()] == ["rule:a"]
    assert [i.plugin_name for i in of_tenant(plugins.pm, frozenset({"a"})).get_hookimpls()] == ["rule:b"]
    assert len(of_tenant(plugins.pm, frozenset()).get_hookimpls()) == 2


def test_an_unknown_rule_is_an_error_that_names_those_there_are():
    plugins = assemble({}, {"a": rule("a", nothing)})
    assert plugins.rule_info("a").title["en"] == "a"
    for ask in (plugins.rule_info, plugins.rule_settings):
        with pytest.raises(PluginError, match=r"unknown rule 'z'; installed: a"):
            ask("z")


# --- entry points -----------------------------------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Loads with these entry points instead of the installed ones."""

    def loading(*entries: EntryPoint) -> registry.Registry:
        monkeypatch.setattr(registry, "entry_points", lambda group: [e for e in entries if e.group == group])
        return registry.load.__wrapped__()

    for name, made in (
        ("one_town", town()),
        ("two_town", town()),
        ("one_pack", module("one_pack", RULES=[rule("a", nothing)])),
    ):
        monkeypatch.setitem(sys.modules, name, made)
    monkeypatch.setitem(sys.modules, "no_pack", module("no_pack"))
    monkeypatch.setitem(sys.modules, "two_pack", module("two_pack", RULES=[rule("a", nothing)]))
    return loading


def test_vendors_and_packs_of_rules_come_by_entry_points(installed):
    found = installed(EntryPoint("town", "one_town", VENDORS), EntryPoint("pack", "one_pack", RULES))
    assert (list(found.vendors), list(found.rules)) == (["town"], ["a"])


def test_a_plugin_that_cannot_be_imported_stops_with_its_name_and_the_reason(installed):
    with pytest.raises(PluginError, match=r"plugin 'town' \(no_such_town\).*No module named 'no_such_town'"):
        installed(EntryPoint("town", "no_such_town", VENDORS))


def test_a_plugin_that_fails_while_it_is_imported_does_so_too(installed, tmp_path, monkeypatch):
    (tmp_path / "broken_town.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match=r"plugin 'town' \(broken_town\).*ZeroDivisionError"):
        installed(EntryPoint("town", "broken_town", VENDORS))


def test_a_pack_without_rules_is_refused_rather_than_silent(installed):
    with pytest.raises(PluginError, match=r"pack 'pack' \(no_pack\) has no RULES"):
        installed(EntryPoint("pack", "no_pack", RULES))


def test_two_plugins_of_one_name_are_refused_rather_than_one_of_them_lost(installed):
    with pytest.raises(PluginError, match=r"two vendors are called 'town'"):
        installed(EntryPoint("town", "one_town", VENDORS), EntryPoint("town", "two_town", VENDORS))
    with pytest.raises(PluginError, match=r"two rules are called 'a'"):
        installed(EntryPoint("one", "one_pack", RULES), EntryPoint("two", "two_pack", RULES))


def test_what_is_installed_here_loads():
    found = registry.load()
    assert {"generic", "movidesk", "zendesk"} <= set(found.vendors)
    assert {"core_ticket_on_payment", "require_phone"} <= set(found.rules)
    for name in found.vendors:
        assert found.vendor_info(name).label
        assert found.implements(name, "verify_webhook"), "or it could never receive anything"
    for name in found.rules:
        assert {"pt-BR", "en"} <= set(found.rule_info(name).title)
        assert issubclass(found.rule_settings(name), RuleSettings)
    assert registry.load() is found
