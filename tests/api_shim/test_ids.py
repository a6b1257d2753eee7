"""Reading ids."""

import pytest

from api_shim.ids import read_uuid, uuid7


def test_usual_form_is_read() -> None:
    """Either case of the canonical form."""
    id = uuid7()
    assert read_uuid(str(id)) == read_uuid(str(id).upper()) == id


@pytest.mark.parametrize("text", ["", "x", "{%s}", "urn:uuid:%s", "%s0", " %s", "%.35s"])
def test_other_forms_are_none(text: str) -> None:
    """One thing has one name."""
    id = str(uuid7())
    assert read_uuid(text % id if "%" in text else text) is None
    assert read_uuid(id.replace("-", "")) is None
    assert read_uuid(id.replace("-", "_")) is None
