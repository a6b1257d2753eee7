"""`relay keys` and `relay token`: a key pair, and tokens signed with it, for development and tests."""

import argparse
import os
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from relay.errors import Deny, StartError
from relay.grants import ACCESS, Principal
from relay.quantities import SECONDS
from relay.tokens import mint

__all__ = ["add_key_flags", "add_token_flags", "make_keys", "make_token"]

RSA_BITS = 3072


def add_key_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `keys`."""
    parser.add_argument("directory", metavar="DIRECTORY", type=Path, help="gets private.pem and public.pem")
    parser.add_argument("--type", choices=("ed25519", "rsa"), default="ed25519", help="[ed25519]")


def make_keys(arguments: argparse.Namespace) -> int:
    """Write a key pair; never over one that is there. Raises StartError."""
    directory: Path = arguments.directory
    key: RSAPrivateKey | Ed25519PrivateKey = (
        generate_private_key(65537, RSA_BITS) if arguments.type == "rsa" else Ed25519PrivateKey.generate()
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content, mode in (("private.pem", private, 0o600), ("public.pem", public, 0o644)):
            with open(os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(content)
    except OSError as error:
        raise StartError(f"can't write {error.filename}: {error.strerror}") from None
    print(f"relay serve --jwt-key {directory / 'public.pem'}")
    return 0


def add_token_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `token`."""
    parser.add_argument("--key", type=Path, required=True, metavar="PEM", help="the private key to sign with")
    parser.add_argument("--sub", default="", help="whose token it is [anonymous]")
    parser.add_argument("--name", help="for people to read [the sub]")
    parser.add_argument(
        "--room",
        action="append",
        required=True,
        type=_room,
        metavar="PATTERN=ACCESS",
        help=f"access is {', '.join(ACCESS)}; * in the pattern is any text; may be repeated",
    )
    parser.add_argument("--expires", type=_seconds, default=3600.0, metavar="SECONDS", help="from now [1h]")
    parser.add_argument("--issuer", help="its iss")
    parser.add_argument("--audience", help="its aud")
    parser.add_argument("--kid", help="the key's id")


def make_token(arguments: argparse.Namespace) -> int:
    """Print a token. Raises StartError."""
    now = int(time.time())
    claims: dict[str, object] = {
        "sub": arguments.sub or None,
        "name": arguments.name,
        "rooms": dict(arguments.room),
        "iat": now,
        "exp": now + int(arguments.expires),
        "iss": arguments.issuer,
        "aud": arguments.audience,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    try:
        Principal.from_claims(claims, None)
        print(mint(arguments.key.read_bytes(), claims, arguments.kid))
    except Deny as error:
        raise StartError(error.reason) from None
    except OSError as error:
        raise StartError(f"can't read {arguments.key}: {error.strerror}") from None
    except (ValueError, TypeError) as error:
        raise StartError(f"can't sign with {arguments.key}: {str(error).partition('.')[0]}") from None
    return 0


def _room(text: str) -> tuple[str, str]:
    pattern, _, access = text.rpartition("=")
    if not pattern or access not in ACCESS:
        raise argparse.ArgumentTypeError(f"write PATTERN=ACCESS, access one of {', '.join(ACCESS)}")
    return pattern, access


def _seconds(text: str) -> float:
    try:
        return float(SECONDS.read(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
