"""A circuit opens after failures in a row, for longer each time, and closes with a success."""

from relay.circuit import Circuit
from relay.testing import Clock


def test_opens_and_closes() -> None:
    """Three failures open it; the pause doubles up to a bound; one success closes it for good."""
    clock = Clock()
    circuit = Circuit(3, first=1.0, longest=3.0, clock=clock)
    assert [circuit.failed() for _ in range(3)] == [False, False, True]
    for pause in (1.0, 2.0, 3.0, 3.0):
        assert circuit.rest == pause
        clock.advance(pause)
        assert circuit.rest == 0
        assert circuit.failed()
    circuit.succeeded()
    assert circuit.rest == 0
    assert [circuit.failed() for _ in range(3)] == [False, False, True]
    assert circuit.rest == 1.0


def test_successes_between() -> None:
    """Who fails now and then is not left alone."""
    circuit = Circuit(2)
    for _ in range(10):
        assert not circuit.failed()
        circuit.succeeded()
