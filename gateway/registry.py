"""Which vendors and rules are installed, and who answers a hook?"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType, ModuleType
from typing import Any

import pluggy
from pluggy import HookCaller, PluginManager

from gateway import hookspecs
from gateway.model.connection import VendorInfo
from gateway.model.errors import PluginError
from gateway.model.facts import RuleInfo, RuleSettings

VENDORS = "gateway.vendors"
RULES = "gateway.rules"


@dataclass(frozen=True, slots=True, eq=False)
class Registry:
    """Everything installed. `vendors` and `rules` map names to the modules that implement them."""

    pm: PluginManager
    vendors: Mapping[str, ModuleType]
    rules: Mapping[str, ModuleType]

    def ask(self, vendor: str, hook: str, **given: Any) -> Any:
        """The answer of one vendor's hook; None where it does not implement it."""
        return of_vendor(self.pm, vendor, hook)(**given)

    def implements(self, vendor: str, hook: str) -> bool:
        return bool(of_vendor(self.pm, vendor, hook).get_hookimpls())

    def vendor_info(self, vendor: str) -> VendorInfo:
        info: VendorInfo = self.ask(vendor, "vendor_info")
        return info

    def rule_info(self, rule: str) -> RuleInfo:
        info: RuleInfo = self._rule(rule).INFO
        return info

    def rule_settings(self, rule: str) -> type[RuleSettings]:
        settings: type[RuleSettings] = self._rule(rule).Settings
        return settings

    def _rule(self, rule: str) -> ModuleType:
        try:
            return self.rules[rule]
        except KeyError:
            raise PluginError(f"unknown rule {rule!r}; installed: {', '.join(sorted(self.rules))}") from None


@lru_cache(maxsize=1)
def load() -> Registry:
    """Everything that installed distributions offer by entry points. Raises PluginError naming the culprit."""
    vendors: dict[str, ModuleType] = {}
    for entry in sorted(entry_points(group=VENDORS)):
        _add(vendors, "vendors", entry.name, _imported(entry))
    rules: dict[str, ModuleType] = {}
    for entry in sorted(entry_points(group=RULES)):
        pack = _imported(entry)
        if not hasattr(pack, "RULES"):
            raise PluginError(f"pack {entry.name!r} ({entry.value}) has no RULES")
        for module in pack.RULES:
            _add(rules, "rules", module.__name__.rpartition(".")[2], module)
    return assemble(vendors, rules)


def assemble(vendors: Mapping[str, ModuleType], rules: Mapping[str, ModuleType]) -> Registry:
    """A registry of exactly these plugins (tests use it too). Raises PluginError."""
    pm = PluginManager(hookspecs.PROJECT)
    pm.add_hookspecs(hookspecs)
    for kind, modules in (("vendor", vendors), ("rule", rules)):
        for name, module in modules.items():
            try:
                pm.register(module, name=f"{kind}:{name}")
                pm.check_pending()
            except (pluggy.PluginValidationError, ValueError) as error:
                raise PluginError(f"{kind} {name!r} ({module.__name__}): {error}") from None
    registry = Registry(pm, MappingProxyType(dict(vendors)), MappingProxyType(dict(rules)))
    for name in vendors:
        if not registry.implements(name, "vendor_info"):
            raise PluginError(f"vendor {name!r} does not implement vendor_info")
    for name, module in rules.items():
        settings = getattr(module, "Settings", None)
        if not isinstance(getattr(module, "INFO", None), RuleInfo):
            raise PluginError(f"rule {name!r} ({module.__name__}) has no INFO")
        if not (isinstance(settings, type) and issubclass(settings, RuleSettings)):
            raise PluginError(f"rule {name!r} ({module.__name__}) has no Settings")
        if not any(impl.plugin is module for impl in pm.hook.on_event.get_hookimpls()):
            raise PluginError(f"rule {name!r} ({module.__name__}) does not implement on_event")
    return registry


@lru_cache(maxsize=4096)
def of_vendor(pm: PluginManager, vendor: str, hook: str) -> HookCaller:
    """The hook as only this vendor answers it. An unknown vendor raises PluginError: never an empty caller."""
    plugin = pm.get_plugin(f"vendor:{vendor}")
    if plugin is None:
        known = sorted(
            name.partition(":")[2] for name, _ in pm.list_name_plugin() if name.startswith("vendor:")
        )
        raise PluginError(f"unknown vendor {vendor!r}; installed: {', '.join(known)}")
    others = [other for other in pm.get_plugins() if other is not plugin]
    return pm.subset_hook_caller(hook, others)


@lru_cache(maxsize=4096)
def of_tenant(pm: PluginManager, disabled: frozenset[str]) -> HookCaller:
    """`on_event` without the rules that a tenant has switched off."""
    removed = [pm.get_plugin(f"rule:{name}") for name in sorted(disabled)]
    return pm.subset_hook_caller("on_event", [plugin for plugin in removed if plugin is not None])


def rule_name(plugin_name: str) -> str:
    return plugin_name.removeprefix("rule:")


def _add(found: dict[str, ModuleType], kind: str, name: str, module: ModuleType) -> None:
    if name in found:
        raise PluginError(f"two {kind} are called {name!r}: {found[name].__name__} and {module.__name__}")
    found[name] = module


def _imported(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:
        raise PluginError(f"plugin {entry.name!r} ({entry.value}) cannot be imported: {error!r}") from error
