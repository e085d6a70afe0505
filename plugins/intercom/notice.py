"""What does one notification about a conversation or a ticket tell, and which facts are in it?

One thing that an agent does may be told under two topics: so a fact is named after the part that records it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.api import (
    Comment,
    CommentCreated,
    Connection,
    Event,
    Person,
    Snapshot,
    Status,
    Ticket,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketEvent,
    TicketRef,
    TicketStatusChanged,
    TicketTagged,
    TicketUpdated,
)

from . import parts, reading
from .envelope import TICKET, ident, is_about_ticket, ticket_in
from .topics import ASSIGNED, REOPENING, SAID, STATES, TICKET_STATES

if TYPE_CHECKING:
    from . import Settings

E = TypeVar("E", bound=TicketEvent)


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification about a conversation or ticket, read.

    `told` is what it says of the ticket; `snapshot` is all of it, where it was read back. `rows` are the parts
    that it is about, `history` the comments that came along.
    """

    topic: str
    id: str
    at: datetime
    item: Mapping[str, Any]
    told: Ticket
    rows: tuple[Mapping[str, Any], ...]
    history: tuple[Comment, ...]
    snapshot: Snapshot | None
    before: Ticket | None
    connection: "Connection[Settings]"

    @property
    def ref(self) -> TicketRef:
        return self.told.ref

    @property
    def old(self) -> dict[str, Any]:
        """What was known of the ticket before."""
        return self.before.known() if self.before else {}

    @property
    def last(self) -> Mapping[str, Any]:
        return self.rows[-1] if self.rows else {}

    @property
    def own_fact(self) -> str:
        """The name of what only this notification tells."""
        return f"notice@{self.id}:{self.ref.id}"

    def event(self, kind: type[E], fact: str, told: Mapping[str, Any] | None = None, **more: Any) -> E:
        """`fact` names what happened, whichever notice tells it; `told` fills gaps in the ticket."""
        ticket = self.snapshot.ticket if self.snapshot else self.told
        given: dict[str, Any] = {
            "id": fact,
            "occurred_at": self.at,
            "ticket": Ticket(**{**(told or {}), **ticket.known()}),
        }
        if self.snapshot:
            given |= {"comments": self.snapshot.comments, "complete": True}
        elif self.history:
            given["comments"] = self.history
        return kind(**{**given, **more})

    def by(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """When a part was made, and by whom; without a part, what the notification says of it."""
        at = parts.created_at(part) or self.told.remote_updated_at or self.at
        return {"occurred_at": at, "actor": parts.person(part.get("author"))}


def read(
    topic: str, named: str, at: datetime, item: Mapping[str, Any], subject: str, snapshot: Snapshot | None,
    before: Snapshot | None, connection: "Connection[Settings]",
) -> Notice:  # fmt: skip
    """Raises KeyError, TypeError or ValueError for a shape that Intercom does not send."""
    old = before.ticket if before else None
    history: tuple[Comment, ...] = ()
    if not is_about_ticket(topic, item):
        source = item if ident(item.get("id")) else {**item, "id": subject}
        told = reading.conversation(source, connection, old)
        rows = reading.history(source)
    else:
        source = ticket_in(item)
        told = reading.ticket(source, connection, old)
        rows = parts.listed([item.get("ticket_part")], "")
        if not rows:  # then the whole history comes along; what is new in it, the topic says
            everything = reading.history(source)
            rows, history = _newest(topic, everything), parts.comments(everything)
    return Notice(topic, named, at, item, told, tuple(rows), history, snapshot, old, connection)


def _newest(topic: str, everything: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The newest part of a history that may be what such a topic tells."""
    for part in reading.newest(everything):
        if (
            (topic in TICKET_STATES and (parts.is_state_change(part) or parts.is_initial_state(part)))
            or (topic in ASSIGNED and parts.is_assignment(part))
            or (topic in SAID and parts.comment(part) is not None)
        ):
            return [dict(part)]
    return []


def fact(name: str, part: Mapping[str, Any], ref: TicketRef) -> str:
    return f"{name}@{ident(part.get('id'))}:{ref.id}"


def told_by_parts(notice: Notice) -> list[Event]:
    """What each part says; and what the topic says, of the last part, where the part itself does not."""
    found: list[Event] = []
    for part in notice.rows or ({},):
        comment = parts.comment(part)
        is_last = part is notice.last or not notice.rows
        if comment is not None:
            found.append(commented(notice, comment))
        if parts.is_assignment(part) or (notice.topic in ASSIGNED and is_last):
            found.append(assigned(notice, part))
        if (
            parts.is_state_change(part)
            or (notice.topic in STATES and is_last)
            or (notice.topic in TICKET_STATES and is_last and not parts.is_initial_state(part))
            or (notice.topic in REOPENING and comment is not None and _was_shut(notice))
        ):
            found.append(status_changed(notice, part))
    if not found and notice.topic in SAID:  # a reply without anything to read: at least, the ticket changed
        return [updated(notice, "comments")]
    return found


def _was_shut(notice: Notice) -> bool:
    shut = (Status.CLOSED, Status.ON_HOLD, Status.RESOLVED)
    return notice.old.get("status") in shut and notice.told.status is Status.OPEN


def updated(notice: Notice, changed: str) -> Event:
    actor = parts.person(notice.last.get("author"))
    return notice.event(TicketUpdated, notice.own_fact, changed=(changed,), actor=actor)


def redacted(notice: Notice) -> Event:
    """The comment is still there, without its words."""
    said = parts.comments(notice.rows)
    return notice.event(TicketUpdated, notice.own_fact, changed=("comments",), comments=said)


def created(notice: Notice) -> Iterator[Event]:
    """A conversation begins with a message, which is its first comment; a ticket has a description."""
    at, settings = notice.told.remote_created_at or notice.at, notice.connection.settings
    opener = reading.opening_author(ticket_in(notice.item), settings)
    yield notice.event(TicketCreated, f"created:{notice.ref.id}", occurred_at=at, actor=opener)
    if notice.ref.id.startswith(TICKET):
        return
    first = reading.first_comment(notice.item, settings)
    for comment in (*((first,) if first else ()), *parts.comments(notice.rows)):
        yield commented(notice, comment)


def commented(notice: Notice, comment: Comment) -> CommentCreated:
    return notice.event(
        CommentCreated,
        f"comment@{comment.id}:{notice.ref.id}",
        told=_heard(comment, notice),
        occurred_at=comment.created_at or notice.at,
        actor=comment.author,
        comment=comment,
    )


def _heard(comment: Comment, notice: Notice) -> dict[str, Any]:
    """Who spoke last, as one more comment tells it; who spoke first only where all earlier ones are known."""
    author, own_ids = comment.author, notice.connection.settings.own_ids()
    if comment.is_private or author is None or author.is_agent is None or author.id in own_ids:
        return {}
    if not author.is_agent:
        return {"last_customer_comment_at": comment.created_at}
    first = notice.old.get("first_agent_comment_at", comment) is None
    return {
        "last_agent_comment_at": comment.created_at,
        **({"first_agent_comment_at": comment.created_at} if first else {}),
    }


def assigned(notice: Notice, part: Mapping[str, Any]) -> Event:
    to, settings = part.get("assigned_to"), notice.connection.settings
    said = reading.assigned(to, notice.item, settings, notice.before) if isinstance(to, dict) else {}
    known = {**said, **notice.told.known()}
    return notice.event(
        TicketAssigned,
        fact("assigned", part, notice.ref) if part else f"assigned@{notice.id}:{notice.ref.id}",
        told=said,
        assignee=known.get("assignee"),
        team=known.get("team"),
        **notice.by(part),
    )


def status_changed(notice: Notice, part: Mapping[str, Any]) -> Event:
    """Which state it came to: a conversation's topic or part says so, of a ticket its state does."""
    known, by = notice.told.known(), notice.by(part)
    new, remote = known.get("status"), known.get("remote_status")
    word = STATES.get(notice.topic) or parts.STATES.get(parts.kind_of(part))
    if word and not notice.ref.id.startswith(TICKET):
        new, remote = parts.STATUSES[word], word
    if notice.topic == "ticket.closed":
        new = Status.CLOSED
    old = {} if _is_late(notice, by["occurred_at"]) else notice.old
    told: dict[str, Any] = {"status": new, "remote_status": remote} if new else {}
    over = {Status.CLOSED: "closed_at", Status.RESOLVED: "resolved_at"}
    if new in over:
        told[over[new]] = by["occurred_at"]
    return notice.event(
        TicketStatusChanged,
        # Without a part to name it after: as `changes` does, which is also how a reading would name it.
        fact("status", part, notice.ref)
        if part
        else f"status@{by['occurred_at'].isoformat()}@{remote or new}:{notice.ref.id}",
        told=told,
        old=old.get("status"),
        new=new,
        old_remote=old.get("remote_status"),
        new_remote=remote,
        **by,
    )


def _is_late(notice: Notice, at: datetime) -> bool:
    """Something newer was heard of before: then what is known now is not what it was changed from."""
    known, told = notice.old.get("remote_updated_at"), notice.told.remote_updated_at or at
    return known is not None and told < known


def tagged(notice: Notice) -> Event:
    """Versions differ in where they tell the new tag: by itself, at the part, or among all of the conversation's."""
    item, known = notice.item, notice.old.get("tags", frozenset[str]())
    whole = reading.tag_names(item.get("tags"))
    at_parts = frozenset[str]().union(*(reading.tag_names(part.get("tags")) for part in notice.rows))
    added = (reading.tag_names(item.get("tags_added")) or at_parts or whole) - known
    told = notice.told.model_copy(update={"tags": known | whole | at_parts | added})
    notice = replace(notice, told=told)
    if not added:
        return updated(notice, "tags")
    name = f"tagged@{','.join(sorted(added))}@{notice.at.isoformat()}:{notice.ref.id}"
    return notice.event(TicketTagged, name, added=added, actor=_tagger(notice.last))


def _tagger(part: Mapping[str, Any]) -> Person | None:
    """Whoever set the tag, where the tag tells; the part's author only wrote what was tagged."""
    told = (tag.get("applied_by") for tag in parts.listed(part.get("tags"), "tags"))
    return next(filter(None, map(parts.person, told)), None)


def deleted(notice: Notice) -> Event:
    gone = notice.event(TicketDeleted, f"deleted:{notice.ref.id}")
    return gone.model_copy(update={"ticket": gone.ticket.model_copy(update={"deleted": True})})
