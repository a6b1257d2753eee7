"""The plugin template works as its README says: in a fresh virtual environment, by its own commands."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "contrib" / "plugin_template"


def blocks() -> list[str]:
    """The README's shell commands."""
    return re.findall(r"```sh\n(.*?)```", (TEMPLATE / "README.md").read_text(), re.DOTALL)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_by_its_readme(tmp_path: Path) -> None:
    """Copied, installed, tested, listed, run and asked."""
    install, run = blocks()
    checkout = tmp_path / "relay"
    subprocess.run(["git", "clone", "-q", ROOT, checkout], check=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RELAY_") and k != "PYTHONPATH"}
    environment |= {"MATERI_RELAY": str(checkout), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", install], cwd=checkout, env=environment, capture_output=True, timeout=900
    )
    said = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, said
    assert "2 passed" in said
    assert "Who came to each document." in said
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve, ask = run.strip().split("\n")
    served = subprocess.Popen(
        ["bash", "-c", f"exec {serve} --port {port}"],
        cwd=tmp_path / "my-plugin",
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        base = f"http://127.0.0.1:{port}"
        wait(f"{base}/readyz")
        handshake(port, "/ws/welcome")
        url = ask.split()[-1].replace("http://127.0.0.1:8080", base)
        for _ in range(300):
            if visitors := json.loads(wait(url))["visitors"]:
                break
            time.sleep(0.1)  # a fact is told after the handshake
        assert [one["visits"] for one in visitors] == [1]
    finally:
        served.send_signal(signal.SIGTERM)
        output, _ = served.communicate(timeout=60)
    assert served.returncode == 0, output.decode()


def wait(url: str) -> bytes:
    """What is there, once it is there."""
    for _ in range(300):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bytes(answer.read())
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(url)


def handshake(port: int, path: str) -> None:
    """An editor comes."""
    with socket.create_connection(("127.0.0.1", port)) as editor:
        editor.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert b"101" in editor.recv(100)
        time.sleep(0.5)
