"""How are secrets kept, so that neither a dump nor a log shows them?"""

import json
from collections.abc import Sequence
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from gateway.model.errors import GatewayError


class Keyring:
    """The Fernet keys of this installation: the first encrypts, all decrypt."""

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise GatewayError(
                "no key to encrypt secrets with: set GATEWAY_SECRET_KEYS (see `gateway doctor`)"
            )
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError:
            raise GatewayError(
                "GATEWAY_SECRET_KEYS: each key must be 32 url-safe base64-encoded bytes"
            ) from None

    def seal(self, secrets: dict[str, Any]) -> bytes:
        return self._fernet.encrypt(json.dumps(secrets).encode())

    def open(self, sealed: bytes) -> dict[str, Any]:
        """Raises GatewayError when none of the keys fits."""
        try:
            secrets: dict[str, Any] = json.loads(self._fernet.decrypt(sealed))
        except InvalidToken:
            raise GatewayError(
                "stored secrets cannot be decrypted: the key they were sealed with is not in GATEWAY_SECRET_KEYS"
            ) from None
        return secrets
