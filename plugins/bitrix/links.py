"""Which deals, tasks, chats and cards of this portal do the links in a text point at?

A link counts by its parts: https, exactly the portal's host, a path that Bitrix24 itself makes. Addresses under
`/rest/` hold the secret of a webhook, so they name nothing and are never repeated.
https://apidocs.bitrix24.com/api-reference/crm/ (paths as the portal shows them; there is no page that lists them)
"""

import re
from collections.abc import Iterator
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

from gateway.api import Connection, Reference

from .accept import parted

if TYPE_CHECKING:
    from . import Settings

LONGEST = 2048
"""Characters of a link; browsers and Bitrix24 itself make none that are longer."""

MOST = 200
"""Links that one text is searched for."""

LINK = re.compile(r"https?://[^\s<>\"'`\[\]{}\\^]+", re.IGNORECASE)
TRAILING = ").,;:!?>]\"'*_~"
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]{2,8});")
ENDS_TOKEN = re.compile(r"[\s<>\"'`\[\]{}\\^]")

CRM = re.compile(r"/(?:extranet/)?crm/(deal|lead|contact|company|quote)/(?:details|show)/([1-9]\d{0,18})/?")
SPA = re.compile(r"/(?:page/[^/]+/[^/]+|crm)/type/([1-9]\d{0,9})/details/([1-9]\d{0,18})/?")
USER_TASK = re.compile(
    r"/(?:extranet/contacts|company)/personal/user/\d{1,19}/tasks/task/view/([1-9]\d{0,18})/?"
)
GROUP_TASK = re.compile(r"(?:/extranet)?/workgroups/group/\d{1,19}/tasks/task/view/([1-9]\d{0,18})/?")
MOBILE = re.compile(r"/mobile/crm/(deal|lead|contact|company|quote)/?")
ONLINE = re.compile(r"/online/?")
HISTORY = re.compile(r"/(?:online|contact_center/dialog_list)/?")
HIDDEN = re.compile(r"%(?:2f|5c|2e|00)", re.IGNORECASE)

ID = re.compile(r"[1-9]\d{0,18}", re.ASCII)
CHAT = re.compile(r"(?:chat)?([1-9]\d{0,18})", re.ASCII)
GROUP_CHAT = re.compile(r"chat([1-9]\d{0,18})", re.ASCII)
USER_CODE = re.compile(r"imol\|([\w.-]{1,64})\|(\d{1,10})\|([^|\s/]{1,128})\|([^|\s/]{1,128})", re.ASCII)
SESSION = re.compile(r"imol\|([1-9]\d{0,18})", re.ASCII)

TYPES = {"1": "lead", "2": "deal", "3": "contact", "4": "company", "7": "quote"}
"""Entity type ids that have a name of their own; the rest are smart processes.
https://apidocs.bitrix24.com/api-reference/crm/data-types.html"""

Found = tuple[str, str]
"""The kind, and the id as a TicketRef has it."""


def references(text: str, connection: "Connection[Settings]") -> list[Reference]:
    """What the links in `text` (plain, HTML or BBCode) point at; each once, in order."""
    settings = connection.settings
    found: dict[Found, None] = {}
    for link in links(text):
        if target := recognised(link, settings.hosts(), settings.base_path):
            found.setdefault(target)
    return [
        Reference(connection=connection.name, kind=kind, id=id_, url=url_of(id_, settings.portal_url()))
        for kind, id_ in found
    ]


def links(text: str) -> Iterator[str]:
    """The addresses that somebody wrote, `href` and text alike. What stands inside another address is part of that."""
    for number, match in enumerate(LINK.finditer(text)):
        if number == MOST:
            return
        plain = ENTITY.sub(lambda entity: unescape(entity[0]), match[0])
        link = ENDS_TOKEN.split(plain, maxsplit=1)[0].rstrip(TRAILING)
        if len(link) <= LONGEST:
            yield link


def recognised(link: str, hosts: frozenset[str], base_path: str = "") -> Found | None:
    """What one address names at one of `hosts` (`host` or `host:port`, lower case); None for everything else."""
    try:
        parts = urlsplit(link)
        host = _host(parts)
    except ValueError:
        return None
    if parts.scheme != "https" or host not in hosts or not (parts.netloc + parts.path).isascii():
        return None
    if HIDDEN.search(parts.path) or any(part in {".", ".."} for part in parts.path.split("/")):
        return None
    if not parts.path.startswith(base_path):
        return None
    return _card(parts.path[len(base_path) :], parts.query)


def _host(parts: SplitResult) -> str:
    """Lower-case host, with the port where it is not the usual one. Empty where credentials are in front."""
    if "@" in parts.netloc or parts.hostname is None:
        return ""
    host = parts.hostname.removesuffix(".")
    return host if parts.port in (None, 443) else f"{host}:{parts.port}"


def _card(path: str, query: str) -> Found | None:
    if match := CRM.fullmatch(path):
        return match[1], f"{match[1]}:{match[2]}"
    if match := SPA.fullmatch(path):
        return _of_type(match[1], match[2])
    if match := USER_TASK.fullmatch(path) or GROUP_TASK.fullmatch(path):
        return "task", f"task:{match[1]}"
    if match := MOBILE.fullmatch(path):
        return _mobile(match[1], _asked(query))
    if HISTORY.fullmatch(path):
        return _chat(_asked(query), is_messenger=ONLINE.fullmatch(path) is not None)
    return None


def _of_type(type_id: str, id_: str) -> Found:
    kind = TYPES.get(type_id)
    return (kind, f"{kind}:{id_}") if kind else ("spa", f"spa:{type_id}:{id_}")


def _mobile(kind: str, asked: dict[str, str]) -> Found | None:
    id_ = asked.get(f"{kind}_id", "")
    return (kind, f"{kind}:{id_}") if asked.get("page") == "view" and ID.fullmatch(id_) else None


def _chat(asked: dict[str, str], *, is_messenger: bool) -> Found | None:
    """Chats have no path of their own: the messenger is told by its query which one to open."""
    if match := SESSION.fullmatch(asked.get("IM_HISTORY", "")):
        return "session", f"session:{match[1]}"
    if not is_messenger:
        return None
    if match := CHAT.fullmatch(asked.get("IM_LINES", "")):
        return "chat", f"chat:{match[1]}"
    dialog = asked.get("IM_DIALOG", "")
    if match := GROUP_CHAT.fullmatch(dialog):
        return "chat", f"chat:{match[1]}"
    if USER_CODE.fullmatch(dialog):
        return "chat", f"chat:{dialog}"
    if ID.fullmatch(dialog):
        return "user", f"user:{dialog}"
    return None


def _asked(query: str) -> dict[str, str]:
    """The parameters that are given once: of two values nobody knows which one counts."""
    pairs = parse_qsl(query, max_num_fields=None)
    names = [name for name, _ in pairs]
    return {name: value for name, value in pairs if names.count(name) == 1}


PATHS = {
    "task": "/company/personal/user/0/tasks/task/view/{}/",
    "chat": "/online/?IM_DIALOG=chat{}",
    "user": "/online/?IM_DIALOG={}",
    "session": "/online/?IM_HISTORY=imol%7C{}",
}


def url_of(id_: str, portal: str) -> str:
    """The address at which a person opens what a TicketRef id names; `portal` = `https://host[/path]`."""
    kind, rest = parted(id_)
    if kind == "spa":
        type_id, _, item = rest.partition(":")
        return f"{portal}/crm/type/{type_id}/details/{item}/"
    if rest.startswith("imol|"):
        return f"{portal}/online/?IM_DIALOG={quote(rest, safe='')}"
    return portal + PATHS.get(kind, f"/crm/{kind}/details/{{}}/").format(rest)
