# ruff: noqa: RUF009  (a dataclass of `field()` calls behind one helper that also takes unit, bounds and help)
"""Every setting of the relay: default, unit, bounds, help; and how they are read.

Later wins: defaults, `relay.toml`, environment, flags. `max_message` is `max_message` in the file's `[limits]` table,
`RELAY_MAX_MESSAGE` in the environment and `--max-message` on the command line. An unknown name or a wrong value stops
the start and says where it came from. `python -m relay.settings` prints the reference page, contrib/settings.md.
"""

import argparse
import difflib
import ipaddress
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from relay.errors import StartError
from relay.quantities import COUNT, NUMBER, PATH, SECONDS, SIZE, SWITCH, TEXT, WORDS, Kind, choice, url

__all__ = ["Settings", "add_arguments", "load", "markdown"]


MIN_SECRET = 16
"""Characters of what relays and an API process on another host both know."""


def _setting(
    default: Any,
    section: str,
    kind: Kind,
    help: str,
    *,
    low: float = 0,
    high: float = float("inf"),
    secret: bool = False,
) -> Any:
    metadata = {"section": section, "kind": kind, "help": help, "low": low, "high": high, "secret": secret}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """Sizes in bytes, durations in seconds. Only a composition root holds one; others take keyword arguments."""

    config: Path | None = _setting(None, "", PATH, "Settings file; `./relay.toml` is read when it exists.")

    host: str = _setting("127.0.0.1", "serve", TEXT, "Address to listen on; `0.0.0.0` or `::` for all.")
    port: int = _setting(8080, "serve", COUNT, "Port for WebSocket and HTTP; 0 picks a free one.", high=65535)
    data: Path = _setting(
        Path(".relay"), "serve", PATH, "Directory of the embedded services; unused when both URLs are set."
    )
    database_url: str | None = _setting(
        None, "serve", url("postgres", "postgresql"), "PostgreSQL for snapshots; unset starts an embedded one.",
        secret=True,
    )  # fmt: skip
    database_read_url: str | None = _setting(
        None, "serve", url("postgres", "postgresql"),
        "A read replica of it: documents are loaded from there, unless the primary says that it is behind.",
        secret=True,
    )  # fmt: skip
    redis_url: str | None = _setting(
        None, "serve",
        url("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"),
        "Redis or Valkey for journals, behind Sentinels or a cluster if wanted; unset starts an embedded one.",
        secret=True,
    )  # fmt: skip
    workers: int = _setting(
        1, "serve", COUNT, "Relay processes on this host; rooms are spread over them.", low=1, high=256
    )
    advertise: str | None = _setting(
        None, "serve", url("http", "https"), "URL at which others reach this relay, for `relay rooms where` to show."
    )  # fmt: skip
    trusted_proxies: tuple[str, ...] = _setting(
        (), "serve", WORDS,
        "Addresses and networks of proxies that are believed when they say whose connection it is (X-Forwarded-For: "
        "the rightmost address that is none of them) and for which host (X-Forwarded-Host). Unset: nobody.",
    )  # fmt: skip
    role: str = _setting("all", "serve", choice("all", "relay", "api"), "Which half of the product this command runs.")
    open: bool = _setting(
        False,
        "serve",
        SWITCH,
        "Let anyone in although `host` is not this machine alone. Without it, such a server wants a key.",
    )

    plugins: tuple[str, ...] = _setting(
        (), "plugins", WORDS,
        "Plugins to load, in the order in which they are asked; `relay plugins` lists those that are installed. "
        "Each has settings of its own, in a table `[plugins.<name>]` or as `RELAY_PLUGINS_<NAME>_<SETTING>`.",
    )  # fmt: skip
    public_url: str | None = _setting(
        None, "plugins", url("http", "https"), "URL at which people reach this server, for links and tokens; "
        "unset: `http://host:port`.",
    )  # fmt: skip
    shim: str | None = _setting(
        None, "plugins", url("unix", "tcp"), "Where the API process answers a relay of `role` relay: "
        "`tcp://host:port`. A relay of `role` all starts its own.",
    )  # fmt: skip
    shim_listen: str | None = _setting(
        None, "plugins", url("tcp"), "Where an API process of `role` api waits for relays on other hosts: "
        "`tcp://host:port`. Not encrypted: for a network of your own.",
    )  # fmt: skip
    shim_secret: str | None = _setting(
        None, "plugins", TEXT, "What both know, 16 characters or more; no flag: command lines are public.", secret=True
    )
    cors_origins: tuple[str, ...] = _setting(
        (), "plugins", WORDS, "Origins whose pages may call the API, `*` matching any text. Unset: none but ours."
    )

    api_rate: float = _setting(
        50.0, "plugins", NUMBER, "Requests a second that one account may make on average; more are told to wait (429).",
        low=0.1,
    )  # fmt: skip
    api_burst: int = _setting(500, "plugins", COUNT, "Requests that it may be ahead of that.", low=1)
    api_rate_anonymous: float = _setting(
        5.0, "plugins", NUMBER, "Requests a second from one address without a token.", low=0.1
    )
    api_burst_anonymous: int = _setting(100, "plugins", COUNT, "Requests that it may be ahead of that.", low=1)
    events_retention: float = _setting(
        0.0, "plugins", SECONDS, "Events are kept for this long, then dropped by whole months; 0 = for ever."
    )

    jwt_key: Path | None = _setting(
        None,
        "auth",
        PATH,
        "PEM file with the public keys of the token issuer: RSA (RS256), EC P-256 (ES256), Ed25519 (EdDSA).",
    )
    jwks_url: str | None = _setting(
        None,
        "auth",
        url("https", "http"),
        "Where the issuer publishes its keys; fetched in the background, kept through outages.",
    )
    jwt_secret: str | None = _setting(
        None, "auth", TEXT, "Shared secret for HS256 tokens, 32 bytes or more; no flag: command lines are public. "
        "Prefer a key: whoever can check a secret can also sign with it.",
        secret=True,
    )  # fmt: skip
    jwt_issuer: str | None = _setting(None, "auth", TEXT, "The `iss` that tokens must carry; unset = not checked.")
    jwt_audience: str | None = _setting(None, "auth", TEXT, "The `aud` that tokens must carry; unset = not checked.")
    jwt_leeway: float = _setting(10.0, "auth", SECONDS, "How far the issuer's clock may be from ours.", high=300)
    origins: tuple[str, ...] = _setting(
        (), "auth", WORDS,
        "Origins of pages that may connect, `*` matching any text: `https://*.example.com`. Unset: any page when "
        "tokens are required (the relay reads no cookies, so a foreign page has nothing to borrow); without tokens "
        "only pages of this host or of a loopback address. A client that sends no Origin "
        "is not a browser and is not held to it.",
    )  # fmt: skip
    auth_timeout: float = _setting(
        60.0, "auth", SECONDS, "A connection without a valid token by then is closed (4408).", low=1
    )
    preauth_bytes: int = _setting(
        5 << 20, "auth", SIZE, "What a connection may send before it is authenticated.", low=1024
    )
    preauth_messages: int = _setting(1000, "auth", COUNT, "Messages likewise.", low=1)

    max_message: int = _setting(
        64 << 20, "limits", SIZE, "Largest message; a first upload is one message (1009).", low=1024
    )
    max_document: int = _setting(
        256 << 20, "limits", SIZE, "Largest document; further edits are refused (4413).", low=1024
    )
    max_connections: int = _setting(50_000, "limits", COUNT, "Connections of one process (1013).", low=1)
    max_connections_per_address: int = _setting(2000, "limits", COUNT, "Connections from one IP address; 0 = no limit.")
    max_rooms: int = _setting(100_000, "limits", COUNT, "Rooms one process holds in memory (1013).", low=1)
    max_clients_per_room: int = _setting(5000, "limits", COUNT, "Connections of one room in one process (1013).", low=1)
    max_documents_per_connection: int = _setting(
        100, "limits", COUNT, "Documents one Hocuspocus socket may open (4205).", low=1
    )
    rate_messages: int = _setting(
        5000,
        "limits",
        COUNT,
        "Messages a connection may send per second, on average; a faster one is read more slowly.",
        low=1,
    )
    burst_messages: int = _setting(20_000, "limits", COUNT, "Messages it may be ahead of that.", low=1)
    rate_bytes: int = _setting(
        8 << 20, "limits", SIZE, "Bytes a connection may send per second, on average; likewise.", low=1024
    )
    burst_bytes: int = _setting(
        128 << 20, "limits", SIZE, "Bytes it may be ahead of that; no less than `max_message`.", low=1024
    )
    max_presence: int = _setting(64 << 10, "limits", SIZE, "One client's presence state.", low=256)
    slow_reader_bytes: int = _setting(
        1 << 20,
        "limits",
        SIZE,
        "Unsent bytes at which a client is skipped; it gets one merged update when it drained.",
        low=4096,
    )

    flush_max: float = _setting(
        0.008, "rooms", SECONDS, "Longest that a busy room gathers edits; an idle one sends at once.", high=1
    )
    idle_unload: float = _setting(30.0, "rooms", SECONDS, "An empty room leaves memory after this.")
    snapshot_bytes: int = _setting(
        64 << 10, "rooms", SIZE, "Journalled bytes after which a room is snapshotted.", low=1024
    )
    snapshot_idle: float = _setting(
        10.0, "rooms", SECONDS, "A changed room is also snapshotted when nobody typed for this long.", low=0.1
    )
    presence_timeout: float = _setting(
        30.0, "rooms", SECONDS, "A presence state not renewed for this long is removed.", low=1
    )
    inline_parse: int = _setting(16 << 10, "rooms", SIZE, "Larger updates are parsed in a codec process.", low=64)
    codec_processes: int = _setting(1, "rooms", COUNT, "Processes for parsing and compaction.", low=1, high=64)

    journal_window: float = _setting(
        0.1,
        "journal",
        SECONDS,
        'How long an edit that only its author waits for ("saved") gathers with others for one write.',
        high=1,
    )
    journal_buffer: int = _setting(
        64 << 20,
        "journal",
        SIZE,
        "Edits kept while the journal is away; beyond it edits are refused (1013).",
        low=1 << 20,
    )
    journal_timeout: float = _setting(
        5.0, "journal", SECONDS, "A journal that has not answered by then is away.", low=0.1
    )

    database_pool: int = _setting(
        4, "database", COUNT, "Connections to PostgreSQL of one process; loads leave some to snapshots.",
        low=2, high=1000,
    )  # fmt: skip
    database_acquire_timeout: float = _setting(
        10.0, "database", SECONDS, "How long a call waits for one of them.", low=0.1
    )
    database_statement_timeout: float = _setting(
        30.0, "database", SECONDS, "A statement that takes longer is ended, and so is an idle transaction.", low=0.1
    )
    database_lock_timeout: float = _setting(
        10.0, "database", SECONDS, "A statement that waits longer for a lock is ended.", low=0.1
    )
    database_pooler: bool = _setting(
        False,
        "database",
        SWITCH,
        "A pooler that hands out connections by the transaction (PgBouncer) is at `database_url`: "
        "nothing is prepared or set for longer than a transaction.",
    )
    archive_retention: float = _setting(
        0.0,
        "database",
        SECONDS,
        "Who wrote what when is kept for this long, then dropped by whole months; 0 = for ever.",
    )

    drain_timeout: float = _setting(
        10.0, "drain", SECONDS, "How long a stopping process takes to store its rooms and let clients go."
    )
    reconnect_jitter: float = _setting(
        2.0, "drain", SECONDS, "Clients are told to reconnect at random times within this."
    )

    ping_interval: float = _setting(
        10.0, "connections", SECONDS, "Hocuspocus ping; its clients give up after 30 s of silence.", low=1
    )
    keepalive: float = _setting(
        30.0, "connections", SECONDS, "A silent client is pinged after this, and dropped after as long again.", low=1
    )
    compression: bool = _setting(True, "connections", SWITCH, "Offer permessage-deflate.")
    compress_from: int = _setting(4 << 10, "connections", SIZE, "Smaller frames are sent as they are.")

    log_format: str = _setting(
        "auto", "log", choice("auto", "json", "text"), "auto = text on a terminal, else JSON lines."
    )
    log_level: str = _setting("info", "log", choice("debug", "info", "warning", "error"), "Least severe level written.")

    metrics: bool = _setting(True, "admin", SWITCH, "Serve Prometheus metrics at `/metrics`.")
    admin_port: int = _setting(
        0, "admin", COUNT, "Port for operators: health, metrics and `/v1/cluster`, without a token; 0 = none.",
        high=65535,
    )  # fmt: skip
    admin_host: str = _setting("127.0.0.1", "admin", TEXT, "Address for that port; keep it where operators are alone.")
    page: bool = _setting(True, "admin", SWITCH, "Serve a small editor at `/`, for trying things out.")

    plugin_settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """What each plugin was given, as it was written: the plugin's own settings read it."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_masked(meta, getattr(self, name))}" for name, meta in _FIELDS.items())
        return f"Settings({shown})"

    @property
    def authenticated(self) -> bool:
        """Whether connections need a token."""
        return bool(self.jwt_key or self.jwks_url or self.jwt_secret)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check(self) -> None:
        """Raise StartError for settings that contradict each other."""
        if not (self.authenticated or self.loopback or self.open or self.plugins or self.shim):
            raise StartError(
                f"host {self.host} is reachable by others and no tokens are required: "
                "set jwt_key or jwks_url, or --open to let anyone read and write every document"
            )
        if self.role == "api" and not self.plugins:
            raise StartError("role api runs plugins: name them with --plugins")
        if self.role == "relay" and self.plugins:
            raise StartError("role relay runs no plugins: name the API process that does with --shim")
        if self.shim and self.role != "relay":
            raise StartError("--shim names another API process than our own: that is for --role relay")
        if self.shim_listen and self.role == "relay":
            raise StartError("role relay has no API process to listen: leave out --shim-listen")
        if (self.shim or self.shim_listen) and len(self.shim_secret or "") < MIN_SECRET:
            raise StartError(
                f"an API process that is reached over TCP needs shim_secret, {MIN_SECRET} characters or more"
            )
        if self.database_read_url and not self.database_url:
            raise StartError("database_read_url without database_url: the embedded PostgreSQL has no replica")
        if self.burst_bytes < self.max_message:
            raise StartError("burst_bytes is less than max_message: such a message could never be sent")


_FIELDS = {f.name: f.metadata for f in fields(Settings) if f.metadata}
_SECRETS = ("jwt_secret", "shim_secret")
_PLUGINS = "RELAY_PLUGINS_"
_PLAIN = {
    "DATABASE_URL": "database_url",
    "DATABASE_READ_URL": "database_read_url",
    "REDIS_URL": "redis_url",
    "PORT": "port",
}
# A Kubernetes Service named "relay" puts RELAY_PORT=tcp://10.0.0.1:80, RELAY_PORT_80_TCP=..., RELAY_SERVICE_HOST=...
# into every pod of its namespace.
_KUBERNETES = re.compile(r"RELAY_(SERVICE_\w+|PORT_\d+_\w+)=.*|RELAY_PORT=tcp://.*", re.DOTALL)


def add_arguments(parser: argparse.ArgumentParser, only: Collection[str] | None = None) -> None:
    """Add one flag for each setting (or for those named). Values stay text until `load`, which knows every source."""
    sections = [meta["section"] for name, meta in _FIELDS.items() if only is None or name in only]
    groups = {section: parser.add_argument_group(section or "settings") for section in dict.fromkeys(sections)}
    for name, meta in _FIELDS.items():
        if name in _SECRETS or (only is not None and name not in only):
            continue
        kind: Kind = meta["kind"]
        help = f"{meta['help']} [{_default(name) or 'unset'}]".replace("%", "%%")
        options: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": help}
        if kind is SWITCH:
            groups[meta["section"]].add_argument(_flag(name), action=argparse.BooleanOptionalAction, **options)
        else:
            groups[meta["section"]].add_argument(_flag(name), metavar=kind.unit.upper(), **options)


def load(args: argparse.Namespace, env: Mapping[str, str], cwd: Path) -> Settings:
    """Settings from all sources, paths made absolute (against the file's directory or `cwd`). Raises StartError."""
    values: dict[str, Any] = {"data": cwd / ".relay"}
    flags = {name: raw for name, raw in vars(args).items() if name in _FIELDS}
    variables = dict(_variables(env))
    config = flags.get("config") or env.get("RELAY_CONFIG")
    path = cwd / (config or "relay.toml")
    if config or path.exists():
        values["config"] = path
        for source, name, raw in _file(path):
            values[name] = _read(name, raw, source, path.parent)
    for name, (source, raw) in variables.items():
        values[name] = _read(name, raw, source, cwd)
    for name, raw in flags.items():
        values[name] = _read(name, raw, _flag(name), cwd)
    names: tuple[str, ...] = values.get("plugins", ())
    given = _plugin_tables(path) if "config" in values else {}
    for plugin, name, raw in _plugin_variables(env, names):
        given.setdefault(plugin, {})[name] = raw
    settings = Settings(**values, plugin_settings=given)
    settings.check()
    return settings


def _read(name: str, raw: object, source: str, base: Path) -> Any:
    meta = _FIELDS[name]
    kind: Kind = meta["kind"]
    given = "" if meta["secret"] else f", not {raw!r}"
    try:
        value = kind.read(raw)
    except ValueError as error:
        raise StartError(f"{source} must be {error}{given}") from None
    if isinstance(value, int | float) and not isinstance(value, bool) and not meta["low"] <= value <= meta["high"]:
        bound = f"at least {kind.show(meta['low'])}" if value < meta["low"] else f"at most {kind.show(meta['high'])}"
        raise StartError(f"{source} must be {bound}{given}")
    return base / value if isinstance(value, Path) else value


def _file(path: Path) -> Iterator[tuple[str, str, object]]:
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise StartError(f"can't read {path}: {error.strerror}") from None
    except ValueError as error:
        raise StartError(f"{path} is not TOML: {error}") from None
    for section, table in tables.items():
        if section not in _sections() or not section:
            home = (
                f": it belongs in [{_FIELDS[section]['section']}]"
                if section in _FIELDS
                else _nearest(section, _sections())
            )
            raise StartError(f"{path}: unknown table {section!r}{home}")
        if not isinstance(table, dict):
            raise StartError(f"{path}: {section} must be a table, [{section}]")
        for name, raw in table.items():
            if section == "plugins" and isinstance(raw, dict):
                continue  # a plugin's own, see `_plugin_tables`
            if name not in _FIELDS:
                raise StartError(f"{path}: unknown setting {section}.{name}{_nearest(name, _FIELDS)}")
            if _FIELDS[name]["section"] != section:
                raise StartError(f"{path}: {name} belongs in [{_FIELDS[name]['section']}], not [{section}]")
            yield f"{path}: {section}.{name}", name, raw


def _variables(env: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Settings in the environment; an empty variable is unset. RELAY_ ones come last: they win over the plain ones."""
    for variable, name in _PLAIN.items():
        if env.get(variable):
            yield name, (variable, env[variable])
    known = {_variable(name): name for name in _FIELDS}
    for variable, raw in env.items():
        if (
            variable.startswith(_PLUGINS)
            or not variable.startswith("RELAY_")
            or not raw
            or _KUBERNETES.fullmatch(f"{variable}={raw}")
        ):
            continue
        if variable not in known:
            raise StartError(f"unknown variable {variable}{_nearest(variable, known)}")
        yield known[variable], (variable, raw)


def _plugin_tables(path: Path) -> dict[str, dict[str, object]]:
    tables = tomllib.loads(path.read_text("utf-8")).get("plugins", {})
    return {name: dict(table) for name, table in tables.items() if isinstance(table, dict)}


def _plugin_variables(env: Mapping[str, str], plugins: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Plugin, setting and value. Which settings a plugin has it says itself, later."""
    for variable, raw in env.items():
        if not variable.startswith(_PLUGINS) or not raw:
            continue
        rest = variable.removeprefix(_PLUGINS).lower()
        found = [plugin for plugin in plugins if rest.startswith(plugin.replace("-", "_") + "_")]
        if not found:
            raise StartError(f"{variable}: no such plugin is enabled; see --plugins")
        plugin = max(found, key=len)
        yield plugin, rest[len(plugin) + 1 :], raw


def _nearest(name: str, known: Mapping[str, object]) -> str:
    found = difflib.get_close_matches(name, [k for k in known if k], 1, 0.5)
    return f"; did you mean {found[0]}?" if found else ""


def _masked(meta: Mapping[str, Any], value: Any) -> str:
    if not meta["secret"] or value is None:
        return repr(value)
    parts = urlsplit(value)
    return repr(f"{parts.scheme}://***@{parts.netloc.rpartition('@')[2]}{parts.path}") if parts.scheme else "***"


def _sections() -> dict[str, None]:
    return dict.fromkeys(meta["section"] for meta in _FIELDS.values())


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _variable(name: str) -> str:
    return "RELAY_" + name.upper()


def _default(name: str) -> str:
    default = Settings.__dataclass_fields__[name].default
    kind: Kind = _FIELDS[name]["kind"]
    return "" if default is None else kind.show(default)


def markdown() -> str:
    """The reference page."""
    page = [
        "# Settings",
        "",
        "Later wins: defaults, `relay.toml` (or `--config PATH`), environment, flags. `max_message` is `max_message`",
        "in the file's `[limits]` table, `RELAY_MAX_MESSAGE` in the environment, `--max-message` on the command line;",
        "`DATABASE_URL`, `REDIS_URL` and `PORT` work without the prefix too. Sizes are bytes or `64KiB`, `5MB`;",
        "durations are seconds or `500ms`, `30s`, `1h`, `90d`. A relative path starts at the file it is written in, or",
        "at the working directory. An empty variable counts as unset; unknown names and wrong values stop the start.",
        "",
        "Written by `python -m relay.settings`; do not edit.",
    ]
    for section in _sections():
        page += ["", f"## [{section}]" if section else "## Command line and environment only", ""]
        page += ["| setting | kind | default | what it does |", "|---|---|---|---|"]
        for name, meta in _FIELDS.items():
            if meta["section"] == section:
                unit = meta["kind"].unit.replace("|", " \\| ")
                default = f"`{_default(name)}`" if _default(name) else "unset"
                page.append(f"| `{name}` | {unit} | {default} | {meta['help']} |")
    return "\n".join(page) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
