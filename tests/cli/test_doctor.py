"""`relay doctor` from the command line; its checks are tested in tests/test_doctor.py."""

import json
from pathlib import Path

import pytest

from relay.__main__ import main


def test_doctor_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Findings for a person or for a script, and 1 when one of them stops the relay."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)
    assert main(["doctor", "--data", str(tmp_path), "--port", "0", "--json"]) == 0
    found = {check["name"]: check["ok"] for check in json.loads(capsys.readouterr().out)}
    assert found["data"] is True
    url = f"unix://{tmp_path}/nobody"
    assert main(["doctor", "--data", str(tmp_path), "--port", "0", "--redis-url", url]) == 1
    assert "FAIL  redis" in capsys.readouterr().out
