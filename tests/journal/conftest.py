"""These tests run on the loop of production: its transports break in ways of their own."""

import uvloop


def pytest_asyncio_loop_factories() -> dict[str, object]:
    return {"uvloop": uvloop.new_event_loop}
