"""Why did this delivery lead to what it led to, or to nothing? Its whole story, as data and as text.

The data is JSON-able but for moments and ids; vendors' answers were redacted when they were stored.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection as Database
from sqlalchemy import Row

from gateway.model.errors import GatewayError
from gateway.pipeline.accept import HIDDEN
from gateway.runtime import Runtime
from gateway.store import history
from gateway.store.reconciliations import ORIGIN
from gateway.store.tenants import Company

TOLD_BY_NOBODY = "no rule is asked about a kind that we have no word for"
OURS = "not asked: we did this ourselves"
OFF = "switched off for this tenant"
NOT_THEN = "not asked then: it was switched off or not installed; it is on now"
SAYS_NOTHING = "none of its business"
SAME_KEY = "left out: a ticket of the same key had been opened before"

Data = dict[str, Any]


def explanation(runtime: Runtime, db: Database, id_: int, tenant: str | None = None) -> Data:
    """Everything that is known of the delivery. Raises GatewayError when there is none of this id.

    Keys: `verdict` (the story in a few sentences), `delivery`, `proof`, `raised_by`, `readings`, `events`
    (each with its `rules`, each of those with its `actions`) and `known` (facts that another delivery told).
    """
    row = history.delivery(db, id_, tenant)
    if row is None:
        raise GatewayError(f"there is no delivery {id_}" + (f" of tenant {tenant}" if tenant else ""))
    company = runtime.directory.current(db).companies.get(row.tenant)
    deeds = _deeds(db, row, company)
    events = history.events_of(db, id_)
    data: Data = {
        "delivery": _delivery(row, company),
        "proof": _proof(row, company),
        "raised_by": _raised_by(db, row),
        "readings": [_attempt(attempt) for attempt in history.readings_of(db, id_)],
        "events": [_event(runtime, event, company, deeds) for event in events],
        "known": (row.notes or {}).get("known", []),
    }
    data["waits"] = _waits(db, row) if row.state == "received" else None
    data["verdict"] = verdict(data)
    return data


def _delivery(row: Row[Any], company: Company | None) -> Data:
    names = (
        "id", "tenant", "connection", "origin", "subject", "trace_id", "dedup_key", "received_at", "sent_at",
        "thin", "reading", "state", "attempts", "not_before", "duplicates", "error", "notes", "decided_at",
    )  # fmt: skip
    connection = company.connections.get(row.connection) if company else None
    return {name: getattr(row, name) for name in names} | {
        "vendor": connection.vendor if connection else None
    }


def _proof(row: Row[Any], company: Company | None) -> str:
    """By what the sender was known. What proves is secret or a signature, so only its name was kept."""
    if row.origin == "core":
        return "our own: it came from no outside"
    if row.origin == ORIGIN:
        return "our own: the vendor lists the ticket as changed, and no webhook had told us"
    connection = company.connections.get(row.connection) if company else None
    shown = [f"header {name}" for name, value in row.headers.items() if value == HIDDEN]
    shown += [f"?{name}=" for name, value in row.query.items() if value == HIDDEN]
    by = f"the {connection.vendor} plugin" if connection else "the vendor's plugin"
    return f"accepted by {by}" + (f" ({', '.join(sorted(shown))})" if shown else "")


def _raised_by(db: Database, row: Row[Any]) -> str | None:
    """Where an event of our own comes from."""
    if row.origin != "core":
        return None
    kind, _, rest = row.dedup_key.partition(":")
    if kind == "timer":
        key, _, due = rest.rpartition("@")
        return f"timer {key}, due {due}"
    action = history.action(db, UUID(rest)) if kind == "raised" else None
    return f"rule {action.rule}, in delivery {action.delivery_id}" if action else row.dedup_key


def _waits(db: Database, row: Row[Any]) -> str:
    if ahead := history.waits_behind(db, row):
        return f"for delivery {ahead}, which came earlier and is about the same ticket"
    if row.reading == "wanted":
        when = _time(row.not_before)
        return f"for ticket {row.subject} to be read back from {row.connection}, next try {when}"
    return f"for a worker to take it, since {_time(row.not_before)}"


# --- what was decided ---------------------------------------------------------------------------------------


def _event(runtime: Runtime, row: Row[Any], company: Company | None, deeds: Mapping[str, Data]) -> Data:
    names = ("id", "kind", "fact", "occurred_at", "recorded_at", "ticket_id", "connection", "ours", "body")
    answered = [_answer(answer, deeds) for answer in row.decisions]
    asked = {answer["rule"] for answer in row.decisions}
    silent = [
        {"rule": rule, "answer": "not asked", "why": [_why_not_asked(runtime, row, rule, company)]}
        for rule in sorted(set(runtime.registry.rules) - asked)
        if row.kind != "unrecognized"
    ]
    return {name: getattr(row, name) for name in names} | {"rules": [*answered, *silent]}


def _answer(answer: Data, deeds: Mapping[str, Data]) -> Data:
    """One rule's answer: `acted`, `skipped`, `failed` or `nothing`, and why."""
    acted = [
        deeds.get(act["id"], {**act, "state": "left out", "error": SAME_KEY})
        for act in answer.get("acted", ())
    ]
    skipped, error = answer.get("skipped", []), answer.get("error")
    kind = "failed" if error else "acted" if acted else "skipped" if skipped else "nothing"
    why = [error] if error else list(skipped) or ([] if acted else [SAYS_NOTHING])
    return {"rule": answer["rule"], "answer": kind, "why": why, "actions": acted}


def _why_not_asked(runtime: Runtime, row: Row[Any], rule: str, company: Company | None) -> str:
    """Why the rule is not among those that answered; as it is today, where nobody kept how it was then."""
    choice = company.rules.get(rule) if company else None
    if choice is None:
        return "not asked: the tenant does not exist any more"
    if choice.error and choice.enabled:
        return f"off until its settings are mended: {choice.error}"
    if not choice.enabled:
        return OFF
    if row.ours and not runtime.registry.rule_info(rule).hears_ours:
        return OURS
    return NOT_THEN


def _deeds(db: Database, row: Row[Any], company: Company | None) -> dict[str, Data]:
    """By id, what every action of this delivery's events came to."""
    told = {
        UUID(act["id"])
        for event in history.events_of(db, row.id)
        for answer in event.decisions
        for act in answer.get("acted", ())
    }
    rows = history.actions_by_id(db, told)
    attempts = history.attempts_of_actions(db, rows)
    ahead = history.obstacles(db, rows.values())
    timers = history.timers_named(
        db, {(each.tenant, each.body["key"]) for each in rows.values() if each.kind == "start_timer"}
    )
    names = company.connections if company else {}
    found = {}
    for id_, action in rows.items():
        deed = _deed(action, attempts.get(id_, ()), ahead.get(id_))
        if action.kind == "start_timer" and (timer := timers.get((action.tenant, action.body["key"]))):
            deed["effect"] = f"timer {timer.key}: {timer.state}, at {_time(timer.at)}"
        elif action.kind == "raise_event":
            raised = history.delivery_by_key(db, action.tenant, f"raised:{id_}", [*names, action.connection])
            deed["effect"] = f"delivery {raised}" if raised else None
        found[str(id_)] = deed
    return found


def _deed(row: Row[Any], attempts: Iterable[Row[Any]], ahead: Row[Any] | None) -> Data:
    names = (
        "id", "kind", "connection", "ticket_id", "key", "state", "reason", "attempts", "not_before",
        "created_at", "finished_at", "receipt", "error", "body",
    )  # fmt: skip
    waits = None
    if ahead is not None:
        waits = f"for {ahead.kind} {ahead.id} ({ahead.state}) of delivery {ahead.delivery_id}"
    elif row.state == "pending":
        waits = f"for its turn at {row.connection}, not before {_time(row.not_before)}"
    tried = [_attempt(attempt) for attempt in attempts]
    return {name: getattr(row, name) for name in names} | {"waits": waits, "tried": tried}


def _attempt(row: Row[Any]) -> Data:
    names = ("started_at", "seconds", "outcome", "error", "calls")
    return {name: getattr(row, name) for name in names}


# --- in a few sentences -------------------------------------------------------------------------------------


def verdict(data: Data) -> list[str]:
    """What it came to, and where nothing came of it, why."""
    delivery, notes = data["delivery"], data["delivery"]["notes"] or {}
    if delivery["state"] == "parked":
        again = f"gateway deliveries replay {delivery['id']}"
        return [f"Parked: {delivery['error']}", f"When that is mended: {again}"]
    if delivery["state"] == "received":
        said = [f"Not decided yet: it waits {data['waits']}."]
        return said + ([f"The last try failed: {delivery['error']}"] if delivery["error"] else [])
    found = [f"{notes['said'][0].upper()}{notes['said'][1:]}."] if notes.get("said") else []
    found += [
        f"Nothing new: {known['fact']} was already told by delivery {known['delivery']}."
        for known in data["known"]
    ]
    answers = [answer for event in data["events"] for answer in event["rules"]]
    acts = [act for answer in answers for act in answer.get("actions", ())]
    if acts:
        return [*found, _counted(acts), *_troubles(acts)]
    return [*found, *map(_nothing, data["events"])]


def _counted(acts: list[Data]) -> str:
    states: dict[str, int] = {}
    for act in acts:
        states[act["state"]] = states.get(act["state"], 0) + 1
    counts = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    return f"{len(acts)} action{'s' if len(acts) > 1 else ''} decided: {counts}."


def _troubles(acts: list[Data]) -> Iterator[str]:
    for act in acts:
        if act["state"] in {"dead", "held", "unsupported"}:
            again = f"again: gateway actions retry {act['id']}"
            yield f"{act['kind']} is {act['state']}: {act['error']} ({again})"
        elif act.get("waits"):
            yield f"{act['kind']} waits {act['waits']}."


def _nothing(event: Data) -> str:
    """Why an event led to nothing."""
    if event["kind"] == "unrecognized":
        return f"Nothing was done: {TOLD_BY_NOBODY} ({event['body'].get('remote_kind')})."
    nothing = f"Nothing was done about {event['kind']}"
    by_answer: dict[str, list[str]] = {}
    for rule in event["rules"]:
        by_answer.setdefault(rule["answer"], []).append(rule["rule"])
    if failed := by_answer.get("failed"):
        return f"{nothing}: {', '.join(failed)} failed, see below."
    if skipped := by_answer.get("skipped"):
        return f"{nothing}: {', '.join(skipped)} looked and had a reason, see below."
    if event["ours"]:
        return f"{nothing}: we did it ourselves."
    if by_answer.get("nothing"):
        return f"{nothing}: it is the business of no rule that was asked."
    return f"{nothing}: no rule is switched on for this tenant."


# --- as text ------------------------------------------------------------------------------------------------

Line = tuple[int, str, str]
"""Depth, text, and a Rich style."""

STYLES = {
    "done": "green", "decided": "green", "dead": "red", "parked": "red", "failed": "red", "held": "yellow",
    "unsupported": "yellow", "pending": "yellow", "received": "yellow", "executing": "yellow",
    "not asked": "dim", "canceled": "dim", "nothing": "dim", "left out": "dim",
}  # fmt: skip


def lines(data: Data) -> Iterator[Line]:
    """The explanation, line by line."""
    delivery = data["delivery"]
    yield (
        0,
        f"Delivery {delivery['id']} of {delivery['tenant']}/{delivery['connection']}: {delivery['state']}",
        "bold",
    )
    for sentence in data["verdict"]:
        yield 1, sentence, STYLES.get(delivery["state"], "") if delivery["state"] != "decided" else ""
    yield 0, "Received", "bold"
    yield from _received(data)
    if data["readings"]:
        yield 0, "Collected", "bold"
        for reading in data["readings"]:
            yield from attempt_lines(reading, 1)
    for event in data["events"]:
        yield 0, f"Event {event['kind']}", "bold"
        yield from _told(event)
    for known in data["known"]:
        yield 0, f"Fact {known['fact']}: known before, told by delivery {known['delivery']}", "bold"


def _received(data: Data) -> Iterator[Line]:
    delivery = data["delivery"]
    sent = f", sent {_time(delivery['sent_at'])}" if delivery["sent_at"] else ""
    yield 1, f"{_time(delivery['received_at'])}{sent}", ""
    yield 1, f"proof of origin: {data['proof']}", ""
    if data["raised_by"]:
        yield 1, f"raised by {data['raised_by']}", ""
    if delivery["subject"]:
        yield 1, f"about ticket {delivery['subject']}", ""
    yield 1, f"the sender's id {delivery['dedup_key']}, trace {delivery['trace_id']}", ""
    if delivery["duplicates"]:
        yield 1, f"sent again {delivery['duplicates']} times, which changed nothing", ""
    if (delivery["notes"] or {}).get("replay"):
        yield 1, "replayed by a person", ""


def _told(event: Data) -> Iterator[Line]:
    whose = "; we did this ourselves" if event["ours"] else ""
    about = f", ticket {event['connection']}:{event['ticket_id']}" if event["ticket_id"] else ""
    yield 1, f"fact {event['fact']}, {_time(event['occurred_at'])}{about}{whose}", ""
    if event["kind"] == "unrecognized":
        yield 1, TOLD_BY_NOBODY, "dim"
    for answer in event["rules"]:
        why = "; ".join(answer["why"])
        label = f"rule {answer['rule']}: {answer['answer']}"
        yield 1, f"{label}: {why}" if why else label, STYLES.get(answer["answer"], "")
        for act in answer.get("actions", ()):
            yield from _acted(act)


def _acted(act: Data) -> Iterator[Line]:
    target = ":".join(filter(None, (act.get("connection"), act.get("ticket_id"))))
    yield 2, f"{act['kind']}{f' at {target}' if target else ''}: {act['state']}", STYLES.get(act["state"], "")
    yield 3, f"because {act['reason']}", ""
    if act.get("error"):
        yield 3, act["error"], "red" if act["state"] == "dead" else ""
    if act.get("waits"):
        yield 3, f"waits {act['waits']}", "yellow"
    if act.get("effect"):
        yield 3, act["effect"], ""
    receipt = act.get("receipt") or {}
    if receipt:
        yield 3, "receipt: " + ", ".join(f"{name} {value}" for name, value in receipt.items() if value), ""
    for attempt in act.get("tried", ()):
        yield from attempt_lines(attempt, 3)


def attempt_lines(attempt: Data, depth: int) -> Iterator[Line]:
    """One attempt to call a vendor, and under it its calls."""
    error = f": {attempt['error']}" if attempt["error"] else ""
    style = "" if attempt["outcome"] in {"done", "found"} else "red"
    yield (
        depth,
        f"{_time(attempt['started_at'])} {attempt['outcome']} in {attempt['seconds']:.2f} s{error}",
        style,
    )
    for call in attempt["calls"]:
        answered = call["status"] if call["status"] is not None else "no answer"
        again = f" (try {call['number']})" if call["number"] > 1 else ""
        yield (
            depth + 1,
            f"{call['method']} {call['url']} -> {answered} in {call['seconds']:.3f} s{again}",
            "dim",
        )


def _time(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "never"
