"""What do all canonical objects have in common? They are frozen, named by keyword, and aware of time zones."""

from datetime import UTC
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_origin

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict

JSON = Any
"""Whatever `json.loads` may give: vendors' own words, kept as they came."""

Instant = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC))]
"""An aware moment, kept in UTC."""


class Record(BaseModel):
    """A frozen value. A field that was not set is *unknown*, which is not the same as empty."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def known(self) -> dict[str, Any]:
        """The fields that were set, by name, as Python values."""
        return {name: getattr(self, name) for name in self.model_fields_set}

    def to_json(self, *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
        """What is known, as JSON; unknown fields stay unknown when it is read again."""
        known = self.model_dump(mode="json", exclude_unset=True, exclude=set(without) or None)
        return known | _fixed(type(self))


@cache
def _fixed(kind: type[Record]) -> dict[str, Any]:
    """What tells an event or an action of this kind from the others: always said, though nobody sets it."""
    fields = kind.model_fields.items()
    return {name: field.default for name, field in fields if get_origin(field.annotation) is Literal}


T = TypeVar("T", bound=Record)


def merged(older: T, newer: T) -> T:
    """`older`, with every field that `newer` knows taken from `newer`."""
    return older.model_copy(update=newer.known())
