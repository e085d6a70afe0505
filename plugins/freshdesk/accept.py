"""Is it Freshdesk, and which ticket is it about?

Its automations sign nothing and have no delivery id and no time stamp: the proof is a key, in a custom header,
by *Requires authentication* (HTTP Basic), or in the URL. https://support.freshdesk.com/en/support/solutions/articles/132589
"""

import base64
import binascii
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.api import Connection, Verified, Webhook, check_key

from .hint import read

if TYPE_CHECKING:
    from . import Settings

HEADER = "x-gateway-key"


def verify(webhook: Webhook, connection: "Connection[Settings]") -> Verified:
    """Raises WebhookRejected. A body that cannot be read is no reason to: it is kept, and parked later."""
    check_key(_with_user_as_key(webhook), connection.settings.hook_key)
    hint = read(webhook.body)
    # No delivery id: Pending, Open and Pending again are three changes with two bodies, and a hint dropped as a
    # copy could be the one that came after the reading. A reading answers all hints about a ticket anyway.
    return Verified(subject=hint.ticket_id, thin=hint.ticket_id is not None and not hint.deletes)


def _with_user_as_key(webhook: Webhook) -> Webhook:
    """Where an *API key* is chosen instead of user name and password, it comes as the user name of HTTP Basic,
    with any password, of one letter at most."""
    if webhook.query.get("key") or webhook.headers.get(HEADER):
        return webhook
    scheme, _, credentials = webhook.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return webhook
    try:
        user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return webhook
    if len(password) > 1:
        return webhook
    return replace(webhook, headers={**webhook.headers, HEADER: user})
