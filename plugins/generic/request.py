"""What is sent to a system that has no plugin of its own? Requests made of an action by templates.

A text is a Jinja2 template over the action; one that begins with `=` is a JMESPath expression, and gives what it
finds as it is. https://jinja.palletsprojects.com/ https://jmespath.org/specification.html
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote

from jinja2 import TemplateError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gateway.api import JSON, check_template, render

from .expression import Expression, check_expression, search
from .proof import HeaderName

FAILURES = (TemplateError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError)
"""What filling a template may raise: Jinja lets Python's own errors through."""

SAFE_METHODS = frozenset({"GET", "PUT", "DELETE"})
"""May be sent twice by what HTTP says of them."""

LONGEST_PATH = 4000


def _check_text(text: str) -> str:
    if text.startswith("="):
        check_expression(text[1:].strip())
        return text
    return check_template(text)


def _check_tree(value: JSON) -> JSON:
    for text in _texts(value):
        _check_text(text)
    return value


def _in_small(headers: Any) -> Any:
    return (
        {str(name).lower(): value for name, value in headers.items()}
        if isinstance(headers, dict)
        else headers
    )


Text = Annotated[str, Field(max_length=20_000), AfterValidator(_check_text)]
Tree = Annotated[JSON, AfterValidator(_check_tree)]
Headers = Annotated[dict[HeaderName, Text], BeforeValidator(_in_small)]


class Parts(BaseModel):
    """The request itself. What is put into `path` is quoted, so that no id chooses another endpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: Annotated[str, Field(pattern=r"^/", max_length=2000), AfterValidator(_check_text)]
    params: dict[str, Text] = {}
    headers: Headers = {}
    body: Tree = Field(None, description="JSON; every text in it is a template")
    form: dict[str, Text] = Field({}, description="instead of `body`: form fields")

    @model_validator(mode="after")
    def _one_body(self) -> "Parts":
        if self.body is not None and self.form:
            raise ValueError("give `body` or `form`, but not both")
        return self


class Lookup(Parts):
    """How an earlier attempt is found. It counts as found where `found` is true of the answer, or where there is
    a `remote_id`; the answer is `{status, headers, body}`, with the `action` beside it."""

    method: Literal["GET", "POST"] = "GET"
    found: Expression | None = None
    remote_id: Expression | None = None
    url: Expression | None = None

    @model_validator(mode="after")
    def _says_when(self) -> "Lookup":
        if self.found is None and self.remote_id is None:
            raise ValueError("say by `remote_id` or `found` how it is seen that it was done already")
        return self


class Request(Parts):
    """What is sent for one kind of action.

    A request that would do harm if it were sent twice needs a `find` or an `idempotency_header`, in which the action's
    id is sent; `repeatable` says that it does no harm (as PUT and DELETE do none).
    """

    remote_id: Expression | None = Field(None, description="`body.data.id`, `headers.location` ...")
    url: Expression | None = None
    ok: Expression | None = Field(None, description="true of an answer that means success")
    find: Lookup | None = None
    idempotency_header: HeaderName | None = None
    repeatable: bool | None = None

    @model_validator(mode="after")
    def _once_only(self) -> "Request":
        if not self.may_repeat and self.find is None:
            raise ValueError(
                f"a {self.method} whose answer was lost must not be sent twice: give `find` (a request that shows "
                "whether it was done), `idempotency_header`, or `repeatable: true` if twice does no harm"
            )
        return self

    @property
    def may_repeat(self) -> bool:
        if self.repeatable is not None:
            return self.repeatable
        return self.method in SAFE_METHODS or self.idempotency_header is not None


class Filled(BaseModel):
    """A request that is ready to be sent."""

    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: JSON
    form: dict[str, str] | None


def filled(parts: Parts, document: Mapping[str, JSON], secrets: Mapping[str, str]) -> Filled:
    """Raises ValueError that names the part, and never what a secret is. Only headers may use `secrets`."""
    path = _text(parts.path, document, "path", _quoted)
    if len(path) > LONGEST_PATH:
        raise ValueError("path: is too long")
    params = {name: _text(each, document, f"params.{name}") for name, each in parts.params.items()}
    return Filled(
        path=path,
        params={name: text for name, text in params.items() if text},
        headers=filled_headers(parts.headers, document, secrets),
        body=_tree(parts.body, document, "body"),
        form={name: _text(each, document, f"form.{name}") for name, each in parts.form.items()} or None,
    )


def filled_headers(
    headers: Mapping[str, str],
    document: Mapping[str, JSON],
    secrets: Mapping[str, str],
    where: str = "headers",
) -> dict[str, str]:
    """A header without a value is not sent. Raises ValueError that tells no secret."""
    found = {}
    for name, template in headers.items():
        try:
            value = _text(template, {**document, "secrets": dict(secrets)}, f"{where}.{name}").strip()
        except ValueError as error:
            raise ValueError(_without(secrets, str(error))) from None
        if not (value.isprintable() and value.isascii()):
            raise ValueError(f"{where}.{name}: a header has one line of ASCII characters")
        if value:
            found[name] = value
    return found


def _tree(value: JSON, document: Mapping[str, JSON], where: str) -> JSON:
    """The same tree with its texts filled in. What an expression does not find is left out of its object."""
    match value:
        case str():
            return _leaf(value, document, where)
        case dict():
            parts = {name: _tree(part, document, f"{where}.{name}") for name, part in value.items()}
            return {
                name: part
                for name, part in parts.items()
                if part is not None or not _is_expression(value[name])
            }
        case list():
            return [_tree(part, document, f"{where}.{index}") for index, part in enumerate(value)]
    return value


def _leaf(template: str, document: Mapping[str, JSON], where: str) -> JSON:
    if not _is_expression(template):
        return _text(template, document, where)
    try:
        return search(template[1:].strip(), dict(document))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _text(
    template: str, document: Mapping[str, JSON], where: str, finalize: Callable[[Any], str] | None = None
) -> str:
    change = finalize or _plain
    try:
        if _is_expression(template):
            return change(search(template[1:].strip(), dict(document)))
        return render(template, document, finalize=change)
    except FAILURES as error:
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{where}: {line}") from None


def _is_expression(value: JSON) -> bool:
    return isinstance(value, str) and value.startswith("=")


def _plain(value: Any) -> str:
    """What is nothing is no text; Jinja would write `None`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _quoted(value: Any) -> str:
    text = _plain(value)
    if not text:
        raise ValueError("a part of it is empty")
    return quote(text, safe="")


def _texts(value: JSON) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _without(secrets: Mapping[str, str], text: str) -> str:
    for secret in secrets.values():
        text = text.replace(secret, "[redacted]")
    return text
