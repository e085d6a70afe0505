"""What is a tag's id? Intercom sets and removes tags by id, people name them.

https://developers.intercom.com/docs/references/rest-api/api.intercom.io/tags
"""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.api import ApiClient, ApiError, ApiFailure

from .collect import path
from .envelope import TICKET
from .parts import listed
from .wording import name


def spelled(tag: str) -> str:
    """How a tag is written: as it is, without superfluous spaces."""
    return " ".join(tag.split())


def same_name(tag: str) -> str:
    """Names differ in more than case, or they are one tag. Whether Intercom sees it so is not documented."""
    return spelled(tag).casefold()


def wanted(tags: Iterable[str]) -> dict[str, str]:
    """Each tag once: how it is compared -> how it is written."""
    return {same_name(tag): spelled(tag) for tag in tags if tag.strip()}


def identified(tag: str, api: ApiClient) -> str:
    """The tag's id; made if there is none: asked twice, Intercom gives the same."""
    return str(api.call("POST", "/tags", json={"name": tag}, repeatable=True).body["id"])


def on(source: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a conversation: id -> how their names are compared. Of a ticket none are told."""
    return _by_id(listed(source.get("tags"), "tags"))


def _by_id(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {str(row["id"]): same_name(found) for row in rows if (found := name(row.get("name")))}


def add(ref_id: str, ids: Iterable[str], api: ApiClient) -> None:
    admin_id = api.connection.settings.admin_id
    for tag_id in ids:
        api.call("POST", f"{path(ref_id)}/tags", json={"id": tag_id, "admin_id": admin_id})


def missing(ref_id: str, tags: Iterable[str], api: ApiClient) -> list[str]:
    """The ids of those that are not on it yet; a ticket does not say, and setting a tag twice does no harm."""
    names = wanted(tags)
    if not ref_id.startswith(TICKET) and len(names) > 1:
        present = on(api.get(path(ref_id)).body).values()
        names = {key: tag for key, tag in names.items() if key not in present}
    return [identified(tag, api) for tag in names.values()]


def remove(ref_id: str, tags: Iterable[str], api: ApiClient) -> None:
    """Those that are on it; one that is gone already is as good as removed."""
    is_ticket = ref_id.startswith(TICKET)
    source = api.get("/tags" if is_ticket else path(ref_id)).body
    known = _by_id(listed(source, "data")) if is_ticket else on(source)
    names, body = wanted(tags), {"admin_id": api.connection.settings.admin_id}
    for tag_id in [tag_id for tag_id, tag in known.items() if tag in names]:
        try:
            api.call("DELETE", f"{path(ref_id)}/tags/{tag_id}", json=body)
        except ApiError as error:
            if error.failure is not ApiFailure.MISSING:
                raise
