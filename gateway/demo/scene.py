"""What is the demo's story played on, once everything is there?"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from gateway.runtime import Runtime

from .view import Screen

TENANT = "demo"


class Stopped(Exception):
    """Somebody wants the demo to end."""


@dataclass(slots=True)
class Scene:
    """The parts that run, and what ties the story to the processes around it. URLs have no slash at their end;
    `sandboxes` has one by the name of each connection.

    `stopping` is set when the demo is to end; `supervised` once somebody looks after its processes.
    """

    gateway: Runtime
    http: httpx.Client
    server: str
    sandboxes: Mapping[str, str]
    signing_secret: str
    home: Path
    screen: Screen
    once: bool
    finished: bool = False
    stopping: threading.Event = field(default_factory=threading.Event)
    supervised: threading.Event = field(default_factory=threading.Event)
