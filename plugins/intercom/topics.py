"""Which topics does Intercom have, and what does each of them tell?

https://developers.intercom.com/docs/references/webhooks/webhook-models
"""

PING = "ping"
CREATED = frozenset({"conversation.user.created", "conversation.admin.single.created", "ticket.created"})
DELETED = frozenset({"conversation.deleted", "ticket.deleted"})
TAGGED = frozenset({"conversation_part.tag.created"})
REDACTED = frozenset({"conversation_part.redacted"})

SAID = frozenset({
    "conversation.admin.noted", "conversation.admin.replied", "conversation.operator.replied",
    "conversation.user.replied", "ticket.admin.replied", "ticket.contact.replied", "ticket.note.created",
})  # fmt: skip
REOPENING = frozenset({"conversation.user.replied", "ticket.contact.replied"})
"""A reply of the customer's opens what was closed or snoozed, and no other topic says so."""

ASSIGNED = frozenset({
    "conversation.admin.assigned", "conversation.admin.open.assigned", "ticket.admin.assigned",
    "ticket.team.assigned",
})  # fmt: skip

# The state that a conversation is in after it, whether its parts say so or not.
STATES = {
    "conversation.admin.closed": "closed",
    "conversation.admin.open.assigned": "open",
    "conversation.admin.opened": "open",
    "conversation.admin.snoozed": "snoozed",
    "conversation.admin.unsnoozed": "open",
}
TICKET_STATES = frozenset({"ticket.state.updated", "ticket.closed", "ticket.resolved"})

# Changes without an event of their own: topic -> the field of ours, or Intercom's name for it.
UPDATES = {
    "conversation.company.updated": "company",
    "conversation.contact.attached": "contact",
    "conversation.contact.detached": "contact",
    "conversation.priority.updated": "priority",
    "conversation.rating.added": "rating",
    "conversation.read": "read",
    "ticket.attribute.updated": "custom_fields",
    "ticket.contact.attached": "contact",
    "ticket.contact.detached": "contact",
    "ticket.rating.provided": "rating",
}
RE_READ = frozenset({"conversation.contact.attached", "conversation.contact.detached"})
"""They only hint: what they carry is an internal model of Intercom's, without most of the conversation."""

CONTACTS = frozenset({
    "contact.archived", "contact.email.updated", "contact.lead.added_email", "contact.lead.created",
    "contact.lead.signed_up", "contact.lead.tag.created", "contact.lead.tag.deleted", "contact.lead.updated",
    "contact.merged", "contact.subscribed", "contact.unarchive", "contact.unsubscribed", "contact.user.created",
    "contact.user.tag.created", "contact.user.tag.deleted", "contact.user.updated", "visitor.signed_up",
})  # fmt: skip

ABOUT_TICKETS = (
    CREATED | DELETED | TAGGED | REDACTED | SAID | ASSIGNED | TICKET_STATES | set(STATES) | set(UPDATES)
)
"""Everything about a conversation or ticket that we have words for."""

# Topics of API 1.x, when leads were called contacts and contacts users.
ALIASES = {
    "contact.added_email": "contact.lead.added_email",
    "contact.created": "contact.lead.created",
    "contact.signed_up": "contact.lead.signed_up",
    "contact.tag.created": "contact.lead.tag.created",
    "contact.tag.deleted": "contact.lead.tag.deleted",
    "user.created": "contact.user.created",
    "user.deleted": "contact.deleted",
    "user.email.updated": "contact.email.updated",
    "user.tag.created": "contact.user.tag.created",
    "user.tag.deleted": "contact.user.tag.deleted",
    "user.unsubscribed": "contact.unsubscribed",
    "user.updated": "contact.user.updated",
}
