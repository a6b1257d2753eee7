"""What people have done to a document since a version of it, in that version's places."""

from typing import Any, NamedTuple

import pycrdt

from relay.errors import Malformed

__all__ = ["NotABase", "Since", "since"]


class NotABase(ValueError):
    """The base is no version of the document: it holds edits that the document does not have."""


class _Event(NamedTuple):
    path: tuple[int, ...]
    delta: list[dict[str, Any]]
    text: bool


class Since:
    """Places are indices of Yjs children from the root, as they were in the version."""

    def __init__(self) -> None:
        self._typed: set[tuple[int, ...]] = set()
        self._deleted: set[tuple[int, ...]] = set()

    def typed(self, place: tuple[int, ...]) -> bool:
        return place in self._typed

    def deleted(self, place: tuple[int, ...]) -> bool:
        return any(place[:depth] in self._deleted for depth in range(1, len(place) + 1))

    def add(self, events: list[_Event]) -> None:
        """Events of one transaction; their paths are those of the document after it."""
        deltas = {event.path: event.delta for event in events if not event.text}
        for event in events:
            if (place := _before(event.path, deltas)) is None:
                continue  # in something that was inserted, which is reported itself
            at = 0
            for step in event.delta:
                if "retain" in step:
                    at += step["retain"]
                elif "delete" in step:
                    if not event.text:
                        self._deleted.update((*place, at + index) for index in range(step["delete"]))
                    at += step["delete"]
                else:
                    self._typed.update(place[:depth] for depth in range(len(place) + 1))


def _before(path: tuple[int, ...], deltas: dict[tuple[int, ...], list[dict[str, Any]]]) -> tuple[int, ...] | None:
    """The place before the transaction of what is at `path` after it; None when it was inserted."""
    place = []
    for depth, index in enumerate(path):
        old = new = 0
        for step in deltas.get(path[:depth], ()):
            if "retain" in step:
                if index < new + step["retain"]:
                    break
                old, new = old + step["retain"], new + step["retain"]
            elif "delete" in step:
                old += step["delete"]
            else:
                new += len(step["insert"])
                if index < new:
                    return None
        place.append(old + index - new)
    return tuple(place)


def since(base: bytes, live: bytes, root: str) -> Since:
    """What happened in an XML root between `base` and `live`. Raises NotABase, Malformed."""
    doc = pycrdt.Doc[Any]()
    whole = pycrdt.Doc[Any]()
    changes = Since()
    events: list[_Event] = []

    def note(happened: list[Any]) -> None:
        events.extend(
            _Event(tuple(event.path), event.delta or [], isinstance(event.target, pycrdt.XmlText)) for event in happened
        )

    try:
        doc.apply_update(base)
        fragment = doc.get(root, type=pycrdt.XmlFragment)
        subscription = fragment.observe_deep(note)
        try:
            doc.apply_update(live)
        finally:
            fragment.unobserve(subscription)
        whole.apply_update(live)
    except (ValueError, RuntimeError) as error:
        raise Malformed(f"the document can't be read: {error}") from None
    if doc.get_state() != whole.get_state() and _clocks(doc.get_state()) != _clocks(whole.get_state()):
        raise NotABase("the base holds edits that the document does not have")
    changes.add(events)
    return changes


def _clocks(vector: bytes) -> dict[int, int]:
    numbers = []
    number = shift = 0
    for byte in vector:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(number)
            number = shift = 0
    return dict(zip(numbers[1::2], numbers[2::2], strict=False))
