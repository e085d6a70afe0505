"""How does a text from an admin's settings become a message, without being able to do harm?"""

from functools import lru_cache
from typing import Annotated, Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import AfterValidator

MAX_LENGTH = 20_000


def _money(amount_minor: int | None, currency: str = "BRL") -> str:
    """`R$ 1.530,75` for 153075; other currencies keep their code."""
    if amount_minor is None:
        return "-"
    whole, cents = divmod(abs(amount_minor), 100)
    sign = "-" if amount_minor < 0 else ""
    text = f"{sign}{whole:,}".replace(",", ".") + f",{cents:02d}"
    return f"R$ {text}" if currency == "BRL" else f"{currency} {text}"


def _environment(is_html: bool) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        autoescape=is_html, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["money"] = _money
    environment.globals.pop("range", None)  # a message needs no loop without data
    environment.globals.pop("lipsum", None)
    return environment


_ENVIRONMENTS = {False: _environment(False), True: _environment(True)}


@lru_cache(maxsize=1024)
def _compiled(template: str, is_html: bool) -> Any:
    return _ENVIRONMENTS[is_html].from_string(template)


def render(template: str, *, is_html: bool = False, **context: Any) -> str:
    """Fill `template`. Raises jinja2.TemplateError for an unknown name or a forbidden operation."""
    text: str = _compiled(template, is_html).render(context)
    return text[:MAX_LENGTH]


def check_template(template: str) -> str:
    """Refuse a template that cannot be parsed, when it is saved rather than when it is used."""
    try:
        _compiled(template, False)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise ValueError(f"bad template{f' (line {line})' if line else ''}: {error}") from None
    return template


Template = Annotated[str, AfterValidator(check_template)]
"""A settings field that holds a Jinja2 message template."""
