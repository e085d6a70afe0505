"""As whom do the embedded servers run, and may that user reach their files? (POSIX)"""

import logging
import os
import pwd
import shutil
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

from gateway.model.errors import GatewayError

log = logging.getLogger(__name__)

ADVICE = "To use servers of your own, set GATEWAY_DATABASE_URL and GATEWAY_REDIS_URL."
USER = "pgserver"  # PostgreSQL refuses to run as root
USERADD_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"

Ids = tuple[int, int]
"""(uid, gid)."""


def server_user(data_dir: Path) -> Ids | None:
    """As whom the servers run: ourselves, unless we are root; then whoever owns the files, or `pgserver`."""
    found = next(
        (path.stat() for path in (data_dir / "postgres", data_dir / "valkey") if path.exists()), None
    )
    if os.geteuid() != 0:
        if found and found.st_uid != os.geteuid():
            raise GatewayError(
                f"the databases in {data_dir} belong to another user (uid {found.st_uid}). {ADVICE}"
            )
        return None
    if found and found.st_uid != 0:
        return found.st_uid, found.st_gid
    with suppress(KeyError):
        return _ids(USER)
    useradd = shutil.which("useradd", path=USERADD_PATH)
    if useradd is None:
        raise GatewayError(
            f"PostgreSQL does not run as root, and there is no `useradd` to make the user {USER!r}. {ADVICE}"
        )
    command = [useradd, "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", USER]
    made = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    try:
        return _ids(USER)  # also when another command was quicker
    except KeyError:
        said = made.stderr.strip() or f"exit code {made.returncode}"
        raise GatewayError(
            f"PostgreSQL does not run as root, and the user {USER!r} cannot be made ({said}). {ADVICE}"
        ) from None


def _ids(name: str) -> Ids:
    entry = pwd.getpwnam(name)
    return entry.pw_uid, entry.pw_gid


def make_dir(path: Path, user: Ids | None) -> None:
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), *(user or ())[:1]}:
        raise GatewayError(f"{path} is not a directory of ours (owner: uid {found.st_uid}). {ADVICE}")
    path.chmod(0o700)
    if user:
        os.chown(path, *user)


def let_in(user: Ids, path: Path) -> None:
    """Let the servers' user pass through the directories above `path`: traversal, only where it lacks."""
    for parent in reversed(path.parents):
        found = parent.stat()
        if not found.st_mode & _bits(user, found, execute=True):
            parent.chmod(found.st_mode | stat.S_IXOTH)
            log.warning(
                "%s: others may now pass through (o+x), so that the user %s reaches %s", parent, USER, path
            )


def let_read(user: Ids, folder: Path) -> None:
    """Let the servers' user read an installation that was made under a strict umask."""
    found = folder.stat()
    if found.st_mode & _bits(user, found, execute=False):
        return
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))


def _bits(user: Ids, found: os.stat_result, *, execute: bool) -> int:
    """The permission bit that decides for this user."""
    if found.st_uid == user[0]:
        return stat.S_IXUSR if execute else stat.S_IRUSR
    if found.st_gid == user[1]:
        return stat.S_IXGRP if execute else stat.S_IRGRP
    return stat.S_IXOTH if execute else stat.S_IROTH
