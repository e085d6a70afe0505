"""How does a text from an admin's settings become a message, without being able to do harm?"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any

from jinja2 import StrictUndefined, TemplateAssertionError, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import AfterValidator

MAX_LENGTH = 20_000
Finalize = Callable[[Any], Any]
PADDING = frozenset({"center", "expandtabs", "format", "format_map", "ljust", "rjust", "zfill"})
"""Methods of texts, and filters, that make as much out of nothing as they are told to."""


def _money(amount_minor: int | None, currency: str = "BRL") -> str:
    """`R$ 1.530,75` for 153075; other currencies keep their code."""
    if amount_minor is None:
        return "-"
    whole, cents = divmod(abs(amount_minor), 100)
    sign = "-" if amount_minor < 0 else ""
    text = f"{sign}{whole:,}".replace(",", ".") + f",{cents:02d}"
    return f"R$ {text}" if currency == "BRL" else f"{currency} {text}"


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox keeps Python away; this one also what runs or grows far beyond what it was given."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise SecurityError(
                f"{operator!r} is for numbers only" if operator != "**" else "'**' is not allowed"
            )
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> None:
        """No safe form of `str.format`: it pads."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        padded = isinstance(obj, str) and attr in PADDING
        return not padded and super().is_safe_attribute(obj, attr, value)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in tree.find_all((nodes.Macro, nodes.CallBlock)):
            raise TemplateAssertionError("macros are not allowed", node.lineno)
        for loop in tree.find_all(nodes.For):
            inner = list(loop.find_all(nodes.For))
            if loop.recursive or any(True for each in inner for _ in each.find_all(nodes.For)):
                raise TemplateAssertionError("a loop in a loop is the most that is allowed", loop.lineno)
        return tree


@lru_cache(maxsize=16)
def _environment(is_html: bool, finalize: Finalize | None = None) -> _Sandbox:
    environment = _Sandbox(autoescape=is_html, undefined=StrictUndefined, trim_blocks=True, finalize=finalize)
    environment.filters["money"] = _money
    for name in (*PADDING, "batch", "indent", "random", "slice", "wordwrap"):
        environment.filters.pop(name, None)
    for name in ("range", "lipsum"):  # a message needs no loop without data
        environment.globals.pop(name)
    return environment


@lru_cache(maxsize=1024)
def _compiled(template: str, is_html: bool, finalize: Finalize | None = None) -> Any:
    try:
        return _environment(is_html, finalize).from_string(template)
    except (RecursionError, SyntaxError, ValueError):  # Python's own limits, on what Jinja made of it
        raise TemplateError("too large, or nested too deeply") from None


def render(
    template: str,
    names: Mapping[str, Any] | None = None,
    /,
    *,
    is_html: bool = False,
    finalize: Finalize | None = None,
    **context: Any,
) -> str:
    """Fill `template`. Raises jinja2.TemplateError for an unknown name or a forbidden operation.

    :param names: what it may speak of, besides `context`; any name may be among them
    :param finalize: what is done to every value that is put in, such as quoting it for a URL's path
    """
    text: str = _compiled(template, is_html, finalize).render({**(names or {}), **context})
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
