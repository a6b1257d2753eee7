"""What can go wrong, by who has to act.

    RelayError
    ├── Malformed          a client's bytes break the protocol: its connection is closed, nobody else notices
    ├── Deny               a deliberate no: carries a reason for the client
    ├── Unavailable        a service we need is away: try again later
    │   └── StreamLost     the room's journal stream is not the one we opened: reopen it and append again
    ├── Quarantined        the document is locked until an operator releases it
    ├── CodecDied          a codec process died on this document's bytes
    └── StartError         the process can't start; the message tells the operator what to do

A subclass exists only where somebody catches it.
"""

__all__ = ["CodecDied", "Deny", "Malformed", "Quarantined", "RelayError", "StartError", "StreamLost", "Unavailable"]


class RelayError(Exception):
    """Every error that this product raises on purpose."""


class Malformed(RelayError):
    """Bytes that break the protocol or the update format. The message names what and where, never the content."""


class Deny(RelayError):
    """A decision against the client.

    `code` is the WebSocket close code that says it (see `relay.closing`).
    """

    def __init__(self, reason: str, code: int = 4403) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Unavailable(RelayError):
    """PostgreSQL or Redis did not answer, or did not answer in time."""


class StreamLost(Unavailable):
    """The journal's stream for this room vanished or was replaced (Redis came back empty)."""


class Quarantined(RelayError):
    """The document was set aside after its bytes broke a decoder."""


class CodecDied(RelayError):
    """The codec process working on this document ended abnormally or ran past its deadline."""


class StartError(RelayError):
    """Starting is not possible; says what to change."""
