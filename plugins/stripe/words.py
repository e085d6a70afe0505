"""Stripe's words for what happened to a payment, and ours.  https://docs.stripe.com/api/events/types"""

from collections.abc import Mapping

CONFIRMED, OVERDUE, REVERSED = "payment.confirmed", "payment.overdue", "payment.reversed"

FACTS: Mapping[str, str] = {
    "invoice.paid": CONFIRMED,  # also when it is marked as paid out of band
    "invoice.payment_succeeded": CONFIRMED,
    "invoice_payment.paid": CONFIRMED,
    "payment_intent.succeeded": CONFIRMED,
    "charge.succeeded": CONFIRMED,
    "checkout.session.completed": CONFIRMED,  # unless it is still unpaid
    "checkout.session.async_payment_succeeded": CONFIRMED,  # boleto: the money came later
    "invoice.overdue": OVERDUE,  # only where "days after due" is set up
    "invoice.payment_failed": OVERDUE,
    "invoice.marked_uncollectible": OVERDUE,
    "checkout.session.async_payment_failed": OVERDUE,  # a boleto that nobody paid
    "charge.refunded": REVERSED,  # unless only a part of it was
    "charge.dispute.created": REVERSED,
}
"""Types of events. All others are kept as unrecognized: also `checkout.session.expired`, where nobody owes anything."""

PAID_SESSIONS = frozenset({"paid", "no_payment_required"})
