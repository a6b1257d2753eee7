"""Children: their environment, their end, and the account they may run as."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fakes import until

from relay.embedded import process
from relay.embedded.process import Account, Server, admit, run, spawn, tail
from relay.errors import StartError


@pytest.fixture
def output(tmp_path):
    """A log file: its path and descriptor."""
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    yield path, descriptor
    os.close(descriptor)


class Script(Server):
    """A shell script for a server, ready once it printed so."""

    name = "script"
    url = ""
    stop_signals = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, output, script):
        super().__init__(*output, output[1])
        self.script = script

    async def launch(self):
        return spawn(["sh", "-c", self.script], account=None, death_signal=signal.SIGKILL, output=self.output)

    async def ready(self):
        return b"ready" in self.log_path.read_bytes()


async def test_run_passes_no_secrets(output, monkeypatch):
    """A server sees none of our environment."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    await run(["env"], account=None, log_path=output[0], output=output[1], keep=output[1])
    names = {line.partition("=")[0] for line in output[0].read_text().splitlines()}
    assert set(process.ENVIRONMENT) <= names
    assert "DATABASE_URL" not in names


async def test_run_that_fails(output):
    """The error has the exit code and the last words, and knows a full disk when it is told of one."""
    command = ["sh", "-c", "echo 'write: No space left on device'; exit 3"]
    with pytest.raises(StartError, match=r"(?s)sh failed with 3: the disk is full.*--data.*write: No space"):
        await run(command, account=None, log_path=output[0], output=output[1], keep=output[1])


async def test_run_cancelled(output):
    """Cancelling ends the child."""
    work = asyncio.get_running_loop().create_task(
        run(["sleep", "9"], account=None, log_path=output[0], output=output[1], keep=output[1])
    )
    await asyncio.sleep(0.05)
    work.cancel()
    begin = time.monotonic()
    await asyncio.gather(work, return_exceptions=True)
    assert time.monotonic() - begin < 8


async def test_server_that_hangs_at_start(output):
    """A server that is never ready is stopped and its words are shown."""

    class Thinking(Script):
        async def launch(self):
            child = await super().launch()
            await until(self.log_path.read_bytes)
            return child

    server = Thinking(output, "echo thinking; exec sleep 9")
    with pytest.raises(StartError, match=r"(?s)script was not ready after 0 s.*thinking"):
        await server.start(0.2)
    assert not server.alive


async def test_server_that_ignores_its_signals(output):
    """Stopping is bounded: what does not listen is killed."""
    server = Script(output, "trap '' INT TERM; echo ready; while :; do sleep 0.05; done")
    await server.start(20)
    child = server.process
    begin = time.monotonic()
    await server.stop(0.2)
    assert time.monotonic() - begin < 10
    assert child.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal exists on Linux")
def test_spawn_off_the_main_thread(output):
    """The death signal is bound to the forking thread, so another thread is refused."""
    errors = []

    def work():
        try:
            spawn(["true"], account=None, death_signal=signal.SIGKILL, output=output[1])
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(errors) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal exists on Linux")
def test_child_of_a_parent_that_died_before(output, monkeypatch):
    """A parent that dies between fork and exec leaves no child: the child looks whether it is still there."""
    monkeypatch.setattr(process.os, "getpid", lambda: 1 << 22)
    child = spawn(["sh", "-c", "echo ran"], account=None, death_signal=signal.SIGKILL, output=output[1])
    assert child.wait(20) == 0
    assert output[0].read_bytes() == b""


def test_admit_says_why_not(tmp_path):
    """A binary that is missing, one that fails, and a directory out of reach are three different messages."""
    with pytest.raises(StartError, match="can't run /nowhere: No such file"):
        admit(Path("/nowhere"), None, ())
    with pytest.raises(StartError, match="does not run on this machine"):
        admit(Path("/bin/false"), None, ())
    with pytest.raises(StartError, match=r"can't enter .*gone.*--data"):
        admit(Path("/bin/true"), None, (tmp_path / "gone",))


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root changes accounts")
def test_admit_gives_the_least_capability(tmp_path):
    """None where the way is open, READ_SEARCH through closed directories, OVERRIDE for a closed binary."""
    nobody = Account(65534, 65534)
    tmp_path.chmod(0o700)
    assert admit(Path("/bin/true"), nobody, (Path("/"),))[0] == nobody
    assert admit(Path("/bin/true"), nobody, (tmp_path,))[0].capabilities == (process.CAP_DAC_READ_SEARCH,)
    closed = tmp_path / "closed"
    closed.write_bytes(Path("/bin/true").read_bytes())
    closed.chmod(0o700)
    assert admit(closed, nobody, ())[0].capabilities == (process.CAP_DAC_OVERRIDE,)


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root changes accounts")
def test_admit_without_the_power_to_change(tmp_path):
    """Root in a container that may not change accounts is told so."""
    script = (
        "import ctypes; from pathlib import Path; from relay.embedded.process import *; from relay.errors import *\n"
        "from subprocess import Popen\n"
        "libc = ctypes.CDLL(None); libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())\n"
        "try: admit(Path('/bin/true'), Account(65534, 65534), ())\n"
        "except StartError as error: print(error)\n"
    )
    root = Path(process.__file__).parents[2]
    said = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    assert "root may not change to uid 65534" in said.stdout, said.stderr


def test_tail_is_indented_and_bounded(tmp_path):
    """The last lines of what a log got since a mark; a missing or silent log is said, not raised."""
    path = tmp_path / "log"
    path.write_text("before\n" + "".join(f"line {number}\n" for number in range(50)))
    assert tail(path, start=7, lines=2) == "    line 48\n    line 49"
    assert "before" not in tail(path, start=7, lines=99)
    assert tail(path, start=path.stat().st_size) == "    (it said nothing)"
    assert "No such file" in tail(tmp_path / "none")
