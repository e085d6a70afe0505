"""How are Node-RED and n8n run with the same work, for those who have npm, minutes and 2 GB to spare?

The work: take an Intercom notification, look for words, a phone number and a link, and create one ticket at the
sink. Node-RED answers before it works and keeps everything in memory; n8n saves every execution in SQLite. What is
installed stays in the temp dir for the next run.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench import report
from bench.installation import Memory, free_port, memory_of, running, wait_for

HERE = Path(__file__).parent / "peers"
SINK = "http://127.0.0.1:9002"
"""The address in the two workflows; replaced by the sink's."""
INSTALL_SECONDS = 900


class Absent(Exception):
    """It cannot be run here; the message says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One npm package. `prepare` fills its user folder before it starts with `argv`."""

    name: str
    package: Mapping[str, object]
    command: str
    arguments: tuple[str, ...]
    path: str
    events: int
    prepare: Callable[[Path, str, int, Mapping[str, str]], None]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Running:
    """A peer that answers."""

    process: "subprocess.Popen[bytes]"
    port: int

    def memory(self) -> Memory:
        parent = psutil.Process(self.process.pid)
        return memory_of([parent, *parent.children(recursive=True)])


def _prepare_node_red(folder: Path, sink: str, port: int, _: Mapping[str, str]) -> None:
    flows = (HERE / "node-red-flows.json").read_text().replace(SINK, sink)
    (folder / "flows.json").write_text(flows)
    settings = (
        f"module.exports = {{flowFile: 'flows.json', uiHost: '127.0.0.1', uiPort: {port}, "
        "functionGlobalContext: {crypto: require('crypto')}}\n"
    )
    (folder / "settings.js").write_text(settings)


def _prepare_n8n(folder: Path, sink: str, _: int, env: Mapping[str, str]) -> None:
    workflow = folder / "workflow.json"
    workflow.write_text((HERE / "n8n-workflow.json").read_text().replace(SINK, sink))
    program = str(folder / "node_modules/.bin/n8n")
    shutil.rmtree(folder / ".n8n", ignore_errors=True)
    for arguments in (
        ["import:workflow", f"--input={workflow}"],
        ["update:workflow", "--all", "--active=true"],
    ):
        _run([program, *arguments], folder, env, 180)


PEERS = (
    Peer(
        "Node-RED", {"dependencies": {"node-red": "4"}}, "node-red",
        ("--userDir", "{folder}", "--settings", "{folder}/settings.js"), "/hooks/t1/intercom", 6_000,
        _prepare_node_red,
    ),
    Peer(
        "n8n", {"dependencies": {"n8n": "1.110.1"}, "overrides": {"xlsx": "0.18.5"}}, "n8n", ("start",),
        "/webhook/intercom", 1_000, _prepare_n8n,
        {
            "DB_SQLITE_POOL_SIZE": "4", "N8N_DIAGNOSTICS_ENABLED": "false", "N8N_RUNNERS_ENABLED": "true",
            "N8N_VERSION_NOTIFICATIONS_ENABLED": "false", "N8N_LISTEN_ADDRESS": "127.0.0.1",
        },
    ),
)  # fmt: skip


def home(peer: Peer) -> Path:
    folder = Path(tempfile.gettempdir()) / f"gateway-bench-{peer.name.lower()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@contextmanager
def running_peer(peer: Peer, folder: Path, sink: str) -> Iterator[Running]:
    """Installed if need be, and answering. Raises Absent."""
    _install(peer, folder)
    port = free_port()
    env = {**os.environ, **peer.env, "N8N_USER_FOLDER": str(folder), "N8N_PORT": str(port)}
    peer.prepare(folder, sink, port, env)
    program = str(folder / "node_modules/.bin" / peer.command)
    argv = [program, *(argument.format(folder=folder) for argument in peer.arguments)]
    log = folder / "output.log"
    log.unlink(missing_ok=True)
    with running(argv, log, env) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}{peer.path}", process, log, method="POST", below=400)
        except RuntimeError as error:
            raise Absent(str(error)) from None
        yield Running(process, port)


def _install(peer: Peer, folder: Path) -> None:
    if (folder / "node_modules/.bin" / peer.command).exists():
        return
    npm = shutil.which("npm")
    if npm is None:
        raise Absent("there is no npm on this machine")
    report.progress(f"installing {peer.name} (minutes)")
    (folder / "package.json").write_text(json.dumps(peer.package))
    _run([npm, "install", "--no-audit", "--no-fund", "--loglevel=error"], folder, os.environ, INSTALL_SECONDS)


def _run(argv: list[str], folder: Path, env: Mapping[str, str], seconds: float) -> None:
    try:
        subprocess.run(argv, cwd=folder, env=env, check=True, capture_output=True, text=True, timeout=seconds)
    except subprocess.CalledProcessError as error:
        raise Absent(
            f"{Path(argv[0]).name} {argv[1]} failed: {(error.stderr or error.stdout)[-300:]}"
        ) from None
    except subprocess.TimeoutExpired:
        raise Absent(f"{Path(argv[0]).name} {argv[1]} took longer than {seconds:g} s") from None
