"""Claims that others have signed: checked by keys that they publish, each of which is good for one algorithm."""

from collections.abc import Collection, Mapping
from typing import Any

import jwt
import orjson

from plugins.auth.tokens import MAX_TOKEN, header_of
from relay.errors import Deny
from relay.keys import KeySet

__all__ = ["check_claims", "verified"]

LEEWAY = 30.0
"""Seconds that another issuer's clock may differ from ours."""
_jws = jwt.PyJWS()


async def verified(token: str, keys: KeySet, algorithms: Collection[str] = ("RS256", "ES256", "EdDSA")) -> Any:
    """The claims of a token that one of the keys has signed. Raises Deny (4401), Unavailable without keys."""
    if len(token) > 2 * MAX_TOKEN:
        raise Deny("token too long", 4401)
    header = header_of(token)
    kid, algorithm = header.get("kid"), header.get("alg")
    if algorithm not in algorithms:
        raise Deny("the token is signed in a way that is not taken here", 4401)
    if "crit" in header:
        raise Deny("the token demands what is not known here", 4401)
    for key in await keys.find(kid if isinstance(kid, str) else None):
        if key.algorithm != algorithm:
            continue
        try:
            claims = orjson.loads(_jws.decode(token, key.material, algorithms=[key.algorithm]))
        except jwt.InvalidSignatureError:
            continue
        except (jwt.PyJWTError, ValueError, RecursionError):
            break
        if isinstance(claims, dict):
            return claims
        break
    raise Deny("the token's signature does not match a key of its issuer", 4401)


def check_claims(claims: Mapping[str, Any], *, issuer: str, audience: str, now: float) -> float:
    """When the claims expire. Raises Deny (4401) for another issuer or audience, and outside their time."""
    if claims.get("iss") != issuer:
        raise Deny("the token is from another issuer", 4401)
    given = claims.get("aud")
    if audience not in (given if isinstance(given, list) else [given]):
        raise Deny("the token is for another audience", 4401)
    expires = claims.get("exp")
    if isinstance(expires, bool) or not isinstance(expires, int | float):
        raise Deny("the token has no expiry", 4401)
    if now >= expires + LEEWAY:
        raise Deny("the token has expired", 4401)
    for name in ("nbf", "iat"):
        at = claims.get(name, 0)
        if isinstance(at, bool) or not isinstance(at, int | float) or at > now + LEEWAY:
            raise Deny("the token is not valid yet", 4401)
    return float(expires) + LEEWAY
