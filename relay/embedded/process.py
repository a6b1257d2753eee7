"""Child processes that never outlive us: who they run as, how they start, how they end.

PostgreSQL refuses to run as root, so under root a server runs as another account. That account must reach the binaries
and the data directory, whose parents may be closed to it (`/root`, a `mktemp -d`). No directory of somebody else is
ever opened up for that: the server keeps the least capability that lets it pass, and no more.
"""

import asyncio
import ctypes
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from relay.errors import StartError

__all__ = ["Account", "Server", "admit", "run", "spawn", "tail"]

log = logging.getLogger("relay.embedded")

ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
"""All that a server gets of ours: no secrets, no locale that is not installed, no PG* settings."""

# linux/capability.h, linux/prctl.h, linux/securebits.h
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
PR_SET_PDEATHSIG, PR_SET_SECUREBITS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 28, 47, 2
SECBIT_NO_SETUID_FIXUP = 4
CAPABILITY_VERSION_3 = 0x20080522

EXIT_NOT_ALLOWED, EXIT_UNREACHABLE = 81, 82
"""How a child says, before it became the server, that it could not change its account or reach a directory."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user a server runs as when we are root; `capabilities` are ambient, so they survive its exec."""

    uid: int
    gid: int
    capabilities: tuple[int, ...] = ()


def spawn(
    argv: Sequence[str | Path],
    *,
    account: Account | None,
    death_signal: signal.Signals,
    output: int,
    keep: Sequence[int] = (),
    reach: Sequence[Path] = (),
) -> subprocess.Popen[bytes]:
    """Start a child in its own session that gets `death_signal` when we die, however we die (Linux).

    `output` is the descriptor for its stdout and stderr, `keep` are descriptors it inherits, `reach` are directories it
    must be able to enter. Call it from the main thread: the kernel sends the signal when the forking *thread* ends.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("servers are started from the main thread: their death signal is bound to the thread")
    return subprocess.Popen(
        [str(part) for part in argv],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd="/",
        env=ENVIRONMENT,
        umask=0o077,
        pass_fds=keep,
        start_new_session=True,
        preexec_fn=_before_exec(account, death_signal, [str(path) for path in reach]),
    )


def _before_exec(account: Account | None, death_signal: signal.Signals, reach: list[str]) -> Callable[[], None]:
    """What the child does between fork and exec. All that allocates is done here, before the fork."""
    parent, linux = os.getpid(), sys.platform == "linux"
    libc = ctypes.CDLL(None, use_errno=True)
    if linux:
        libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    bits = sum(1 << number for number in account.capabilities) if account else 0
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(bits, bits, bits, 0, 0, 0)

    def become(account: Account) -> bool:
        # access(2) of an ordinary user forgets its capabilities unless NO_SETUID_FIXUP is set, and PostgreSQL looks
        # for its own binary with access(2).
        if bits and libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0):
            return False
        os.setgroups([])
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
        if bits and libc.capset(header, sets):
            return False
        return not any(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, n, 0, 0) for n in account.capabilities)

    def before_exec() -> None:
        try:
            if account is not None and not become(account):
                os._exit(EXIT_NOT_ALLOWED)
        except OSError:
            os._exit(EXIT_NOT_ALLOWED)
        try:
            for path in reach:
                os.stat(f"{path}/.")
        except OSError:
            os._exit(EXIT_UNREACHABLE)
        if linux:
            # After the change of account, which clears it.
            libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(0)

    return before_exec


def admit(binary: Path, account: Account | None, reach: Sequence[Path]) -> tuple[Account | None, str]:
    """Try `binary --version` as `account`, with the least capability under which it runs and can enter `reach`.

    Returns the account to use and what the binary printed. Raises StartError if nothing works.
    """
    if account is None:
        return None, _version(binary, None, reach)
    error: StartError | None = None
    # READ_SEARCH passes closed directories; OVERRIDE is all that default containers have, and runs 0700 binaries.
    for capabilities in ((), (CAP_DAC_READ_SEARCH,), (CAP_DAC_OVERRIDE,)):
        candidate = replace(account, capabilities=capabilities)
        try:
            return candidate, _version(binary, candidate, reach)
        except StartError as refused:
            error = error or refused
        if sys.platform != "linux":
            break
    assert error is not None
    raise error


def _version(binary: Path, account: Account | None, reach: Sequence[Path]) -> str:
    who = f"uid {os.geteuid() if account is None else account.uid}"
    read, write = os.pipe()
    try:
        child = spawn([binary, "--version"], account=account, death_signal=signal.SIGKILL, output=write, reach=reach)
    except OSError as error:
        os.close(read)
        raise StartError(
            f"{who} can't run {binary}: {error.strerror}. Install relay where that user can read it."
        ) from None
    finally:
        os.close(write)
    with open(read, "rb") as pipe:
        printed = pipe.read().decode(errors="replace").strip()
    code = child.wait()
    if code == EXIT_NOT_ALLOWED:
        raise StartError(
            f"root may not change to {who} here, and PostgreSQL refuses to run as root."
            " Run relay as an ordinary user, or set DATABASE_URL and REDIS_URL."
        )
    if code == EXIT_UNREACHABLE:
        raise StartError(
            f"{who}, whom the embedded servers run as, can't enter {' or '.join(map(str, reach))}:"
            " a parent directory is closed to it. Name another directory with --data, or run relay as an ordinary user."
        )
    if code:
        raise StartError(f"{binary} does not run on this machine: {printed or f'it ended with {code}'}")
    return printed


def tail(path: Path, start: int = 0, lines: int = 12) -> str:
    """The last lines that a log got since it was `start` bytes long, indented for an error message."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(start if start <= end else 0, end - 8192))
            text = file.read().decode(errors="replace")
    except OSError as error:
        return f"    ({path}: {error.strerror})"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (it said nothing)"


async def run(argv: Sequence[str | Path], *, account: Account | None, log_path: Path, output: int, keep: int) -> None:
    """Run a child to its end; raises StartError with its last words if it fails."""
    start = os.fstat(output).st_size
    child = spawn(argv, account=account, death_signal=signal.SIGTERM, output=output, keep=[keep])
    try:
        await _ended(child, math.inf)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if child.returncode:
        raise StartError(_last_words(f"{Path(argv[0]).name} failed with {child.returncode}", log_path, start))


async def _ended(child: subprocess.Popen[bytes], patience: float) -> bool:
    """Wait for a child, without waking to ask; whether it has ended within `patience` seconds. The loop's own child
    watchers would fork or reap elsewhere."""
    if child.poll() is not None:
        return True
    try:
        descriptor = os.pidfd_open(child.pid)
    except (AttributeError, OSError):  # not Linux, or one older than 5.3
        return await _polled(child, patience)
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, gone.set)
    try:
        async with asyncio.timeout(patience if patience < math.inf else None):
            await gone.wait()
    except TimeoutError:
        pass
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return child.poll() is not None


async def _polled(child: subprocess.Popen[bytes], patience: float) -> bool:
    deadline, pause = time.monotonic() + patience, 0.005
    while (alive := child.poll() is None) and time.monotonic() < deadline:
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.25)
    return not alive


def _last_words(what: str, path: Path, start: int) -> str:
    words = tail(path, start)
    if "No space left on device" in words:
        what += ": the disk is full, make room or name another directory with --data"
    return f"{what}. The end of {path}:\n{words}"


class Server(ABC):
    """A server process below a data directory: starts until ready, stops within a bound, can be started again."""

    name: str
    url: str
    stop_signals: tuple[signal.Signals, ...]
    """What ends it, gently first; each gets its share of the patience, then SIGKILL."""

    def __init__(self, log_path: Path, output: int, keep: int) -> None:
        self.log_path = log_path
        self.output = output
        self.keep = keep
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Is there a process, ready or not?"""
        return self.process is not None and self.process.poll() is None

    @abstractmethod
    async def launch(self) -> subprocess.Popen[bytes]:
        """Prepare the files and spawn the process."""

    @abstractmethod
    async def ready(self) -> bool:
        """Does the process that we spawned take work?"""

    async def ended(self) -> None:
        """Returns when there is no process any more."""
        if self.process is not None:
            await _ended(self.process, math.inf)

    async def start(self, patience: float) -> None:
        """Returns once the server takes work. Raises StartError, with the end of its log, when it ends or hangs."""
        start = os.fstat(self.output).st_size
        child = self.process = await self.launch()
        deadline = time.monotonic() + patience
        while not await self.ready():
            if child.poll() is not None:
                raise StartError(
                    _last_words(f"{self.name} ended with {child.returncode} at start", self.log_path, start)
                )
            if time.monotonic() > deadline:
                await self.stop(5.0)
                raise StartError(_last_words(f"{self.name} was not ready after {patience:.0f} s", self.log_path, start))
            await asyncio.sleep(0.005)

    async def stop(self, patience: float) -> None:
        """End the process; returns when it is gone, at most a moment after `patience` seconds."""
        if (child := self.process) is None:
            return
        for stop_signal in self.stop_signals:
            child.send_signal(stop_signal)
            if await _ended(child, patience / len(self.stop_signals)):
                break
        else:
            log.warning("server killed: it did not stop in time", extra={"server": self.name, "pid": child.pid})
            child.kill()
            await _ended(child, 5.0)
        self.process = None
