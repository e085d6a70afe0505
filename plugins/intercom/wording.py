"""What did they say, whether Intercom tells it as HTML or as plain text?"""

import re
from functools import lru_cache
from html import unescape

from gateway.api import html_to_text, sanitised, text_to_html

from . import marker

_HTML = re.compile(
    r"\s*<(?:p|div|ul|ol|li|h[1-6]|pre|blockquote|table|img|a|b|i|em|strong|br|span|figure|hr)\b.*>\s*",
    re.DOTALL | re.IGNORECASE,
)
_LAST_TAG = re.compile(r"</[a-z][a-z0-9]*>\s*$", re.IGNORECASE)
SUBJECT_LENGTH = 80


def is_html(body: str) -> bool:
    """REST answers and webhooks before API 2.15 have HTML, which always starts and ends with a tag; webhooks from
    2.15 on have plain text. The version is set in the Developer Hub, where we cannot see it."""
    return _HTML.fullmatch(body) is not None


@lru_cache(maxsize=32)
def words(body: str) -> str:
    """What a person would read in it; our mark taken out. Remembered, as one notification is asked twice."""
    body = marker.without(body)
    return html_to_text(body) if is_html(body) else body.strip()


def text(body: object) -> str:
    """The words of whatever stands where a text should."""
    return words(body) if isinstance(body, str) and body else ""


def html(body: object) -> str | None:
    """The HTML that it was in, without what could do harm; None for plain text."""
    if not isinstance(body, str) or not is_html(body := marker.without(body)):
        return None
    return sanitised(body)


def written(text: str, is_html: bool, mark: str = "") -> str:
    """What we write, as HTML, with our mark inside the last element: beside it, it would be a paragraph."""
    html = text if is_html else f"<p>{text_to_html(text)}</p>"
    end = _LAST_TAG.search(html)
    if end is None:
        return f"<p>{html}{mark}</p>"
    return html[: end.start()] + mark + html[end.start() :]


def name(value: object) -> str | None:
    """Names are HTML-escaped here and there: `Phone &amp; SMS`."""
    return unescape(value).strip() or None if isinstance(value, str) else None


def first_words(text: str) -> str | None:
    """The start of the first line, cut between words."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if len(line) <= SUBJECT_LENGTH:
        return line or None
    return (
        line[:SUBJECT_LENGTH].rpartition(" ")[0] + "…"
        if " " in line[:SUBJECT_LENGTH]
        else line[:SUBJECT_LENGTH]
    )
