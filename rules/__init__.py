"""The procedures that teams follow, one file each."""

from . import auto_tag, core_ticket_on_payment, escalate, require_bitrix_link, require_phone

RULES = [core_ticket_on_payment, require_phone, require_bitrix_link, auto_tag, escalate]
