"""helpdesk-gateway: every helpdesk's webhooks in, rules decide, every helpdesk's API out."""

__version__ = "0.1.0"
