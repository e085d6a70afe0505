"""Against what is measured, and where do the calls of the gateway and its peers end? Two small servers.

`echo` reads the body and answers 202, as short as a server can. `sink` takes tickets as Zendesk does
(`/api/v2/tickets.json`) and Freshdesk (`/api/v2/tickets`), answers 201, counts them, and keeps nothing else; tags
on tickets it takes as Zendesk does.
"""

import argparse
import json
import time
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def accepted(request: Request) -> JSONResponse:
    await request.body()
    return JSONResponse({"delivery": 1}, 202)


def echo() -> Starlette:
    """A bare Starlette: one route, no middleware."""
    return Starlette(routes=[Route("/{path:path}", accepted, methods=["POST"])])


def sink() -> Starlette:
    """`GET /stat` tells how many tickets came, how many of them twice, and when (Unix seconds) the last one did."""
    told: dict[str, Any] = {"tickets": 0, "twice": 0, "last": 0.0}
    seen: set[str] = set()

    async def create(request: Request) -> JSONResponse:
        body = json.loads(await request.body())
        ticket = body.get("ticket", body)
        name = ticket.get("external_id") or ticket.get("subject", "")
        told["twice"] += name in seen
        seen.add(name)
        told["tickets"] += 1
        told["last"] = time.time()
        made = {"id": told["tickets"], "status": "open"}
        return JSONResponse({"ticket": made} if "ticket" in body else made, 201)

    async def tag(request: Request) -> JSONResponse:
        return JSONResponse({"tags": json.loads(await request.body())["tags"]})

    async def stat(_: Request) -> JSONResponse:
        return JSONResponse(told)

    async def reset(_: Request) -> JSONResponse:
        seen.clear()
        told.update(tickets=0, twice=0, last=0.0)
        return JSONResponse(told)

    return Starlette(
        routes=[
            Route("/api/v2/tickets.json", create, methods=["POST"]),
            Route("/api/v2/tickets", create, methods=["POST"]),
            Route("/api/v2/tickets/{id}/tags.json", tag, methods=["PUT", "DELETE"]),
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
