"""How does a vendor's HTML become safe text, and our text a vendor's HTML?"""

import re
from html import escape, unescape

import nh3

TAGS = {
    "a", "b", "blockquote", "br", "code", "div", "em", "h1", "h2", "h3", "h4", "i", "img", "li", "ol", "p", "pre",
    "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "u", "ul",
}  # fmt: skip
_LINE_ENDS = re.compile(r"(?i)(<br\b[^>]*>|</(?:p|div|li|tr|h[1-6]|blockquote|pre)\s*>)\r?\n?")
_BLANK_LINES = re.compile(r"\n{3,}")


def sanitised(html: str) -> str:
    """The same HTML without scripts, styles, event handlers and unsafe links."""
    return nh3.clean(html, tags=TAGS)


def html_to_text(html: str) -> str:
    """What a person would read in it; block ends become line ends."""
    broken = _LINE_ENDS.sub(lambda match: match[1] + "\n", html)
    text = unescape(nh3.clean(broken, tags=set()))
    lines = (line.strip() for line in text.replace("\xa0", " ").splitlines())
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()


def text_to_html(text: str) -> str:
    """The text as it is, escaped, with its line ends kept."""
    return escape(text, quote=False).replace("\r\n", "\n").replace("\n", "<br>\n")
