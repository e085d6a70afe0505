"""How is the stage set for the demo? Stores, server, workers, sandboxes and a tenant of its own, for once only."""

import importlib
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from string import Template
from typing import Any

import httpx

from gateway import configuration, embedded, processes, registry, runtime, tenants_file
from gateway.model.errors import GatewayError, PluginError
from gateway.processes import STOP_SIGNALS, Child
from gateway.runtime import Runtime
from gateway.settings import Settings
from gateway.store import database
from gateway.testing import serving

from .chat import Chat
from .desks import DESKS
from .onboarding import Onboarding
from .scene import TENANT, Scene, Stopped
from .story import Story
from .view import Screen

WORKERS = 2
USUAL_PORT = 8000
REFUSAL = {"kind": "status", "status": 400, "method": "POST", "path": "/tickets"}


def run(*, once: bool, broken_desk: bool = False) -> None:
    """Play the story; without `once`, stay up afterwards until Ctrl-C.

    Raises GatewayError when a step did not happen, KeyboardInterrupt when it was stopped before its end.

    :param broken_desk: the ticket desk refuses new tickets, to see how a step fails
    """
    screen = Screen()
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    with _home() as home, ExitStack() as parts:
        screen.chapter("gateway demo: everything on this machine, for once only")
        chosen = _settings(home)
        stores = parts.enter_context(embedded.stores(chosen))
        gateway = parts.enter_context(_runtime(chosen, stores))
        screen.line("stores", f"PostgreSQL and Valkey, embedded, in {home}")
        scene = _scene(gateway, home, screen, parts, once=once)
        if broken_desk:
            httpx.post(f"{scene.sandboxes['movidesk']}/_sandbox/misbehave", json=REFUSAL, trust_env=False)
        _play(scene, _children(scene, stores, home))


def _stop(*_: object) -> None:
    """The first signal unwinds; more of them would only leave things lying around."""
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _home() -> Iterator[Path]:
    """A directory of the demo's own. It stays behind only where there is something to find out."""
    home = Path(tempfile.mkdtemp(prefix="gateway-demo-")).resolve()
    (home / "logs").mkdir()
    try:
        yield home
    except GatewayError as error:
        raise GatewayError(f"{error} (logs: {home}/logs)") from None
    except (KeyboardInterrupt, SystemExit):
        shutil.rmtree(home, ignore_errors=True)
        raise
    shutil.rmtree(home, ignore_errors=True)


def _settings(home: Path) -> Settings:
    """The defaults, whatever GATEWAY_* says: the operator's stores are no scene."""
    usual = {name: field.get_default() for name, field in Settings.model_fields.items()}
    return Settings(**{**usual, "data_dir": home, "allow_private_targets": True})


def _environment(stores: embedded.Stores, home: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    ours = {"GATEWAY_DATA_DIR": str(home), "GATEWAY_ALLOW_PRIVATE_TARGETS": "1"}
    return inherited | stores.environment() | ours


@contextmanager
def _runtime(chosen: Settings, stores: embedded.Stores) -> Iterator[Runtime]:
    keys = embedded.secret_keys(chosen)
    with runtime.Closing(runtime.start(chosen, stores.database_url, stores.redis_url, keys)) as started:
        database.migrate(started.db)
        yield started


def _scene(gateway: Runtime, home: Path, screen: Screen, parts: ExitStack, *, once: bool) -> Scene:
    desks = {name: desk(secrets.token_urlsafe(24), secrets.token_urlsafe(24)) for name, desk in DESKS.items()}
    sandboxes = {
        name: parts.enter_context(serving(_sandbox(desk.vendor)(**desk.options)))
        for name, desk in desks.items()
    }
    for name, url in sandboxes.items():
        screen.line("sandbox", f"{name}: {url}")
    changes = _applied(
        gateway, sandboxes, {n: v for desk in desks.values() for n, v in desk.environment.items()}
    )
    screen.line("tenant", f"{TENANT}, applied from its YAML: {changes} settings")
    port = _free_port(USUAL_PORT if not once else 0)
    server = f"http://127.0.0.1:{port}"
    for name, url in sandboxes.items():
        target = f"{server}/hooks/{TENANT}/{name}{desks[name].query}"
        httpx.post(f"{url}/_sandbox/webhooks", json={"url": target}, trust_env=False).raise_for_status()
    http = parts.enter_context(httpx.Client(trust_env=False, timeout=10))
    signing_secret = desks["pagamentos"].environment["DEMO_PAYMENTS_SECRET"]
    return Scene(gateway, http, server, sandboxes, signing_secret, home, screen, once=once)


def _sandbox(vendor: str) -> Any:
    """The vendor's fake. The core knows no vendor, so it is found by the name of what is installed."""
    module = registry.load().vendors.get(vendor)
    if module is None:
        raise PluginError(f"the demo needs the vendor {vendor!r}, which is not installed")
    return importlib.import_module(f"{module.__name__}.sandbox").create_app


def _applied(gateway: Runtime, sandboxes: Mapping[str, str], secrets_: dict[str, str]) -> int:
    """As `gateway apply` does it; how many lines its diff has."""
    text = Template(Path(__file__).with_name("tenant.yaml").read_text(encoding="utf-8"))
    content = text.substitute(sandboxes).encode()
    reading = tenants_file.read(content, Path(), secrets_, gateway.registry)
    with configuration.changing(gateway.db) as db:
        before = configuration.stored(db, gateway.keyring)
        after = configuration.merged(before, reading.tenants)
        configuration.check_references(gateway.registry, after, reading.tenants)
        return len(configuration.save(db, before, after, gateway.registry, gateway.keyring))


def _free_port(usual: int) -> int:
    """The usual one, unless somebody has it; 0 = any."""
    for port in (usual, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as listener:
                found: int = listener.getsockname()[1]
                return found
        except OSError:
            continue
    raise GatewayError("this machine has no free port at 127.0.0.1")


def _children(scene: Scene, stores: embedded.Stores, home: Path) -> list[Child]:
    """The processes of `gateway up`, each with a log of its own."""
    port = scene.server.rpartition(":")[2]
    verbs = {"server": ["serve", f"--port={port}"]} | {
        f"worker-{n}": ["worker"] for n in range(1, WORKERS + 1)
    }
    return [
        Child(
            name=name,
            argv=[sys.executable, "-m", "gateway", *verb],
            env=_environment(stores, home),
            output=home / "logs" / f"{name}.log",
            before=scene.supervised.set,
        )
        for name, verb in verbs.items()
    ]


def _play(scene: Scene, children: list[Child]) -> None:
    """The processes belong to the main thread, so the story has one of its own."""
    ended: list[BaseException | None] = []

    def tell() -> None:
        try:
            story = Story(scene, workers=WORKERS)
            story.tell(Onboarding(story).steps() | Chat(story).steps())
            ended.append(None)
        except BaseException as error:  # noqa: BLE001 - raised again where the demo ends
            ended.append(error)
        scene.supervised.wait()
        os.kill(os.getpid(), signal.SIGTERM)  # supervise() ends by a signal, as for everybody

    _ignore_signals()  # until supervise() listens to them itself
    thread = threading.Thread(target=tell, name="story", daemon=True)
    thread.start()
    try:
        processes.supervise(children)
    finally:
        scene.stopping.set()
        thread.join()
    error = ended[0]
    if isinstance(error, Stopped):
        if scene.once or not scene.finished:
            raise KeyboardInterrupt
    elif error is not None:
        raise error
