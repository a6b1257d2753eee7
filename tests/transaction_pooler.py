"""A pooler that hands out server connections by the transaction, at its worst: never the same one twice running."""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType


class TransactionPooler:
    """Listens on a socket of its own; each client has two connections to the server and changes between them whenever
    no transaction is open. It understands of the protocol what that takes: lengths, and ReadyForQuery."""

    def __init__(self, server: Path) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pb"))
        self.changes = 0
        self._server = server / ".s.PGSQL.5432"
        self._current: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}

    async def __aenter__(self) -> "TransactionPooler":
        self._listening = await asyncio.start_unix_server(self._accept, self.directory / ".s.PGSQL.5432")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()
        shutil.rmtree(self.directory)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        servers = [await asyncio.open_unix_connection(self._server) for _ in range(2)]
        turn = itertools.cycle(sink for _, sink in servers)
        try:
            size = await reader.readexactly(4)
            hello = size + await reader.readexactly(int.from_bytes(size, "big") - 4)
            for number, (source, sink) in enumerate(servers):
                sink.write(hello)
                await _until_ready(source, writer if number == 0 else None)
            self._current[writer] = next(turn)
            async with asyncio.TaskGroup() as group:
                answering = [group.create_task(self._answer(source, writer, turn)) for source, _ in servers]
                while not reader.at_eof():
                    kind, message = await _message(reader)
                    self._current[writer].write(kind + message)
                    if kind == b"X":
                        break
                for task in answering:
                    task.cancel()
        except* (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for _, sink in (*servers, (reader, writer)):
                sink.close()

    async def _answer(
        self, source: asyncio.StreamReader, writer: asyncio.StreamWriter, turn: Iterator[asyncio.StreamWriter]
    ) -> None:
        while True:
            kind, message = await _message(source)
            if kind + message[4:] == b"ZI":  # ready, and in no transaction
                self._current[writer] = next(turn)
                self.changes += 1
            writer.write(kind + message)


async def _until_ready(source: asyncio.StreamReader, writer: asyncio.StreamWriter | None) -> None:
    kind = b""
    while kind != b"Z":
        kind, message = await _message(source)
        if writer is not None:
            writer.write(kind + message)


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    kind, size = await reader.readexactly(1), await reader.readexactly(4)
    return kind, size + await reader.readexactly(int.from_bytes(size, "big") - 4)
