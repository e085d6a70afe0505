"""How does what the rules would decide differ from what they decided then?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.model.action import Action, CreateTicket, Notify
from gateway.model.facts import Decision
from gateway.model.ticket import TicketRef
from gateway.store.tenants import Company

Data = dict[str, Any]
Opened = Mapping[TicketRef, tuple[str, bool]]
"""By planned ticket, the one that was opened under its key, and whether by the delivery in question."""

NOT_COMPARED = frozenset({"id", "kind", "reason"})


def compared(
    decisions: Sequence[Decision], earlier: Sequence[Data], bodies: Mapping[str, Data], company: Company,
    created: Opened,
) -> list[Data]:  # fmt: skip
    """Rule by rule, in the order in which they are asked; those that were asked only then come last."""
    then = {answer["rule"]: answer for answer in earlier}
    now = {decision.rule: decision for decision in decisions}
    found = []
    for rule in [*now, *(rule for rule in then if rule not in now)]:
        was, would = then.get(rule, {}), now.get(rule)
        old = [{**act, "body": bodies.get(act["id"], {})} for act in was.get("acted", ())]
        new = [_would(action, company, created) for action in (would.actions if would else ())]
        acts = list(_paired(old, new))
        skipped, error = list(would.skipped) if would else [], would.error if would else None
        found.append({
            "rule": rule,
            "asked": rule in now,
            "asked_then": rule in then,
            "actions": acts,
            "skipped": skipped,
            "skipped_then": was.get("skipped", []),
            "error": error,
            "error_then": was.get("error"),
            "changed": any(act["change"] != "same" for act in acts)
            or (skipped, error) != (was.get("skipped", []), was.get("error")),
        })  # fmt: skip
    return found


def _would(action: Action, company: Company, created: Opened) -> Data:
    """The action as it would be decided, and what would keep it from being carried out."""
    body, obstacle = action.to_json(), None
    ref = getattr(action, "ticket", None)
    opened = created.get(ref) if isinstance(ref, TicketRef) else None
    connection = ref.connection if isinstance(ref, TicketRef) else getattr(action, "connection", "")
    if not action.core and not isinstance(action, Notify) and connection not in company.vendors:
        obstacle = f"connection {connection!r} does not exist"
    elif isinstance(action, CreateTicket) and opened and not opened[1]:
        obstacle = f"a ticket of this key was opened before: {connection}:{opened[0]}"
    if opened and "ticket" in body:
        body["ticket"] = {"connection": connection, "id": opened[0]}
    return {"kind": action.kind, "reason": action.reason, "body": body, "obstacle": obstacle}


def _paired(old: Sequence[Data], new: Sequence[Data]) -> Iterator[Data]:
    """What was decided beside what would be, by their places in the rule's answer."""
    for place in range(max(len(old), len(new))):
        was = old[place] if place < len(old) else None
        would = new[place] if place < len(new) else None
        if was and would and was["kind"] == would["kind"]:
            fields = _differences(was["body"], would["body"]) if was["body"] else {}
            yield {**would, "change": "changed" if fields else "same", "fields": fields}
            continue
        if was:
            yield {
                "kind": was["kind"],
                "reason": was["reason"],
                "change": "gone",
                "body": was["body"],
                "fields": {},
            }
        if would:
            yield {**would, "change": "new", "fields": {}}


def _differences(was: Data, would: Data) -> dict[str, list[Any]]:
    """By field, its value then and now."""
    names = sorted((set(was) | set(would)) - NOT_COMPARED)
    return {name: [was.get(name), would.get(name)] for name in names if was.get(name) != would.get(name)}
