"""Asaas's words for what happened to a payment, and ours.

https://docs.asaas.com/docs/webhook-para-cobrancas
"""

from collections.abc import Mapping

CONFIRMED, OVERDUE, REVERSED = "payment.confirmed", "payment.overdue", "payment.reversed"

FACTS: Mapping[str, str] = {
    "PAYMENT_CONFIRMED": CONFIRMED,  # a card: paid, the money comes weeks later
    "PAYMENT_RECEIVED": CONFIRMED,  # Pix and boleto at once; a card once more, when the money is there
    "PAYMENT_RECEIVED_IN_CASH": CONFIRMED,  # not in Asaas's list; the status that an admin sets by hand
    "PAYMENT_DUNNING_RECEIVED": CONFIRMED,
    "PAYMENT_OVERDUE": OVERDUE,
    "PAYMENT_REFUNDED": REVERSED,  # PAYMENT_PARTIALLY_REFUNDED takes back only a part
    "PAYMENT_CHARGEBACK_REQUESTED": REVERSED,
    "PAYMENT_CHARGEBACK_DISPUTE": REVERSED,
    "PAYMENT_AWAITING_CHARGEBACK_REVERSAL": REVERSED,
    "PAYMENT_RECEIVED_IN_CASH_UNDONE": REVERSED,
}
"""Kinds of notices. All others are kept as unrecognized."""

STATES: Mapping[str, str] = {
    "CONFIRMED": CONFIRMED,
    "RECEIVED": CONFIRMED,
    "RECEIVED_IN_CASH": CONFIRMED,
    "DUNNING_RECEIVED": CONFIRMED,
    "OVERDUE": OVERDUE,
    "DUNNING_REQUESTED": OVERDUE,
    "REFUNDED": REVERSED,
    "CHARGEBACK_REQUESTED": REVERSED,
    "CHARGEBACK_DISPUTE": REVERSED,
    "AWAITING_CHARGEBACK_REVERSAL": REVERSED,
}
"""A payment's status, as far as it says that one of the three happened."""

METHODS: Mapping[str, str | None] = {
    "BOLETO": "boleto",
    "CREDIT_CARD": "credit_card",
    "DEBIT_CARD": "debit_card",
    "PIX": "pix",
    "UNDEFINED": None,  # the customer has not chosen yet
}
