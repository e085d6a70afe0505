"""What did people say on a ticket, and who said it: the customer or one of us?"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .action import AddComment
from .event import CommentCreated, Event
from .text import html_to_text
from .ticket import Comment

if TYPE_CHECKING:
    from .facts import Past


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


def words(text: str) -> str:
    """The text without its line ends and double spaces, which desks set as they like."""
    return " ".join(text.split())
