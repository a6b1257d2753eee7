"""Letters with links. Whoever provides `Mail` sends them; without one they are kept and said in the log.

Kept letters open accounts, so only the server's owner may read them (GET /v1/auth/letters).
"""

import logging
from collections.abc import Callable
from typing import Any

from api_shim.context import Context
from api_shim.ids import uuid7
from api_shim.services import Letter, Mail
from plugins.auth.accounts import moment

__all__ = ["KEEP", "KeptMail", "mail"]

log = logging.getLogger("plugins.auth.mail")
KEEP = 7 * 86400.0
"""Seconds that a letter is kept."""


class KeptMail:
    """`Mail` where nothing sends e-mail."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    async def send(self, connection: Any, letter: Letter) -> None:
        """Keep it, in the caller's transaction."""
        await connection.execute(
            "INSERT INTO auth.letter (id, kind, recipient, link, created) VALUES ($1, $2, $3, $4, $5)",
            uuid7(), letter.kind, letter.to, letter.link, moment(self._clock),
        )  # fmt: skip
        log.info("no e-mail is sent here", extra={"kind": letter.kind, "to": letter.to, "link": letter.link})


def mail(context: Context, otherwise: KeptMail) -> Mail:
    """Whoever provides it, now: the provider starts after this plugin, whose accounts it needs."""
    try:
        return context.service(Mail)  # type: ignore[type-abstract]
    except LookupError:
        return otherwise
