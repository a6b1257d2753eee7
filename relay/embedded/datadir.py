"""The directory that holds everything an embedded relay keeps, and the proof that it is ours alone.

lock           held by the relay; names its pid
services       the servers' URLs, one a line, while they run
servers.lock   held by the relay and inherited by its servers: free only when the last of them is gone
log/           what the servers print
postgres/      cluster/, and initdb.tmp/ while it is made
valkey/        append-only files
run/           sockets, unless the path is too long for a socket's address
"""

import asyncio
import errno
import fcntl
import hashlib
import os
import pwd
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relay.embedded.process import Account
from relay.errors import StartError

__all__ = ["DataDirectory", "account_for", "holder", "running"]

MAX_LOG = 8 << 20
"""Bytes of a log before it is set aside as `.1`, whose predecessor goes."""

LOCK_GRACE = 1.0
"""Seconds that a lock may stay held before we believe that its owner is alive and well."""

SOCKET_PATH_LIMIT = 103
"""Bytes of a socket's address: 107 on Linux, 103 on macOS."""

LONGEST_SOCKET_NAME = len("/.s.PGSQL.5432")


class DataDirectory:
    """A claimed data directory. `account` is whom the servers run as: None (us) unless we are root."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.account: Account | None = None
        self.servers_lock = -1
        self._lock = -1
        self._logs: dict[Path, int] = {}

    @classmethod
    async def claim(cls, path: Path, patience: float = 15.0) -> "DataDirectory":
        """Make the directory if need be and take it for this process.

        Servers of a relay that was killed end by themselves within moments: we wait for them, `patience` seconds at
        most.
        Raises StartError when another relay lives there, or the directory can't be used.
        """
        self = cls(path)
        with _explained(self.path):
            # Root's directory is searchable, so that the servers' account reaches its own subdirectories.
            if not self.path.is_dir():
                self.path.mkdir(0o711 if os.geteuid() == 0 else 0o700, parents=True)
            self.path = self.path.resolve()
            self.account = account_for(self.path)
        try:
            await self._take_locks(patience)
            self._check_room()
        except BaseException:
            self.release()
            raise
        return self

    async def _take_locks(self, patience: float) -> None:
        begin = time.monotonic()
        with _explained(self.path):
            self._lock = self._open(self.path / "lock")
            self.servers_lock = self._open(self.path / "servers.lock")
        while not _locked(self._lock):
            # A relay that was just killed may hold its lock a moment longer.
            pid = holder(self.path)
            if time.monotonic() - begin > (LOCK_GRACE if pid else patience):
                raise StartError(
                    f"{self.path} is in use by another relay{f' (pid {pid})' if pid else ''}."
                    " Stop that one, or name another directory with --data."
                )
            await asyncio.sleep(0.02)
        (self.path / "services").unlink(missing_ok=True)  # of a relay that was killed
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)
        while not _locked(self.servers_lock):
            if time.monotonic() - begin > patience:
                raise StartError(
                    f"servers of an earlier relay still run on {self.path} after {patience:.0f} s."
                    f" Stop them (`fuser {self.path}/servers.lock` names them), then start again."
                )
            await asyncio.sleep(0.01)

    def _check_room(self) -> None:
        free = shutil.disk_usage(self.path).free
        needed = (32 if (self.path / "postgres" / "cluster").exists() else 160) << 20
        if free < needed:
            raise StartError(
                f"{self.path} has {free >> 20} MB free, {needed >> 20} MB are needed."
                " Make room or name another directory with --data."
            )

    def directory(self, name: str) -> Path:
        """A private subdirectory that belongs to the servers' account."""
        path = self.path / name
        with _explained(path):
            self._private(path)
        return path

    def _private(self, path: Path) -> None:
        uid = self.account.uid if self.account else os.geteuid()
        try:
            path.mkdir(0o700)
            if self.account:
                os.chown(path, uid, self.account.gid)
        except FileExistsError:
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode):
                raise StartError(f"{path} is not a directory; move it away") from None
            if found.st_uid != uid:
                raise StartError(
                    f"{path} belongs to uid {found.st_uid}, but the embedded servers run as uid {uid}."
                    f" Give it to them with `chown -R {uid} {path}`, or start relay as its owner."
                ) from None

    def sockets(self) -> Path:
        """An empty private directory whose name is short and plain enough for socket addresses and URLs."""
        path = self.path / "run"
        if not _fits(path):
            digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
            path = Path(tempfile.gettempdir()) / f"relay-{digest}"
            path = path if _fits(path) else Path("/tmp") / path.name  # noqa: S108 -- checked: ours and 0700
        with _explained(path):
            self._private(path)
            if path.stat().st_mode & 0o077:
                raise StartError(f"{path} is open to others; remove it and start again")
            # No server of ours is alive (we hold servers.lock), so whatever is left here is stale.
            for left in path.iterdir():
                left.unlink()
        return path

    def log(self, name: str) -> tuple[Path, int]:
        """The log file of a server and its descriptor, open for appending; closed by `release`."""
        path = self.path / "log" / f"{name}.log"
        with _explained(path):
            self._log_directory(path.parent)
            self._logs[path] = self._open(path, os.O_APPEND)
        self.trim_logs()
        return path, self._logs[path]

    def _log_directory(self, path: Path) -> None:
        if not path.exists():
            path.mkdir(0o700)
            owner = self.path.stat()
            os.chown(path, owner.st_uid, owner.st_gid)

    def trim_logs(self) -> None:
        """Keep logs bounded. Truncating under the writer is safe because it appends."""
        for path, descriptor in self._logs.items():
            if os.fstat(descriptor).st_size > MAX_LOG:
                shutil.copyfile(path, path.with_suffix(".log.1"))
                os.ftruncate(descriptor, 0)

    def publish(self, *urls: str) -> None:
        """Let others find the running servers (see `running`)."""
        with _explained(self.path):
            descriptor = self._open(self.path / "services")
            try:
                os.ftruncate(descriptor, 0)
                os.write(descriptor, "".join(f"{url}\n" for url in urls).encode())
            finally:
                os.close(descriptor)

    def release(self) -> None:
        """Let go of the directory."""
        if self._lock >= 0:
            (self.path / "services").unlink(missing_ok=True)
        for descriptor in (*self._logs.values(), self.servers_lock, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._logs, self.servers_lock, self._lock = {}, -1, -1

    def _open(self, path: Path, flags: int = 0) -> int:
        # O_NOFOLLOW: root must not write through a link that the directory's owner planted.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
        if os.geteuid() == 0:
            # A user's directory stays usable by that user after root ran there once.
            owner = path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        return descriptor


def holder(path: Path) -> int | None:
    """The pid of the relay that the lock file names, if there is such a process."""
    try:
        pid = int((path / "lock").read_text())
        os.kill(pid, 0)
    except PermissionError:
        return pid
    except (OSError, ValueError):
        return None
    return pid


def running(path: Path) -> tuple[str, str] | None:
    """The database and Redis URL of the servers that a relay runs on this directory, empty where it has none of its
    own; None when no relay runs here.

    Raises StartError when one does but its servers can't be reached now.
    """
    try:
        descriptor = os.open(path / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StartError(f"can't read the data directory {path}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)
    try:
        database_url, redis_url = (path / "services").read_text().split("\n")[:2]
    except (OSError, ValueError):
        raise StartError(f"a relay is starting or stopping on {path}; try again in a moment") from None
    return database_url, redis_url


def account_for(path: Path) -> Account | None:
    """Whom servers on this directory run as: us, or under root the owner of what is there, else `nobody`.

    Raises StartError if there is no such account.
    """
    if os.geteuid() != 0:
        return None
    for existing in (path / "postgres", path / "valkey", path):
        if existing.exists() and (found := existing.stat()).st_uid != 0:
            return Account(found.st_uid, found.st_gid)
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise StartError(
            "root needs the account `nobody` to run PostgreSQL as, and /etc/passwd has none."
            " Add it, run relay as an ordinary user, or set DATABASE_URL and REDIS_URL."
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def _fits(path: Path) -> bool:
    # PostgreSQL separates socket directories by commas, asyncpg hosts likewise.
    plain = re.fullmatch(r"[\w./+@~-]+", str(path), re.ASCII)
    return bool(plain) and len(os.fsencode(path)) + LONGEST_SOCKET_NAME <= SOCKET_PATH_LIMIT


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the file system says into what the operator can do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "Make room, or name another directory with --data."
        else:
            advice = (
                f"uid {os.geteuid()} must be able to write there. Change its owner, or name another one with --data."
            )
        raise StartError(
            f"can't use the data directory: {error.filename or path}: {error.strerror}. {advice}"
        ) from error
