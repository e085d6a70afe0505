"""The verbs of a tenant's rules: list, show, enable, disable, set."""

import json
from collections.abc import Mapping, Sequence
from textwrap import indent
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from gateway import configuration, yaml_text
from gateway.model.errors import InvalidConfiguration
from gateway.registry import Registry
from gateway.validation import rule_settings

from .app import AsJson, InTenant, app, opened, out, print_json, show
from .config import known_tenant, read, refuse, show_changes
from .fields import described

rules = typer.Typer(help="A tenant's rules: switch them on and off, and set them.", no_args_is_help=True)
app.add_typer(rules, name="rules")

Rule = Annotated[str, typer.Argument(metavar="RULE", help="The rule's name, as in `gateway plugins`.")]


@rules.command("list")
def list_rules(tenant: InTenant, as_json: AsJson = False) -> None:
    """List all installed rules, and whether they are on."""
    with opened() as gateway:
        tree, known = read(gateway)
        known_tenant(tree, tenant)
        company = known.companies[tenant]
        rows = []
        for name, choice in company.rules.items():
            info = gateway.registry.rule_info(name)
            title = info.title.get(company.tenant.locale, info.title["en"])
            row = {"rule": name, "enabled": choice.enabled, "title": title, "error": choice.error}
            row["settings"] = tree[tenant]["rules"].get(name, {}).get("settings", {})
            rows.append(row)
    show(rows, ("rule", "enabled", "title", "error"), as_json=as_json, empty="no rules are installed")


@rules.command("show")
def show_rule(rule: Rule, tenant: InTenant, as_json: AsJson = False) -> None:
    """Show what a rule does, and its settings: type, default and current value."""
    with opened() as gateway:
        info = gateway.registry.rule_info(rule)
        tree, known = read(gateway)
        chosen = known_tenant(tree, tenant)["rules"].get(rule, {}).get("settings", {})
        choice = known.companies[tenant].rules[rule]
        settings = [
            row | {"current": chosen.get(row["name"], row["default"]), "set": row["name"] in chosen}
            for row in described(gateway.registry.rule_settings(rule))
        ]
    row = {"rule": rule, "enabled": choice.enabled, "error": choice.error, "title": info.title}
    if as_json:
        print_json(row | {"description": info.description, "settings": settings})
        return
    out.print(f"{rule}: {'on' if choice.enabled else 'off'}", style="bold", highlight=False)
    if choice.error:
        out.print(f"error: {choice.error}", style="red", markup=False, highlight=False, soft_wrap=True)
    for locale, description in info.description.items():
        out.print(
            f"\n{info.title.get(locale, rule)} ({locale})",
            style="bold",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        out.print(description, markup=False, highlight=False, soft_wrap=True)
    for row in settings:
        out.print(f"\n{row['name']}", style="bold", end="", markup=False, highlight=False, soft_wrap=True)
        meaning = f": {row['description']}" if row["description"] else ""
        out.print(f" ({row['type']}){meaning}", markup=False, highlight=False, soft_wrap=True)
        default = "required" if row["required"] else _block(row["default"])
        out.print(f"    default: {default}", markup=False, highlight=False, soft_wrap=True)
        if row["set"]:
            out.print(f"    current: {_block(row['current'])}", markup=False, highlight=False, soft_wrap=True)


@rules.command()
def enable(rule: Rule, tenant: InTenant) -> None:
    """Switch a rule on; it is asked from the next event on, in every process."""
    _change(tenant, rule, enabled=True)


@rules.command()
def disable(rule: Rule, tenant: InTenant) -> None:
    """Switch a rule off; it is asked no more from the next event on, in every process."""
    _change(tenant, rule, enabled=False)


@rules.command("set")
def set_rule(
    rule: Rule,
    tenant: InTenant,
    values: Annotated[
        list[str] | None, typer.Argument(metavar="SETTING=VALUE", help="VALUE as in YAML or JSON.")
    ] = None,
    unset: Annotated[list[str] | None, typer.Option(help="A setting that goes back to its default.")] = None,
) -> None:
    """Change settings of a rule; the others stay. They count from the next event on, in every process."""
    if not values and not unset:
        raise typer.BadParameter("name at least one SETTING=VALUE, or --unset SETTING")
    texts = {}
    for each in values or ():
        name, sign, text = each.partition("=")
        if not sign or not name:
            raise typer.BadParameter(f"{each!r} is not SETTING=VALUE")
        texts[name] = text
    _change(tenant, rule, texts=texts, unset=unset or ())


def _change(
    tenant: str,
    rule: str,
    *,
    enabled: bool | None = None,
    texts: Mapping[str, str] = {},
    unset: Sequence[str] = (),
) -> None:
    with opened() as gateway, configuration.changing(gateway.db) as db:
        info = gateway.registry.rule_info(rule)
        before = configuration.stored(db, gateway.keyring)
        now = known_tenant(before, tenant)["rules"].get(rule, {"enabled": info.enabled})
        settings = now.get("settings", {}) | values_of(gateway.registry, rule, texts)
        settings = {name: value for name, value in settings.items() if name not in unset}
        wanted = now["enabled"] if enabled is None else enabled
        try:
            if enabled is not False:  # what is wrong can always be switched off
                where = f"tenants.{tenant}.rules.{rule}"
                settings = rule_settings(gateway.registry, rule, settings, where, enabled=wanted)
            said = {tenant: {"rules": {rule: configuration.rule_tree(wanted, settings)}}}
            after = configuration.merged(before, said)
            if enabled is not False:
                configuration.check_references(gateway.registry, after, said)
        except InvalidConfiguration as error:
            refuse(error)
        changes = configuration.save(db, before, after, gateway.registry, gateway.keyring)
    show_changes(changes)


def values_of(registry: Registry, rule: str, texts: Mapping[str, str]) -> dict[str, Any]:
    """Each text as the YAML value that it is, or as itself where only a text suits the setting."""
    fields = registry.rule_settings(rule).model_fields
    found = {}
    for name, text in texts.items():
        field = fields.get(name)
        try:
            value = yaml_text.load(text)
        except InvalidConfiguration:
            value = text
        found[name] = text if field and not _suits(field, value) and _suits(field, text) else value
    return found


def _suits(field: FieldInfo, value: Any) -> bool:
    form: Any = Annotated[(field.annotation, field)]
    try:
        TypeAdapter(form).validate_python(value)
    except ValidationError:
        return False
    return True


def _block(value: Any) -> str:
    """A value as it would be given to `rules set`; texts of several lines are set off."""
    if isinstance(value, str) and "\n" in value:
        return "|\n" + indent(value, "        ")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
