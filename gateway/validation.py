"""Do settings suit the vendor or rule that they are for, and if not, which one is wrong and how?"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, SecretStr, ValidationError

from gateway.model.connection import ConnectionSettings
from gateway.model.errors import InvalidConfiguration, PluginError
from gateway.redaction import Redactor
from gateway.registry import Registry

Path = tuple[str, ...]

EXPECTED = {
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "dict_type": "should be a mapping (name: value)",
    "list_type": "should be a list",
    "missing": "is required",
    "model_type": "should be a mapping (name: value)",
    "tuple_type": "should be a list",
}


def connection_settings(
    registry: Registry, vendor: str, settings: Mapping[str, Any], secrets: Mapping[str, Any], where: str
) -> ConnectionSettings:
    """What the vendor's model makes of them. Raises InvalidConfiguration, a line for each problem.

    :param where: the connection's path in the file, which every line begins with
    """
    try:
        model = registry.vendor_info(vendor).settings
    except PluginError as error:
        raise InvalidConfiguration(f"{where}.vendor: {error}") from None
    hidden = secret_fields(model)
    known = [name for name in model.model_fields if name not in hidden]
    problems = [
        f"{where}.settings.{name}: is a secret: put it under secrets" for name in settings if name in hidden
    ]
    for name in secrets:
        if name in known:
            problems.append(f"{where}.secrets.{name}: is not a secret: put it under settings")
        elif name not in hidden:
            problems.append(f"{where}.secrets.{name}: unknown secret (known: {', '.join(hidden)})")
    refuse(problems)
    try:
        return model.model_validate({**settings, **secrets})
    except ValidationError as error:

        def place(parts: Path) -> str:
            section = ("secrets" if parts[0] in hidden else "settings",) if parts else ()
            return ".".join((where, *section, *parts))

        lines = explained(error, {**settings, **secrets}, place, lambda _: known)
        redactor = Redactor(_texts(secrets.values()))
        raise InvalidConfiguration("\n".join(redactor.text(line) for line in lines)) from None


def rule_settings(
    registry: Registry, rule: str, settings: Mapping[str, Any], where: str, *, enabled: bool
) -> dict[str, Any]:
    """The settings as JSON, only those that were given. Raises InvalidConfiguration, a line for each problem.

    A rule that is off may lack settings that it will need once it is on.

    :param where: the rule's path in the file
    """
    try:
        model = registry.rule_settings(rule)
    except PluginError as error:
        raise InvalidConfiguration(f"{where}: {error}") from None
    try:
        valid = model.model_validate(settings)
    except ValidationError as error:
        if not enabled and all(e["type"] == "missing" and len(e["loc"]) == 1 for e in error.errors()):
            return dict(settings)
        known = [field.alias or name for name, field in model.model_fields.items()]
        lines = explained(
            error, settings, lambda parts: ".".join((where, "settings", *parts)), lambda _: known
        )
        raise InvalidConfiguration("\n".join(lines)) from None
    return valid.model_dump(mode="json", by_alias=True, exclude_unset=True)


def lost_connections(
    registry: Registry, rule: str, settings: Mapping[str, Any], connections: Iterable[str]
) -> list[str]:
    """Which settings (`connection`, or ending in `_connection`) name one that does not exist?"""
    if rule not in registry.rules:
        return []
    named = [name for name in registry.rule_settings(rule).model_fields if f"_{name}".endswith("_connection")]
    return [name for name in named if settings.get(name) and settings[name] not in connections]


def secret_fields(model: type[BaseModel]) -> tuple[str, ...]:
    """The fields that hold a secret, or a list of them."""
    return tuple(name for name, field in model.model_fields.items() if _holds_secret(field.annotation))


def explained(
    error: ValidationError,
    given: Any,
    place: Callable[[Path], str],
    known: Callable[[Path], Sequence[str]],
) -> list[str]:
    """One line for each place that is wrong: where it is and what was expected there, never what was found.

    :param place: how the place of a value is written
    :param known: which names may stand at this place, if the one that does is unknown
    """
    lines: dict[str, list[str]] = {}
    for problem in error.errors(include_url=False):
        parts = _parts(problem, given)
        if problem["type"] == "extra_forbidden":
            names = (
                f" (known: {', '.join(known(parts))})"
                if known(parts) and len(problem["loc"]) == len(parts)
                else ""
            )
            text = f"unknown setting{names}"
        elif problem["type"] == "string_type" and isinstance(problem["input"], bool | int | float):
            text = "should be text: put it in quotes"
        else:
            text = EXPECTED.get(problem["type"]) or _plain(problem["msg"])
        lines.setdefault(place(parts), []).append(text)
    return [f"{path}: {' or '.join(dict.fromkeys(texts))}" for path, texts in lines.items()]


def refuse(problems: Sequence[str]) -> None:
    """Raises InvalidConfiguration with these lines, if there are any."""
    if problems:
        raise InvalidConfiguration("\n".join(problems))


def _parts(problem: Any, given: Any) -> Path:
    """The place of a problem in what was given: pydantic's own steps (unions, keys) are left out."""
    parts: list[str] = []
    here = given
    for step in problem["loc"]:
        indexed = isinstance(here, list | tuple) and isinstance(step, int) and step < len(here)
        if indexed or (isinstance(here, Mapping) and step in here):
            here = here[step]
        elif not (problem["type"] == "missing" and step is problem["loc"][-1]):
            continue
        parts.append(str(step))
    return tuple(parts)


def _plain(message: str) -> str:
    text = " ".join(message.removeprefix("Value error, ").removeprefix("Assertion failed, ").split())
    for start in ("Input ", "String ", "List ", "Tuple ", "Dictionary ", "URL "):
        text = text.removeprefix(start)
    return text


def _holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_holds_secret(part) for part in get_args(annotation))


def _texts(values: Iterable[Any]) -> Iterable[str]:
    for value in values:
        yield from [value] if isinstance(value, str) else _texts(value)
