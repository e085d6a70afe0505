"""The demo tells the truth: it ends well only if all of it happened, and it leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from gateway.demo.scene import Scene, Stopped
from gateway.demo.story import Story
from gateway.demo.view import Screen
from gateway.demo.watch import Watch
from gateway.model.errors import GatewayError
from gateway.runtime import Runtime

DEMO = [sys.executable, "-m", "gateway", "demo"]
PATIENCE = 58


@pytest.fixture
def room() -> Iterator[Path]:
    """A folder that the user of the embedded servers may pass through, which pytest's own is not for root."""
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        (room / "tmp").mkdir(mode=0o755)
        room.chmod(0o755)
        yield room


@pytest.fixture
def environment(room: Path) -> dict[str, str]:
    """An operator's, who has a gateway elsewhere: the demo must not go there."""
    elsewhere = {
        "GATEWAY_DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:1/none",
        "GATEWAY_REDIS_URL": "redis://127.0.0.1:1/0",
        "GATEWAY_DATA_DIR": str(room / "operator"),
        "GATEWAY_SECRET_KEYS": "not-a-key",
    }
    inherited = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "FORCE_COLOR"}}
    return inherited | elsewhere | {"TMPDIR": str(room / "tmp"), "PYTHONUNBUFFERED": "1"}


class Run:
    """A demo in a process of its own, whose lines are kept as they come."""

    def __init__(self, arguments: list[str], environment: dict[str, str], folder: Path) -> None:
        self.process = subprocess.Popen(
            [*DEMO, *arguments], env=environment, cwd=folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=into.extend, args=(pipe,), daemon=True)
            for into, pipe in ((self.lines, self.process.stdout), (self.errors, self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    @property
    def text(self) -> str:
        """What was printed, whichever way it was wrapped."""
        return " ".join("".join(self.lines).split())

    def until(self, words: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while words not in self.text:
            assert self.process.poll() is None, f"it ended: {self.text} {self.errors}"
            assert time.monotonic() < deadline, f"no {words!r} in {self.text}"
            time.sleep(0.05)

    def ended(self) -> int:
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(5)
        assert "Traceback" not in "".join(self.errors)
        return code


@pytest.fixture
def demo(environment: dict[str, str], room: Path) -> Iterator["list[Run]"]:
    """Demos that were started; none outlives its test."""
    runs: list[Run] = []
    yield runs
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()
        for pipe in (run.process.stdout, run.process.stderr):
            assert pipe
            pipe.close()


@pytest.fixture
def start(demo: list[Run], environment: dict[str, str], room: Path):
    def started(*arguments: str) -> Run:
        demo.append(Run(list(arguments), environment, room))
        return demo[-1]

    return started


def left_behind(folder: Path) -> list[Path]:
    return [path for path in (*(folder / "tmp").iterdir(), *folder.iterdir()) if path.name != "tmp"]


TOLD = (
    '202 {"delivery": 1}',
    "converted payment.confirmed: R$ 990,00 of Padaria Exemplo",
    "core_ticket_on_payment acted: pagamento pay_1 confirmado e o cliente não tem chamado CORE aberto",
    "had nothing to say: require_phone, require_bitrix_link, auto_tag, escalate",
    "POST /tickets?token=[redacted] -> 200",
    "50812 'CORE - Padaria Exemplo', team GR, tags core, onboarding; fields",
    "one ticket at Movidesk; its own webhook was recognised as our doing",
    "converted ticket.created, ticket 50813",
    "PATCH /tickets?token=[redacted]&id=50813 -> 200",
    "| Falta um telefone convencional neste chamado.",
    "the tag sem-telefone is gone",
    '200 {"delivery": 1, "duplicate": true}',
    "payment.confirmed:pay_1 is known since delivery 1; no rule is asked",
    "the conversation has the tag financeiro",
    "require_bitrix_link acted: a primeira interação não tem link válido do Bitrix",
    "| Rui Alves, falta o link do Bitrix neste atendimento.",
    "deal:1001 at Bitrix24 has one entry in its timeline, with the chat's address",
    "escalate acted: escalado por /escalar em nota interna",
    "one ticket at support, and its address in the chat",
    "answers the customer at Freshdesk: Ana, o estorno foi feito hoje",
    "the answer came once, no echo, and the chat has the tag resolvido-suporte",
    "All of it happened",
)


def test_once_all_of_it_happens_and_nothing_stays(start, room: Path) -> None:
    began = time.monotonic()
    run = start("--once")
    assert run.ended() == 0, run.errors
    assert time.monotonic() - began < 60
    at = [run.text.find(words) for words in TOLD]
    assert -1 not in at, f"not told: {[words for words, place in zip(TOLD, at, strict=True) if place < 0]}"
    assert at == sorted(at), "not told in the order in which it happened"
    assert "we did this ourselves" in run.text
    assert max(len(line.rstrip("\n")) for line in run.lines) <= 80
    assert left_behind(room) == []


def test_a_step_that_does_not_happen_is_named_and_its_logs_stay(start, room: Path) -> None:
    run = start("--once", "--broken-desk")
    assert run.ended() == 1
    [line] = run.errors
    assert line.startswith(
        "gateway: demo step 1 (a signed payment becomes a ticket) failed: create_ticket is dead"
    )
    [logs] = re.findall(r"\(logs: (.+)\)$", line)
    assert {log.name for log in Path(logs).iterdir()} == {"server.log", "worker-1.log", "worker-2.log"}
    assert "All of it happened" not in run.text


def test_it_stays_up_for_what_people_try_until_ctrl_c(start, room: Path, environment: dict[str, str]) -> None:
    run = start()
    run.until("Everything goes with Ctrl-C.")
    processes = psutil.Process(run.process.pid).children(recursive=True)
    assert len(processes) > 3
    shown = "".join(run.lines)
    [hook] = re.findall(r"curl -s -w '\\n' (http\S+/hooks/demo/pagamentos)", shown)
    headers = dict(re.findall(r"-H '([^:]+): ([^']+)'", shown))
    [body] = re.findall(r"-d '(\{\"type\".+\})'\n", shown)
    answer = httpx.post(hook, content=body.encode(), headers=headers, trust_env=False)
    assert answer.status_code == 202
    run.until("converted payment.confirmed: R$ 1.530,75 of Oficina Modelo")
    [home] = re.findall(r"export GATEWAY_DATA_DIR=(\S+)", shown)
    mine = {name: value for name, value in environment.items() if not name.startswith("GATEWAY_")}
    delivery = answer.json()["delivery"]
    explained = subprocess.run(
        [sys.executable, "-m", "gateway", "explain", str(delivery)],
        env=mine | {"GATEWAY_DATA_DIR": home}, cwd=room, text=True, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip
    assert f"Delivery {delivery} of demo/pagamentos: decided" in explained.stdout, explained.stderr
    run.process.send_signal(signal.SIGINT)
    assert run.ended() == 0
    assert run.errors == []
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert alive == []
    assert left_behind(room) == []


def test_ctrl_c_before_the_end_of_the_story_is_no_success(start, room: Path) -> None:
    run = start("--once")
    run.until("stores PostgreSQL and Valkey")
    run.process.send_signal(signal.SIGINT)
    assert run.ended() == 130
    assert run.errors == []
    assert left_behind(room) == []


@pytest.fixture
def story(gateway: Runtime, tmp_path: Path) -> Iterator[Story]:
    """One that has not begun."""
    with httpx.Client() as http, gateway.db.connect() as db:
        scene = Scene(gateway, http, "", {}, "", tmp_path, Screen(), once=True)
        story = Story(scene, workers=1)
        story.watch = Watch(db, "demo")
        yield story


def test_what_does_not_come_in_time_is_named(story: Story) -> None:
    with pytest.raises(GatewayError, match="waited 0 s in vain until the post comes"):
        story.until("the post comes", lambda: None, 0.3)


def test_waiting_ends_when_somebody_ends_the_demo(story: Story) -> None:
    story.scene.stopping.set()
    with pytest.raises(Stopped):
        story.until("the post comes", lambda: None)
