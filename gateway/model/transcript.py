"""How is what was said on a ticket written down, to be read at another desk?"""

from collections.abc import Iterable
from datetime import timedelta

from gateway.calendar import Calendar

from .said import by_agent, same_words
from .ticket import Comment

LONGEST = 15_000
"""Characters; of a longer transcript the end counts."""
TOGETHER = timedelta(hours=1)
"""Mail that went to two desks arrives at both within this time."""

WORDS = {
    "pt-BR": {"time": "%d/%m/%Y %H:%M:%S", True: "Atendente", False: "Cliente", "private": "nota interna"},
    "en": {"time": "%Y-%m-%d %H:%M:%S", True: "Agent", False: "Customer", "private": "private note"},
}


def transcribed(comment: Comment, calendar: Calendar, locale: str) -> str:
    """When, who, what, and links to what was attached. The same for the same comment, so it can be known again."""
    words = WORDS.get(locale, WORDS["pt-BR"])
    at = f"[{calendar.local(comment.created_at):{words['time']}}] " if comment.created_at else ""
    author = (comment.author.name if comment.author else None) or words[by_agent(comment)]
    private = f" ({words['private']})" if comment.is_private else ""
    files = (f"- {file.name}{f': {file.url}' if file.url else ''}" for file in comment.attachments)
    return "\n".join((f"{at}{author}{private}:", *filter(None, [comment.body.strip()]), *files))


def latest(messages: Iterable[str], room: int = LONGEST) -> tuple[list[str], int]:
    """The last messages that there is room for, at least one, and how many are left out."""
    found, kept = list(messages), 0
    for message in reversed(found):
        room -= len(message)
        if room < 0 and kept:
            break
        kept += 1
    return found[len(found) - kept :], len(found) - kept


def same_message(one: Comment, other: Comment) -> bool:
    """Whether one message reached both desks: the same words of the same side at about the same time."""
    if one.created_at is None or other.created_at is None or by_agent(one) != by_agent(other):
        return False
    return abs(one.created_at - other.created_at) <= TOGETHER and same_words(one.body, other.body)
