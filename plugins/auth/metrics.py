"""What the plugin counts."""

from prometheus_client import CollectorRegistry, Counter, Histogram

__all__ = ["AuthMetrics"]


class AuthMetrics:
    """One process's figures, in the API process's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._collectors = [
            logins := Counter(
                "auth_logins", "Attempts to log in, by how and with what outcome.", ("method", "outcome"),
                registry=registry,
            ),
            checks := Counter(
                "auth_token_checks", "Tokens looked at, by kind and outcome.", ("kind", "outcome"), registry=registry
            ),
            throttled := Counter("auth_throttled", "Attempts that came too fast.", ("rule",), registry=registry),
            reused := Counter("auth_refresh_reused", "Refresh tokens that came twice.", registry=registry),
            hashing := Histogram(
                "auth_password_seconds", "Hashing one password, waiting for its turn included.", registry=registry,
                buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
            ),
            check_seconds := Histogram(
                "auth_token_check_seconds", "Looking at one token.", registry=registry,
                buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1),
            ),
        ]  # fmt: skip
        self.logins, self.checks, self.throttled = logins, checks, throttled
        self.reused, self.hashing, self.check_seconds = reused, hashing, check_seconds
        self._registry = registry

    def close(self) -> None:
        """Take them out of the registry."""
        for collector in self._collectors:
            self._registry.unregister(collector)
