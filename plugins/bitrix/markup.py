"""What does Bitrix24's BBCode say in plain text, how is our text written in it, and how is our own text known again?

A comment or task of ours ends with `gw:<hash>` in the smallest letters, white on white: the hash is the action's id.
If Bitrix24 drops the formatting, the bare text is recognised too. No rule ever sees it: converting takes it out.
"""

import hashlib
import re

from gateway.api import html_to_text, sanitised

_DIGITS = 12
_MARK = re.compile(
    rf"(?:\[size=[^\]]{{0,20}}\])?(?:\[color=[^\]]{{0,20}}\])?\bgw:[0-9a-f]{{{_DIGITS}}}\b(?:\[/color\])?(?:\[/size\])?"
)
_OPENS_TAG = re.compile(r"\[(?=[/*A-Za-z])")
_APART = "[\u200b"
"""A bracket that can open no tag: or a customer's text could draw buttons and mentions in a colleague's chat."""

_TO_BBCODE = (
    (re.compile(r"<a\b[^>]*\bhref=\"([^\"\[\]]*)\"[^>]*>(.*?)</a>", re.IGNORECASE | re.DOTALL), r"[url=\1]\2[/url]"),
    (re.compile(r"<(/?)(?:b|strong)\b[^>]*>", re.IGNORECASE), r"[\1b]"),
    (re.compile(r"<(/?)(?:i|em)\b[^>]*>", re.IGNORECASE), r"[\1i]"),
    (re.compile(r"<(/?)u\b[^>]*>", re.IGNORECASE), r"[\1u]"),
)  # fmt: skip

_LINK = re.compile(r"\[url=([^\]]{1,2048})\](.{0,2000}?)\[/url\]", re.IGNORECASE | re.DOTALL)
_LINE = re.compile(r"\[(?:br|\*)\]|\[/(?:p|li|tr|quote|code|h[1-6])\]", re.IGNORECASE)
_TAG = re.compile(
    r"\[/?(?:b|i|u|s|p|br|size|color|font|url|user|img|quote|code|list|table|tr|td|th|left|right|center|justify"
    r"|video|disk|chat|call|send|put|icon|attach|timestamp|spoiler|h[1-6]|li)(?:[= ][^\]]{0,2048})?\]|\[\*\]",
    re.IGNORECASE,
)
_BLANK_LINES = re.compile(r"\n{3,}")


def to_bbcode(body: str, *, is_html: bool = False) -> str:
    """Our text as it may be sent: what looks like a tag in it stays text; of HTML, links and emphasis are kept."""
    if not is_html:
        return _OPENS_TAG.sub(_APART, body.replace("\r\n", "\n"))
    html = _OPENS_TAG.sub(_APART, sanitised(body))
    for pattern, bbcode in _TO_BBCODE:
        html = pattern.sub(bbcode, html)
    return html_to_text(html)


def to_text(text: str | None, *, is_html: bool = False) -> str:
    """What a person reads in it, without our mark. Addresses behind words are told in brackets."""
    if not text:
        return ""
    plain = html_to_text(without_mark(text)) if is_html else without_mark(text).replace("\r\n", "\n")
    plain = _LINK.sub(lambda link: _told(link[1], link[2]), plain)
    plain = _TAG.sub("", _LINE.sub("\n", plain)).replace(_APART, "[")
    return _BLANK_LINES.sub("\n\n", plain).strip()


def _told(address: str, words: str) -> str:
    return address if words.strip() in ("", address) else f"{words} ({address})"


def mark(action_id: str) -> str:
    return f"gw:{hashlib.sha256(action_id.encode()).hexdigest()[:_DIGITS]}"


def marked(text: str, action_id: str) -> str:
    """The text, with the action's mark below it."""
    return f"{text}\n[size=1][color=#ffffff]{mark(action_id)}[/color][/size]"


def has_mark(text: str) -> bool:
    return _MARK.search(text) is not None


def without_mark(text: str) -> str:
    return _MARK.sub("", text).rstrip()


def same_words(left: str, right: str) -> bool:
    return left.split() == right.split()
