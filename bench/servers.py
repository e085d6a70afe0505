"""Against what is measured, and where do the calls of the gateway and its peers end? Two small servers.

`echo` reads the body and answers 202, as short as a server can. `sink` takes tickets as Zendesk does
(`/api/v2/tickets.json`) and Freshdesk (`/api/v2/tickets`), answers 201, counts them, and keeps nothing else; tags
on tickets it takes as Zendesk does. It has every conversation and contact of Intercom that it is asked for, and takes
replies and tags there.
"""

import argparse
import itertools
import json
import time
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

BEGAN = 1_700_000_000
"""When every conversation did, in Unix seconds."""


async def accepted(request: Request) -> JSONResponse:
    await request.body()
    return JSONResponse({"delivery": 1}, 202)


def conversation(id_: str, *parts: Any) -> dict[str, Any]:
    """As Intercom has one that a customer began, and that is to be escalated; no two have the same words."""
    author = contact_of(id_)
    return {
        "type": "conversation", "id": id_, "created_at": BEGAN, "updated_at": BEGAN, "state": "open", "open": True,
        "source": {
            "type": "conversation", "id": "1", "delivered_as": "customer_initiated", "subject": "",
            "body": f"<p>Preciso de ajuda com o boleto {id_} em aberto</p>", "author": author,
        },
        "contacts": {"type": "contact.list", "contacts": [{"type": "contact", "id": author["id"]}]},
        "tags": {"type": "tag.list", "tags": [{"type": "tag", "id": "7", "name": "escalar"}]},
        "conversation_parts": {"type": "conversation_part.list", "conversation_parts": list(parts)},
    }  # fmt: skip


def contact_of(id_: str) -> dict[str, str]:
    """The customer of this conversation, by its id or by their own."""
    return {"type": "user", "id": f"{id_:0>24}", "name": "Maria", "email": f"{id_.lstrip('0')}@example.com"}


def echo() -> Starlette:
    """A bare Starlette: one route, no middleware."""
    return Starlette(routes=[Route("/{path:path}", accepted, methods=["POST"])])


NOTHING = {"tickets": 0, "twice": 0, "last": 0.0, "replies": 0, "last_reply": 0.0}


def sink() -> Starlette:
    """`GET /stat` tells how many tickets came, how many of them twice, and when (Unix seconds) the last one did; and of
    the replies in conversations, how many and when."""
    told: dict[str, Any] = dict(NOTHING)
    seen: set[str] = set()
    ids = itertools.count(1)  # also after a reset: an id names one ticket

    async def create(request: Request) -> JSONResponse:
        body = json.loads(await request.body())
        ticket = body.get("ticket", body)
        name = ticket.get("external_id") or ticket.get("subject", "")
        told["twice"] += name in seen
        seen.add(name)
        told["tickets"] += 1
        told["last"] = time.time()
        made = {"id": next(ids), "status": "open"}
        return JSONResponse({"ticket": made} if "ticket" in body else made, 201)

    async def tag(request: Request) -> JSONResponse:
        return JSONResponse({"tags": json.loads(await request.body())["tags"]})

    async def stat(_: Request) -> JSONResponse:
        return JSONResponse(told)

    async def reset(_: Request) -> JSONResponse:
        seen.clear()
        told.update(NOTHING)
        return JSONResponse(told)

    async def talk(request: Request) -> JSONResponse:
        return JSONResponse(conversation(request.path_params["id"]))

    async def reply(request: Request) -> JSONResponse:
        """With the reply in it, which is how a client learns its id."""
        told["replies"] += 1
        told["last_reply"] = now = time.time()
        said, id_ = json.loads(await request.body()), request.path_params["id"]
        part = {
            "type": "conversation_part", "id": str(told["replies"]), "part_type": said["message_type"],
            "body": said["body"], "created_at": int(now), "author": {"type": "admin", "id": said["admin_id"]},
        }  # fmt: skip
        return JSONResponse(conversation(id_, part))

    async def contact(request: Request) -> JSONResponse:
        return JSONResponse({**contact_of(request.path_params["id"]), "type": "contact", "role": "user"})

    async def name_tag(request: Request) -> JSONResponse:
        return JSONResponse({"type": "tag", "id": "1", **json.loads(await request.body())})

    return Starlette(
        routes=[
            Route("/api/v2/tickets.json", create, methods=["POST"]),
            Route("/api/v2/tickets", create, methods=["POST"]),
            Route("/api/v2/tickets/{id}/tags.json", tag, methods=["PUT", "DELETE"]),
            Route("/conversations/{id}", talk),
            Route("/conversations/{id}/reply", reply, methods=["POST"]),
            Route("/conversations/{id}/tags", name_tag, methods=["POST"]),
            Route("/contacts/{id}", contact),
            Route("/tags", name_tag, methods=["POST"]),
            Route("/stat", stat),
            Route("/reset", reset, methods=["POST"]),
        ]
    )


APPS = {"echo": echo, "sink": sink}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("app", choices=APPS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--flags", type=json.loads, default={}, help="for uvicorn, as JSON")
    given = parser.parse_args()
    uvicorn.run(APPS[given.app](), host="127.0.0.1", port=given.port, **given.flags)
