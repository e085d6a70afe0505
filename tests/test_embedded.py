"""Do the embedded stores start, survive and end as promised? Proved with the real servers."""

import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis
from cryptography.fernet import Fernet

from gateway import embedded, server_user, servers
from gateway.embedded import Stores, check_database, check_redis, secret_keys, stores
from gateway.keeper import read_run
from gateway.model.errors import GatewayError, InvalidConfiguration
from gateway.settings import Settings

# A command that uses the stores for as long as its stdin is open, and says what it got.
COMMAND = """
import json, logging, sys
from gateway.embedded import stores
from gateway.settings import read_settings
logging.basicConfig(level=logging.INFO, format="%(message)s")
with stores(read_settings()) as found:
    print(json.dumps([found.database_url, found.redis_url]), flush=True)
    sys.stdin.read()
"""

# Work that never waits, so that the session does not notice that its server has died.
SPIN = """
DO $$ DECLARE start timestamptz := clock_timestamp();
BEGIN WHILE clock_timestamp() < start + '60 s' LOOP END LOOP; END $$
"""
# What `gateway up` does: the stores, and a group of processes that use them to the very end.
UP = """
import sys
from gateway.embedded import stores
from gateway.processes import Child, supervise
from gateway.settings import read_settings
with stores(read_settings()) as found:
    print(found.database_url, flush=True)
    worker = Child(name="worker", argv=[sys.executable, "-c", sys.argv[1], found.database_url])
    sys.exit(supervise([worker, worker]))
"""
WORKER = """
import psycopg, signal, sys, time
def note(text):
    with psycopg.connect(sys.argv[1]) as connection:
        connection.execute("INSERT INTO noted VALUES (%s)", [text])
def stop(*_):
    time.sleep(0.3)
    note("stopped")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
note("started")
time.sleep(600)
"""

Command = Callable[[Path], "subprocess.Popen[str]"]


def settings(data_dir: Path, **more: Any) -> Settings:
    return Settings(**({"data_dir": data_dir, "database_url": "", "redis_url": "", "secret_keys": ()} | more))


def until(ask: Callable[[], Any], seconds: float = 15.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return answer


def processes(data_dir: Path, kind: str = "") -> list[psutil.Process]:
    """Everything that runs for this data dir: the keeper, and the servers with all their children."""
    marks = (servers.mark_of(data_dir.resolve()), str(data_dir.resolve()))
    found = []
    for process in psutil.process_iter(["name", "cmdline", "status"]):
        words = process.info["cmdline"] or []
        ours = "gateway.embedded" in words or process.info["name"] in {"postgres", "valkey-server"}
        if ours and process.info["status"] != psutil.STATUS_ZOMBIE:
            name = "keeper" if "gateway.embedded" in words else process.info["name"]
            if any(mark in word for mark in marks for word in words) and name.startswith(kind):
                found.append(process)
    return found


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def own_name() -> str:
    """Tests share a data dir, for the sake of time; what they write bears their name."""
    return os.environ["PYTEST_CURRENT_TEST"].partition(" ")[0]


def write(found: Stores, value: str) -> None:
    with psycopg.connect(found.database_url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(1)")
        connection.execute("CREATE TABLE IF NOT EXISTS kept (test text, value text)")
        connection.execute("INSERT INTO kept VALUES (%s, %s)", [own_name(), value])
    with redis.Redis.from_url(found.redis_url) as client:
        client.rpush(own_name(), value)


def read(found: Stores) -> tuple[list[str], list[str]]:
    with psycopg.connect(found.database_url) as connection:
        rows = connection.execute("SELECT value FROM kept WHERE test = %s", [own_name()]).fetchall()
    with redis.Redis.from_url(found.redis_url, decode_responses=True) as client:
        return [value for (value,) in rows], client.lrange(own_name(), 0, -1)


def readable(found: Stores) -> Any:
    try:
        return read(found)
    except (psycopg.Error, redis.RedisError):
        return None


@contextmanager
def open_dir() -> Iterator[Path]:
    # Not below pytest's own directory: each session of root closes that one to the servers' user again.
    path = Path(tempfile.mkdtemp(prefix="gateway-test-"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture(scope="module")
def shared_dir() -> Iterator[Path]:
    with open_dir() as parent:
        yield parent / ".gateway"


@pytest.fixture
def data_dir(shared_dir: Path) -> Iterator[Path]:
    """A data dir that other tests use too; at the end nothing may run there any more."""
    yield shared_dir
    assert_nothing_runs(shared_dir)


@pytest.fixture
def new_dir() -> Iterator[Path]:
    """A data dir that does not exist yet; at the end nothing may run there any more."""
    with open_dir() as parent:
        yield parent / ".gateway"
        assert_nothing_runs(parent / ".gateway")


def assert_nothing_runs(path: Path) -> None:
    try:
        until(lambda: not processes(path))
    finally:
        kill_all(path)


@pytest.fixture
def command() -> Iterator[Command]:
    """command(data_dir) starts another `gateway` command; `used(it)` waits for its stores."""
    started = []

    def start(data_dir: Path) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND],
            env=os.environ | {"GATEWAY_DATA_DIR": str(data_dir)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:  # closes its stdin
            pass


def used(process: "subprocess.Popen[str]") -> Stores:
    assert process.stdout
    line = process.stdout.readline()
    assert line, process.stderr and process.stderr.read()
    return Stores(*json.loads(line))


def end(process: "subprocess.Popen[str]") -> None:
    assert process.stdin
    process.stdin.close()
    assert process.wait(20) == 0


def test_what_was_written_is_there_after_a_restart_and_nothing_runs_in_between(new_dir: Path) -> None:
    with stores(settings(new_dir)) as found:
        write(found, "São Paulo")
        assert processes(new_dir, "keeper")
        assert processes(new_dir, "postgres")
        assert processes(new_dir, "valkey")
    assert processes(new_dir) == []
    assert not (new_dir / "run.json").exists()
    with stores(settings(new_dir)) as again:
        assert again == found
        assert read(again) == (["São Paulo"], ["São Paulo"])


def test_the_servers_are_durable_private_and_small(new_dir: Path) -> None:
    with stores(settings(new_dir)) as found:
        check_database(found.database_url)
        with psycopg.connect(found.database_url) as connection:
            shown = {
                name: connection.execute(f"SHOW {name}").fetchone()[0]
                for name in (
                    "fsync",
                    "synchronous_commit",
                    "listen_addresses",
                    "shared_buffers",
                    "server_encoding",
                )
            }
        with redis.Redis.from_url(found.redis_url, decode_responses=True) as client:
            config = client.config_get("*")
        assert stat.S_IMODE((new_dir / "run").stat().st_mode) == 0o700
        assert stat.S_IMODE((new_dir / "run.json").stat().st_mode) == 0o600
        assert [level for level, _ in check_redis(found.redis_url)] == ["ok"]
    assert shown == {
        "fsync": "on",
        "synchronous_commit": "on",
        "listen_addresses": "",
        "shared_buffers": "64MB",
        "server_encoding": "UTF8",
    }
    assert (config["appendonly"], config["appendfsync"], config["port"]) == ("yes", "everysec", "0")
    assert (config["maxmemory-policy"], config["save"]) == ("noeviction", "")


def kill_postgres(data_dir: Path) -> None:
    os.kill(postmaster(data_dir), signal.SIGKILL)


def kill_valkey(data_dir: Path) -> None:
    kill_all(data_dir, "valkey")


def kill_keeper(data_dir: Path) -> None:
    kill_all(data_dir, "keeper")


def kill_all(data_dir: Path, kind: str = "") -> None:
    for process in processes(data_dir, kind):
        with suppress(psutil.NoSuchProcess):  # its parent's death was enough
            process.kill()


@pytest.mark.parametrize("kill", [kill_postgres, kill_valkey, kill_keeper, kill_all])
def test_after_kill_9_the_stores_come_back_by_themselves(
    data_dir: Path, kill: Callable[[Path], None]
) -> None:
    with stores(settings(data_dir)) as found:
        write(found, "before")
        old = {process.pid for process in processes(data_dir)}
        kill(data_dir)
        until(lambda: {process.pid for process in processes(data_dir)} - old and readable(found))
        write(found, "after")
        assert read(found) == (["before", "after"], ["before", "after"])


def test_a_busy_session_does_not_keep_a_killed_postgres_from_coming_back(data_dir: Path) -> None:
    def work() -> None:
        with pytest.raises(psycopg.OperationalError), psycopg.connect(found.database_url) as busy:
            busy.execute(SPIN)

    with stores(settings(data_dir)) as found:
        write(found, "before")
        thread = threading.Thread(target=work)
        thread.start()
        until(lambda: any("DO" in " ".join(process.cmdline()) for process in processes(data_dir, "postgres")))
        kill_postgres(data_dir)
        until(lambda: readable(found))
        thread.join(10)
        assert not thread.is_alive()
        assert read(found)[0] == ["before"]


def test_kill_9_of_everything_loses_nothing(data_dir: Path, command: Command) -> None:
    owner = command(data_dir)
    write(used(owner), "before")
    owner.kill()
    kill_all(data_dir)
    until(lambda: not processes(data_dir))
    with stores(settings(data_dir)) as found:
        assert read(found) == (["before"], ["before"])


def test_kill_9_of_the_command_ends_its_servers(data_dir: Path, command: Command) -> None:
    owner = command(data_dir)
    used(owner)
    owner.kill()
    until(lambda: not processes(data_dir))


def test_a_number_reused_after_a_crash_does_not_keep_postgres_down(data_dir: Path) -> None:
    with stores(settings(data_dir)) as found:
        write(found, "before")
        left = (data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
        kill_all(data_dir)
        until(lambda: readable(found))
    user = servers.place(data_dir.resolve()).user
    with subprocess.Popen(["sleep", "60"], user=user and user[0]) as another:
        left[0] = str(another.pid)  # as after the restart of a container, where numbers start anew
        for path in (data_dir / "postgres" / "postmaster.pid", data_dir / "run" / ".s.PGSQL.5432.lock"):
            path.write_text("\n".join(left) + "\n")
            path.chmod(0o644)
        with stores(settings(data_dir)) as found:
            assert read(found)[0] == ["before"]
        another.kill()


def test_a_server_left_behind_is_ended_before_its_files_are_opened_again(data_dir: Path) -> None:
    with stores(settings(data_dir)) as found:
        write(found, "before")
    place = servers.place(data_dir.resolve())
    for server in (servers.postgres(place), servers.valkey(place)):
        subprocess.Popen(  # by nobody's child, as where the kernel does not end orphans
            ["sh", "-c", '"$0" "$@" >/dev/null 2>&1 &', *server.child.argv],
            cwd=server.child.cwd,
            user=place.user and place.user[0],
            group=place.user and place.user[1],
            extra_groups=place.user and [],
        ).wait()
        until(server.ready)
    orphans = {process.pid for process in processes(data_dir)}
    with stores(settings(data_dir)) as found:
        assert not orphans & {process.pid for process in processes(data_dir)}
        assert read(found) == (["before"], ["before"])


def test_a_second_command_uses_the_servers_that_run(data_dir: Path, command: Command) -> None:
    first, second = command(data_dir), command(data_dir)
    assert used(first) == used(second)
    before = {process.pid for process in processes(data_dir, "keeper")}
    assert len(before) == 1
    end(second)
    assert {process.pid for process in processes(data_dir, "keeper")} == before
    write(
        Stores(
            *[json.loads((data_dir / "run.json").read_text())[key] for key in ("database_url", "redis_url")]
        ),
        "x",
    )
    end(first)
    until(lambda: not processes(data_dir))


def test_the_servers_stay_until_the_last_command_has_ended(data_dir: Path, command: Command) -> None:
    first = command(data_dir)
    used(first)
    second = command(data_dir)
    found = used(second)
    end(first)
    write(found, "still there")
    assert len(processes(data_dir, "keeper")) == 1
    end(second)
    until(lambda: not processes(data_dir))


def test_a_second_command_takes_over_when_the_first_is_killed_with_its_keeper(
    data_dir: Path, command: Command
) -> None:
    first = command(data_dir)
    write(used(first), "before")
    second = command(data_dir)
    found = used(second)
    first.kill()
    kill_all(data_dir)
    until(lambda: processes(data_dir, "keeper") and readable(found))
    assert read(found) == (["before"], ["before"])


@pytest.fixture
def up(data_dir: Path) -> Iterator["subprocess.Popen[str]"]:
    """A group of two workers on the embedded stores, started in the foreground of a terminal."""
    with stores(settings(data_dir)) as found, psycopg.connect(found.database_url) as connection:
        connection.execute("DROP TABLE IF EXISTS noted")
        connection.execute("CREATE TABLE noted (text text)")
    with subprocess.Popen(
        [sys.executable, "-c", UP, WORKER],
        env=os.environ | {"GATEWAY_DATA_DIR": str(data_dir)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        until(lambda: noted(url) == ["started"] * 2)
        yield process
        process.kill()


def noted(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return sorted(text for (text,) in connection.execute("SELECT text FROM noted").fetchall())


def test_ctrl_c_stops_the_workers_first_and_their_stores_last(
    data_dir: Path, up: "subprocess.Popen[str]"
) -> None:
    os.killpg(up.pid, signal.SIGINT)
    assert up.wait(20) == 0
    assert processes(data_dir) == []
    with stores(settings(data_dir)) as found:
        assert noted(found.database_url) == ["started", "started", "stopped", "stopped"]


def test_kill_9_of_a_whole_installation_leaves_no_process(
    data_dir: Path, up: "subprocess.Popen[str]"
) -> None:
    family = psutil.Process(up.pid).children(recursive=True)
    assert len(family) > 5
    up.kill()
    until(lambda: not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE])


def test_commands_started_at_once_share_one_database(new_dir: Path, command: Command) -> None:
    started = [command(new_dir) for _ in range(4)]
    found = {used(process) for process in started}
    assert len(found) == 1
    assert len(processes(new_dir, "keeper")) == 1
    for process in started:
        end(process)
        if process is not started[-1]:
            assert until(lambda: processes(new_dir, "postgres"))


def test_commands_one_after_another_never_meet_stopping_servers(data_dir: Path) -> None:
    def use(number: int) -> None:
        with stores(settings(data_dir)) as found:
            write(found, str(number))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(use, range(9)))
    with stores(settings(data_dir)) as found:
        assert sorted(read(found)[0]) == [str(number) for number in range(9)]


def test_only_what_is_missing_is_started(data_dir: Path) -> None:
    url = "postgresql://somewhere.example/gateway"
    with stores(settings(data_dir, database_url=url)) as found:
        assert found.database_url == url
        assert processes(data_dir, "valkey")
        assert processes(data_dir, "postgres") == []
        assert found.environment() == {"GATEWAY_DATABASE_URL": url, "GATEWAY_REDIS_URL": found.redis_url}
        with (
            pytest.raises(GatewayError, match="run by a command that has no postgres"),
            stores(settings(data_dir)),
        ):
            pass


def test_named_servers_are_used_as_they_are_and_nothing_is_started(new_dir: Path) -> None:
    urls = {"database_url": "postgresql://db.example/gateway", "redis_url": "redis://redis.example/0"}
    with stores(settings(new_dir, **urls)) as found:
        assert found == Stores(**urls)
    assert not new_dir.exists()


def test_a_long_data_dir_gets_its_sockets_elsewhere(new_dir: Path) -> None:
    new_dir = new_dir / ("a very long, but welcome name " * 4)
    with stores(settings(new_dir)) as found:
        write(found, "x")
        sockets = Path(redis.connection.parse_url(found.redis_url)["path"]).parent
        assert len(str(sockets / ".s.PGSQL.5432")) < 100
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert processes(new_dir) == []
    sockets.rmdir()


def words(keeper: "subprocess.Popen[bytes]") -> list[str]:
    """The first line that a keeper says to its starter, apart from what is for the log."""
    assert keeper.stdout
    return next(line.decode().split() for line in keeper.stdout if not line.startswith(b"log "))


def test_the_keeper_by_hand_ends_with_its_stdin(data_dir: Path) -> None:
    keeper = subprocess.Popen(
        [sys.executable, "-m", "gateway.embedded", str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert keeper.stdin
    assert keeper.stdout
    with keeper:
        assert words(keeper) == ["ready"]
        run = read_run(data_dir)
        assert run
        assert run["keeper"] == keeper.pid
        keeper.stdin.close()
        assert keeper.wait(20) == 0
    assert read_run(data_dir) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_keeper_ends_cleanly_on_a_signal(data_dir: Path, number: int) -> None:
    keeper = subprocess.Popen(
        [sys.executable, "-m", "gateway.embedded", str(data_dir), "postgres"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with keeper:
        assert keeper.stdout
        assert words(keeper) == ["ready"]
        keeper.send_signal(number)
        assert keeper.wait(20) == 0
    assert "database system is shut down" in (data_dir / "postgres.log").read_text()


def test_a_database_that_cannot_be_opened_is_one_line_with_the_reason_and_a_way_out(new_dir: Path) -> None:
    with stores(settings(new_dir)):
        pass
    (new_dir / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(GatewayError) as failure, stores(settings(new_dir)):
        pass
    text = str(failure.value)
    assert text.startswith("PostgreSQL does not start: ")
    assert "pg_control" in text
    assert "\n" not in text
    assert text.endswith("set GATEWAY_DATABASE_URL and GATEWAY_REDIS_URL.")


def test_a_database_of_a_version_that_is_not_embedded_is_refused(new_dir: Path) -> None:
    (new_dir / "postgres").mkdir(parents=True)
    (new_dir / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(GatewayError, match="was made by PostgreSQL 12"), stores(settings(new_dir)):
        pass


UNUSABLE = {
    "another machine": "import platform; platform.machine = lambda: 'riscv128'",
    "no wheels": "import importlib.util; importlib.util.find_spec = lambda name: None",
    "no useradd": (
        "import os, pwd, gateway.server_user as s; os.geteuid = lambda: 0; s.USER = 'nobody-of-that-name'; "
        "s.USERADD_PATH = '/nowhere'"
    ),
    "useradd refuses": (
        "import os, pwd, gateway.server_user as s; os.geteuid = lambda: 0; s.USER = 'not a: name'"
    ),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_where_the_servers_cannot_run_the_message_names_both_variables(new_dir: Path, case: str) -> None:
    keeper = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{UNUSABLE[case]}; from gateway.keeper import main; main({[str(new_dir)]!r})",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    (said,) = (line for line in keeper.stdout.splitlines() if not line.startswith("log "))
    assert said.startswith("error ")
    assert sorted(path.name for path in new_dir.iterdir()) == ["keeper.lock"]
    assert said.endswith("set GATEWAY_DATABASE_URL and GATEWAY_REDIS_URL.")


def test_a_platform_without_posix_is_told_the_same(new_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded.os, "name", "nt")
    wanted = settings(new_dir)
    with pytest.raises(GatewayError, match="set GATEWAY_DATABASE_URL and GATEWAY_REDIS_URL"), stores(wanted):
        pass


def test_a_data_dir_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(GatewayError, match=r"data dir .*file/\.gateway cannot be used: Not a directory"),
        stores(settings(tmp_path / "file" / ".gateway")),
    ):
        pass


def test_it_runs_for_an_ordinary_user_too() -> None:
    home = Path(tempfile.mkdtemp())
    user, become = os.geteuid(), []
    if user == 0:
        user = pwd.getpwnam("nobody").pw_uid
        os.chown(home, user, -1)
        # The capability lets it read an interpreter that lives in root's home.
        capabilities = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        become = ["setpriv", f"--reuid={user}", "--clear-groups", *capabilities]
    try:
        done = subprocess.run(
            [*become, sys.executable, "-c", COMMAND],
            env=os.environ | {"GATEWAY_DATA_DIR": str(home / ".gateway")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert str(home.resolve()).replace("/", "%2F") in done.stdout
        assert (home / ".gateway" / "postgres").stat().st_uid == user
        assert stat.S_IMODE((home / ".gateway").stat().st_mode) == 0o700
        assert processes(home / ".gateway") == []
    finally:
        shutil.rmtree(home)


def test_another_user_is_let_through_parents_but_not_let_look(tmp_path: Path) -> None:
    stranger = (os.getuid() + 4321, os.getgid() + 4321)
    inner = tmp_path / "home" / "project"
    inner.mkdir(parents=True)
    (tmp_path / "home").chmod(0o700)
    inner.chmod(0o755)
    server_user.let_in(stranger, inner / "data")
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o701
    assert stat.S_IMODE(inner.stat().st_mode) == 0o755


def test_an_installation_under_a_strict_umask_becomes_readable(tmp_path: Path) -> None:
    stranger = (os.getuid() + 4321, os.getgid() + 4321)
    program = tmp_path / "pginstall" / "bin" / "postgres"
    program.parent.mkdir(parents=True)
    program.write_text("")
    program.chmod(0o700)
    (program.parent / "data").write_text("")
    for path, mode in (
        (program.parent / "data", 0o600),
        (program.parent, 0o700),
        (program.parent.parent, 0o700),
    ):
        path.chmod(mode)
    server_user.let_read(stranger, program.parent.parent)
    assert stat.S_IMODE(program.stat().st_mode) == 0o705
    assert stat.S_IMODE((program.parent / "data").stat().st_mode) == 0o604
    assert stat.S_IMODE(program.parent.stat().st_mode) == 0o705


def test_a_directory_of_somebody_else_is_not_used_for_sockets(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GatewayError, match="is not a directory of ours"):
        server_user.make_dir(tmp_path / "run", None)


def test_embedded_installations_make_one_key_that_only_they_can_read(tmp_path: Path) -> None:
    wanted = settings(tmp_path / ".gateway")
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: secret_keys(wanted), range(8)))
    assert len(keys) == 1
    (key,) = keys.pop()
    assert len(Fernet(key).encrypt(b"x")) > 0
    assert stat.S_IMODE((tmp_path / ".gateway" / "secret.key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / ".gateway").iterdir()] == ["secret.key"]


def test_given_keys_win_and_a_child_of_up_finds_the_key_in_the_data_dir(tmp_path: Path) -> None:
    made = secret_keys(settings(tmp_path))
    child = settings(tmp_path, database_url="postgresql://x/y", redis_url="redis://x/0")
    assert secret_keys(child) == made
    assert secret_keys(settings(tmp_path, secret_keys="one,two")) == ("one", "two")


def test_several_lines_in_the_key_file_are_several_keys(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("new\nold\n")
    assert secret_keys(settings(tmp_path)) == ("new", "old")


def test_an_emptied_key_file_is_not_taken_for_a_key(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("\n")
    with pytest.raises(InvalidConfiguration, match="is empty"):
        secret_keys(settings(tmp_path))


def test_named_stores_need_named_keys(tmp_path: Path) -> None:
    wanted = settings(tmp_path, database_url="postgresql://x/y", redis_url="redis://x/0")
    with pytest.raises(InvalidConfiguration, match="GATEWAY_SECRET_KEYS is not set"):
        secret_keys(wanted)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (
            "postgresql://me:geheim@127.0.0.1:1/db",
            r"PostgreSQL at 127\.0\.0\.1:1, database db cannot be used: .*refused",
        ),
        (
            "postgresql+psycopg://me:geheim@127.0.0.1:1/db",
            r"PostgreSQL at 127\.0\.0\.1:1, database db cannot be used",
        ),
        ("postgresql://me:geh@eim@127.0.0.1/db", "must look like postgresql://user"),
        ("postgresql://me:geheim/x@127.0.0.1/db", "must look like postgresql://user"),
        ("geheim", "must look like postgresql://user"),
        ("mysql://me:geheim@127.0.0.1/db", "must look like postgresql://user"),
    ],
)
def test_a_database_that_is_missing_is_one_line_without_the_password(url: str, text: str) -> None:
    with pytest.raises(GatewayError, match=text) as failure:
        check_database(url)
    assert "geheim" not in str(failure.value)
    assert "eim@" not in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://:geheim@127.0.0.1:1/0", r"Redis at 127\.0\.0\.1:1 cannot be used: .*refused"),
        ("unix:///nowhere/valkey.sock", r"Redis at /nowhere/valkey\.sock cannot be used: .*No such file"),
        ("http://:geheim@127.0.0.1:1/0", "must look like redis://"),
        ("redis://:geheim@127.0.0.1:port/0", "must look like redis://"),
    ],
)
def test_a_redis_that_is_missing_is_one_line_without_the_password(url: str, text: str) -> None:
    with pytest.raises(GatewayError, match=text) as failure:
        check_redis(url)
    assert "geheim" not in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.fixture(scope="module")
def running() -> Iterator[Stores]:
    with open_dir() as parent, stores(settings(parent / ".gateway")) as found:
        yield found


@pytest.fixture
def config(running: Stores) -> Iterator[Callable[..., None]]:
    """config(name=value) changes a setting of the running Valkey until the end of the test."""
    with redis.Redis.from_url(running.redis_url, decode_responses=True) as client:
        before = {name: client.config_get(name)[name] for name in ("maxmemory-policy", "appendonly", "save")}
        yield lambda **changes: client.config_set(*next((k.replace("_", "-"), v) for k, v in changes.items()))
        for name, value in before.items():
            client.config_set(name, value)


def test_a_redis_that_may_evict_is_refused_with_the_consequence(
    running: Stores, config: Callable[..., None]
) -> None:
    config(maxmemory_policy="allkeys-lru")
    with pytest.raises(
        GatewayError, match=r"allkeys-lru, it must be noeviction.*jobs may vanish.*rate budgets"
    ):
        check_redis(running.redis_url)


def test_a_redis_that_keeps_nothing_on_disk_is_warned_about(
    running: Stores, config: Callable[..., None]
) -> None:
    config(appendonly="no")
    ((level, text),) = check_redis(running.redis_url)
    assert level == "warning"
    assert "keeps nothing on disk" in text
    config(save="3600 1")
    assert [level for level, _ in check_redis(running.redis_url)] == ["ok"]


def test_a_managed_redis_that_refuses_questions_is_used_with_a_warning(
    running: Stores, config: Callable[..., None]
) -> None:
    config(appendonly="no")
    password = secrets.token_hex(8)
    url = running.redis_url.replace("unix://", f"unix://tenant:{password}@")
    with redis.Redis.from_url(running.redis_url) as client:
        client.acl_setuser("tenant", enabled=True, passwords=[f"+{password}"], commands=["+@all", "-config"])
        ((level, text),) = check_redis(url)
        assert level == "warning"
        assert "could not check whether it keeps its data on disk" in text
        client.acl_setuser("tenant", enabled=True, commands=["+@all", "-config", "-info"])
        ((level, text),) = check_redis(url)
        assert level == "warning"
        assert "could not check" in text
        client.acl_deluser("tenant")
        with pytest.raises(GatewayError, match="cannot be used") as failure:
            check_redis(url)
        assert password not in str(failure.value)


def answer_like_a_web_server(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_server_of_another_kind_is_one_line(running: Stores) -> None:
    run = Path(redis.connection.parse_url(running.redis_url)["path"]).parent
    with pytest.raises(GatewayError, match=r"Redis at .*PGSQL.* cannot be used: ") as failure:
        check_redis(f"unix://{run / '.s.PGSQL.5432'}")
    assert "\n" not in str(failure.value)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        threading.Thread(target=answer_like_a_web_server, args=[listener]).start()
        with pytest.raises(
            GatewayError, match=rf"PostgreSQL at 127\.0\.0\.1:{port}, database x cannot be used"
        ) as failure:
            check_database(f"postgresql://me@127.0.0.1:{port}/x")
    assert "\n" not in str(failure.value)


def test_a_database_in_another_encoding_is_refused(running: Stores) -> None:
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
        )
        with pytest.raises(GatewayError, match="database latin has the encoding LATIN1"):
            check_database(running.database_url.replace("/gateway?", "/latin?"))
        connection.execute("DROP DATABASE latin")


def test_the_keeper_costs_little_memory(running: Stores) -> None:
    run = read_run(Path(redis.connection.parse_url(running.redis_url)["path"]).parent.parent)
    assert run
    assert psutil.Process(run["keeper"]).memory_info().rss < 40 * 1024 * 1024
