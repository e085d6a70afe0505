"""What does an admin say of a system that has no plugin of its own, and can it work?"""

import json
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, SecretStr, model_validator

from gateway.api import JSON, ConnectionSettings, SecretList, UnreadableWebhook

from . import accept, convert, mappings
from .expression import Expression
from .mapping import GATEWAY, KINDS, EventMapping, events_in, fitting
from .outbound import Api, Changed, Collect, Requests, Words, document_of, examples
from .proof import Hmac, Proof, StandardWebhooks
from .request import filled, filled_headers

SECRETS = ("api_token", "api_key", "api_user", "api_password")


class Inbound(ConnectionSettings):
    """How the system's webhooks are proved and understood. A ready mapping is one of these, as data.

    `sample` is a document of the sender (with invented people) that must map to an event when it is saved; under
    `gateway` it may say what was `collected`. `expect` says what some of that event's fields must be, by dotted name:
    `payment.amount_minor: 99000`.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    proof: Proof = StandardWebhooks()
    body: Literal["json", "form"] = "json"
    events: tuple[EventMapping, ...] = Field((), description="tried in order; the first that fits wins")
    all: bool = Field(False, description="every mapping that fits gives an event, not only the first")
    subject: Expression | None = Field(None, description="the ticket's id, if mappings tell of tickets")
    delivery: Expression | None = Field(
        None, description="the sender's name for a message, if the proof has none"
    )
    collect: Collect | None = None
    api: Api = Api()
    answer: Literal[200, 201, 202] = Field(202, description="what the sender takes for a success")
    sample: JSON = None
    expect: dict[str, JSON] = Field(default_factory=dict)


class Settings(Inbound):
    """`mapping` takes everything about webhooks from a ready mapping; what is said beside it wins."""

    mapping: str | None = Field(None, description=f"a ready mapping: {', '.join(mappings.names())}")
    secret: SecretList | None = Field(None, description="of the proof; a list while it rotates")
    api_token: SecretStr | None = None
    api_key: SecretStr | None = None
    api_user: SecretStr | None = None
    api_password: SecretStr | None = None
    requests: Requests = Field({}, description="what is sent for each kind of action")
    changed: Changed | None = None
    words: Words = Words()
    user_ids: tuple[str, ...] = Field((), description="by which ids the system calls our own user")

    @cached_property
    def inbound(self) -> Inbound:
        """All that is said of webhooks, here or in the ready mapping."""
        if self.mapping is None:
            return self
        ready = Inbound.model_validate(mappings.ready(self.mapping))
        said = {name: getattr(self, name) for name in Inbound.model_fields if name in self.model_fields_set}
        return ready.model_copy(update=said)

    @cached_property
    def secrets(self) -> dict[str, str]:
        """What templates of headers may use."""
        given = ((name, getattr(self, name)) for name in SECRETS)
        return {name: secret.get_secret_value() for name, secret in given if secret is not None}

    @property
    def reads_back(self) -> bool:
        """Can a subject be read back?"""
        collect = self.inbound.collect
        return collect is not None and (collect.needs is None or collect.needs in self.secrets)

    @property
    def is_called(self) -> bool:
        """Is there anything to call, or does the system only send?"""
        return bool(self.requests) or self.changed is not None or self.reads_back

    def own_ids(self) -> frozenset[str]:
        return frozenset(self.user_ids)

    def accepted_status(self) -> int:
        return self.inbound.answer

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mapping is not None and self.mapping not in mappings.names():
            known = ", ".join(mappings.names())
            raise ValueError(f"mapping: there is none named {self.mapping!r}; ready are: {known}")
        if not self.inbound.events and not self.is_called:
            raise ValueError("say what comes in (`events` or `mapping`), what goes out (`requests`), or both")
        if self.inbound.events:
            self._check_inbound()
        if self.is_called:
            self._check_calls()
        return self

    def _check_inbound(self) -> None:
        inbound = self.inbound
        if self.secret is None:
            raise ValueError("secret: is required, or nobody's webhooks could be believed")
        accept.check_secrets(inbound.proof, self.secret)
        if inbound.subject is None and any(KINDS[each.event].about_ticket for each in inbound.events):
            raise ValueError("ticket events keep their order by `subject`: say where the ticket's id is")
        if inbound.subject is None and inbound.collect is not None and inbound.collect.hint is not False:
            raise ValueError("collect: what is read back is named by `subject`: say where its id is")
        hints = inbound.collect is not None and inbound.collect.hint is True and self.reads_back
        if isinstance(inbound.proof, Hmac) and not inbound.proof.covers_body and not hints:
            raise ValueError(
                "proof.signed: without `{body}` only hints are proved: set `collect` with `hint: true`"
            )
        _check_sample(inbound)

    def _check_calls(self) -> None:
        if self.inbound.base_url is None:
            raise ValueError("base_url: is required: where is the system's API?")
        for problem in self._call_problems():
            raise ValueError(problem)

    def _call_problems(self) -> Iterator[str]:
        """Every request is tried on invented actions: one with everything in it, one with the least."""
        auth = self.inbound.api.basic_auth
        shared = dict(self.inbound.api.headers) | (
            {"user": auth.user, "password": auth.password} if auth else {}
        )
        tries: list[tuple[str, Any]] = [
            ("api", lambda: filled_headers(shared, {}, self.secrets)),
        ]
        for kind, request in self.requests.items():
            for action in examples(kind, self.custom_fields):
                told = document_of(action, self.words, self.custom_fields)
                tries.append((f"requests.{kind}", lambda r=request, t=told: filled(r, t, self.secrets)))
                if request.find is not None:
                    find = request.find
                    tries.append((f"requests.{kind}.find", lambda f=find, t=told: filled(f, t, self.secrets)))
        if self.reads_back and self.inbound.collect is not None:
            collect = self.inbound.collect
            tries.append(("collect", lambda: filled(collect, {"id": "7"}, self.secrets)))
        if self.changed is not None:
            changed, since = self.changed, {"since": "2026-09-14T00:00:00+00:00", "since_unix": 1789344000}
            tries.append(("changed", lambda: filled(changed, since, self.secrets)))
        for where, attempt in tries:
            try:
                attempt()
            except ValueError as error:
                yield f"{where}.{error}"


def _check_sample(inbound: Inbound) -> None:
    """Raises ValueError where the sample does not give what is expected of it."""
    if inbound.sample is None:
        if inbound.expect:
            raise ValueError("`expect` needs a `sample`")
        return
    try:
        document = _sample(inbound)
        fits = fitting(document, inbound.events, every=inbound.all)
        events = events_in(document, fits, told_at=accept.EPOCH, connection="sample")
    except (TypeError, RecursionError):
        raise ValueError("sample: not JSON; in YAML, dates need quotes") from None
    except (UnreadableWebhook, UnicodeError) as error:
        raise ValueError(f"sample: {error}") from None
    if not events:
        raise ValueError("sample: no `when` holds for it, so it gives no event")
    told = events[0].model_dump(mode="json")
    for path, expected in inbound.expect.items():
        if (actual := _at(told, path)) != expected:
            raise ValueError(f"expect: {path} is {json.dumps(actual)}, not {json.dumps(expected)}")


def _sample(inbound: Inbound) -> dict[str, JSON]:
    """The sample may be the body's own text or an object."""
    if isinstance(inbound.sample, str):
        document = convert.read(inbound.sample.encode(), inbound.body)
    else:
        document = convert.read(json.dumps(inbound.sample).encode())
    beside = document.get(GATEWAY)
    nothing: dict[str, JSON] = {"collected": None, "headers": {}, "query": {}}
    return {**document, GATEWAY: nothing | (beside if isinstance(beside, dict) else {})}


def _at(told: JSON, path: str) -> JSON:
    for name in path.split("."):
        told = told.get(name) if isinstance(told, dict) else None
    return told
