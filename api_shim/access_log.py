"""One line a request. It names the route and the ids in the path, never a token, a query or a body."""

import logging
from uuid import UUID

from api_shim.trace import Trace
from relay.grants import Principal

__all__ = ["write"]

log = logging.getLogger("api.access")
_LONGEST = 200


def write(
    *,
    method: str,
    path: str,
    route: str,
    ids: dict[str, object] | None,
    status: int,
    seconds: float,
    size: int,
    principal: Principal | None,
    address: str,
    trace: Trace,
    problem: str,
) -> None:
    """Log a request that was answered.

    path: written only when no route has it. What else a path carries than ids may be a secret, like a share link's.
    """
    if not log.isEnabledFor(logging.INFO):
        return
    fields: dict[str, object] = {"method": method}
    if route:
        fields["route"] = route
    else:
        fields["path"] = path[:_LONGEST]
    for name, value in (ids or {}).items():
        if isinstance(value, UUID):
            fields[name] = str(value)
    fields |= {"status": status, "ms": round(seconds * 1000, 2), "bytes": size, "address": address}
    if principal is not None and principal.actor:
        fields["actor"] = principal.actor
    if problem:
        fields["problem"] = problem
    fields["trace_id"] = trace.trace
    if trace.request != trace.trace:
        fields["request_id"] = trace.request
    # A path parameter named like a field of the log record itself would make logging raise.
    log.info("request", extra={name: value for name, value in fields.items() if name not in _TAKEN})


_TAKEN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
