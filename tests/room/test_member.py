"""What a member is told of its own edits."""

from fakes import Peer, acknowledged


def test_one_for_each() -> None:
    """An acknowledgement is written as often as it is owed."""
    member = Peer(hocuspocus=True)
    member.acknowledge(3)
    assert acknowledged(member.heard()) == 3
    member.acknowledge(0)
    assert member.heard() == []


def test_wants_none() -> None:
    """A client whose protocol has no word for it is told nothing."""
    member = Peer()
    member.acknowledge(3)
    assert member.heard() == []


def test_slow_reader_is_owed() -> None:
    """A slow reader is owed its acknowledgements."""
    member = Peer(hocuspocus=True)
    member.behind = 7
    member.acknowledge(2)
    member.acknowledge(1)
    assert member.heard() == []
    assert member.owed == 3
