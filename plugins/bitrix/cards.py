"""Which events do a deal, a contact and a comment in a timeline stand for, once they are read back?

https://apidocs.bitrix24.com/api-reference/crm/deals/ : a deal is won or lost by what its stage *means*, as stages are
renamed and added at will and a pipeline may have several that mean failure.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from gateway.api import (
    JSON,
    Comment,
    CommentCreated,
    Connection,
    ContactUpdated,
    Customer,
    Deal,
    DealLost,
    DealUpdated,
    DealWon,
    Event,
    Ticket,
    TicketKind,
    TicketRef,
    Webhook,
)

from . import words
from .accept import decimal
from .links import TYPES, url_of
from .markup import to_text

if TYPE_CHECKING:
    from . import Settings

WON, LOST = "S", "F"
LATE = timedelta(days=7)
"""A deal that moved longer ago is not announced as won or lost: somebody only touched it again."""

DEFAULT_STAGES = {"WON": WON, "LOSE": LOST, "APOLOGY": LOST}
"""Of every pipeline as it is made, behind `C{n}:`; only for portals that tell no semantics at all."""

SEMANTICS = {"success": WON, "failure": LOST, "apology": LOST}


def deal(collected: JSON, webhook: Webhook, connection: "Connection[Settings]") -> Iterator[Event]:
    """That it changed, and that it was won or lost, which is the same fact however often it is told."""
    card, settings = collected["item"], connection.settings
    found = _deal(card, settings)
    person = words.contact(collected.get("contact"), settings)
    customer = (
        Customer(name=person.name, email=person.email, phones=person.phones, document=person.document)
        if person is not None
        else None
    )
    seen_at = webhook.received_at
    told: dict[str, Any] = {"deal": found, "customer": customer}
    updated = words.instant(card.get("updatedTime"))
    yield DealUpdated(
        id=f"updated:{found.id}@{_digest(updated, found, person)}",
        occurred_at=updated or seen_at,
        actor=words.person(card.get("updatedBy")),
        **told,
    )
    meaning = semantics(card, collected.get("stages") or ())
    moved = words.instant(card.get("movedTime"))
    if meaning not in (WON, LOST) or (moved is not None and seen_at - moved > LATE):
        return
    # Whoever moved it, not whoever touched it last: that may have been us, a moment later.
    yield (DealWon if meaning == WON else DealLost)(
        id=f"{'won' if meaning == WON else 'lost'}:{found.id}@{moved.isoformat() if moved else found.stage}",
        occurred_at=moved or updated or seen_at,
        actor=words.person(card.get("movedBy")),
        **told,
    )


def _deal(card: dict[str, Any], settings: "Settings") -> Deal:
    id_ = f"deal:{int(card['id'])}"
    currency = str(card.get("currencyId") or "BRL")
    return Deal(
        id=id_,
        title=card.get("title"),
        stage=card.get("stageId"),
        amount_minor=words.minor(card.get("opportunity"), currency),
        currency=currency,
        owner=decimal(card.get("assignedById")),
        url=url_of(id_, settings.portal_url()),
    )


def semantics(card: dict[str, Any], stages: Iterable[JSON]) -> str | None:
    """`P` open, `S` won, `F` lost: as the deal says, as the list of stages says, or by the stage's usual code."""
    if told := card.get("stageSemanticId"):
        return str(told)
    stage = str(card.get("stageId") or "")
    for each in stages:
        if isinstance(each, dict) and each.get("STATUS_ID") == stage:
            extra = each.get("EXTRA")
            spelled = str(extra.get("SEMANTICS") or "") if isinstance(extra, dict) else ""
            return each.get("SEMANTICS") or SEMANTICS.get(spelled.lower(), "P")
    return DEFAULT_STAGES.get(stage.rpartition(":")[2])


def _digest(moment: datetime | None, *content: Any) -> str:
    """Two changes may share a second, so the content counts too."""
    known = [each.to_json() if each is not None else None for each in content]
    text = json.dumps([moment.isoformat() if moment else None, known], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def contact(collected: JSON, webhook: Webhook, connection: "Connection[Settings]") -> Iterator[Event]:
    card = collected["item"]
    person = words.contact(card, connection.settings)
    if person is None:
        raise ValueError("a contact without an id")
    updated = words.instant(card.get("updatedTime"))
    yield ContactUpdated(
        id=f"updated:contact:{person.id}@{_digest(updated, person)}",
        occurred_at=updated or webhook.received_at,
        actor=words.person(card.get("updatedBy")),
        contact=person,
    )


def timeline(collected: JSON, webhook: Webhook, connection: "Connection[Settings]") -> Iterator[Event]:
    """Colleagues' words on a card, never seen by a customer. The card is told of only as far as they name it."""
    found = collected["comment"]
    id_ = card_id(str(found["ENTITY_TYPE"]), str(int(found["ENTITY_ID"])))
    written = words.instant(found.get("CREATED"))
    author = words.person(found.get("AUTHOR_ID"))
    ticket = Ticket(
        ref=TicketRef(connection.name, id_),
        kind=TicketKind.TASK,  # a card to work on: no customer waits for an answer on it
        type=id_.partition(":")[0],
        url=url_of(id_, connection.settings.portal_url()),
    )
    comment = Comment(
        id=comment_id(found["ID"]),
        body=to_text(found.get("COMMENT")),
        author=author,
        is_private=True,
        created_at=written,
    )
    yield CommentCreated(
        id=f"comment@{comment.id}:{id_}", occurred_at=written or webhook.received_at, actor=author,
        ticket=ticket, comment=comment,
    )  # fmt: skip


def comment_id(number: JSON) -> str:
    return f"timeline:{int(number)}"


def card_id(entity_type: str, number: str) -> str:
    """`deal` and `dynamic_1040`, as the timeline has them, as a TicketRef has them."""
    kind, _, type_id = entity_type.lower().partition("_")
    if kind == "dynamic" and decimal(type_id):
        return f"{TYPES[type_id]}:{number}" if type_id in TYPES else f"spa:{type_id}:{number}"
    return f"{kind}:{number}"


def entity_type(kind: str, id_: str) -> tuple[str, int]:
    """The other way round: `spa`, `1040:9` -> `dynamic_1040`, 9."""
    if kind == "spa":
        type_id, _, number = id_.partition(":")
        return f"dynamic_{int(type_id)}", int(number)
    return kind, int(id_)
