"""Permissions as bits, so that "no more than I have" is arithmetic, and the standard roles as sets of them."""

from collections.abc import Iterable
from typing import Final

from api_shim.services import PERMISSIONS, ROLES, Permission, Role

__all__ = ["BITS", "NONE", "OWN", "RIGHTS", "combined", "exceeds", "floor", "holds", "permissions"]

BITS: Final[dict[Permission, int]] = {"read": 1, "comment": 2, "write": 4, "share": 8, "manage": 16, "delete": 32}
OWN: Final = 64
"""What an owner has beyond an admin: it is given and taken by owners only."""
NONE: Final = 0
"""Said by a grant that shuts somebody out."""


def combined(of: Iterable[Permission]) -> int:
    """The bits of these permissions, with what they are useless without: to write takes comment, all take read."""
    bits = BITS["read"]
    for permission in of:
        bits |= BITS[permission]
    return bits | (BITS["comment"] if bits & BITS["write"] else 0)


RIGHTS: Final[dict[Role, int]] = {role: combined(PERMISSIONS[role]) | (OWN if role == "owner" else 0) for role in ROLES}


def floor(rights: int) -> Role | None:
    """The highest standard role that asks for nothing beyond `rights`; None for no rights."""
    return next((role for role in reversed(ROLES) if not RIGHTS[role] & ~rights), None)


def holds(rights: int, permission: Permission) -> bool:
    """Whether `permission` is among them."""
    return bool(rights & BITS[permission])


def exceeds(rights: int, mine: int) -> bool:
    """Whether there is anything in `rights` that is not in `mine`."""
    return bool(rights & ~mine)


def permissions(rights: int) -> list[Permission]:
    """Their names, least first."""
    return [name for name, bit in BITS.items() if rights & bit]
