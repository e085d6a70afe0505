"""Of which invoice was this the payment, and whose was it?

https://docs.stripe.com/api/payment_intents/retrieve https://docs.stripe.com/api/invoice-payment/list
"""

from urllib.parse import quote

from gateway.api import JSON, ApiClient, ApiError, ApiFailure, TicketRef

from .payments import id_of


def payment(ref: TicketRef, api: ApiClient) -> JSON:
    """The intent with its last charge, the id of its invoice and its customer; null where there is none.

    Raises ApiError.
    """
    intent = api.call(
        "GET", f"/v1/payment_intents/{quote(ref.id, safe='')}", params={"expand[]": "latest_charge"}
    ).body
    paid = api.call(
        "GET",
        "/v1/invoice_payments",
        params={"payment[type]": "payment_intent", "payment[payment_intent]": ref.id, "limit": 1},
    ).body["data"]
    customer = id_of(intent.get("customer"))
    return {
        "payment_intent": intent,
        "invoice": id_of(paid[0].get("invoice")) if paid else None,
        "customer": _customer(customer, api) if customer else None,
    }


def _customer(id_: str, api: ApiClient) -> JSON:
    try:
        return api.get(f"/v1/customers/{id_}").body
    except ApiError as error:
        if error.failure is ApiFailure.MISSING:
            return None
        raise
