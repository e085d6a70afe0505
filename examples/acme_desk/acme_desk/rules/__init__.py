"""The procedures of a team that works with Acme Desk, one file each."""

from . import vip_first

RULES = [vip_first]
