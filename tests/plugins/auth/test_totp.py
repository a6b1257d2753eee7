"""One-time passwords by time."""

import base64

import pytest

from plugins.auth import totp

RFC = b"12345678901234567890"


@pytest.mark.parametrize(
    ("time", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_rfc_6238(time: int, code: str) -> None:
    """The codes of RFC 6238's appendix B, the last six digits of each."""
    assert totp.code_at(RFC, time // totp.STEP) == code


def test_accepted_once() -> None:
    """A code of the present step, or one step off, is taken; not again, and not an older one after a newer one."""
    now, step = 1_000_000.0, 1_000_000 // totp.STEP
    for off in (-1, 0, 1):
        assert totp.accept(RFC, totp.code_at(RFC, step + off), now, 0) == step + off
    assert totp.accept(RFC, totp.code_at(RFC, step + 2), now, 0) is None
    assert totp.accept(RFC, totp.code_at(RFC, step), now, step) is None
    assert totp.accept(RFC, totp.code_at(RFC, step - 1), now, step) is None


@pytest.mark.parametrize("code", ["", "0", "1234567", "١٢٣٤٥٦", "\ud800"])
def test_no_code(code: str) -> None:
    """Anything else is no code."""
    assert totp.accept(RFC, code, 59.0, 0) is None


def test_uri() -> None:
    """Authenticator apps read secret and names."""
    assert totp.uri(RFC, "Materi", "ada@x.org") == (
        f"otpauth://totp/Materi:ada%40x.org?secret={base64.b32encode(RFC).decode()}&issuer=Materi"
    )


def test_recovery_codes() -> None:
    """Ten different ones; how they are typed does not matter."""
    codes = totp.new_recovery_codes()
    assert len(set(codes)) == 10
    assert totp.recovery_hash(codes[0], b"k") == totp.recovery_hash(f" {codes[0].upper().replace('-', ' ')}", b"k")
    assert totp.recovery_hash(codes[0], b"k") != totp.recovery_hash(codes[0], b"other")
