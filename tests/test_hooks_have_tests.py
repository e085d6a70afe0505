"""Every hook is implemented by somebody, and some test speaks of it."""

import re
from pathlib import Path

import pytest

from gateway import hookspecs
from gateway.registry import load

HOOKS = sorted(name for name, spec in vars(hookspecs).items() if hasattr(spec, "gateway_spec"))
TESTS = [path for path in Path(__file__).parent.rglob("*.py") if path != Path(__file__)]


def test_the_hooks_of_the_design_are_all_there() -> None:
    assert HOOKS == [
        "collect_ticket", "connect_api", "convert_webhook", "execute_action", "explain_error", "find_effect",
        "find_references", "list_changed", "on_event", "spell_tag", "vendor_info", "verify_webhook",
    ]  # fmt: skip


@pytest.mark.parametrize("hook", HOOKS)
def test_some_installed_plugin_implements(hook: str) -> None:
    assert getattr(load().pm.hook, hook).get_hookimpls()


@pytest.mark.parametrize("hook", HOOKS)
def test_some_test_calls_or_implements(hook: str) -> None:
    named = re.compile(rf"\b{hook}\b")
    assert [path.name for path in TESTS if named.search(path.read_text())]
