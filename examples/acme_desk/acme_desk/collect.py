"""What does Acme Desk's API tell of a case, and which cases were touched?

https://acme-desk.example/developers/cases
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from gateway.api import JSON, ApiClient, ChangedRef, TicketRef


def case(ref: TicketRef, api: ApiClient) -> JSON:
    """The case with its notes and its customer. Raises ApiError."""
    return api.get(f"/cases/{ref.id}").body


def changed(since: datetime, api: ApiClient) -> Iterator[TicketRef]:
    """Each case touched after `since`, once. `next` is the number to go on behind; the last page has none."""
    behind: int | None = 0
    while behind is not None:
        page = api.get("/cases", touched_after=since.timestamp(), behind=behind).body
        for row in page["cases"]:
            touched = datetime.fromtimestamp(row["touched"], UTC)
            yield ChangedRef(api.connection.name, str(row["number"]), touched)
        behind = page["next"]
