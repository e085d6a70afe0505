"""The verbs that run something: up, serve, worker, migrate."""

import gc
import signal
import sys
from functools import partial
from typing import Annotated, Any

import typer
import uvicorn

from gateway import embedded, jobs, logs, processes, runtime
from gateway.processes import Child
from gateway.settings import Settings, settings
from gateway.store import database
from gateway.web.app import App

from .app import app, opened, out

UVICORN: dict[str, Any] = {
    "log_config": None, "access_log": False, "server_header": False, "timeout_graceful_shutdown": 10,
    "lifespan": "on", "loop": "auto", "http": "auto", "backlog": 4096,
}  # fmt: skip
"""Also what the servers run with that the benchmarks compare this one with."""

Port = Annotated[int, typer.Option(help="Where webhooks come in.", min=1, max=65535)]
Host = Annotated[str, typer.Option(help="Address to listen at; behind a proxy keep 127.0.0.1.")]
Workers = Annotated[int, typer.Option(help="Worker processes.", min=1, max=64)]


@app.command()
def up(port: Port = 8000, host: Host = "127.0.0.1", workers: Workers = 2) -> None:
    """Run everything on this machine: stores (embedded unless named), migrations, server, workers, schedules."""
    chosen = _settings()
    with embedded.stores(chosen) as stores:
        with runtime_on(chosen, stores) as started:
            database.migrate(started.db)
        children = [Child(name="server", work=partial(_serve, chosen, stores, host, port))]
        out.print(
            f"webhooks: http://{host}:{port}/hooks/TENANT/CONNECTION   health: /healthz /readyz /metrics"
        )
        sys.exit(processes.supervise(children + _crew(chosen, stores, workers)))


@app.command()
def serve(port: Port = 8000, host: Host = "127.0.0.1") -> None:
    """Run one server process: it verifies, stores and acknowledges webhooks."""
    chosen = _settings()
    with embedded.stores(chosen) as stores:
        _serve(chosen, stores, host, port)


@app.command()
def worker(workers: Annotated[int, typer.Option(help="Worker processes.", min=1, max=64)] = 1) -> None:
    """Run workers: they convert, decide, and call the vendors. SIGTERM finishes the job in hand."""
    chosen = _settings()
    with embedded.stores(chosen) as stores:
        if workers == 1:
            _work(chosen, stores)
        else:
            sys.exit(processes.supervise(_crew(chosen, stores, workers)))


def _crew(chosen: Settings, stores: embedded.Stores, workers: int) -> list[Child]:
    """Forks of this process, so that what they have in common is in memory once."""
    return [Child(name=f"worker-{n}", work=partial(_work, chosen, stores)) for n in range(1, workers + 1)]


def _serve(chosen: Settings, stores: embedded.Stores, host: str, port: int) -> None:
    # uvicorn raises the signal again once it has stopped: the end of an orderly stop, and no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with runtime_on(chosen, stores) as started:
        _check(stores)
        _rarely_collect_garbage()
        uvicorn.run(App(started), host=host, port=port, **UVICORN)


def _work(chosen: Settings, stores: embedded.Stores) -> None:
    with runtime_on(chosen, stores) as started:
        _check(stores)
        _rarely_collect_garbage()
        jobs.work(started)


def _rarely_collect_garbage() -> None:
    """Nearly all that a webhook leaves behind is freed by counting; looking for the rest costs 5 % of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@app.command()
def migrate() -> None:
    """Bring the database schema up to this version."""
    with opened(migrated=False) as started:
        before, after = database.migrate(started.db)
    out.print(
        f"schema: {before or 'empty'} -> {after}" if before != after else f"schema: {after}, nothing to do"
    )


def runtime_on(chosen: Settings, stores: embedded.Stores) -> runtime.Closing:
    return runtime.Closing(
        runtime.start(chosen, stores.database_url, stores.redis_url, embedded.secret_keys(chosen))
    )


def _settings() -> Settings:
    chosen = settings()
    logs.configure(chosen.log_format, chosen.log_level)
    return chosen


def _check(stores: embedded.Stores) -> None:
    """Raises GatewayError for a Redis that will not do. One that is away is waited for: webhooks need none."""
    try:
        findings = embedded.check_redis(stores.redis_url)
    except embedded.Away as away:
        findings = [("warning", f"{away}; webhooks are accepted, and work waits for it")]
    for level, text in findings:
        if level != "ok":
            out.print(text, style="yellow", markup=False)
