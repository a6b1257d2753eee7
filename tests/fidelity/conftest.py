"""Yjs itself, in one Node process for the whole session."""

import base64
import fcntl
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

HERE = Path(__file__).parent


class History(NamedTuple):
    """The updates of one played document in the order they were made, and which of them are whole uploads."""

    seed: int
    log: list[bytes]
    uploads: frozenset[int]


class Yjs:
    """Questions to `histories.mjs`."""

    def __init__(self) -> None:
        self.node = subprocess.Popen(
            ["node", "histories.mjs"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def histories(self, seeds: Sequence[int]) -> list[History]:
        made = self._ask({"make": list(seeds)})
        return [
            History(seed, [base64.b64decode(update) for update in one["log"]], frozenset(one["uploads"]))
            for seed, one in zip(seeds, made)
        ]

    def differences(self, cases: Sequence[Any]) -> list[str]:
        """What reads otherwise, of cases with `name`, `expected`, `actual` and `then`."""
        return self._ask(
            {
                "check": [
                    {
                        "name": case.name,
                        "expected": _texts(case.expected),
                        "actual": _texts(case.actual),
                        "then": _texts(case.then),
                    }
                    for case in cases
                ]
            }
        )

    def thrown(self, cases: Sequence[tuple[Sequence[bytes], bytes]]) -> list[str | None]:
        """What Yjs throws when it applies the second to a document made of the first."""
        return self._ask(
            {"throws": [{"before": _texts(before), "update": _texts([update])[0]} for before, update in cases]}
        )

    def vectors(self, documents: Sequence[Sequence[bytes]]) -> list[bytes]:
        """The state vectors of documents made of updates."""
        answer = self._ask({"vectors": [_texts(updates) for updates in documents]})
        return [base64.b64decode(vector) for vector in answer]

    def type(self, patches: Sequence[Sequence[Any]], folder: Path) -> tuple[list[bytes], bytes, str]:
        """One update for each [at, delete, insert]; Yjs's encoding of the result; its text."""
        (folder / "patches.json").write_text(json.dumps(patches))
        out = folder / "updates"
        answer = self._ask({"type": {"patches": str(folder / "patches.json"), "out": str(out)}})
        data = out.read_bytes()
        updates = []
        at = 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 4], "little")
            updates.append(data[at + 4 : at + 4 + size])
            at += 4 + size
        return updates, base64.b64decode(answer["state"]), answer["text"]

    def text(self, update: bytes) -> str:
        return self._ask({"text": base64.b64encode(update).decode()})

    def close(self) -> None:
        assert self.node.stdin is not None
        self.node.stdin.close()
        self.node.wait(10)
        assert self.node.stdout is not None
        self.node.stdout.close()

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self.node.stdin is not None
        assert self.node.stdout is not None
        self.node.stdin.write(json.dumps(question) + "\n")
        self.node.stdin.flush()
        return json.loads(self.node.stdout.readline())


@pytest.fixture(scope="session")
def yjs() -> Iterator[Yjs]:
    with (HERE / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (HERE / "node_modules" / "yjs" / "package.json").exists():
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True, stdout=subprocess.DEVNULL)
    one = Yjs()
    yield one
    one.close()


def _texts(updates: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(update).decode() for update in updates]
