"""Events and their two forms outside."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.contracts import EVENTS, Event, UnknownType
from relay.contracts.materi.v1.documents_pb2 import AttachmentAdded, DocumentCreated
from relay.contracts.materi.v1.envelope_pb2 import Envelope
from relay.errors import Malformed
from relay.ids import milliseconds, uuid7

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def event(**fields: Any) -> Event:
    id = uuid7()
    payload = DocumentCreated(document_id="d1", title="Plan")
    return Event(
        **(
            {"id": id, "time": milliseconds(id), "subject": "d1", "actor": "ada", "trace": TRACE, "payload": payload}
            | fields
        )
    )


@given(st.sampled_from(list(EVENTS.values())), TEXT.filter(bool), TEXT, st.sampled_from(["", TRACE]), st.data())
@settings(max_examples=200, deadline=None)
def test_forms_are_inverses(kind: Any, subject: str, actor: str, trace: str, data: st.DataObject) -> None:
    """An event of every type is the same after protobuf and after JSON."""
    payload = kind.message()
    for field in payload.DESCRIPTOR.fields:
        if field.type == field.TYPE_STRING and not field.is_repeated:
            setattr(payload, field.name, data.draw(TEXT))
        elif field.type == field.TYPE_UINT64:
            setattr(payload, field.name, data.draw(st.integers(0, 2**64 - 1)))
    before = event(subject=subject, actor=actor, trace=trace, payload=payload)
    assert Event.decode(before.encode()) == before
    assert Event.from_json(before.json()) == before
    assert (before.type, before.topic, before.version) == (kind.type, kind.topic, kind.version)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_arbitrary_bytes(data: bytes) -> None:
    """Bytes that are no event are Malformed, whatever they are."""
    with pytest.raises(Malformed):
        Event.decode(data)


def test_fields_of_newer_code_are_kept() -> None:
    """An event with a field that this code does not have keeps it when it is passed on."""
    envelope = Envelope.FromString(event().encode())
    envelope.payload.value += bytes([0xF2, 0x3F, 2]) + b"hi"
    read = Event.decode(envelope.SerializeToString())
    assert b"\xf2\x3f\x02hi" in read.encode()


def test_unknown_type() -> None:
    """A type that this code does not have is told from broken bytes."""
    envelope = Envelope.FromString(event().encode())
    envelope.type = "document.sung"
    with pytest.raises(UnknownType, match=r"document\.sung"):
        Event.decode(envelope.SerializeToString())


def test_payload_of_another_type() -> None:
    """An envelope whose type and payload disagree is refused."""
    envelope = Envelope.FromString(event().encode())
    envelope.type = "document.deleted"
    with pytest.raises(Malformed, match=r"document\.deleted carries"):
        Event.decode(envelope.SerializeToString())


@pytest.mark.parametrize(
    "wrong",
    [{"subject": ""}, {"subject": "a\0"}, {"actor": "x" * 257}, {"trace": "what"}, {"payload": Envelope()}],
    ids=str,
)
def test_impossible_events(wrong: dict[str, Any]) -> None:
    """An event that could not be stored or read is refused where it is made."""
    with pytest.raises(ValueError):
        event(**wrong)


@pytest.mark.parametrize(
    "change",
    [
        {"type": "document.sung"},
        {"id": "one"},
        {"id": None},
        {"time": "yesterday"},
        {"time": "2026-01-01T00:00:00"},
        {"data": {"titel": "x"}},
        {"data": {"title": 5}},
        {"data": []},
        {"subject": ""},
    ],
    ids=str,
)
def test_json_that_is_no_event(change: dict[str, Any]) -> None:
    """JSON that an operator mistyped is Malformed."""
    with pytest.raises(Malformed):
        Event.from_json(event().json() | change)


def test_json_form() -> None:
    """The JSON form names every field as the contracts do, with the defaults of those not set."""
    id = UUID("019f8a00-0000-7000-8000-000000000000")
    payload = AttachmentAdded(document_id="d", size=5)
    assert event(id=id, time=1_750_000_000_123, payload=payload, trace="").json() == {
        "id": str(id),
        "time": "2025-06-15T15:06:40.123+00:00",
        "type": "attachment.added",
        "version": 1,
        "subject": "d1",
        "actor": "ada",
        "trace": "",
        "data": {"document_id": "d", "attachment_id": "", "name": "", "media_type": "", "size": "5"},
    }
