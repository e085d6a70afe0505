"""Everything that a plugin or a rule may import, and nothing else."""

from gateway.calendar import Calendar
from gateway.client import Answer, ApiClient
from gateway.hookspecs import hookimpl
from gateway.model.action import (
    Action,
    AddComment,
    AddTags,
    AssignTo,
    CancelTimer,
    CreateTicket,
    LinkTickets,
    Notify,
    RaiseEvent,
    RemoveTags,
    SaveContact,
    SaveCustomer,
    SetFields,
    SetPriority,
    SetStatus,
    StartTimer,
    TicketAction,
)
from gateway.model.changes import changes
from gateway.model.connection import (
    ApiSettings,
    Connection,
    ConnectionSettings,
    RateLimit,
    Receipt,
    SecretList,
    VendorInfo,
)
from gateway.model.customer import (
    Appointment,
    Call,
    Customer,
    Deal,
    FollowUp,
    FormSubmission,
    Invoice,
    Payment,
    Usage,
)
from gateway.model.errors import (
    ApiError,
    ApiFailure,
    CollectFirst,
    GatewayError,
    UnreadableWebhook,
    WebhookRejected,
)
from gateway.model.event import (
    AppointmentCancelled,
    AppointmentContacted,
    AppointmentFinished,
    AppointmentRescheduled,
    AppointmentScheduled,
    CallEnded,
    CommentCreated,
    ContactUpdated,
    CustomerUpdated,
    DealLost,
    DealUpdated,
    DealWon,
    Event,
    FormRequested,
    FormSubmitted,
    OnboardingFinished,
    PaymentConfirmed,
    PaymentOverdue,
    PaymentReversed,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketEvent,
    TicketMerged,
    TicketStatusChanged,
    TicketTagged,
    TicketUpdated,
    TimerFired,
    Unrecognized,
    UsageReported,
    parse_event,
)
from gateway.model.facts import Facts, Past, RuleInfo, RuleSettings, Skip, Tenant
from gateway.model.person import Contact, Person
from gateway.model.phones import Phone, find_phones
from gateway.model.record import JSON, Instant
from gateway.model.reference import Reference
from gateway.model.said import by_agent, same_words
from gateway.model.scope import Choice, Scope, folded
from gateway.model.template import Template, check_template, render
from gateway.model.text import html_to_text, sanitised, text_to_html
from gateway.model.ticket import (
    Attachment,
    ChangedRef,
    Comment,
    Priority,
    Snapshot,
    Status,
    Ticket,
    TicketKind,
    TicketRef,
)
from gateway.model.transcript import latest, same_message
from gateway.model.webhook import Verified, Webhook
from gateway.model.wording import Wording
from gateway.proof import check_key, fresh, same

__all__ = [
    "JSON", "Action", "AddComment", "AddTags", "Answer", "ApiClient", "ApiError", "ApiFailure", "ApiSettings",
    "Appointment", "AppointmentCancelled", "AppointmentContacted", "AppointmentFinished",
    "AppointmentRescheduled", "AppointmentScheduled", "AssignTo", "Attachment", "Calendar", "Call",
    "CallEnded", "CancelTimer", "ChangedRef", "Choice", "CollectFirst", "Comment", "CommentCreated", "Connection",
    "ConnectionSettings", "Contact", "ContactUpdated", "CreateTicket", "Customer", "CustomerUpdated", "Deal",
    "DealLost", "DealUpdated", "DealWon", "Event", "Facts", "FollowUp", "FormRequested", "FormSubmission",
    "FormSubmitted", "GatewayError", "Instant", "Invoice", "LinkTickets", "Notify", "OnboardingFinished",
    "Past", "Payment", "PaymentConfirmed", "PaymentOverdue", "PaymentReversed", "Person", "Phone", "Priority",
    "RaiseEvent", "RateLimit", "Receipt", "Reference", "RemoveTags", "RuleInfo", "RuleSettings", "SaveContact",
    "SaveCustomer", "Scope", "SecretList", "SetFields", "SetPriority", "SetStatus", "Skip", "Snapshot",
    "StartTimer", "Status", "Template", "Tenant", "Ticket", "TicketAction", "TicketAssigned", "TicketCreated",
    "TicketDeleted", "TicketEvent", "TicketKind", "TicketMerged", "TicketRef", "TicketStatusChanged",
    "TicketTagged", "TicketUpdated", "TimerFired", "UnreadableWebhook", "Unrecognized", "Usage",
    "UsageReported", "VendorInfo", "Verified", "Webhook", "WebhookRejected", "Wording", "by_agent", "changes",
    "check_key", "check_template", "find_phones", "folded", "fresh", "hookimpl", "html_to_text", "latest",
    "parse_event", "render", "same", "same_message", "same_words", "sanitised", "text_to_html",
]  # fmt: skip
