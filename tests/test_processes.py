"""Do the processes of a group live and die together? Proved with real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.model.errors import GatewayError
from gateway.processes import Child, ChildFailed, supervise

# What a child does: it writes its number down, and lives until somebody ends it.
WORK = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); time.sleep(600)"
POLITE = (
    "import os, signal, sys\n"
    "signal.signal(signal.SIGTERM, lambda *_: (open(sys.argv[1] + '.bye', 'w').close(), sys.exit(0)))\n"
    + WORK
)
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WORK
PARENT = (
    "import subprocess, sys; subprocess.Popen([sys.executable, '-c', "
    f"{WORK!r}, sys.argv[1] + '.grandchild']); {WORK}"
)
SUPERVISOR = """
import json, logging, sys
from gateway.processes import Child, supervise
logging.basicConfig(level=logging.INFO, format="%(message)s")
sys.exit(supervise([Child(**child) for child in json.loads(sys.argv[1])], stop_timeout=float(sys.argv[2])))
"""

Start = Callable[..., "subprocess.Popen[bytes]"]


def until(ask: Callable[[], Any], seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return answer


def pids(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def child(code: str, *arguments: object, name: str = "worker") -> dict[str, Any]:
    return {"name": name, "argv": [sys.executable, "-c", code, *map(str, arguments)]}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(children, stop_timeout) runs a supervisor; its log is `log` in tmp_path."""
    started = []

    def begin(*children: dict[str, Any], stop_timeout: float = 10.0) -> "subprocess.Popen[bytes]":
        with (tmp_path / "log").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", SUPERVISOR, json.dumps(children), str(stop_timeout)],
                stderr=output,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def test_a_child_that_dies_is_started_again_and_the_log_says_so(start: Start, tmp_path: Path) -> None:
    seen = tmp_path / "pids"
    start(child(WORK, seen))
    first = until(lambda: pids(seen))[0]
    os.kill(first, signal.SIGKILL)
    second = until(lambda: pids(seen)[1:])[0]
    assert alive(second)
    assert "worker: signal 9, Killed" in (tmp_path / "log").read_text()


def test_a_child_that_keeps_dying_is_started_with_growing_delays(start: Start, tmp_path: Path) -> None:
    start(child("import os; os.kill(os.getpid(), 9)"))
    until(lambda: "again in 2 s" in (tmp_path / "log").read_text())
    delays = [line.rpartition(" in ")[2] for line in (tmp_path / "log").read_text().splitlines()]
    assert delays[:2] == ["0.5 s", "2 s"]


def test_the_others_go_on_while_one_is_started_again(start: Start, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    start(child(WORK, one), child(WORK, other))
    until(lambda: pids(one) and pids(other))
    os.kill(pids(one)[0], signal.SIGKILL)
    until(lambda: len(pids(one)) == 2)
    assert len(pids(other)) == 1
    assert alive(pids(other)[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_lets_every_child_end_cleanly(start: Start, tmp_path: Path, number: int) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    supervisor = start(child(POLITE, one), child(POLITE, other))
    until(lambda: pids(one) and pids(other))
    os.kill(supervisor.pid, number)
    assert supervisor.wait(10) == 0
    assert not any(alive(pid) for pid in pids(one) + pids(other))
    assert (tmp_path / "one.bye").exists()
    assert (tmp_path / "other.bye").exists()


def test_ctrl_c_reaches_the_supervisor_alone(start: Start, tmp_path: Path) -> None:
    seen = tmp_path / "pids"
    supervisor = start(child(POLITE, seen))
    until(lambda: pids(seen))
    os.killpg(supervisor.pid, signal.SIGINT)  # what a terminal does; a KeyboardInterrupt would leave no .bye
    assert supervisor.wait(10) == 0
    assert (tmp_path / "pids.bye").exists()


def test_a_child_that_will_not_stop_is_killed_after_the_timeout(start: Start, tmp_path: Path) -> None:
    seen = tmp_path / "pids"
    supervisor = start(child(DEAF, seen), stop_timeout=0.5)
    until(lambda: pids(seen))
    began = time.monotonic()
    supervisor.terminate()
    assert supervisor.wait(10) == 0
    assert time.monotonic() - began >= 0.5
    assert not alive(pids(seen)[0])
    assert "worker did not stop in time" in (tmp_path / "log").read_text()


def test_a_second_signal_cuts_the_waiting_short(start: Start, tmp_path: Path) -> None:
    seen = tmp_path / "pids"
    supervisor = start(child(DEAF, seen), stop_timeout=600)
    until(lambda: pids(seen))
    supervisor.terminate()
    time.sleep(1.2)
    assert supervisor.poll() is None
    supervisor.terminate()
    assert supervisor.wait(10) == 0
    assert not alive(pids(seen)[0])


def test_what_a_child_started_ends_with_it(start: Start, tmp_path: Path) -> None:
    seen, below = tmp_path / "pids", tmp_path / "pids.grandchild"
    supervisor = start(child(PARENT, seen))
    until(lambda: pids(seen) and pids(below))
    os.kill(pids(seen)[0], signal.SIGKILL)
    until(lambda: len(pids(below)) == 2)
    assert not alive(pids(below)[0])
    supervisor.terminate()
    assert supervisor.wait(10) == 0
    assert not alive(pids(below)[1])


def test_kill_9_of_the_supervisor_leaves_no_orphan(start: Start, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    supervisor = start(child(POLITE, one), child(POLITE, other))
    until(lambda: pids(one) and pids(other))
    supervisor.kill()
    until(lambda: not any(alive(pid) for pid in pids(one) + pids(other)))
    assert (tmp_path / "one.bye").exists()


def test_a_child_that_gives_up_at_its_first_start_stops_the_group(tmp_path: Path) -> None:
    seen = tmp_path / "pids"
    bad = "import time; time.sleep(0.5); raise SystemExit(3)"
    with pytest.raises(ChildFailed, match="server ended at once: exit code 3") as failure:
        supervise([Child(**child(WORK, seen)), Child(**child(bad, name="server"))])
    assert failure.value.child.name == "server"
    assert failure.value.code == 3
    assert not alive(pids(seen)[0])


def test_a_program_that_is_not_there_stops_the_group(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match=r"worker cannot be started: .*no-such-program"):
        supervise([Child(**child(WORK, tmp_path / "pids")), Child(name="worker", argv=["/no-such-program"])])
    assert not any(alive(pid) for pid in pids(tmp_path / "pids"))


def test_the_callers_own_signal_handling_is_put_back(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)]
    with pytest.raises(GatewayError):
        supervise([Child(name="worker", argv=["/no-such-program"])])
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_a_child_gets_its_environment_directory_and_output_file(tmp_path: Path) -> None:
    output = tmp_path / "output"
    code = "import os; print(os.environ['WORD'], os.getcwd(), flush=True); raise SystemExit(1)"
    with pytest.raises(ChildFailed):
        supervise([Child(**child(code), env={"WORD": "bom dia"}, cwd=tmp_path, output=output)])
    assert output.read_text() == f"bom dia {tmp_path}\n"


def test_what_must_be_cleared_is_cleared_before_every_start(tmp_path: Path) -> None:
    calls: list[str] = []
    code = "import os; os.kill(os.getpid(), 9)"

    def clear() -> None:
        calls.append("cleared")
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    assert supervise([Child(**child(code), before=clear)]) == 0
    assert calls == ["cleared", "cleared"]


FORKS = """
import logging, os, signal, sys, time
from pathlib import Path
from gateway.model.errors import GatewayError
from gateway.processes import Child, supervise

def work():
    with Path(sys.argv[1]).open("a") as file:
        file.write(f"{os.getpid()}\\n")
    if sys.argv[2] == "refuse":
        raise GatewayError("the port is taken")
    signal.signal(signal.SIGTERM, lambda *_: (Path(sys.argv[1] + ".bye").touch(), sys.exit(0)))
    while True:
        time.sleep(0.1)

logging.basicConfig(level=logging.INFO, format="%(message)s")
try:
    sys.exit(supervise([Child(name="worker", work=work)], stop_timeout=5))
except GatewayError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def forking(tmp_path: Path) -> Iterator[Callable[[str], "subprocess.Popen[bytes]"]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(how: str) -> "subprocess.Popen[bytes]":
        argv = [sys.executable, "-c", FORKS, str(tmp_path / "pids"), how]
        started.append(subprocess.Popen(argv, stderr=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_fork_is_started_again_when_it_dies_and_stopped_with_the_rest(forking, tmp_path):
    supervisor = forking("serve")
    (first,) = until(lambda: pids(tmp_path / "pids"))
    os.kill(first, signal.SIGKILL)
    until(lambda: len(pids(tmp_path / "pids")) == 2)
    time.sleep(0.3)
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(10) == 0
    assert (tmp_path / "pids.bye").exists()
    assert not any(alive(pid) for pid in pids(tmp_path / "pids"))


def test_a_fork_does_not_outlive_a_supervisor_that_is_killed(forking, tmp_path):
    supervisor = forking("serve")
    (pid,) = until(lambda: pids(tmp_path / "pids"))
    supervisor.kill()
    until(lambda: not alive(pid))


def test_a_fork_that_refuses_at_once_ends_the_group_with_its_reason(forking):
    supervisor = forking("refuse")
    _, told = supervisor.communicate(timeout=10)
    assert supervisor.returncode == 1
    assert b"the port is taken" in told
    assert b"worker ended at once: exit code 1" in told
    assert b"Traceback" not in told
