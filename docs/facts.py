"""Which parts of the manual follow from the code? `python docs/facts.py` writes them anew; a test compares.

They stand between `<!-- facts: WHAT NAME -->` and `<!-- end of facts -->`.
"""

import inspect
import json
import re
import sys
from pathlib import Path

from gateway import hookspecs, registry
from gateway.cli.fields import described
from gateway.settings import Settings

FOLDER = Path(__file__).parent
PAGES = (
    FOLDER / "rules.md",
    FOLDER / "plugin-hooks.md",
    FOLDER / "writing-a-vendor.md",
    FOLDER.parent / "README.md",
    FOLDER.parent / "README.pt-BR.md",
)
PLACE = re.compile(r"(<!-- facts: (\S+) (\S+) -->\n).*?(<!-- end of facts -->)", re.DOTALL)
LONG = 60
"""A default of more characters is a message or a table; `gateway rules show` prints it."""

WORDS = {
    "en": {"variable": "variable", "default": "default", "of": "what for", "empty": "(empty)"},
    "pt-BR": {"variable": "variável", "default": "padrão", "of": "para quê", "empty": "(vazio)"},
}
MEANINGS = {
    "database_url": {
        "en": "PostgreSQL 14 or newer, `postgresql://user:password@host:5432/database`; empty: the embedded one",
        "pt-BR": "PostgreSQL 14 ou mais novo, `postgresql://user:password@host:5432/database`; vazio: o embutido",
    },
    "redis_url": {
        "en": "Redis or Valkey, `redis://`, `rediss://` or `unix://`; empty: the embedded one",
        "pt-BR": "Redis ou Valkey, `redis://`, `rediss://` ou `unix://`; vazio: o embutido",
    },
    "data_dir": {
        "en": "where embedded stores and the key they make live",
        "pt-BR": "onde ficam os bancos embutidos e a chave que eles criam",
    },
    "secret_keys": {
        "en": "Fernet keys, comma-separated: the first one encrypts, all decrypt; embedded stores make one",
        "pt-BR": "chaves Fernet, separadas por vírgula: a primeira cifra, todas decifram; o modo embutido cria uma",
    },
    "allow_private_targets": {
        "en": "also call loopback, private and link-local addresses: only for sandboxes",
        "pt-BR": "chamar também endereços de loopback, privados e link-local: só para sandboxes",
    },
    "max_body": {"en": "largest webhook, in bytes", "pt-BR": "maior webhook aceito, em bytes"},
    "log_format": {"en": "`console` or `json`", "pt-BR": "`console` ou `json`"},
    "log_level": {
        "en": "`debug`, `info`, `warning` or `error`",
        "pt-BR": "`debug`, `info`, `warning` ou `error`",
    },
    "reclaim_seconds": {
        "en": "how long a call of a worker that died may still be on its way; only tests want it shorter",
        "pt-BR": "por quanto tempo uma chamada de um worker morto ainda pode estar a caminho; só testes o encurtam",
    },
    "reconcile_minutes": {
        "en": "how often each vendor is asked for tickets whose webhook never came; 0: never",
        "pt-BR": "de quanto em quanto tempo se pergunta a cada fornecedor por chamados cujo webhook nunca veio; "
        "0: nunca",
    },
    "reconcile_lookback_minutes": {
        "en": "how far each such look reaches back beyond the one before",
        "pt-BR": "até quanto antes da consulta anterior cada uma dessas consultas volta",
    },
    "action_budget": {
        "en": "actions per ticket and hour; the rest is held, with an incident",
        "pt-BR": "ações por chamado e hora; o resto fica retido, com um incidente",
    },
}  # fmt: skip


def environment(locale: str) -> str:
    """The variables that the gateway reads."""
    words = WORDS[locale]
    rows = [f"| {words['variable']} | {words['default']} | {words['of']} |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = words["empty"] if default in {"", ()} else f"`{str(default).lower()}`"
        meaning = MEANINGS.get(name, {}).get(locale) or field.description
        rows.append(f"| `GATEWAY_{name.upper()}` | {shown} | {meaning} |")
    return "\n".join(rows) + "\n"


def rule(name: str) -> str:
    """What a rule says of itself, and its settings."""
    plugins = registry.load()
    info = plugins.rule_info(name)
    lines = [
        f"**{info.title['en']}** ({info.title['pt-BR']}), {'on' if info.enabled else 'off'} by default.",
        "", info.description["en"], "",
        "| setting | type | default | meaning |", "|---|---|---|---|",
    ]  # fmt: skip
    for row in described(plugins.rule_settings(name)):
        text = json.dumps(row["default"], ensure_ascii=False)
        long = "a message" if isinstance(row["default"], str) else "see `gateway rules show`"
        default = "required" if row["required"] else long if len(text) > LONG else f"`{text}`"
        if isinstance(row["default"], dict):
            default = ", ".join(
                f"`{key}: {json.dumps(value)}`" for key, value in _said(row["default"]).items()
            )
        lines.append(
            f"| `{row['name']}` | {_cell(row['type'])} | {_cell(default)} | {_cell(row['description'])} |"
        )
    return "\n".join(lines) + "\n"


def hook(name: str) -> str:
    """A hook's exact signature and what its specification says."""
    function = getattr(hookspecs, name)
    signature = inspect.signature(function)
    parameters = ", ".join(f"{each.name}: {_type(each.annotation)}" for each in signature.parameters.values())
    docstring = inspect.cleandoc(function.__doc__ or "")
    docstring = re.sub(r"^:param (\w+): ", r"- `\1`: ", docstring, flags=re.MULTILINE)
    return f"```text\n{name}({parameters}) -> {_type(signature.return_annotation)}\n```\n\n{docstring}\n"


VENDOR_HOOKS = {
    "verify": "verify_webhook", "collect": "collect_ticket", "convert": "convert_webhook",
    "execute": "execute_action", "find effect": "find_effect", "list changed": "list_changed",
}  # fmt: skip


def vendors(_: str) -> str:
    """Which vendor of this repository implements what; `python docs/vendors.py` also runs their suites."""
    plugins = registry.load()
    shown = ["", *VENDOR_HOOKS, "sandbox"]
    lines = [f"| {' | '.join(shown)} |", "|---" * len(shown) + "|"]
    for name in sorted(path.parent.name for path in (FOLDER.parent / "plugins").glob("*/__init__.py")):
        sandbox = (FOLDER.parent / "plugins" / name / "sandbox.py").exists()
        has = [*(plugins.implements(name, hook) for hook in VENDOR_HOOKS.values()), sandbox]
        lines.append(f"| {name} | {' | '.join('yes' if each else '-' for each in has)} |")
    return "\n".join(lines) + "\n"


FACTS = {"environment": environment, "rule": rule, "hook": hook, "vendors": vendors}


def rewritten(page: str) -> str:
    """The page with every such part as it should be."""
    return PLACE.sub(lambda found: found[1] + FACTS[found[2]](found[3]) + found[4], page)


def _said(default: dict[str, object]) -> dict[str, object]:
    """Of a scope's settings only those that limit something."""
    return {key: limits for key, value in default.items() if (limits := _limits(value))} or {"everything": []}


def _limits(value: object) -> object:
    return {key: words for key, words in value.items() if words} if isinstance(value, dict) else value


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _type(annotation: object) -> str:
    text = inspect.formatannotation(annotation)
    text = re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text).replace("'", "").replace("[Any]", "")
    return re.sub(r"\bAny\b", "JSON", text)


if __name__ == "__main__":
    for path in PAGES:
        before = path.read_text()
        if (after := rewritten(before)) != before:
            path.write_text(after)
            sys.stdout.write(f"{path.name}: written anew\n")
