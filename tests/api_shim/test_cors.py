"""Pages of other origins."""

from api_shim.cors import Cors


def test_known_origin_is_let_in() -> None:
    """It is named, never `*`, and caches are told that answers differ."""
    headers = Cors(["https://*.example.com"]).headers("https://app.example.com")
    assert headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in headers


def test_other_origin_is_not() -> None:
    """Nothing is allowed to it, in answers or preflights."""
    cors = Cors(["https://app.example.com"])
    assert "Access-Control-Allow-Origin" not in cors.headers("https://evil.example")
    assert cors.preflight("https://evil.example", "GET") == {}
    assert Cors([]).headers("https://evil.example") == {}
    assert "Access-Control-Allow-Origin" not in Cors(["*"]).headers("https://\udcff")


def test_preflight_is_cached() -> None:
    """So that a page asks once for hours."""
    headers = Cors(["*"]).preflight("https://app.example.com", "GET, PUT")
    assert headers["Access-Control-Allow-Methods"] == "GET, PUT"
    assert "If-Match" in headers["Access-Control-Allow-Headers"]
    assert int(headers["Access-Control-Max-Age"]) >= 3600
