"""The procedures that teams follow, one file each."""

from . import auto_tag, core_ticket_on_payment, escalate, require_phone

RULES = [core_ticket_on_payment, require_phone, auto_tag, escalate]
