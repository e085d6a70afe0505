"""Is this tenants.yaml right, and what does it say?"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Secret,
    StringConstraints,
    ValidationError,
)

from gateway import yaml_text
from gateway.configuration import connection_tree, rule_tree
from gateway.model.connection import Connection
from gateway.model.errors import InvalidConfiguration
from gateway.registry import Registry
from gateway.validation import connection_settings, explained, refuse, rule_settings

NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}\Z")
NAME_FORM = "a name has at most 63 lowercase letters, digits, _ and -, and begins with a letter or digit"
RESERVED = "gateway"
"""The core's own events and actions go by this connection name."""

FORM_OF_SECRETS = "should be {env: NAME}, {file: PATH} or text; or a list of these while it rotates"
IN_THE_OPEN = "the secret itself is in the file; {env: NAME} or {file: PATH} would keep it out"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the file says, in its own shape, valid and with its secrets at hand as pydantic `Secret`.

    What it does not mention is absent. `notes` are warnings for the person who wrote it.
    """

    tenants: dict[str, dict[str, Any]]
    notes: tuple[str, ...]


def read(content: bytes, folder: Path, environment: Mapping[str, str], registry: Registry) -> Reading:
    """Raises InvalidConfiguration with a line for each problem: the path in the file and what was expected.

    :param folder: where `{file: PATH}` starts from
    :param environment: where `{env: NAME}` is looked up
    """
    given = yaml_text.load(content)
    if not isinstance(given, dict):
        raise InvalidConfiguration("the file should be a mapping that begins with `tenants:`")
    try:
        file = File.model_validate(given)
    except ValidationError as error:
        lines = explained(error, given, lambda parts: ".".join(parts), _known)
        raise InvalidConfiguration("\n".join(lines)) from None
    reader = _Reader(registry, folder, environment, [], [])
    tenants = {name: reader.tenant(name, entry) for name, entry in file.tenants.items()}
    refuse(reader.problems)
    return Reading(tenants, tuple(reader.notes))


# --- the shape ----------------------------------------------------------------------------------------------


def _name(name: str) -> str:
    if not NAME.match(name):
        raise ValueError(NAME_FORM)
    return name


def _connection_name(name: str) -> str:
    if name == RESERVED:
        raise ValueError(f"the connection name {RESERVED!r} is reserved for the gateway itself")
    return _name(name)


def _time_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("no such time zone; expected an IANA name such as America/Sao_Paulo")
    return name


def _nothing_is_empty(value: Any) -> Any:
    return {} if value is None else value


Empty = BeforeValidator(_nothing_is_empty)
Section = Annotated[dict[str, Any], Empty]
Name = Annotated[str, AfterValidator(_name)]
Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$"),
]


class Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ConnectionEntry(Entry):
    vendor: str
    settings: Section = {}
    secrets: Section = {}


class ChannelEntry(Entry):
    url: Any


class RuleEntry(Entry):
    enabled: bool | None = None
    settings: Section = {}


class TenantEntry(Entry):
    name: Line = ""
    locale: Literal["pt-BR", "en"] = "pt-BR"
    timezone: Annotated[str, AfterValidator(_time_zone)] = ""
    connections: Annotated[
        dict[Annotated[str, AfterValidator(_connection_name)], ConnectionEntry], Empty
    ] = {}
    channels: Annotated[dict[Name, ChannelEntry], Empty] = {}
    rules: Annotated[dict[str, RuleEntry], Empty] = {}


class File(Entry):
    tenants: dict[Name, TenantEntry]


ENTRIES: dict[str, type[Entry]] = {
    "connections": ConnectionEntry,
    "channels": ChannelEntry,
    "rules": RuleEntry,
}


def _known(parts: tuple[str, ...]) -> list[str]:
    """Which keys may stand where an unknown one was found."""
    by_depth: dict[int, type[Entry]] = {1: File, 3: TenantEntry}
    return list((by_depth.get(len(parts)) or ENTRIES[parts[2]]).model_fields)


# --- what the shape cannot tell -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reader:
    registry: Registry
    folder: Path
    environment: Mapping[str, str]
    problems: list[str]
    notes: list[str]

    def tenant(self, tenant: str, entry: TenantEntry) -> dict[str, Any]:
        where = f"tenants.{tenant}"
        said = entry.model_dump(include={"name", "locale", "timezone"}, exclude_unset=True)
        if "connections" in entry.model_fields_set:
            found = {
                name: self._connection(tenant, name, each, f"{where}.connections.{name}")
                for name, each in entry.connections.items()
            }
            said["connections"] = found
        if "channels" in entry.model_fields_set:
            said["channels"] = {
                name: {"url": self._url(each.url, f"{where}.channels.{name}.url")}
                for name, each in entry.channels.items()
            }
        if "rules" in entry.model_fields_set:
            said["rules"] = {
                name: self._rule(name, each, f"{where}.rules.{name}") for name, each in entry.rules.items()
            }
        return said

    def _connection(self, tenant: str, name: str, entry: ConnectionEntry, where: str) -> dict[str, Any]:
        before = len(self.problems)
        secrets = {
            key: self._secret(source, f"{where}.secrets.{key}") for key, source in entry.secrets.items()
        }
        if len(self.problems) > before:
            return {}
        try:
            settings = connection_settings(self.registry, entry.vendor, entry.settings, secrets, where)
        except InvalidConfiguration as error:
            self.problems.extend(str(error).splitlines())
            return {}
        return connection_tree(Connection(tenant, name, entry.vendor, settings))

    def _rule(self, name: str, entry: RuleEntry, where: str) -> dict[str, Any]:
        enabled = entry.enabled
        if enabled is None:
            enabled = name in self.registry.rules and self.registry.rule_info(name).enabled
        try:
            settings = rule_settings(self.registry, name, entry.settings, where, enabled=enabled)
        except InvalidConfiguration as error:
            self.problems.extend(str(error).splitlines())
            return {}
        return rule_tree(enabled, settings)

    def _url(self, source: Any, where: str) -> Secret[Any]:
        url = self._secret(source, where)
        if isinstance(url, str) and url:
            from gateway import channels  # slow to import, and only needed where there are channels

            if problem := channels.problem(url):
                self.problems.append(f"{where}: {problem}")
        elif isinstance(url, list):
            self.problems.append(f"{where}: should be one URL, not a list")
        return Secret(url)

    def _secret(self, source: Any, where: str) -> str | list[str]:
        """The secret itself; an empty text where there was a problem."""
        sources = source if isinstance(source, list) else [source]
        found = []
        for each in sources:
            if isinstance(each, str):
                self.notes.append(f"{where}: {IN_THE_OPEN}")
            try:
                found.append(secret(each, self.folder, self.environment))
            except ValueError as error:
                self.problems.append(f"{where}: {error}")
        if not sources:
            self.problems.append(f"{where}: {FORM_OF_SECRETS}")
        return found if isinstance(source, list) else "".join(found)


def secret(source: Any, folder: Path, environment: Mapping[str, str]) -> str:
    """What `{env: NAME}`, `{file: PATH}` or a text stands for. Raises ValueError."""
    match source:
        case str():
            found, origin = source, "the secret"
        case {"env": str(name)} if len(source) == 1:
            if name not in environment:
                raise ValueError(f"the environment variable {name} is not set")
            found, origin = environment[name], f"the environment variable {name}"
        case {"file": str(name)} if len(source) == 1:
            path = folder / Path(name).expanduser()
            try:
                found, origin = path.read_text().rstrip("\r\n"), f"the file {path}"
            except OSError as error:
                raise ValueError(f"the file {path} cannot be read: {error.strerror}") from None
            except UnicodeDecodeError:
                raise ValueError(f"the file {path} is not text") from None
        case bool() | int() | float():
            raise ValueError("should be text: put it in quotes")
        case _:
            raise ValueError(FORM_OF_SECRETS)
    if not found.strip():
        raise ValueError(f"{origin} is empty")
    return found
