"""The canonical model: what a ticket, an event, an action is, whichever system it came from."""
