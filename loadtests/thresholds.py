"""What a run must keep to, and whether it did."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["API", "Limits", "Row", "Verdict", "judge", "percentile"]

API = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Limits:
    """Milliseconds; `errors` is a share of all requests."""

    edit_p95: float = 100.0
    saved_p95: float = 250.0
    join_p95: float = 1000.0
    api_p95: float = 100.0
    errors: float = 0.001


@dataclass(frozen=True, slots=True)
class Row:
    """One line of locust's statistics. `times`: requests by milliseconds, as locust rounds them."""

    method: str
    name: str
    requests: int
    failures: int
    times: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One threshold. `measured` None: there was nothing to measure, which is a breach of its own."""

    what: str
    measured: float | None
    limit: float
    unit: str

    @property
    def kept(self) -> bool:
        return self.measured is not None and self.measured <= self.limit

    def __str__(self) -> str:
        measured = "nothing measured" if self.measured is None else f"{self.measured:g} {self.unit}".rstrip()
        return f"{'ok    ' if self.kept else 'BREACH'}  {self.what}: {measured} (limit {self.limit:g})"


def percentile(rows: Iterable[Row], share: float) -> float | None:
    """Of the response times of several lines together; None when there are none."""
    times: dict[int, int] = {}
    for row in rows:
        for milliseconds, count in row.times.items():
            times[milliseconds] = times.get(milliseconds, 0) + count
    left = sum(times.values()) * share
    for milliseconds in sorted(times):
        left -= times[milliseconds]
        if left <= 0:
            return float(milliseconds)
    return None


def judge(
    rows: Iterable[Row],
    limits: Limits,
    *,
    edits: bool,
    joins: bool,
    api: bool,
    lost: int | None,
    exceptions: int = 0,
) -> list[Verdict]:
    """All thresholds that apply: `edits`, `joins`, `api` say which users took part, and so what must be in `rows`.
    `lost`: acknowledged characters that are gone; None when that could not be found out. `exceptions`: of users."""
    rows = list(rows)
    verdicts = []

    def p95(what: str, limit: float, wanted: list[Row]) -> None:
        verdicts.append(Verdict(f"{what}, p95", percentile(wanted, 0.95), limit, "ms"))

    if edits:
        p95("edit seen by another client", limits.edit_p95, [r for r in rows if (r.method, r.name) == ("EDIT", "seen")])
        p95("edit saved", limits.saved_p95, [r for r in rows if (r.method, r.name) == ("EDIT", "saved")])
        verdicts.append(Verdict("acknowledged edits lost", None if lost is None else float(lost), 0.0, ""))
    if joins:
        p95("document opened", limits.join_p95, [r for r in rows if r.method == "JOIN"])
    if api:
        p95("API", limits.api_p95, [r for r in rows if r.method in API])
    # What was asked of the server, each once: not how often an edit was seen, nor what the generator says of itself.
    asked = [row for row in rows if row.method != "GENERATOR" and (row.method, row.name) != ("EDIT", "seen")]
    requests = sum(row.requests for row in asked)
    share = sum(row.failures for row in asked) / requests if requests else None
    verdicts.append(Verdict("errors, share of requests", share, limits.errors, ""))
    verdicts.append(Verdict("exceptions in users", float(exceptions), 0.0, ""))
    return verdicts
