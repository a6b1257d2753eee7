"""Problems of this plugin's own."""

from api_shim.problems import Conflict, Gone, Unauthorized

__all__ = ["LastOwner", "LinkUsedUp", "LocksOut", "PasswordNeeded", "RoleInUse"]


class LastOwner(Conflict):
    """A workspace has an owner at all times. Make somebody else one first, or transfer it."""

    code, title = "last_owner", "A workspace needs an owner"


class LocksOut(Conflict):
    """You would not be able to manage this any more. Give yourself a grant on it first."""

    code, title = "locks_out", "You would lock yourself out"


class RoleInUse(Conflict):
    """Somebody has this role. Give them another one first."""

    code, title = "role_in_use", "The role is in use"


class LinkUsedUp(Gone):
    """The link was opened as often as it may be. Ask whoever made it for another."""

    code, title = "link_used_up", "The link was used as often as it may be"


class PasswordNeeded(Unauthorized):
    """The link has a password, and it was missing or wrong."""

    code, title = "password_needed", "The link's password is needed"
