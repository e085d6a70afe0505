"""What time is it? Asked only at the edges; whatever decides takes the moment as an argument."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251
