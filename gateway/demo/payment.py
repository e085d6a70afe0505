"""What does the demo's payment system send, and how does it sign?"""

import json
from datetime import datetime
from typing import Any
from uuid import uuid4

from standardwebhooks import Webhook

PAYER = {
    "name": "Padaria Exemplo",
    "document": "11.222.333/0001-81",
    "email": "financeiro@padaria.example",
    "phones": ["(11) 3555-0199"],
}
OTHER_PAYER = {"name": "Oficina Modelo", "email": "contato@oficina.example", "phones": ["(31) 3555-0142"]}


def notice(id_: str, amount: float, customer: dict[str, Any], now: datetime) -> bytes:
    """The JSON of a confirmed payment; `amount` in reais."""
    told = {
        "type": "payment.confirmed",
        "timestamp": now.isoformat(),
        "data": {
            "id": id_, "amount": amount, "plan": "Pro", "products": ["Fiscal", "Folha"],
            "reference": f"proposta-{id_}", "customer": customer,
        },
    }  # fmt: skip
    return json.dumps(told, ensure_ascii=False).encode()


def signed(body: bytes, secret: str, now: datetime) -> dict[str, str]:
    """Headers for a new message. https://github.com/standard-webhooks/standard-webhooks/blob/main/spec"""
    message = f"msg_{uuid4().hex}"
    sent_at = now.replace(microsecond=0)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message, sent_at, body.decode()),
    }
