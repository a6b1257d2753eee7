"""One-time passwords by time (RFC 6238: SHA-1, 30 s, six digits, as every authenticator app has it)."""

import base64
import hashlib
import hmac
import secrets
from urllib.parse import quote

__all__ = ["STEP", "accept", "code_at", "new_recovery_codes", "new_secret", "recovery_hash", "uri"]

STEP = 30
DIGITS = 6
WINDOW = 1
"""Steps that a phone's clock may be off, either way."""
_ALPHABET = "abcdefghjkmnpqrstvwxyz23456789"


def new_secret() -> bytes:
    """160 bits, as RFC 4226 wants."""
    return secrets.token_bytes(20)


def code_at(secret: bytes, step: int) -> str:
    """The code of one time step (RFC 4226 section 5.3)."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    at = digest[-1] & 15
    number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def accept(secret: bytes, code: str, now: float, after: int) -> int | None:
    """The time step whose code this is, later than `after`; None when it is none, or was used."""
    given = code.encode("utf-8", "surrogatepass")
    current = int(now) // STEP
    found = None
    for step in range(current - WINDOW, current + WINDOW + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), given) and step > after:
            found = step
    return found


def uri(secret: bytes, issuer: str, account: str) -> str:
    """What an authenticator app reads from a QR code."""
    key = base64.b32encode(secret).decode().rstrip("=")
    return f"otpauth://totp/{quote(issuer)}:{quote(account)}?secret={key}&issuer={quote(issuer)}"


def new_recovery_codes(count: int = 10) -> list[str]:
    """Codes of 50 bits each, for whoever lost the phone."""
    return ["-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(2)) for _ in range(count)]


def recovery_hash(code: str, key: bytes) -> bytes:
    """What is kept of a code, however it is typed."""
    plain = "".join(letter for letter in code.lower() if letter.isalnum())
    return hmac.new(key, plain.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
