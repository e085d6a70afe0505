"""What did people say on a ticket, and who said it: the customer or one of us?"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .action import AddComment
from .event import CommentCreated, Event
from .text import html_to_text
from .ticket import Comment

if TYPE_CHECKING:
    from .facts import Past

_QUOTED = re.compile(
    r"^(?:>|-{2,} ?(?:mensagem original|original message)|(?:em|on) .{5,120}(?:escreveu|wrote):\s*$)",
    re.IGNORECASE | re.MULTILINE,
)
"""Where mail programs begin to repeat what was answered."""


def said(
    comments: Iterable[Comment], past: Iterable["Past"], event: Event | None = None
) -> tuple[Comment, ...]:
    """The comments, with that of `event`, without those that our own actions wrote."""
    known = {comment.id: comment for comment in comments}
    if isinstance(event, CommentCreated):
        known.setdefault(event.comment.id, event.comment)
    notes = [(entry.action, entry.remote_id) for entry in past if isinstance(entry.action, AddComment)]
    ids = {id_ for _, id_ in notes}
    bodies = {words(html_to_text(note.body) if note.is_html else note.body) for note, _ in notes}
    return tuple(
        comment for comment in known.values() if comment.id not in ids and words(comment.body) not in bodies
    )


def by_agent(comment: Comment) -> bool:
    """Whether one of us wrote it. A desk that does not say who is an agent still says what customers cannot see."""
    known = comment.author.is_agent if comment.author else None
    return comment.is_private if known is None else known


def same_words(one: str, other: str) -> bool:
    """Whether two desks were told the same: mail that went to both, whatever each keeps of what it quotes."""
    mine = words(_QUOTED.split(one, maxsplit=1)[0])
    return mine != "" and mine == words(_QUOTED.split(other, maxsplit=1)[0])


def words(text: str) -> str:
    """The text without its line ends and double spaces, which desks set as they like."""
    return " ".join(text.split())
