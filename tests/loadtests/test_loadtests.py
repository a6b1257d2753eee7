"""A load test as it is run: against a relay of its own, judged, and gone without a trace."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from relay_process import descendants, still_there

from loadtests.server import ROOT, relay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
WIDE = ("--edit-p95", "3000", "--join-p95", "9000", "--api-p95", "9000")
"""What is tested here is the judge, not how fast a busy machine is."""
SHORT = ("--users", "20", "--run-time", "10s", *WIDE, "--saved-p95", "3000")
OVERCLAIMING = """
from loadtests.ledger import Ledger
from loadtests.locustfile import *

truth = Ledger.report
Ledger.report = lambda self: {
    room: [(client, saved + 1) for client, saved in authors] for room, authors in truth(self).items()
}
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with relay() as url:
        yield url


class Run:
    """A process, and what it has said so far."""

    def __init__(self, *arguments: str) -> None:
        self._said = TemporaryFile("w+b")  # noqa: SIM115
        command = [sys.executable, "-m", *arguments]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=self._said, stderr=subprocess.STDOUT)

    def said(self) -> str:
        return os.pread(self._said.fileno(), 1 << 24, 0).decode()

    def loading(self) -> list[int]:
        """The processes below it, once all users are there."""
        deadline = time.monotonic() + 90
        while "All users spawned" not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)
        return descendants(self.process.pid)


def ended(run: Run) -> tuple[int, str]:
    return run.process.wait(150), run.said()


def outcome(results: Path) -> dict[str, object]:
    (path,) = results.glob("*_thresholds.json")
    return dict(json.loads(path.read_text()))


def test_run_of_its_own(tmp_path: Path) -> None:
    """Twenty users for ten seconds on two workers, in two processes: everything holds, every acknowledged character is
    there, the report is written, and no process is left."""
    run = Run("loadtests", *SHORT, "--processes", "2", "--results", str(tmp_path))
    below = run.loading()
    status, output = ended(run)
    assert status == 0, output
    assert len(below) > 5
    assert still_there(below, 20) == []
    found = outcome(tmp_path)
    assert found["passed"]
    assert isinstance(found["checked"], int)
    assert found["checked"] > 50
    (report,) = tmp_path.glob("*.html")
    assert "EDIT" in report.read_text()


def test_accounts_and_documents(tmp_path: Path) -> None:
    """With plugins, users register, and edit documents that the API reads and writes meanwhile."""
    plugins = ("--plugins", "auth,workspaces,documents")
    status, output = ended(Run("loadtests", *SHORT, *plugins, "--results", str(tmp_path)))
    assert status == 0, output
    assert "PUT      /v1/documents/{document}/content" in output


def test_threshold_that_is_broken(url: str, tmp_path: Path) -> None:
    """The run fails, and says which threshold it was."""
    arguments = (*SHORT, "--host", url, "--saved-p95", "0.5", "--results", str(tmp_path))
    status, output = ended(Run("loadtests", *arguments))
    assert status == 1, output
    verdicts = outcome(tmp_path)["thresholds"]
    assert isinstance(verdicts, list)
    assert [verdict["what"] for verdict in verdicts if not verdict["kept"]] == ["edit saved, p95"]


def test_edits_that_are_not_there(url: str, tmp_path: Path) -> None:
    """Had the server acknowledged one character more than it has, the fresh readers would miss it."""
    locustfile = tmp_path / "overclaiming.py"
    locustfile.write_text(OVERCLAIMING)
    command = ("locust", "-f", str(locustfile), "--headless", "-u", "10", "-r", "10", "-t", "8s", "--host", url)
    status, output = ended(Run(*command, "Bot"))
    assert status == 1, output
    assert "BREACH  acknowledged edits lost: 10 " in output, output


def test_interrupted(tmp_path: Path) -> None:
    """SIGTERM ends it all, and what was acknowledged until then is checked."""
    run = Run("loadtests", "--users", "20", "--run-time", "10m", *WIDE, "--results", str(tmp_path))
    below = run.loading()
    time.sleep(5)
    run.process.send_signal(signal.SIGTERM)
    status, output = ended(run)
    assert status == 0, output
    assert still_there(below, 20) == []
    assert outcome(tmp_path)["passed"]


def test_elsewhere(tmp_path: Path) -> None:
    """Another machine is not loaded."""
    arguments = ("--host", "http://192.0.2.1:8080", "--results", str(tmp_path))
    assert ended(Run("loadtests", *arguments))[0] == 2
    command = ("locust", "-f", "loadtests/locustfile.py", "--headless", "-t", "2s", *arguments[:2])
    status, output = ended(Run(*command))
    assert (status, "--anywhere" in output) == (1, True), output


def test_server_that_does_not_answer(tmp_path: Path) -> None:
    """A run that can't begin fails at once."""
    never = ("--users", "20", "--run-time", "10m", "--host", "http://127.0.0.1:9")
    status, output = ended(Run("loadtests", *never, "--results", str(tmp_path)))
    assert status == 1, output
    assert "can't be loaded" in output
    assert os.listdir(tmp_path) == [] or not list(tmp_path.glob("*_thresholds.json"))
