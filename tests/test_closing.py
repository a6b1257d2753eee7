"""The table of close codes."""

import inspect

from relay import closing
from relay.closing import CLOSINGS, Closing


def test_table_holds_every_code_once() -> None:
    """Each constant is in the table and no two share a code."""
    constants = [value for name, value in inspect.getmembers(closing) if isinstance(value, Closing)]
    assert sorted(CLOSINGS.values()) == sorted(constants)
    assert len(CLOSINGS) == len(constants) > 10


def test_reconnect_advice_follows_what_clients_do() -> None:
    """y-websocket gives up on 4400-4499 and retries on all else: only those, and a clean end, say stay away."""
    for code, entry in CLOSINGS.items():
        assert entry.reconnect == (code != 1000 and not 4400 <= code <= 4499), entry


def test_codes_may_be_sent() -> None:
    """RFC 6455, 7.4: an endpoint sends 1000-1014 without the reserved ones, or 3000-4999."""
    for code in CLOSINGS:
        assert code in {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014} or 3000 <= code <= 4999


def test_reasons_fit_a_close_frame() -> None:
    """A control frame holds 125 bytes, two of them the code; a reason says something."""
    for entry in CLOSINGS.values():
        assert 0 < len(entry.reason.encode()) <= 123
