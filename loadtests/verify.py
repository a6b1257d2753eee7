"""Fresh readers that open every room at the end, and look for every edit that was acknowledged."""

from collections.abc import Iterable, Mapping
from typing import Any

from pycrdt import Doc, Text

__all__ = ["read_texts"]


def read_texts(updates: Iterable[bytes], clients: Iterable[int]) -> Mapping[int, str]:
    """What a document of these updates says of each client's typing."""
    doc: Doc[Any] = Doc()
    for update in updates:
        doc.apply_update(update)
    return {client: str(doc.get(f"t{client}", type=Text)) for client in clients}
