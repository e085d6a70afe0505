"""What does a link in somebody's text point at?"""

from .record import Record
from .ticket import TicketRef


class Reference(Record):
    """A ticket, deal, task, chat or card of one of the tenant's connections, named by a link.

    `kind` is the vendor's word for it (`deal`, `task`, `chat`). `id` is the id that a TicketRef of this
    connection has, so `ref` can be commented on or linked like any ticket. `url` is made anew from what was
    recognised, so that nothing else of the text (a token, a tracking parameter) is stored or shown with it.
    """

    connection: str
    kind: str
    id: str
    url: str

    @property
    def ref(self) -> TicketRef:
        return TicketRef(self.connection, self.id)
