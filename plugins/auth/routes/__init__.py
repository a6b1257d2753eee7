"""The REST API of accounts."""

from api_shim.route import Route
from plugins.auth.entrance import Entrance
from plugins.auth.parts import Parts
from plugins.auth.routes.api_keys import ApiKeyRoutes
from plugins.auth.routes.entry import EntryRoutes
from plugins.auth.routes.oidc import OidcRoutes
from plugins.auth.routes.pages import PageRoutes
from plugins.auth.routes.passwords import PasswordRoutes
from plugins.auth.routes.profile import ProfileRoutes
from plugins.auth.routes.second_factor import SecondFactorRoutes
from plugins.auth.routes.service_accounts import ServiceAccountRoutes
from plugins.auth.routes.signing import SigningRoutes
from plugins.auth.routes.users import UserRoutes

__all__ = ["routes_of"]


def routes_of(parts: Parts) -> list[Route]:
    """Every route of the plugin."""
    entrance = Entrance(parts)
    return [
        *EntryRoutes(parts, entrance).routes(),
        *PasswordRoutes(parts, entrance).routes(),
        *OidcRoutes(parts, entrance).routes(),
        *ProfileRoutes(parts).routes(),
        *SecondFactorRoutes(parts, entrance).routes(),
        *ApiKeyRoutes(parts).routes(),
        *ServiceAccountRoutes(parts).routes(),
        *UserRoutes(parts).routes(),
        *SigningRoutes(parts).routes(),
        *PageRoutes().routes(),
    ]
