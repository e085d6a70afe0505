"""What can somebody try while the demo stays up?"""

import json
import shlex
from typing import TYPE_CHECKING

from gateway.clock import utc_now

from . import payment

if TYPE_CHECKING:
    from .scene import Scene

TICKET = {
    "subject": "CORE - Loja Teste",
    "description": "Ainda sem telefone.",
    "client": {"name": "Loja Teste", "email": "loja@teste.example"},
    "tags": ["core"],
}
CHAT = {
    "contact": {"name": "Ana Teste", "email": "ana@teste.example"},
    "body": "Oi! Como faço para cancelar?",
}


def show(scene: "Scene", *deliveries: int) -> None:
    """Lines to copy. The signed one is computed now and accepted for five minutes."""
    now = utc_now()
    body = payment.notice("pay_2", 1530.75, payment.OTHER_PAYER, now)
    headers = payment.signed(body, scene.signing_secret, now)
    third = {"id": "pay_3", "amount": 450.0, "customer": payment.OTHER_PAYER}
    hook = f"{scene.server}/hooks/demo/pagamentos"
    signed = [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items()]
    asked: dict[str, list[str]] = {
        "A signed payment; this signature is good for five minutes, and for one message:": [
            _curl(hook, *signed, _data(body.decode()))
        ],
        "Another one, which the payment system's sandbox signs and sends itself:": [
            _curl(f"{scene.sandboxes['pagamentos']}/_sandbox/human/payments", _data(json.dumps(third)))
        ],
        "A person opens a ticket at Movidesk's sandbox; what tickets are there:": [
            _curl(f"{scene.sandboxes['movidesk']}/_sandbox/human/tickets", _data(json.dumps(TICKET))),
            _curl(f"{scene.sandboxes['movidesk']}/_sandbox/tickets"),
        ],
        "A customer writes to the chat; its conversations:": [
            _curl(f"{scene.sandboxes['intercom']}/_sandbox/human/tickets", _data(json.dumps(CHAT))),
            _curl(f"{scene.sandboxes['intercom']}/_sandbox/tickets"),
        ],
        "How the gateway is:": [_curl(f"{scene.server}/{page}") for page in ("healthz", "readyz", "metrics")],
        "Why did what happen? In another shell:": [
            f"export GATEWAY_DATA_DIR={shlex.quote(str(scene.home))}",
            "gateway deliveries list",
            *(f"gateway explain {delivery}" for delivery in deliveries),
        ],
    }
    scene.screen.chapter("Try it by hand")
    for title, commands in asked.items():
        scene.screen.say(title, "bold")
        for command in commands:
            scene.screen.command(f"  {command}")
    scene.screen.say(f"Logs: {scene.home}/logs. Everything goes with Ctrl-C.", "bold")


def _curl(url: str, *parts: str) -> str:
    """One option a line, so that it fits beside 80 columns wherever it can."""
    return " \\\n    ".join([f"curl -s -w '\\n' {url}", *parts])


def _data(text: str) -> str:
    return f"-d {shlex.quote(text)}"
