"""Settings: sources, precedence, and errors that say where a value came from."""

import argparse
from dataclasses import fields
from pathlib import Path

import pytest

from relay.errors import StartError
from relay.settings import Settings, add_arguments, load, markdown


def read(flags: str = "", toml: str | None = None, cwd: Path = Path("/nonexistent"), **env: str) -> Settings:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_arguments(parser)
    if toml is not None:
        (cwd / "relay.toml").write_text(toml)
    return load(parser.parse_args(flags.split()), env, cwd)


def test_defaults_are_valid(tmp_path: Path) -> None:
    """With no source at all the relay starts, on loopback, with every default."""
    assert read(cwd=tmp_path) == Settings(data=tmp_path / ".relay")


def test_defaults_are_within_their_bounds(tmp_path: Path) -> None:
    """Every default, written as a person would, reads back as itself."""
    for f in fields(Settings):
        if f.metadata and f.default is not None and f.name not in {"data", "jwt_secret"}:
            shown = f.metadata["kind"].show(f.default)
            assert getattr(read(cwd=tmp_path, **{f"RELAY_{f.name.upper()}": shown}), f.name) == f.default


def test_later_source_wins(tmp_path: Path) -> None:
    """Default < file < plain variable < RELAY_ variable < flag."""
    toml = "[serve]\nport = 1001\n"
    assert read(cwd=tmp_path).port == 8080
    assert read(toml=toml, cwd=tmp_path).port == 1001
    assert read(toml=toml, cwd=tmp_path, PORT="1002").port == 1002
    assert read(toml=toml, cwd=tmp_path, RELAY_PORT="1003", PORT="1002").port == 1003
    assert read("--port 1004", toml, tmp_path, RELAY_PORT="1003", PORT="1002").port == 1004


@pytest.mark.parametrize(
    ("raw", "size"),
    [("65536", 65536), ("64KiB", 65536), ("64 kib", 65536), ("5MB", 5_000_000), ("1.5GiB", 3 << 29), ("1_024", 1024)],
)
def test_sizes(raw: str, size: int) -> None:
    """Sizes take bytes, decimal and binary units."""
    assert read(RELAY_MAX_DOCUMENT=raw).max_document == size


@pytest.mark.parametrize(("raw", "seconds"), [("30s", 30), ("500ms", 0.5), ("2m", 120), ("1.5", 1.5), ("1h", 3600)])
def test_durations(raw: str, seconds: float) -> None:
    """Durations take units; a bare number is seconds."""
    assert read(RELAY_DRAIN_TIMEOUT=raw).drain_timeout == seconds


def test_file_takes_native_values(tmp_path: Path) -> None:
    """TOML numbers, booleans and arrays need no quotes."""
    settings = read(
        toml="[limits]\nmax_message = 1024\n[drain]\ndrain_timeout = 1.5\n"
        '[serve]\nopen = true\n[auth]\norigins = ["a", "b"]\n',
        cwd=tmp_path,
    )
    assert (settings.max_message, settings.drain_timeout, settings.open, settings.origins) == (
        1024,
        1.5,
        True,
        ("a", "b"),
    )


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("PORT", "eighty"),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", "9" * 5000),
        ("WORKERS", "0"),
        ("MAX_MESSAGE", "5 apples"),
        ("MAX_MESSAGE", "1"),
        ("DRAIN_TIMEOUT", "nan"),
        ("OPEN", "maybe"),
        ("ROLE", "boss"),
        ("JWKS_URL", "file:///etc/passwd"),
        ("DATABASE_URL", "mysql://x"),
    ],
)
def test_wrong_values_name_their_variable(name: str, raw: str) -> None:
    """A wrong type, range or word stops the start and names the variable."""
    with pytest.raises(StartError, match=f"^RELAY_{name} must be "):
        read(**{f"RELAY_{name}": raw})


def test_wrong_values_name_their_flag() -> None:
    """An error in a flag names the flag and shows what was given."""
    with pytest.raises(StartError, match=r"^--idle-unload must be a duration .*, not 'soon'$"):
        read("--idle-unload soon")


@pytest.mark.parametrize("value", ['"x"', "true", "1.5", "[1]", "70000"])
def test_wrong_values_name_their_file_and_key(tmp_path: Path, value: str) -> None:
    """An error in the file names file, table and key."""
    with pytest.raises(StartError, match=r"relay\.toml: serve\.port must be"):
        read(toml=f"[serve]\nport = {value}\n", cwd=tmp_path)


@pytest.mark.parametrize("value", ["inf", "nan", "-1"])
def test_durations_are_finite(tmp_path: Path, value: str) -> None:
    """TOML's special floats are no durations."""
    with pytest.raises(StartError, match=r"drain\.drain_timeout must be"):
        read(toml=f"[drain]\ndrain_timeout = {value}\n", cwd=tmp_path)


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[serve]\nprot = 1\n", r"unknown setting serve\.prot; did you mean port\?"),
        ("[sevre]\nport = 1\n", r"unknown table 'sevre'; did you mean serve\?"),
        ("port = 1\n", r"unknown table 'port': it belongs in \[serve\]"),
        ("[limits]\nport = 1\n", r"port belongs in \[serve\], not \[limits\]"),
        ("serve = 1\n", r"serve must be a table"),
        ("[serve\n", r"is not TOML"),
    ],
)
def test_unknown_names_in_the_file(tmp_path: Path, toml: str, says: str) -> None:
    """A slip in the file is an error that helps, never silence."""
    with pytest.raises(StartError, match=says):
        read(toml=toml, cwd=tmp_path)


def test_unknown_variable_names_the_nearest() -> None:
    """A misspelt variable is an error that helps, never silence."""
    with pytest.raises(StartError, match="unknown variable RELAY_MAX_MESSAGES; did you mean RELAY_MAX_MESSAGE"):
        read(RELAY_MAX_MESSAGES="1")


def test_kubernetes_service_variables_are_not_ours() -> None:
    """A Service named relay injects variables that look like settings."""
    assert read(
        RELAY_PORT="tcp://10.0.0.1:80",
        RELAY_PORT_80_TCP="tcp://10.0.0.1:80",
        RELAY_PORT_80_TCP_ADDR="10.0.0.1",
        RELAY_SERVICE_HOST="10.0.0.1",
        RELAY_SERVICE_PORT="80",
        RELAY_SERVICE_PORT_HTTP="80",
    ).port == 8080  # fmt: skip


def test_empty_variable_is_unset() -> None:
    """Compose files write `RELAY_JWKS_URL=` for nothing."""
    assert read(RELAY_JWKS_URL="", PORT="") == read()


def test_missing_config_is_an_error(tmp_path: Path) -> None:
    """A file that was asked for must be there."""
    with pytest.raises(StartError, match=r"can't read .*other\.toml: No such file"):
        read("--config other.toml", cwd=tmp_path)


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_config_names_the_file(tmp_path: Path, how: str) -> None:
    """--config and RELAY_CONFIG replace ./relay.toml; paths inside start at that file."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "other.toml").write_text('[auth]\njwt_key = "key.pem"\n')
    given = ("--config etc/other.toml", {}) if how == "flag" else ("", {"RELAY_CONFIG": "etc/other.toml"})
    settings = read(given[0], "[serve]\nport = 1\n", tmp_path, **given[1])
    assert (settings.port, settings.jwt_key) == (8080, tmp_path / "etc" / "key.pem")


def test_relative_paths_start_at_the_working_directory(tmp_path: Path) -> None:
    """Paths from flags and variables become absolute."""
    assert read("--data here", cwd=tmp_path).data == tmp_path / "here"


def test_secrets_are_masked() -> None:
    """Neither repr nor an error shows a secret or a password in a URL."""
    secrets = {
        "RELAY_JWT_SECRET": "hunter2-hunter2-hunter2-hunter2-",
        "DATABASE_URL": "postgres://app:hunter2@db:5432/app?password=hunter2",
        "REDIS_URL": "redis://:hunter2@cache:6379",
    }
    shown = repr(read(**secrets))
    assert "hunter2" not in shown
    assert "db:5432/app" in shown
    with pytest.raises(StartError) as caught:
        read(DATABASE_URL="hunter2://app:hunter2@db")
    assert "hunter2" not in str(caught.value)


def test_secret_has_no_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """Command lines are readable by other users: the shared secret can't be given there."""
    with pytest.raises(SystemExit):
        read("--jwt-secret x")


def test_open_server_must_be_meant() -> None:
    """Listening for others without tokens needs --open; loopback or a key does not."""
    with pytest.raises(StartError, match="--open"):
        read("--host 0.0.0.0")
    assert read("--host 0.0.0.0 --open").open
    assert read("--host 0.0.0.0 --jwks-url https://id.example.com/keys").authenticated
    assert read("--host localhost").loopback
    assert read("--host ::1").loopback


def test_burst_must_fit_a_message() -> None:
    """A message that the rate limit can never let through is a contradiction."""
    with pytest.raises(StartError, match="burst_bytes"):
        read("--max-message 200MiB")


def test_read_replica_is_of_a_database() -> None:
    """The embedded PostgreSQL has no replica."""
    with pytest.raises(StartError, match="database_read_url without database_url"):
        read("--database-read-url postgresql://replica/relay")
    assert read("--database-url postgresql://db/relay --database-read-url postgresql://replica/relay").database_read_url


def test_help_renders() -> None:
    """Every help text survives argparse's formatting and names its default."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    text = " ".join(parser.format_help().split())
    assert "--max-message" in text
    assert "[64MiB]" in text


def test_reference_page_is_current() -> None:
    """contrib/settings.md is what the code says."""
    page = Path(__file__).parent.parent / "contrib" / "settings.md"
    assert page.read_text() == markdown(), "run: python -m relay.settings > contrib/settings.md"


def test_plugin_settings_are_kept_as_written(tmp_path: Path) -> None:
    """A plugin's table and variables reach it as they are: it checks them itself."""
    toml = '[plugins]\nplugins = ["auth", "auth-saml"]\n[plugins.auth]\nissuer = "me"\nlifetime = 5\n'
    got = read(toml=toml, cwd=tmp_path, RELAY_PLUGINS_AUTH_LIFETIME="7", RELAY_PLUGINS_AUTH_SAML_URL="x")
    assert got.plugins == ("auth", "auth-saml")
    assert got.plugin_settings == {"auth": {"issuer": "me", "lifetime": "7"}, "auth-saml": {"url": "x"}}


def test_plugin_variable_of_nobody(tmp_path: Path) -> None:
    """A variable for a plugin that is not enabled would be silent."""
    with pytest.raises(StartError, match="RELAY_PLUGINS_AUTH_X: no such plugin is enabled"):
        read(cwd=tmp_path, RELAY_PLUGINS_AUTH_X="1")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--role api", "name them with --plugins"),
        ("--role relay --plugins auth", "runs no plugins"),
        ("--shim tcp://h:1", "for --role relay"),
        ("--role relay --shim tcp://h:1", "needs shim_secret"),
        ("--role relay --shim-listen tcp://h:1", "no API process"),
    ],
)
def test_roles_that_contradict(flags: str, said: str) -> None:
    """Each half of the product is told what it lacks."""
    with pytest.raises(StartError, match=said):
        read(flags)
