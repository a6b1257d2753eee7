"""Secrets at rest: AES-256-GCM under a key derived (HKDF) from one secret; what is sealed says what it is for."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["Seal", "derive"]

_NONCE = 12


def derive(secret: bytes, purpose: str) -> bytes:
    """A key of 32 bytes for one purpose."""
    return HKDF(SHA256(), 32, None, f"materi auth {purpose}".encode()).derive(secret)


class Seal:
    """`about` binds a sealed value to its place: it can't be moved to another row."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(derive(secret, "seal"))

    def seal(self, plain: bytes, about: str) -> bytes:
        """The inverse of `open`."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, plain, about.encode())

    def open(self, sealed: bytes, about: str) -> bytes:
        """Raises ValueError for what was sealed with another secret, or about something else."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], about.encode())
        except (InvalidTag, ValueError):
            raise ValueError("sealed with another secret") from None
