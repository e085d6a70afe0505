"""By what does the sender prove who it is? The kinds of proof that a connection may be told to ask for."""

import base64
import binascii
import re
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

SIGNED_PART = re.compile(
    r"\{(?P<body>body)\}|\{(?P<timestamp>timestamp)\}"
    r"|\{(?P<source>header|query):(?P<name>[A-Za-z0-9._\[\]-]{1,80})(?P<lower>\|lower)?\}"
)
HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$"
HeaderName = Annotated[str, Field(pattern=HEADER), BeforeValidator(lambda name: str(name).lower())]


class Kind(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StandardWebhooks(Kind):
    """Standard Webhooks, or Svix: https://github.com/standard-webhooks/standard-webhooks"""

    kind: Literal["standard_webhooks"] = "standard_webhooks"


class Timestamp(Kind):
    """Where the moment of sending is: a header of its own, or a named part of the signature's header.

    `tolerance_seconds: null` asks for no freshness, which is for hints that are read back and nothing else.
    """

    header: HeaderName | None = None
    part: str | None = Field(None, description="`t` of `t=1789344000,v1=...`")
    unit: Literal["seconds", "milliseconds", "either", "iso"] = "seconds"
    tolerance_seconds: int | None = Field(300, ge=1, le=604_800)

    @model_validator(mode="after")
    def _check_place(self) -> "Timestamp":
        if (self.header is None) == (self.part is None):
            raise ValueError("timestamp: say in which `header`, or in which `part` of the signature's header")
        return self


def _manifests(value: Any) -> Any:
    return [value] if isinstance(value, list | tuple) and value and isinstance(value[0], str) else value


class Hmac(Kind):
    """An HMAC of what was sent.

    `signed` says what is signed, piece by piece; `{body}`, `{timestamp}`, `{header:name}` and `{query:name}`
    stand for what came, and a piece whose value did not come is left out. Several lists: any of them may be it.
    """

    kind: Literal["hmac"] = "hmac"
    header: HeaderName
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = Field("", max_length=50, description="what stands before the signature: `sha256=`")
    part: str | None = Field(None, description="`v1` of `t=1789344000,v1=...`; may be there several times")
    secret_encoding: Literal["text", "hex", "base64"] = Field("text")
    timestamp: Timestamp | None = None
    signed: Annotated[tuple[tuple[str, ...], ...], BeforeValidator(_manifests)] = ()

    @model_validator(mode="after")
    def _check_signed(self) -> "Hmac":
        for manifest in self.signed:
            names = [found for piece in manifest for found in pieces(piece)]
            stamped = any(found.what == "timestamp" for found in names)
            if not any(found.what for found in names):
                raise ValueError("signed: nothing of what was sent is in it: `{body}` ...")
            if stamped != (self.timestamp is not None):
                raise ValueError("signed: `{timestamp}` and the setting `timestamp` go together")
        return self

    @property
    def manifests(self) -> tuple[tuple[str, ...], ...]:
        """What may be signed; unless it is said, the body, after the timestamp and a dot if there is one."""
        return self.signed or ((("{timestamp}.", "{body}") if self.timestamp else ("{body}",)),)

    @property
    def covers_body(self) -> bool:
        return all(
            any(found.what == "body" for piece in manifest for found in pieces(piece))
            for manifest in self.manifests
        )


class Basic(Kind):
    """HTTP Basic; the password is the connection's `secret`."""

    kind: Literal["basic"] = "basic"
    user: str = Field(min_length=1, pattern=r"^[^:]+$")


class Key(Kind):
    """The `secret` itself, for senders that sign nothing: `?key=`, `X-Gateway-Key` or an HTTP Basic password.

    With `header` it is expected there: as it is, after `Bearer `, or after `Basic ` in base64.
    """

    kind: Literal["key"] = "key"
    header: HeaderName | None = None


def _shorthand(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


Proof = Annotated[
    StandardWebhooks | Hmac | Basic | Key, Field(discriminator="kind"), BeforeValidator(_shorthand)
]


class Piece(NamedTuple):
    """Literal `text`, or `what` stands there: `body`, `timestamp`, `header` or `query` (then by `name`)."""

    text: str
    what: str = ""
    name: str = ""
    lower: bool = False


def pieces(manifest: str) -> list[Piece]:
    """What a part of a manifest is made of. Raises ValueError for a placeholder that there is not."""
    found, end = [], 0
    for match in SIGNED_PART.finditer(manifest):
        found.append(Piece(_literal(manifest[end : match.start()])))
        what = match["body"] or match["timestamp"] or match["source"]
        found.append(Piece("", what, match["name"] or "", bool(match["lower"])))
        end = match.end()
    return [piece for piece in (*found, Piece(_literal(manifest[end:]))) if piece.text or piece.what]


def _literal(text: str) -> str:
    if "{" in text or "}" in text:
        raise ValueError(
            f"signed: {text!r}: known are {{body}}, {{timestamp}}, {{header:name}} and {{query:name}}, "
            "the last two also with |lower"
        )
    return text


def key_bytes(secret: str, encoding: str) -> bytes:
    """The HMAC key that a secret stands for. Raises ValueError without telling it."""
    try:
        match encoding:
            case "hex":
                return bytes.fromhex(secret)
            case "base64":
                return base64.b64decode(secret + "=" * (-len(secret) % 4), validate=True)
            case _:
                return secret.encode()
    except (binascii.Error, ValueError):
        raise ValueError(f"the secret is not {encoding}") from None
