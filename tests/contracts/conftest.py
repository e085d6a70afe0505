"""Does what we send, and what our sandboxes answer, fit the vendor's own description of its API?

The descriptions are not ours to copy: they are read from `../shared/specs`, beside the checkout. Where that folder
is absent these tests skip and say so.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from openapi_core import Config, OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SPECS = Path(__file__).parents[3] / "shared" / "specs"


@dataclass(frozen=True, slots=True)
class Departure:
    """One place where the description is known to be wrong, or silent.

    `operation` is `METHOD /path/{as}/{described}`, or `METHOD /path` as called where it is not described at all.
    `where` is searched for in the fault's text, which starts with the side and the JSON path: so an exception
    never covers more than what is meant.
    """

    operation: str
    side: Literal["request", "answer"]
    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Fault:
    """What did not fit: in which operation, on which side, and what the validator said."""

    operation: str
    side: Literal["request", "answer"]
    text: str

    def __str__(self) -> str:
        return f"{self.operation} {self.side}: {self.text}"


@dataclass
class Contract:
    """One vendor's description, and everything that was held against it.

    `host` is the vendor's own address, which the sandbox stands in for; `described` turns a path as it is called
    into one as it is described.
    """

    document: Mapping[str, Any]
    host: str
    departures: tuple[Departure, ...] = ()
    described: Callable[[str], str] = str
    seen: Counter[str] = field(default_factory=Counter)
    """How often each operation was called; `POST /tickets 200` counts the answers."""
    faults: list[Fault] = field(default_factory=list)
    used: set[Departure] = field(default_factory=set)

    def __post_init__(self) -> None:
        # That the description itself is valid is its owner's affair, and takes longer than all else here.
        self._answers = OpenAPI.from_dict(dict(self.document), config=Config(spec_validator_cls=None))

    def watching(self, app: ASGIApp) -> ASGIApp:
        """The same app; every call of its API is checked on its way in and out."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"].startswith("/_sandbox/"):
                await app(scope, receive, send)
                return
            asked, answered, more = bytearray(), bytearray(), True
            while more:  # also where the app refuses without looking at the body
                message = await receive()
                asked.extend(message.get("body", b""))
                more = message.get("more_body", False)
            told: list[Message] = [{"type": "http.request", "body": bytes(asked)}]
            start: MutableMapping[str, Any] = {}

            async def receiving() -> Message:
                return told.pop() if told else await receive()

            async def sending(message: Message) -> None:
                start.update(message if message["type"] == "http.response.start" else {})
                answered.extend(message.get("body", b""))
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    self._check(scope, bytes(asked), start, bytes(answered))
                await send(message)

            await app(scope, receiving, sending)

        return watched

    def unexplained(self) -> list[str]:
        """The faults that no departure explains."""
        return [str(found) for found in self.faults if not self._explained(found)]

    def unused(self) -> list[Departure]:
        """Departures that nothing needed: they must go, or they would hide the next fault."""
        list(map(self._explained, self.faults))
        return [departure for departure in self.departures if departure not in self.used]

    def _explained(self, found: Fault) -> bool:
        explaining = {
            departure
            for departure in self.departures
            if (departure.operation, departure.side) == (found.operation, found.side)
            and re.search(departure.where, found.text)
        }
        self.used |= explaining
        return bool(explaining)

    def _check(self, scope: Scope, asked: bytes, start: Mapping[str, Any], answered: bytes) -> None:
        path = self.described(scope["path"])
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        request = MockRequest(
            self.host,
            scope["method"].lower(),
            path,
            args=query,
            headers=headers,
            data=asked or None,
            content_type=_media_type(headers),
        )
        operation, described = self._operation(scope["method"], path)
        declared = {
            parameter["name"] for parameter in self._parameters(described) if parameter["in"] == "query"
        }
        self.seen[operation] += 1
        self.seen[f"{operation} {start['status']}"] += 1
        requests = self._answers.iter_request_errors(request)
        self.faults += (Fault(operation, "request", text) for text in _texts(requests))
        undescribed = [f"parameter {name}" for name in sorted(set(query) - declared)]
        if asked and described and "requestBody" not in described:
            undescribed.append("a body")
        undescribed += self._undescribed(_json(asked), [self._body(described)], "$")
        self.faults += (Fault(operation, "request", f"undescribed: {what}") for what in undescribed)
        told = {name.decode(): value.decode() for name, value in start["headers"]}
        response = MockResponse(answered, start["status"], told, _media_type(told))
        answers = self._answers.iter_response_errors(request, response)
        self.faults += (Fault(operation, "answer", f"{start['status']} {text}") for text in _texts(answers))

    def _operation(self, method: str, path: str) -> tuple[str, Mapping[str, Any]]:
        """The operation's name as it is described, and its description, path parameters included."""
        base = re.escape(urlsplit(self.host).path.rstrip("/"))
        for template in sorted(self.document["paths"], key=lambda template: template.count("{")):
            shape = re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(template))
            item = self.document["paths"][template]
            if method.lower() in item and re.fullmatch(base + shape, path):
                shared = item.get("parameters") or []
                own = item[method.lower()]
                return f"{method} {template}", {
                    **own,
                    "parameters": [*shared, *(own.get("parameters") or [])],
                }
        return f"{method} {path}", {}

    def _parameters(self, described: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        return [self._resolved(parameter) for parameter in described.get("parameters") or ()]

    def _body(self, described: Mapping[str, Any]) -> Mapping[str, Any]:
        content = self._resolved(described.get("requestBody") or {}).get("content") or {}
        schema: Mapping[str, Any] = (content.get("application/json") or {}).get("schema") or {}
        return schema

    def _undescribed(self, value: Any, schemas: Iterable[Mapping[str, Any]], where: str) -> Iterator[str]:
        """Fields that no alternative of the description knows: the vendor would ignore them without a word."""
        flat = [part for schema in schemas for part in self._alternatives(schema)]
        if isinstance(value, list):
            items = [part["items"] for part in flat if "items" in part]
            for number, entry in enumerate(value):
                yield from self._undescribed(entry, items, f"{where}[{number}]")
        elif isinstance(value, dict) and any("properties" in part for part in flat):
            open_ended = any("additionalProperties" in part for part in flat)
            for name, entry in value.items():
                known = [part["properties"][name] for part in flat if name in part.get("properties", {})]
                if known:
                    yield from self._undescribed(entry, known, f"{where}.{name}")
                elif not open_ended:
                    yield f"{where}.{name}"

    def _alternatives(self, schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        resolved = self._resolved(schema)
        yield resolved
        for composed in ("allOf", "anyOf", "oneOf"):
            for part in resolved.get(composed) or ():
                yield from self._alternatives(part)

    def _resolved(self, described: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in described:
            return described
        found: Any = self.document
        for step in described["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return self._resolved(found)


def _json(body: bytes) -> Any:
    return json.loads(body) if body else None


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "application/json").partition(";")[0].strip()


def _texts(errors: Iterable[Exception]) -> Iterator[str]:
    """One line for each thing that does not fit, the JSON path first."""
    for error in errors:
        schema_errors = getattr(error.__cause__, "schema_errors", None) or getattr(
            error, "schema_errors", None
        )
        if not schema_errors:
            said = str(error) or type(error).__name__
            yield f"{said}: {error.__cause__}" if isinstance(error.__cause__, OpenAPIError) else said
            continue
        for found in schema_errors:
            inner = "; ".join(f"{sub.json_path}: {sub.message}" for sub in found.context or ())
            yield f"{found.json_path}: {found.message}" + (f" ({inner})" if inner else "")


class _Plainly(yaml.CSafeLoader):
    """Zendesk's description has a bare `=`, of which YAML 1.1 would make something of its own."""


_Plainly.add_constructor("tag:yaml.org,2002:value", yaml.constructor.SafeConstructor.construct_yaml_str)


@cache
def _document(name: str) -> Mapping[str, Any]:
    read: Mapping[str, Any] = yaml.load((SPECS / name).read_bytes(), Loader=_Plainly)
    return read


@pytest.fixture(scope="session")
def contract_of() -> Callable[..., Contract]:
    """`contract_of("intercom-2.15.yaml", "https://api.intercom.io", departures)`; skips without the description."""

    def contract(
        name: str, host: str, departures: Iterable[Departure] = (), described: Callable[[str], str] = str
    ) -> Contract:
        if not (SPECS / name).is_file():
            pytest.skip(f"{name} is not in ../shared/specs, so there is nothing to hold this against")
        return Contract(_document(name), host, tuple(departures), described)

    return contract


@pytest.fixture(scope="session")
def departure() -> type[Departure]:
    return Departure
