"""Claiming a data directory: what is refused, and that the refusal says what to do."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from relay.embedded import datadir
from relay.embedded.datadir import DataDirectory
from relay.errors import StartError


async def test_claim_makes_a_private_directory(tmp_path):
    """Others can't list it; under root its subdirectories belong to the servers' account, the rest to root."""
    claimed = await DataDirectory.claim(tmp_path / "a" / "b")
    try:
        mode = stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode)
        assert mode == (0o711 if os.geteuid() == 0 else 0o700)
        inside = claimed.directory("postgres").stat()
        assert stat.S_IMODE(inside.st_mode) == 0o700
        assert inside.st_uid == (claimed.account.uid if claimed.account else os.geteuid())
        assert stat.S_IMODE((tmp_path / "a" / "b" / "lock").stat().st_mode) == 0o600
    finally:
        claimed.release()


async def test_claim_waits_for_inherited_lock(tmp_path):
    """A server of an earlier relay holds its lock until it is gone; the wait is bounded and explained."""
    claimed = await DataDirectory.claim(tmp_path)
    server = subprocess.Popen(["sleep", "30"], pass_fds=[claimed.servers_lock])
    claimed.release()
    try:
        with pytest.raises(StartError, match=r"still run .*servers\.lock"):
            await DataDirectory.claim(tmp_path, patience=0.1)
        server.terminate()
        (await DataDirectory.claim(tmp_path, patience=20.0)).release()
    finally:
        server.kill()
        server.wait()


async def test_claim_of_a_file(tmp_path):
    """A path that can't be a directory is refused with its name."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"file.*Not a directory|file.*File exists"):
        await DataDirectory.claim(tmp_path / "file")


async def test_claim_follows_no_planted_link(tmp_path):
    """A lock file that is a link is not written through."""
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StartError, match="lock"):
        await DataDirectory.claim(tmp_path / "data")
    assert (tmp_path / "victim").read_text() == "untouched"


async def test_claim_on_a_full_disk(tmp_path, monkeypatch):
    """Too little room is said before a server trips over it, and the claim is given back."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5 << 20))
    with pytest.raises(StartError, match="has 5 MB free, 160 MB are needed"):
        await DataDirectory.claim(tmp_path)
    monkeypatch.undo()
    (await DataDirectory.claim(tmp_path)).release()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes accounts")
async def test_claim_without_nobody(tmp_path, monkeypatch):
    """Root without an account to give the servers is told so."""

    def missing(name):
        raise KeyError(name)

    monkeypatch.setattr(datadir.pwd, "getpwnam", missing)
    with pytest.raises(StartError, match="account `nobody`"):
        await DataDirectory.claim(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes accounts")
async def test_subdirectory_of_root(tmp_path):
    """A subdirectory restored as root is not changed behind root's back: the message has the command."""
    (tmp_path / "postgres").mkdir()
    claimed = await DataDirectory.claim(tmp_path)
    try:
        with pytest.raises(StartError, match=rf"chown -R {claimed.account.uid} {tmp_path}/postgres"):
            claimed.directory("postgres")
    finally:
        claimed.release()


async def test_sockets_fit(tmp_path):
    """Socket directories are short, plain, emptied of stale sockets, and the same at every start."""
    for name in ("short", "x" * 100, "with blank", "with,comma", "ümlaut"):
        claimed = await DataDirectory.claim(tmp_path / name)
        try:
            sockets = claimed.sockets()
            assert len(os.fsencode(sockets / ".s.PGSQL.5432")) <= 103
            assert not set(str(sockets)) & set(" ,ü")
            (sockets / "stale").write_text("")
            assert claimed.sockets() == sockets
            assert not list(sockets.iterdir())
        finally:
            claimed.release()
        if sockets.parent != tmp_path / name:
            sockets.rmdir()


async def test_sockets_of_somebody_else(tmp_path):
    """A socket directory prepared by another, open to them, is refused."""
    claimed = await DataDirectory.claim(tmp_path / "with blank")
    sockets = claimed.sockets()
    try:
        sockets.chmod(0o755)
        with pytest.raises(StartError, match="open to others"):
            claimed.sockets()
        sockets.rmdir()
        sockets.symlink_to(tmp_path)
        with pytest.raises(StartError, match="not a directory"):
            claimed.sockets()
    finally:
        claimed.release()
        sockets.unlink() if sockets.is_symlink() else sockets.rmdir()


async def test_logs_are_bounded(tmp_path, monkeypatch):
    """A log over its size moves to `.1`; a writer that appends goes on in the emptied file."""
    monkeypatch.setattr(datadir, "MAX_LOG", 1000)
    claimed = await DataDirectory.claim(tmp_path)
    try:
        path, descriptor = claimed.log("postgres")
        for word in (b"old", b"new"):
            os.write(descriptor, word * 400)
            claimed.trim_logs()
        os.write(descriptor, b"end")
        assert path.read_bytes() == b"end"
        assert Path(f"{path}.1").read_bytes() == b"new" * 400
    finally:
        claimed.release()


async def test_holder_is_a_live_process(tmp_path):
    """The lock names a pid only while there is such a process."""
    assert datadir.holder(tmp_path) is None
    claimed = await DataDirectory.claim(tmp_path)
    assert datadir.holder(tmp_path) == os.getpid()
    claimed.release()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "lock").write_text(f"{dead.pid}\n")
    assert datadir.holder(tmp_path) is None
