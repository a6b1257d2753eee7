"""WebSocket frames (RFC 6455): whole small binary frames by hand, everything else by `websockets`.

Nearly every frame a Yjs client sends is one unfragmented, masked, uncompressed binary frame: reading it here costs half
of what a complete protocol object does, and an idle connection keeps no such object. Fragments, compression, pings and
closes go, frame by frame, through `websockets.protocol.Protocol`, which is made when the first of them arrives.
"""

from websockets.extensions import Extension
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol, State
from websockets.speedups import apply_mask

__all__ = ["Inbox", "close_frame", "frame", "header"]

BINARY_FIN = 0x82
BINARY_FIN_COMPRESSED = 0xC2
MAX_FRAGMENTS = 4096


def header(length: int, first: int = BINARY_FIN) -> bytes:
    """The header of an unmasked frame whose payload has `length` bytes."""
    if length < 126:
        return bytes((first, length))
    if length < 65536:
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")


def frame(payload: bytes) -> bytes:
    """One unfragmented binary frame, ready for any number of clients."""
    if len(payload) < 126:
        return b"\x82%c%b" % (len(payload), payload)
    return header(len(payload)) + payload


def close_frame(code: int, reason: str) -> bytes:
    """A close frame; the reason is cut to what a control frame holds (123 bytes)."""
    body = code.to_bytes(2, "big") + reason.encode()[:123].decode(errors="ignore").encode()
    return header(len(body), 0x88) + body


class Inbox:
    """Takes what a socket read and gives whole messages.

    After each `receive`: `reply` holds bytes to write back (pongs, the answer to a close), `before` says how many of
    the messages were whole when the last of it was asked for; `ended` is the close code when the client closed or broke
    the protocol, after which nothing more is read.
    """

    __slots__ = (
        "_chunks",
        "_extension",
        "_fragments",
        "_have",
        "_max_size",
        "_need",
        "_protocol",
        "before",
        "ended",
        "reply",
    )

    def __init__(self, max_size: int, extension: Extension | None = None) -> None:
        self._max_size = max_size
        self._extension = extension
        self._chunks: list[bytes] = []  # the beginning of a frame that is not whole yet
        self._have = 0
        self._need = 0  # bytes until looking again makes sense
        self._protocol: Protocol | None = None
        self._fragments: list[bytes] = []
        self.reply = b""
        self.before = 0
        self.ended: int | None = None

    @property
    def agreed(self) -> bool:
        """Whether the client has sent its close frame: nothing more will come."""
        return self._protocol is not None and self._protocol.close_rcvd is not None

    def receive(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes, in order. Raises nothing: errors end up in `ended`."""
        if self.ended is not None:
            return []
        size = len(data)
        whole = size > 6 and data[0] == BINARY_FIN and size == data[1] - 122 < 132  # masked bit 128, header 6
        if whole and not self._have and not self._fragments:
            return [apply_mask(data[6:], data[2:6])]
        if self._have:
            self._chunks.append(data)
            self._have += size
            if self._have < self._need:
                return []
            data = b"".join(self._chunks)
            self._chunks.clear()
            self._have = 0
            size = len(data)
        return self._split(data, size)

    def _split(self, data: bytes, size: int) -> list[bytes]:
        messages: list[bytes] = []
        at = 0
        while self.ended is None:
            left = size - at
            if left < 2:
                need = 2
                break
            second = data[at + 1]
            length = second & 127
            body = 6 if second > 127 else 2
            if length == 126:
                body += 2
                if left < 4:
                    need = 4
                    break
                length = int.from_bytes(data[at + 2 : at + 4], "big")
            elif length == 127:
                body += 8
                if left < 10:
                    need = 10
                    break
                length = int.from_bytes(data[at + 2 : at + 10], "big")
            if length > self._max_size:
                self._fail(1009, "message too big")
                return messages
            if left < body + length:
                need = body + length
                break
            end = at + body + length
            if data[at] == BINARY_FIN and second > 127 and not self._fragments:
                messages.append(apply_mask(data[at + body : end], data[at + body - 4 : at + body]))
            else:
                self._receive_uncommon(data[at:end], messages)
            at = end
        else:
            return messages
        if left:
            self._chunks.append(data[at:] if at else data)
            self._have = left
            self._need = need
        return messages

    def _receive_uncommon(self, whole: bytes, messages: list[bytes]) -> None:
        protocol = self._protocol
        if protocol is None:
            protocol = self._protocol = Protocol(SERVER, state=State.OPEN, max_size=self._max_size)
            if self._extension is not None:
                protocol.extensions = [self._extension]
        if whole[0] & 15 == Opcode.CLOSE:
            protocol.current_size = None  # a client may leave in mid-message (RFC 6455, 5.4); websockets objects
        protocol.receive_data(whole)
        for event in protocol.events_received():
            if isinstance(event, Frame):
                self._receive_event(event, messages)
        if sent := protocol.data_to_send():
            self.reply += b"".join(sent)
            self.before = len(messages)
        if self.ended is None and protocol.state is not State.OPEN:
            said = protocol.close_rcvd or protocol.close_sent
            self.ended = said.code if said is not None else 1002

    def _receive_event(self, event: Frame, messages: list[bytes]) -> None:
        if event.opcode is Opcode.TEXT:
            self._fail(1003, "text frames are not supported")
        elif event.opcode is Opcode.BINARY and event.fin:
            messages.append(bytes(event.data))
        elif event.opcode in (Opcode.BINARY, Opcode.CONT):
            # websockets bounds the size of a message, not the number of its fragments
            self._fragments.append(bytes(event.data))
            if len(self._fragments) > MAX_FRAGMENTS:
                self._fail(1009, "too many fragments")
            elif event.fin:
                messages.append(b"".join(self._fragments))
                self._fragments.clear()

    def _fail(self, code: int, reason: str) -> None:
        if self.ended is None:
            self.ended = code
            self.reply += close_frame(code, reason)
