"""Dead letters, on real servers."""

import dataclasses
from typing import Any

import pytest

from relay.bus.dead_letters import DeadLetter
from relay.bus.outbox import made
from relay.bus.streams import StreamBus
from relay.contracts import Event
from relay.contracts.materi.v1.documents_pb2 import DocumentUpdated
from relay.contracts.materi.v1.users_pb2 import UserEnabled


class Picky:
    """Fails for titles in `hates`."""

    def __init__(self) -> None:
        self.hates = {"bad"}
        self.titles: list[str] = []

    async def __call__(self, connection: Any, event: Event) -> None:
        title = event.payload.title  # type: ignore[attr-defined]
        if title in self.hates:
            raise RuntimeError(f"I hate {title}")
        self.titles.append(title)


@pytest.fixture
async def letter(bus: StreamBus, add_events: Any, wait_until: Any, picky: Picky) -> DeadLetter:
    await bus.consume("g", ["documents"], picky)
    await add_events("good", "bad", "fine")

    async def dead() -> bool:
        return bool(await bus.dead_letters.list(name="g"))

    await wait_until(dead)
    return (await bus.dead_letters.list(name="g"))[0]


@pytest.fixture
def picky() -> Picky:
    return Picky()


async def gone(bus: StreamBus) -> bool:
    return not await bus.dead_letters.list(name="g")


async def test_given_up(letter: DeadLetter, picky: Picky, wait_until: Any) -> None:
    """An event that failed every attempt is kept with its error; the others were handled."""
    await wait_until(lambda: set(picky.titles) == {"fine", "good"})
    assert (letter.name, letter.topic, letter.attempts, letter.redrive) == ("g", "documents", 3, False)
    assert letter.event is not None
    assert letter.event.payload.title == "bad"  # type: ignore[attr-defined]
    assert "RuntimeError: I hate bad" in letter.error


async def test_redrive(bus: StreamBus, letter: DeadLetter, picky: Picky, wait_until: Any) -> None:
    """Tried once more when wanted: stays, with the new error, if that fails, and is gone when it succeeds."""
    await bus.dead_letters.redrive(letter.id)

    async def again() -> bool:
        return (await bus.dead_letters.get(letter.id)).attempts == 4

    await wait_until(again)
    assert not (await bus.dead_letters.get(letter.id)).redrive
    picky.hates.clear()
    assert await bus.dead_letters.redrive_all("g") == 1
    await wait_until(lambda: gone(bus))
    assert picky.titles.count("bad") == 1


async def test_edit(bus: StreamBus, letter: DeadLetter, picky: Picky, wait_until: Any) -> None:
    """An edited event is what is tried; what it was stays beside it until then."""
    assert letter.event is not None
    await bus.dead_letters.edit(letter.id, dataclasses.replace(letter.event, payload=DocumentUpdated(title="better")))
    edited = await bus.dead_letters.get(letter.id)
    assert edited.original == letter.body
    assert edited.body != letter.body
    await bus.dead_letters.redrive(letter.id)
    await wait_until(lambda: gone(bus))
    assert "better" in picky.titles


async def test_edit_to_another_topic(bus: StreamBus, letter: DeadLetter) -> None:
    """The handler of a topic is not given events of another."""
    with pytest.raises(ValueError, match="documents"):
        await bus.dead_letters.edit(letter.id, made(UserEnabled(), subject="u"))


async def test_discard(bus: StreamBus, letter: DeadLetter, picky: Picky) -> None:
    """A discarded one is not tried any more, and is still in the event store."""
    await bus.dead_letters.discard(letter.id)
    for work in (
        bus.dead_letters.get(letter.id),
        bus.dead_letters.redrive(letter.id),
        bus.dead_letters.discard(letter.id),
    ):
        with pytest.raises(LookupError):
            await work
    assert any(each.position == letter.position for each in await bus.store.read(0))


async def test_poison_is_edited_and_redriven(
    bus: StreamBus, redis: Any, add_events: Any, wait_until: Any, picky: Picky
) -> None:
    """Bytes that are no event fail again as they are, and are handled once they were made one."""
    await bus.consume("g", ["documents"], picky)
    await add_events("a")
    await wait_until(lambda: picky.titles == ["a"])
    await redis.xadd("materi:events:documents", {"e": b"\xff"}, id="7-0")

    async def dead() -> bool:
        return bool(await bus.dead_letters.list(name="g"))

    await wait_until(dead)
    (letter,) = await bus.dead_letters.list(name="g")
    await bus.dead_letters.redrive(letter.id)

    async def again() -> bool:
        return (await bus.dead_letters.get(letter.id)).attempts == 2

    await wait_until(again)
    await bus.dead_letters.edit(letter.id, made(DocumentUpdated(title="repaired"), subject="d"))
    await bus.dead_letters.redrive(letter.id)
    await wait_until(lambda: gone(bus))
    assert picky.titles == ["a", "repaired"]
