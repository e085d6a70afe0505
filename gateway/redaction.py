"""What must never be shown, and how is it taken out of headers, URLs, texts and log lines?"""

import base64
import json
import re
from collections.abc import Iterable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

from pydantic import BaseModel, SecretStr

REDACTED = "[redacted]"
SHORTEST_SECRET = 4
"""Shorter values are not secrets: Freshdesk's password is the letter X, and all x's would go."""

SENSITIVE_WORDS = (
    "token", "secret", "password", "passwd", "passphrase", "authorization", "cookie", "signature",
    "credential", "apikey", "api_key", "api-key", "access_key", "access-key", "private_key", "hook_key",
)  # fmt: skip
SENSITIVE_NAMES = frozenset({
    "key", "keys", "auth", "sig", "hmac", "code", "jwt", "pwd", "pass", "x-gateway-key", "secret_keys",
    "x-auth", "assertion", "otp",
})  # fmt: skip
HARMLESS_NAMES = frozenset({"idempotency-key", "idempotency_key", "dedup_key"})

_QUERY_IN_TEXT = re.compile(r"(?<=[?&])([^=&#\s\"'<>?]{1,100})=([^&#\s\"'<>]*)")
_ESCAPE = re.compile(r"%[0-9A-F]{2}")
_USERINFO = re.compile(r"(?<=://)[^/?#\s\"'<>@]+(?=@)")


@lru_cache(maxsize=1024)
def is_sensitive(name: str) -> bool:
    """Does a header, parameter or field of this name hold something that must not be shown?"""
    lowered = name.lower()
    if lowered in HARMLESS_NAMES:
        return False
    return lowered in SENSITIVE_NAMES or any(word in lowered for word in SENSITIVE_WORDS)


def redact_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: REDACTED if is_sensitive(name) else value for name, value in headers.items()}


def redact_url(url: str) -> str:
    """The URL without its password and without the values of sensitive query parameters."""
    if "@" in url:
        url = _USERINFO.sub(REDACTED, url)
    if "?" in url:
        url = _QUERY_IN_TEXT.sub(_redacted_parameter, url)
    return url


def redact_text(text: str, secrets: Iterable[str]) -> str:
    """The text without any of these values, as they are or escaped for URLs, JSON or base64."""
    return Redactor(secrets).text(text)


def secret_values(settings: BaseModel) -> tuple[str, ...]:
    """Every `SecretStr` of a settings model, also those in tuples, lists, mappings and nested models."""
    return tuple(dict.fromkeys(_secrets_in(settings)))


class Redactor:
    """Takes known secrets out of many texts; prepared once, then a few substring searches per text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= SHORTEST_SECRET for form in _forms(secret)}
        self._forms = sorted(forms, key=len, reverse=True)  # the longest first: one may contain another
        self._longest = max((len(form.encode("utf-8", "surrogatepass")) for form in forms), default=0)

    def text(self, text: str) -> str:
        for form in self._forms:
            if form in text:
                text = text.replace(form, REDACTED)
        return text

    def excerpt(self, text: str | bytes, length: int) -> str:
        """The first `length` characters; what was cut off ends in "...", and never in half a secret."""
        start = text[: length + 2 * self._longest]
        cut = len(start) < len(text)
        redacted = self.text(start.decode("utf-8", "replace") if isinstance(start, bytes) else start)
        shown = redacted[: max(min(length, len(redacted) - self._longest), 0)] if cut else redacted[:length]
        return shown + "..." if cut or len(shown) < len(redacted) else shown

    def url(self, url: str) -> str:
        return self.text(redact_url(url))


def redact_log(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: takes out sensitive fields, and sensitive parameters of URLs in any text."""
    for name, value in event.items():
        event[name] = REDACTED if value and is_sensitive(name) else _redacted_value(value)
    return event


def _redacted_value(value: Any) -> Any:
    match value:
        case str():
            return redact_url(value)
        case SecretStr():
            return REDACTED
        case Mapping():
            return {
                key: REDACTED if item and is_sensitive(str(key)) else _redacted_value(item)
                for key, item in value.items()
            }
        case list() | tuple():
            return [_redacted_value(item) for item in value]
        case _:
            return value


def _redacted_parameter(match: re.Match[str]) -> str:
    name, value = match.groups()
    return f"{name}={REDACTED}" if value and is_sensitive(name) else match.group()


def _secrets_in(value: Any) -> Iterable[str]:
    match value:
        case SecretStr():
            if secret := value.get_secret_value():
                yield secret
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secrets_in(getattr(value, name))
        case Mapping():
            for item in value.values():
                yield from _secrets_in(item)
        case list() | tuple() | set() | frozenset():
            for item in value:
                yield from _secrets_in(item)


def _forms(secret: str) -> Iterable[str]:
    yield secret
    for quoted in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield quoted
        yield _ESCAPE.sub(lambda escape: escape.group().lower(), quoted)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield from _inside_base64(secret.encode("utf-8", "surrogatepass"), offset, encode)


def _inside_base64(secret: bytes, offset: int, encode: Any) -> Iterable[str]:
    """What the secret always looks like in base64 when `offset` (mod 3) bytes stand before it."""
    encoded = encode(bytes(offset) + secret).decode().rstrip("=")
    whole = (offset + len(secret)) * 8 // 6
    core = encoded[-(-offset * 8 // 6) : whole]
    if len(core) >= 6:
        yield core
