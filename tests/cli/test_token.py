"""`relay keys` and `relay token`, and a verifier that takes what they make."""

from pathlib import Path

import pytest

from relay.__main__ import main
from relay.tokens import Verifier
from relay.types import RoomId


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
async def test_token_of_a_made_key_verifies(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A token says who it is for and what it opens, and the public half of the key checks it."""
    assert main(["keys", str(tmp_path / "keys"), "--type", kind]) == 0
    private, public = tmp_path / "keys" / "private.pem", tmp_path / "keys" / "public.pem"
    assert private.stat().st_mode & 0o077 == 0
    capsys.readouterr()
    command = ["token", "--key", str(private), "--sub", "alice", "--room", "docs/*=read-write", "--room", "*=readonly"]
    assert main([*command, "--expires", "2m"]) == 0
    principal = await Verifier(key=public).verify(capsys.readouterr().out.strip())
    assert principal.actor == "alice"
    docs, other = principal.grant(RoomId("docs/1")), principal.grant(RoomId("x"))
    assert docs is not None
    assert other is not None
    assert (docs.readonly, other.readonly) == (False, True)


def test_keys_are_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second key pair in the same place is refused."""
    assert main(["keys", str(tmp_path)]) == 0
    before = (tmp_path / "private.pem").read_bytes()
    assert main(["keys", str(tmp_path)]) == 1
    assert "File exists" in capsys.readouterr().err
    assert (tmp_path / "private.pem").read_bytes() == before


def test_token_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing or useless key fails with its name; a wrong pattern is wrong usage."""
    (tmp_path / "not.pem").write_text("nothing")
    for key in ("missing.pem", "not.pem"):
        assert main(["token", "--key", str(tmp_path / key), "--room", "a=readonly"]) == 1
        assert key in capsys.readouterr().err
    with pytest.raises(SystemExit) as wrong:
        main(["token", "--key", "k", "--room", "docs"])
    assert wrong.value.code == 2
