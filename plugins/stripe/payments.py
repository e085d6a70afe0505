"""Which payment is a thing of Stripe's about? Invoice, intent, session, charge and dispute all speak of the same money.

One sale fires three to six events about as many objects. The payment goes by its invoice where there is one, and else
by its payment intent; only a session that cost nothing goes by itself.
https://docs.stripe.com/changelog/basil/2025-03-31/add-support-for-multiple-partial-payments-on-invoices
"""

import re
from collections.abc import Mapping
from typing import Any

_ID = re.compile(r"[A-Za-z0-9_]{1,200}")

NAMED_BY: Mapping[str, tuple[str, ...]] = {
    "invoice": ("id",),
    "invoice_payment": ("invoice",),
    "payment_intent": ("invoice", "id"),
    "charge": ("invoice", "payment_intent", "id"),
    "dispute": ("payment_intent", "charge"),
    "checkout.session": ("invoice", "payment_intent", "id"),
}
"""By what an object is, the fields that name its payment, the best first; `invoice` only until 2025-03-31."""


def payment_id(told: Mapping[str, Any]) -> str | None:
    """`in_...` or `pi_...`; None for things that are about no payment."""
    kind = told.get("object")
    fields = NAMED_BY.get(kind, ()) if isinstance(kind, str) else ()
    if kind == "payment_intent" and (invoice := _ordered(told)) is not None:
        return invoice
    return next((found for field in fields if (found := id_of(told.get(field))) is not None), None)


def id_of(value: Any) -> str | None:
    """The id in a field that holds either an id or the whole object."""
    found = value.get("id") if isinstance(value, dict) else value
    return found if isinstance(found, str) and _ID.fullmatch(found) else None


def _ordered(intent: Mapping[str, Any]) -> str | None:
    """Newer intents name their invoice here, if anywhere."""
    details = intent.get("payment_details")
    reference = id_of(details.get("order_reference")) if isinstance(details, dict) else None
    return reference if reference is not None and reference.startswith("in_") else None
