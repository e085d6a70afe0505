"""Which sandboxes play in the demo, and with which secrets?"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MOVIDESK_CALLS_A_MINUTE = 600
"""Not ten, so that the story goes on."""


@dataclass(frozen=True, slots=True)
class Desk:
    """A sandbox: the vendor it plays, what it is started with, the secrets of its connection by the names that
    the tenant's file gives them, and what its webhooks' address ends with."""

    vendor: str
    options: Mapping[str, Any]
    environment: Mapping[str, str]
    query: str = ""


def _payments(one: str, _: str) -> Desk:
    secret = f"whsec_{b64encode(one.encode()).decode()}"
    return Desk("generic", {"secret": secret}, {"DEMO_PAYMENTS_SECRET": secret})


def _movidesk(one: str, two: str) -> Desk:
    options = {"token": one, "calls_per_minute": MOVIDESK_CALLS_A_MINUTE}
    return Desk(
        "movidesk", options, {"DEMO_MOVIDESK_TOKEN": one, "DEMO_MOVIDESK_HOOK_KEY": two}, f"?key={two}"
    )


def _zendesk(one: str, two: str) -> Desk:
    options = {"oauth_token": one, "signing_secret": two}
    return Desk("zendesk", options, {"DEMO_ZENDESK_TOKEN": one, "DEMO_ZENDESK_SECRET": two})


def _intercom(one: str, two: str) -> Desk:
    options = {"access_token": one, "client_secret": two}
    return Desk("intercom", options, {"DEMO_INTERCOM_TOKEN": one, "DEMO_INTERCOM_SECRET": two})


def _freshdesk(one: str, two: str) -> Desk:
    options = {"api_key": one, "hook_key": two}
    return Desk("freshdesk", options, {"DEMO_FRESHDESK_KEY": one, "DEMO_FRESHDESK_HOOK_KEY": two})


def _bitrix(one: str, two: str) -> Desk:
    options = {"webhook_secret": one, "application_token": two}
    return Desk("bitrix", options, {"DEMO_BITRIX_SECRET": one, "DEMO_BITRIX_TOKEN": two})


DESKS: Mapping[str, Callable[[str, str], Desk]] = {
    "pagamentos": _payments, "movidesk": _movidesk, "zendesk": _zendesk, "intercom": _intercom,
    "freshdesk": _freshdesk, "bitrix": _bitrix,
}  # fmt: skip
"""By connection; each is given two secrets made for this run."""
