"""Where do the tenant's custom fields live at Movidesk, and how are they written without losing others?

A field is shown by a display rule: `customFieldId`, `customFieldRuleId` and `line` name one value together. A
list that is sent replaces the stored one: https://atendimento.movidesk.com/kb/article/256
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.api import JSON, ApiError, ApiFailure

SELECTED = ("customFieldItem", "personId", "clientId", "team", "fileName")
"""What a selected item can be: exactly one of these is not null."""

BRAZILIAN = str.maketrans(",.", ".,")


class CustomField(BaseModel):
    """Where one of our fields lives. Ids are seen in the addresses of the field's and the rule's pages.

    `kind`: texts, numbers and dates are a `value`, selections are `items`; `item` is what is selected.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int = Field(gt=0)
    rule: int = Field(gt=0)
    line: int = Field(1, gt=0)
    kind: Literal["value", "items"] = "value"
    item: Literal["customFieldItem", "personId", "clientId", "team"] = "customFieldItem"


def content(value: JSON) -> JSON:
    """What a stored value says: one text, a list where several are selected, or None."""
    chosen = [_chosen(item) for item in value.get("items") or ()]
    if not chosen:
        return value.get("value")
    return chosen[0] if len(chosen) == 1 else chosen


def _chosen(item: JSON) -> JSON:
    return next((item[name] for name in SELECTED if item.get(name)), None)


def by_name(
    values: Iterable[JSON], mapping: Mapping[str, CustomField]
) -> tuple[dict[str, JSON], dict[str, JSON]]:
    """Contents by our names, and all others by the field's id (`id:line` past the first line of a grid).

    Only values whose display rule applies are sent. A field may be shown by other rules than the mapped one,
    which is preferred where both are there.
    """
    mapped = {(field.id, field.line): field.rule for field in mapping.values()}
    stored: dict[tuple[int, int], JSON] = {}
    for value in values:
        place = (int(value["customFieldId"]), int(value.get("line") or 1))
        if place not in stored or value.get("customFieldRuleId") == mapped.get(place):
            stored[place] = content(value)
    ours = {
        name: stored[field.id, field.line]
        for name, field in mapping.items()
        if (field.id, field.line) in stored
    }
    others = {
        str(number) if line == 1 else f"{number}:{line}": said
        for (number, line), said in stored.items()
        if (number, line) not in mapped
    }
    return ours, others


def check(names: Iterable[str], mapping: Mapping[str, CustomField]) -> None:
    """Raises ApiError for a field that the connection's settings do not map."""
    unknown = sorted(set(names) - set(mapping))
    if unknown:
        raise ApiError(
            ApiFailure.REFUSED,
            f"no Movidesk field for {', '.join(unknown)}: add it to the connection's `custom_fields`",
        )


def replaced(
    values: Iterable[JSON], wanted: Mapping[str, JSON], mapping: Mapping[str, CustomField]
) -> list[JSON] | None:
    """The whole list to send so that the fields become `wanted`; None when they already are.

    Raises ApiError for a field that is not mapped.
    """
    check(wanted, mapping)
    stored = {_place(value): value for value in values}
    new = {_place(value): value for name in wanted if (value := written(mapping[name], wanted[name]))}
    if all(content(stored.get(place, {})) == content(value) for place, value in new.items()):
        return None
    return [_writable(value) for value in (stored | new).values() if content(value) is not None]


def written(field: CustomField, said: JSON) -> JSON:
    """`said` as a value of this field, in the shape that is sent; None empties it."""
    place = {"customFieldId": field.id, "customFieldRuleId": field.rule, "line": field.line}
    every = [_text(one) for one in (said if isinstance(said, list) else [said]) if one is not None]
    if field.kind == "items":
        return place | {"items": [{field.item: one} for one in every]}
    return place | {"value": ", ".join(every) or None}


def _text(said: JSON) -> str:
    """Decimals are written the Brazilian way: `1.530,75`."""
    return f"{said:,}".translate(BRAZILIAN) if isinstance(said, float) else str(said)


def _place(value: JSON) -> tuple[int, int, int]:
    return value["customFieldId"], value["customFieldRuleId"], value.get("line") or 1


def _writable(value: JSON) -> JSON:
    """Read values always have both members, the unused one null or []; sent ones have one of them."""
    place = dict(zip(("customFieldId", "customFieldRuleId", "line"), _place(value), strict=True))
    if value.get("items"):
        named = [{key: part for key, part in item.items() if part is not None} for item in value["items"]]
        return place | {"items": named}
    return place | {"value": value.get("value")}
