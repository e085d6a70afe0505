"""What do agents and customers do in the sandbox's Freshdesk itself? It is not counted and needs no key."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.api import text_to_html

from .desk import NOTE, REPLY, Desk
from .people import HUMAN_AGENT, Refusal

BY_PORTAL = 2  # source


class Hands:
    """The endpoints of people; `GET /_sandbox/tickets` shows what there is."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def routes(self) -> list[Route]:
        return [
            Route("/_sandbox/tickets", self.everything, methods=["GET"]),
            Route("/_sandbox/contacts", self.contacts, methods=["GET"]),
            Route("/_sandbox/human/tickets", self.open, methods=["POST"]),
            Route("/_sandbox/human/tickets/{id:int}", self.change, methods=["POST"]),
        ]

    async def everything(self, _: Request) -> Response:
        """Every ticket as the API shows it, with its `conversations`."""
        rows = [
            one | {"conversations": self.desk.conversations[id_]} for id_, one in self.desk.tickets.items()
        ]
        return JSONResponse(rows)

    async def contacts(self, _: Request) -> Response:
        return JSONResponse(list(self.desk.people.contacts.values()))

    async def open(self, request: Request) -> Response:
        """`{subject, description, email, name, phone, tags, status, priority, custom_fields, source, ...}`"""
        told = await given(request)
        source = told.pop("source", BY_PORTAL)
        usual = {"subject": "Help", "description": "It does not work", "status": 2, "priority": 1}
        person = {} if told.keys() & {"email", "phone", "requester_id"} else {"email": "rui@cliente.example"}
        ticket = {**usual, **person, "name": "Rui Costa", **told}
        ticket["description"] = text_to_html(ticket["description"])
        return JSONResponse(self.desk.open(ticket, source=source), 201)

    async def change(self, request: Request) -> Response:
        """Any members of a ticket; and `comment: {body, private, customer, ...members of a conversation}`,
        `deleted`, `spam`, `archived`, `phone` (of the requester)."""
        number = request.path_params["id"]
        ticket = self.desk.ticket(number, archived=number in self.desk.archived)
        told = await given(request)
        comment, deleted = told.pop("comment", None), told.pop("deleted", None)
        if "phone" in told:
            self.desk.people.contacts[ticket["requester_id"]]["phone"] = told.pop("phone")
        if "spam" in told:
            ticket["spam"] = told.pop("spam")
        if told.pop("archived", False):
            self.desk.archived.add(number)
        if told:
            self.desk.change(ticket, told)
        if comment is not None:
            self._say(ticket, comment)
        if deleted is not None:
            self.desk.delete(ticket, deleted=deleted)
        return JSONResponse(ticket | {"conversations": self.desk.conversations[number]})

    def _say(self, ticket: dict[str, Any], comment: dict[str, Any]) -> None:
        by_customer = comment.pop("customer", False)
        author = comment.pop("user_id", ticket["requester_id"] if by_customer else HUMAN_AGENT)
        private = comment.pop("private", False)
        how = {"source": NOTE if private else REPLY, "incoming": by_customer, **comment}
        body = {"body": text_to_html(how.pop("body"))}
        self.desk.say(ticket, body, author, private=private, **how)


async def given(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise Refusal.plain(400, "invalid_json", "Request body has invalid json format") from None
    if not isinstance(body, dict):
        raise Refusal.plain(400, "invalid_json", "Request body has invalid json format")
    return body
