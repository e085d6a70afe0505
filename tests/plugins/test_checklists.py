"""Is what the checklist in every plugin's README says true, as far as a machine can tell?"""

import importlib.util
import inspect
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from gateway import registry
from gateway.testing import ReaderConformance, SenderConformance, VendorConformance

ROOT = Path(__file__).parent.parent.parent
LANGUAGES = ("README.md", "README.pt-BR.md")
ROW = re.compile(r"^\| ([^|]+?) \| ([^|]+?) \|$", re.MULTILINE)
STATE = re.compile(r"(done)|(todo)(: .+)?|(exempt): .+")

INSTALLED = registry.load()
BUILT_IN = sorted(path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py"))
FOLDERS = {
    **{name: ROOT / "plugins" / name for name in BUILT_IN},
    "acme_desk": ROOT / "examples" / "acme_desk",
}


def implements(*hooks: str) -> Callable[[str], bool]:
    return lambda vendor: all(INSTALLED.implements(vendor, hook) for hook in hooks)


def suites(vendor: str) -> list[Any]:
    """The vendor's conformance classes."""
    path = ROOT / "tests" / "plugins" / vendor / "test_conformance.py"
    if not path.exists():
        return []
    spec = importlib.util.spec_from_file_location(f"{vendor}_conformance", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    classes = [member for name, member in vars(module).items() if name.startswith("Test")]
    return [each for each in classes if issubclass(each, SenderConformance | VendorConformance)]


def refuses_replays(vendor: str) -> bool:
    return not any({"stale", "replayed"} <= each.unsupported.keys() for each in suites(vendor))


def has_sandbox(vendor: str) -> bool:
    sandbox = import_module(f"gateway_plugins.{vendor}.sandbox")
    return inspect.isfunction(sandbox.create_app)


def has_suite(vendor: str) -> bool:
    """The other tests run it."""
    return bool(suites(vendor))


def has_whole_suite(vendor: str) -> bool:
    """Rate limits and secrets are tested against a sandbox."""
    return any(issubclass(each, ReaderConformance | VendorConformance) for each in suites(vendor))


def has_contract(vendor: str) -> bool:
    return (ROOT / "tests" / "contracts" / f"test_{vendor}.py").exists()


def speaks_both(vendor: str) -> bool:
    english, portuguese = (headings(FOLDERS[vendor] / name) for name in LANGUAGES)
    return len(english) > 3 and english == portuguese


CHECKS: dict[str, Callable[[str], bool]] = {
    "verifies origin": implements("verify_webhook"),
    "refuses replays": refuses_replays,
    "collects": implements("collect_ticket", "connect_api"),
    "converts": implements("convert_webhook"),
    "executes": implements("execute_action", "connect_api"),
    "finds effects": implements("find_effect"),
    "lists changes": implements("list_changed"),
    "sandbox": has_sandbox,
    "conformance suite": has_suite,
    "rate limit": has_whole_suite,
    "redaction": has_whole_suite,
    "contract": has_contract,
    "README in both languages": speaks_both,
}


def checklist(vendor: str, language: str = "README.md") -> dict[str, str]:
    text = (FOLDERS[vendor] / language).read_text(encoding="utf-8")
    _, found, table = text.rpartition("| line | state |\n|---|---|\n")
    assert found, f"{vendor}/{language} has no checklist: a table `| line | state |`"
    return dict(ROW.findall(table.partition("\n\n")[0]))


def headings(page: Path) -> list[str]:
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^(#+) ", text, re.MULTILINE)


def word(state: str) -> str:
    return state.partition(":")[0]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("vendor", FOLDERS)
def test_every_checklist_has_the_same_lines_first(vendor: str, language: str) -> None:
    states = checklist(vendor, language)
    assert list(states)[: len(CHECKS)] == list(CHECKS)
    assert [state for state in states.values() if not STATE.fullmatch(state)] == []


@pytest.mark.parametrize("vendor", FOLDERS)
def test_both_languages_say_the_same(vendor: str) -> None:
    english, portuguese = (checklist(vendor, language).values() for language in LANGUAGES)
    assert list(map(word, english)) == list(map(word, portuguese))


@pytest.mark.parametrize("line", CHECKS)
@pytest.mark.parametrize("vendor", BUILT_IN)
def test_what_is_said_to_be_done_is_done_and_what_is_not_is_not(vendor: str, line: str) -> None:
    assert (word(checklist(vendor)[line]) == "done") == CHECKS[line](vendor)


def test_the_suite_is_there_for_every_vendor() -> None:
    assert [vendor for vendor in BUILT_IN if not suites(vendor)] == []
