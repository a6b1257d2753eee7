"""Losses are found, and nothing else is taken for one."""

from loadtests.ledger import Ledger, Loss, compare
from loadtests.wire import spelled


def test_compare() -> None:
    """What is missing, cut off or out of place counts from there on; more than was acknowledged is fine."""
    texts = {1: spelled(10), 2: spelled(4), 3: spelled(3) + "?" + spelled(6, 4), 4: spelled(30)}
    losses = compare("r", {1: 10, 2: 5, 3: 9, 4: 27, 5: 2}, texts)
    assert losses == [Loss("r", 2, 5, 4), Loss("r", 3, 9, 3), Loss("r", 5, 2, 0)]


def test_reports_of_several_processes() -> None:
    """A master counts what every process's authors had acknowledged, and nothing that was not."""
    here, there = Ledger(), Ledger()
    here.author(1, "a").saved = 5
    here.author(2, "a")
    there.author(3, "a").saved = 7
    there.author(4, "b").saved = 1
    here.add(there.report())
    assert here.acknowledged() == {"a": {1: 5, 3: 7}, "b": {4: 1}}


def test_forgive() -> None:
    """An author that went away by itself is not late with what it had sent before."""
    author = Ledger().author(1, "a")
    author.sent_at.extend([1.0, 2.0, 3.0])
    author.saved = 1
    author.forgive(9.0)
    assert list(author.sent_at) == [1.0, 9.0, 9.0]
