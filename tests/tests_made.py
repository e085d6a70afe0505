"""What the property tests share: any record of the model, made by hypothesis from its annotations."""

import types
from datetime import UTC, date, datetime
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st
from pydantic import AwareDatetime

from gateway.model.action import Action
from gateway.model.record import Record
from gateway.model.ticket import TicketRef

TEXT = st.text(max_size=8)
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)

PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    Any: JSON_VALUES,
    str: TEXT,
    int: st.integers(-(2**53), 2**53),
    bool: st.booleans(),
    type(None): st.none(),
    AwareDatetime: MOMENTS,
    date: st.dates(),
    TicketRef: st.builds(TicketRef, TEXT, TEXT),
}


@st.composite
def made(draw: st.DrawFn, kind: type[Record]) -> Any:
    """A record with every required field, and any of the others."""
    given = {}
    for name, field in kind.model_fields.items():
        if get_origin(field.annotation) is Literal or (issubclass(kind, Action) and name == "kind"):
            continue
        if field.is_required() or draw(st.booleans()):
            given[name] = draw(_value(field.annotation))
    return kind(**given)


def _value(annotation: Any) -> st.SearchStrategy[Any]:
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation in PLAIN:
        return PLAIN[annotation]
    if origin is Annotated:
        return _value(parts[0])
    if origin in (Union, types.UnionType):
        return st.one_of([_value(part) for part in parts])
    if origin is tuple:
        return st.lists(_value(parts[0]), max_size=2).map(tuple)
    if origin is frozenset:
        return st.frozensets(_value(parts[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(_value(parts[0]), _value(parts[1]), max_size=2)
    if issubclass(annotation, Enum):
        return st.sampled_from(annotation)
    return made(annotation)
