"""The manual says what the code does: signatures, settings, commands, files and examples."""

import importlib.util
import json
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import typer
import yaml
from pydantic import SecretStr

from gateway import hookspecs, registry, tenants_file
from gateway.api import AddTags, Connection, Facts, Skip, Tenant, Webhook
from gateway.cli import app
from gateway.registry import assemble
from gateway.settings import Settings
from gateway.web import metrics

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README, TWIN = ROOT / "README.md", ROOT / "README.pt-BR.md"
PAGES = [README, TWIN, ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
HOOKS = sorted(name for name, spec in vars(hookspecs).items() if hasattr(spec, "gateway_spec"))
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def facts() -> ModuleType:
    """docs/facts.py, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("manual_facts", DOCS / "facts.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(page: Path, language: str) -> list[str]:
    return [body for _, named, body in FENCE.findall(page.read_text()) if named == language]


def headings(page: Path) -> list[str]:
    text = FENCE.sub("", page.read_text())
    return re.findall(r"^(#+) ", text, re.MULTILINE)


# --- what is written from the code ------------------------------------------------------------------------------


@pytest.mark.parametrize("page", facts().PAGES, ids=lambda page: page.name)
def test_the_parts_that_follow_from_the_code_are_as_the_code_has_them(page: Path) -> None:
    text = page.read_text()
    assert "<!-- facts:" in text
    assert facts().rewritten(text) == text, "run: python docs/facts.py"


def test_every_rule_has_its_facts_in_the_manual() -> None:
    told = re.findall(r"<!-- facts: rule (\S+) -->", (DOCS / "rules.md").read_text())
    assert sorted(told) == sorted(registry.load().rules)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_section_with_its_facts_and_an_example(hook: str) -> None:
    text = (DOCS / "plugin-hooks.md").read_text()
    section = re.search(rf"^## {hook}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert section, f"docs/plugin-hooks.md has no section {hook}"
    assert f"<!-- facts: hook {hook} -->" in section[1]
    assert f"def {hook}(" in section[1].partition("<!-- end of facts -->")[2]


def test_every_variable_is_in_both_readmes() -> None:
    for page in (README, TWIN):
        told = re.findall(r"^\| `(GATEWAY_\w+)`", page.read_text(), re.MULTILINE)
        assert told == [f"GATEWAY_{name.upper()}" for name in Settings.model_fields]


# --- the examples run -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def examples() -> tuple[ModuleType, ModuleType]:
    """The vendor and the rule of docs/plugin-hooks.md."""
    *vendor, rule = blocks(DOCS / "plugin-hooks.md", "python")
    modules = []
    for name, source in (("acme_desk", "\n\n".join(vendor)), ("refund_tag", rule)):
        module = ModuleType(name)
        exec(compile(source, f"plugin-hooks.md:{name}", "exec", dont_inherit=True), vars(module))
        modules.append(module)
    return modules[0], modules[1]


def test_the_examples_of_the_hooks_are_one_plugin_that_loads(examples: tuple[ModuleType, ModuleType]) -> None:
    vendor, rule = examples
    found = assemble({"acme_desk": vendor}, {"refund_tag": rule})
    assert [hook for hook in HOOKS if hook != "on_event" and found.implements("acme_desk", hook)] == [
        hook for hook in HOOKS if hook != "on_event"
    ]


def test_the_example_vendor_proves_and_converts_and_the_rule_acts(
    examples: tuple[ModuleType, ModuleType],
) -> None:
    vendor, rule = examples
    found = assemble({"acme_desk": vendor}, {"refund_tag": rule})
    settings = vendor.Settings(subdomain="acme", user_id="7", token="t", signing_secret="s")
    connection: Connection[Any] = Connection("acme", "desk", "acme_desk", settings)
    body = json.dumps({
        "ticket": {
            "id": 5, "subject": "Pedido de REEMBOLSO", "state": "new", "tags": [],
            "created_at": NOW.isoformat(), "updated_at": NOW.isoformat(),
        },
        "comments": [{"id": 1, "text": "oi", "public": True}],
    }).encode()  # fmt: skip
    headers = {"x-acme-signature": vendor.sign(body, SecretStr("s")), "x-acme-ticket": "5"}
    webhook = Webhook(headers, body, received_at=NOW)
    assert found.ask("acme_desk", "verify_webhook", webhook=webhook, connection=connection).subject == "5"
    events = found.ask(
        "acme_desk", "convert_webhook", webhook=webhook, collected=None, before=None, connection=connection
    )
    assert "ticket.created" in [event.kind for event in events]
    created = next(event for event in events if event.kind == "ticket.created")
    given = Facts(
        tenant=Tenant(id="acme", name="Acme"), now=NOW, settings=rule.Settings(), ticket=created.ticket
    )
    (action,) = rule.on_event(event=created, facts=given)
    assert isinstance(action, AddTags)
    tagged = created.ticket.model_copy(update={"tags": frozenset({"financeiro"})})
    (answer,) = rule.on_event(
        event=created,
        facts=Facts(tenant=given.tenant, now=NOW, settings=given.settings, ticket=tagged),
    )
    assert isinstance(answer, Skip)


def test_the_example_vendor_recognises_its_own_links_only(examples: tuple[ModuleType, ModuleType]) -> None:
    vendor, _ = examples
    settings = vendor.Settings(subdomain="acme", user_id="7", token="t", signing_secret="s")
    text = (
        "https://acme.acme-desk.example/tickets/7 https://acme.acme-desk.example.evil.com/tickets/8 "
        "https://evil.example/?u=https://acme.acme-desk.example/tickets/9"
    )
    (found,) = vendor.find_references(text=text, connection=Connection("acme", "desk", "acme_desk", settings))
    assert (str(found.ref), found.url) == ("ticket:desk:7", "https://acme.acme-desk.example/tickets/7")


@pytest.mark.parametrize("page", [README, TWIN], ids=lambda page: page.name)
def test_the_tenants_file_of_the_tour_is_valid(page: Path) -> None:
    (text,) = [block for block in blocks(page, "yaml") if "tenants:" in block]
    wanted = re.findall(r"\{env: (\w+)\}", text)
    environment = {name: "slack://a/b/c" if name.endswith("_URL") else f"value-of-{name}" for name in wanted}
    environment |= {
        name: "whsec_" + "dGVzdC1zZWNyZXQtMzItYnl0ZXMtbG9uZy1lbm91Z2g="
        for name in wanted
        if "SIGNING" in name
    }
    reading = tenants_file.read(text.encode(), ROOT, environment, registry.load())
    assert {c["vendor"] for c in reading.tenants["acme"]["connections"].values()} == {
        "movidesk",
        "zendesk",
        "generic",
    }
    assert reading.notes == ()


# --- commands, links, twins -------------------------------------------------------------------------------------


def commands() -> list[tuple[str, str]]:
    """Every `gateway ...` line of a shell block, with the page it is on."""
    found = []
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.splitlines():
                for part in re.split(r"&&|\|", line.partition(" #")[0]):
                    if re.match(r"\s*(\w+=\S+ )*gateway ", part):
                        found.append((page.name, part.strip()))
    return found


@pytest.mark.parametrize(("page", "text"), commands())
def test_every_command_of_the_manual_exists_with_these_options(page: str, text: str) -> None:
    words = shlex.split(text)
    words = words[words.index("gateway") + 1 :]
    command: Any = typer.main.get_command(app)
    context = click.Context(command, info_name="gateway")
    while hasattr(command, "commands") and words and words[0] in command.commands:
        command = command.commands[words[0]]
        context = type(context)(command, parent=context, info_name=words[0])
        words = words[1:]
    assert not hasattr(command, "commands") or getattr(command, "invoke_without_command", False), text
    command.make_parser(context).parse_args(list(words))


def test_the_two_commands_of_the_readme_are_the_fixed_ones() -> None:
    for page in (README, TWIN):
        lines = [line for block in blocks(page, "sh") for line in block.splitlines() if "pip install" in line]
        assert lines[:2] == ["pip install '.[embedded]' && gateway demo", "pip install -e '.[dev]' && pytest"]


def test_the_readme_and_its_twin_have_the_same_shape() -> None:
    assert headings(README) == headings(TWIN)
    for language in ("sh", "yaml"):
        ours, theirs = blocks(README, language), blocks(TWIN, language)
        assert [_without_comments(block) for block in ours] == [_without_comments(block) for block in theirs]


def _without_comments(block: str) -> str:
    return "\n".join(
        line.partition(" #")[0].rstrip() for line in block.splitlines() if line.strip()[:1] != "#"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)#][^)]*)\)", text):
        if not target.startswith("http"):
            assert (page.parent / target.partition("#")[0]).exists(), target
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_compose_and_units_are_well_formed() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    assert set(compose["services"]) >= {"postgres", "valkey", "server", "worker"}
    for unit in (ROOT / "deploy").glob("*.service"):
        assert {"[Unit]", "[Service]", "[Install]"} <= set(unit.read_text().splitlines())


def test_the_manual_and_the_dashboard_name_the_metrics_that_there_are() -> None:
    gauges = re.findall(r'GaugeMetricFamily\(\s*"(\w+)"', Path(metrics.__file__).read_text())
    there = {f"gateway_{name}_total" for name in metrics.COUNTERS} | set(gauges)
    told = set(re.findall(r"\bgateway_[a-z_]+\b", (DOCS / "operations.md").read_text()))
    assert told == there
    shown = set(re.findall(r"\bgateway_[a-z_]+\b", (ROOT / "deploy" / "grafana-dashboard.json").read_text()))
    assert shown == there
