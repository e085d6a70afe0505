"""The verb that says what is installed: vendors and rules."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from rich.markup import escape

from gateway import registry
from gateway.registry import Registry

from .app import AsJson, app, out, print_json
from .fields import described


@app.command()
def plugins(as_json: AsJson = False) -> None:
    """Show the installed vendors and rules, where they come from and which hooks they implement."""
    installed = registry.load()
    rows = [*_vendors(installed), *_rules(installed)]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        out.print(
            f"{row['kind']} [bold]{row['name']}[/]: {escape(row['label'])}", highlight=False, soft_wrap=True
        )
        out.print(
            f"    from {row['distribution']} {row['version']} ({row['module']})",
            highlight=False,
            soft_wrap=True,
        )
        out.print(f"    {', '.join(row['hooks'])}", highlight=False, soft_wrap=True)


def _vendors(installed: Registry) -> list[dict[str, Any]]:
    entries = {entry.name: entry for entry in entry_points(group=registry.VENDORS)}
    rows = []
    for name, module in installed.vendors.items():
        info = installed.vendor_info(name)
        row = {"kind": "vendor", "name": name, "label": info.label, **_origin(entries[name])}
        row |= {"hooks": _hooks(installed, module), "docs": info.docs, "settings": described(info.settings)}
        rows.append(row)
    return rows


def _rules(installed: Registry) -> list[dict[str, Any]]:
    packs = {
        module: entry
        for entry in entry_points(group=registry.RULES)
        for module in getattr(entry.load(), "RULES", ())
    }
    rows = []
    for name, module in installed.rules.items():
        info = installed.rule_info(name)
        row = {"kind": "rule", "name": name, "label": info.title["en"], **_origin(packs[module])}
        row |= {"hooks": _hooks(installed, module), "title": info.title, "description": info.description}
        rows.append(row | {"enabled": info.enabled, "settings": described(installed.rule_settings(name))})
    return rows


def _origin(entry: EntryPoint) -> dict[str, Any]:
    """The distribution that brings the plugin; None for one that was not installed as a distribution."""
    return {
        "distribution": entry.dist.name if entry.dist else None,
        "version": entry.dist.version if entry.dist else None,
        "module": entry.value,
    }


def _hooks(installed: Registry, module: Any) -> list[str]:
    return sorted(caller.name for caller in installed.pm.get_hookcallers(module) or ())
