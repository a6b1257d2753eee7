"""A key of our own for the server to check tokens with, and a token for every client."""

import time
from collections.abc import Iterator
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

__all__ = ["key_pair", "tokens"]


def key_pair(directory: Path) -> tuple[Path, Path]:
    """Files with a new RSA key: the private one, and the public one."""
    key = rsa.generate_private_key(65537, 2048)
    private, public = directory / "private.pem", directory / "public.pem"
    private.touch(0o600)
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def tokens(key: str, count: int) -> Iterator[str]:
    """A token (RS256) for each of `count` people, signed beforehand; empty ones without a key."""
    if not key:
        return iter([""] * count)
    private = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    claims = {"exp": int(time.time()) + 86400, "rooms": {"*": "read-write"}}
    return iter([jwt.encode(claims | {"sub": f"user{n}"}, private, "RS256") for n in range(count)])
