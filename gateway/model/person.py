"""Who is it: somebody who acts on a ticket, or somebody the ticket is for?"""

from .record import JSON, Record


class Person(Record):
    """Whoever did something: an agent, a customer, an API user. `id` is the vendor's."""

    id: str
    name: str | None = None
    email: str | None = None
    phones: tuple[str, ...] = ()
    is_agent: bool | None = None


class Contact(Record):
    """The person a ticket is for, as one system knows them.

    `document` holds digits only (CPF or CNPJ). `phones` are as the vendor has them; the first is the main one.
    """

    id: str | None = None
    name: str | None = None
    email: str | None = None
    phones: tuple[str, ...] = ()
    document: str | None = None
    company: str | None = None
    custom_fields: dict[str, JSON] = {}

    def elsewhere(self) -> "Contact":
        """The same person, without what only this system knows them by."""
        return Contact(name=self.name, email=self.email, phones=self.phones, document=self.document)
