"""What would a stored delivery lead to if its rules were set otherwise? Nothing is written or sent."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection as Database
from sqlalchemy import Row, text

from gateway.comparison import Opened, compared
from gateway.model.errors import CollectFirst, GatewayError, InvalidConfiguration
from gateway.model.event import Event, parse_event
from gateway.model.facts import Decision
from gateway.model.ticket import TicketRef
from gateway.pipeline.decide import event_id, rehearse
from gateway.pipeline.world import Aside, ref_of
from gateway.registry import Registry
from gateway.runtime import Runtime
from gateway.store import actions, history, tenants
from gateway.store.tenants import Company, Configuration, RuleChoice

Data = dict[str, Any]

SHARED = "answered by a later reading of the same ticket, so it tells nothing of its own"
PAGE = 200


@dataclass(frozen=True, slots=True)
class Draft:
    """How the rules shall be set. `settings` are laid over the stored ones of `rule`, which is then on."""

    rule: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    enable: frozenset[str] = frozenset()
    disable: frozenset[str] = frozenset()

    def checked(self, registry: Registry) -> "Draft":
        """Raises PluginError for a rule that is not installed, InvalidConfiguration for nonsense."""
        for rule in sorted(self.enable | self.disable | ({self.rule} if self.rule else set())):
            registry.rule_info(rule)
        if self.settings and self.rule is None:
            raise InvalidConfiguration("settings belong to a rule: say which one with --rule")
        if both := sorted(self.switched_on & self.disable):
            raise InvalidConfiguration(f"{', '.join(both)} cannot be on and off in one draft")
        return self

    @property
    def switched_on(self) -> frozenset[str]:
        return self.enable | ({self.rule} if self.rule else frozenset())


def simulate(runtime: Runtime, id_: int, draft: Draft, tenant: str | None = None) -> Data:
    """What the delivery would lead to by `draft`, compared with what it did lead to.

    The rules are asked as if the delivery came now for the first time: with the present facts, less the
    actions and links that it led to itself. Keys: `delivery`, `tenant`, `connection`, `unable` (why it cannot
    be simulated, or None), `said`, `changed`, and `events`: each with its `rules`, whose `actions` are
    `same`, `changed`, `new` or `gone`.
    Raises GatewayError when there is no such delivery or the draft makes no sense.
    """
    draft.checked(runtime.registry)
    with runtime.db.connect() as db:
        db.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        try:
            row = history.delivery(db, id_, tenant)
            if row is None:
                raise GatewayError(f"there is no delivery {id_}" + (f" of tenant {tenant}" if tenant else ""))
            configuration = drafted(runtime, db, row.tenant, draft)
            return _simulated(runtime, db, configuration, row, draft)
        finally:
            db.rollback()


def simulate_since(
    runtime: Runtime, tenant: str, since: datetime, draft: Draft, *, connection: str | None = None, limit: int
) -> Iterator[Data]:
    """Each of the tenant's deliveries since then on its own, newest first, at most `limit` of them."""
    before, left = None, limit
    while left > 0:
        with runtime.db.connect() as db:
            page = history.deliveries_page(
                db, tenant=tenant, connection=connection, before=before, limit=min(PAGE, left)
            )
        for row in page:
            if row.received_at < since:
                return
            yield simulate(runtime, row.id, draft, tenant)
        if not page:
            return
        before, left = page[-1].id, left - len(page)


def drafted(runtime: Runtime, db: Database, tenant: str, draft: Draft) -> Configuration:
    """The configuration with the tenant's rules as the draft has them. Raises InvalidConfiguration."""
    configuration = runtime.directory.current(db)
    company = configuration.companies.get(tenant)
    if company is None:
        raise GatewayError(f"tenant {tenant!r} does not exist any more, so it has no rules to ask")
    rules = dict(company.rules)
    for rule in draft.switched_on:
        rules[rule] = _choice(runtime, db, company, rule, draft)
    for rule in draft.disable:
        rules[rule] = replace(rules[rule], enabled=False)
    changed = replace(company, rules=MappingProxyType(rules))
    return replace(configuration, companies=MappingProxyType({**configuration.companies, tenant: changed}))


def _choice(runtime: Runtime, db: Database, company: Company, rule: str, draft: Draft) -> RuleChoice:
    """The rule switched on, with the draft's settings where it is the one under draft."""
    model = runtime.registry.rule_settings(rule)
    wanted = merged(
        history.rule_settings(db, company.tenant.id, rule), draft.settings if rule == draft.rule else {}
    )
    try:
        return RuleChoice(True, model.model_validate(wanted))
    except ValidationError as error:
        raise InvalidConfiguration(f"rule {rule}: {tenants.plain(error)}") from None


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with `changes` laid over them; a dotted name reaches into a group of settings."""
    found = dict(settings)
    for name, value in changes.items():
        group, _, rest = name.partition(".")
        if rest:
            inner = found.get(group)
            found[group] = merged(inner if isinstance(inner, Mapping) else {}, {rest: value})
        else:
            found[name] = value
    return found


# --- one delivery -------------------------------------------------------------------------------------------


def _simulated(
    runtime: Runtime, db: Database, configuration: Configuration, row: Row[Any], draft: Draft
) -> Data:
    found: Data = {"delivery": row.id, "tenant": row.tenant, "connection": row.connection, "unable": None}
    found |= {"said": None, "events": [], "changed": False}
    if row.reading == "shared":
        return found | {"said": SHARED}
    if row.reading == "wanted":
        return found | {"unable": f"ticket {row.subject} has not been read back yet"}
    told = history.events_of(db, row.id)
    led_to = history.actions_of(db, row.id)
    try:
        rehearsed = rehearse(
            runtime, db, configuration, row, [_remembered(event) for event in told], _aside(db, led_to)
        )
    except CollectFirst as missing:
        why = f"a rule needs the whole of {missing.ref}, which was not read back for this delivery"
        return found | {"unable": why}
    except GatewayError as error:
        return found | {"unable": str(error)}
    company = configuration.companies[row.tenant]
    then = history.events_by_id(db, [event_id(event) for event, _ in rehearsed])
    bodies = _bodies(db, then.values())
    created = _created(db, row.tenant, led_to, [d for _, decisions in rehearsed for d in decisions])
    for event, decisions in rehearsed:
        earlier = then.get(event_id(event))
        rules = compared(decisions, earlier.decisions if earlier else [], bodies, company, created)
        shown = [each for each in rules if draft.rule in (None, each["rule"])]
        found["events"].append({
            "kind": event.kind, "fact": event.id, "ours": event.ours, "rules": shown,
            "told_first_by": earlier.delivery_id if earlier and earlier.delivery_id != row.id else None,
        })  # fmt: skip
    found["changed"] = any(rule["changed"] for event in found["events"] for rule in event["rules"])
    return found


def _remembered(row: Row[Any]) -> Event:
    """The event as it was told; whether it is ours is found out again."""
    stamp = {"tenant": row.tenant, "connection": row.connection, "ours": False}
    return parse_event(row.body).model_copy(update=stamp)


def _aside(db: Database, led_to: Sequence[Row[Any]]) -> Aside:
    """The delivery's own actions and links, as the rules would find them among the facts."""
    ties = [(row.tenant, row.body["left"], row.body["right"]) for row in led_to if row.kind == "link_tickets"]
    planned = {
        (tenant, ref.connection, ref.id[1:])
        for tenant, *names in ties
        for name in names
        if (ref := ref_of(name)) is not None and ref.is_planned
    }
    real = actions.created_by_key(db, planned)

    def name_now(tenant: str, name: str) -> str:
        ref = ref_of(name)
        found = real.get((tenant, ref.connection, ref.id[1:])) if ref is not None and ref.is_planned else None
        return str(TicketRef(ref.connection, found)) if ref is not None and found else name

    return Aside(
        actions=frozenset(str(row.id) for row in led_to),
        links=frozenset(
            (tenant, name_now(tenant, left), name_now(tenant, right)) for tenant, left, right in ties
        ),
    )


def _bodies(db: Database, told: Iterable[Row[Any]]) -> dict[str, Data]:
    """By id, the actions that were decided then."""
    acts = [act for row in told for answer in row.decisions for act in answer.get("acted", ())]
    return {str(id_): row.body for id_, row in history.actions_by_id(db, [act["id"] for act in acts]).items()}


def _created(db: Database, tenant: str, led_to: Sequence[Row[Any]], decisions: Iterable[Decision]) -> Opened:
    """By planned ticket, the one that was opened under its key, and whether this delivery did that."""
    planned = [
        ref
        for decision in decisions
        for action in decision.actions
        if isinstance(ref := getattr(action, "ticket", None), TicketRef) and ref.is_planned
    ]
    found = actions.created_by_key(db, {(tenant, ref.connection, ref.id[1:]) for ref in planned})
    own = {(row.connection, row.key) for row in led_to if row.key}
    return {
        TicketRef(connection, "+" + key): (ticket, (connection, key) in own)
        for (_, connection, key), ticket in found.items()
    }


# --- as text ------------------------------------------------------------------------------------------------

MARKS = {"same": ("=", ""), "changed": ("~", "yellow"), "new": ("+", "green"), "gone": ("-", "red")}
SHOWN = 200


def lines(data: Data) -> Iterator[tuple[int, str, str]]:
    """Depth, text, style of each line: `=` as it was, `~` changed, `+` new, `-` gone."""
    yield 0, f"Delivery {data['delivery']} of {data['tenant']}/{data['connection']}", "bold"
    if data["unable"]:
        yield 1, f"cannot be simulated: {data['unable']}", "red"
    if data["said"]:
        yield 1, data["said"], "dim"
    for event in data["events"]:
        first = f", told first by delivery {event['told_first_by']}" if event["told_first_by"] else ""
        yield 1, f"{event['kind']} {event['fact']}{' (ours)' if event['ours'] else ''}{first}", ""
        for rule in event["rules"]:
            yield from _rule_lines(rule)
    if not data["unable"] and not data["changed"]:
        yield 1, "nothing would change", "dim"


def _rule_lines(rule: Data) -> Iterator[tuple[int, str, str]]:
    news = "" if rule["asked"] == rule["asked_then"] else " (on in the draft)" if rule["asked"] else " (off)"
    yield 2, f"rule {rule['rule']}{news}", ""
    for act in rule["actions"]:
        mark, style = MARKS[act["change"]]
        yield 3, f"{mark} {act['kind']}: {act['reason']}", style
        for name, (was, would) in act["fields"].items():
            yield 4, f"{name}: {_short(was)} -> {_short(would)}", style
        if act.get("obstacle"):
            yield 4, f"would not be sent: {act['obstacle']}", "yellow"
    for name in ("skipped", "error"):
        was, would = rule[f"{name}_then"], rule[name]
        if was == would:
            if would:
                yield 3, f"= {name}: {_said(would)}", ""
            continue
        if was:
            yield 3, f"- {name}: {_said(was)}", "red"
        if would:
            yield 3, f"+ {name}: {_said(would)}", "green"


def _said(value: Any) -> str:
    return "; ".join(value) if isinstance(value, list) else str(value)


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= SHOWN else shown[:SHOWN] + "..."
