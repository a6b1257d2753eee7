"""What a hostile client may send: valid messages of both protocols, and what becomes of them when bytes, lengths,
types, counts and order are changed. Deterministic: the dice decide."""

import base64
import json
import random
import zlib
from typing import Any

from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment, XmlText
from typists import framed, keystroke, uint

from relay.errors import Malformed
from relay.protocol import hocuspocus, presence, ywebsocket
from relay.protocol.messages import Presence, Step1, Update
from relay.yjs.update import TooManyStructs, parse
from relay.yjs.vector import decode_vector

__all__ = ["Mutants"]

HUGE = (127, 128, 16383, 16384, 2**21, 2**31 - 1, 2**31, 2**32, 2**53 - 1, 2**53, 2**63, 2**64, 2**70)
TAIL = b"\0\0\xff\xff"


def edits(seed: int) -> list[bytes]:
    """Updates of a document with every kind of content, as yrs writes them."""
    dice = random.Random(seed)
    doc: Doc[Any] = Doc(client_id=seed + 1)
    text, items, pairs, xml = (doc.get(n, type=k) for n, k in zip("tamx", (Text, Array, Map, XmlFragment)))
    updates = []
    for step in range(30):
        before = doc.get_state()
        with doc.transaction():
            match step % 6:
                case 0:
                    text.insert(0, dice.choice(["a", "é", "😀", "hello "]))
                case 1:
                    pairs["key"] = dice.choice([1, None, 1.5, {"a": [True]}, Map({"x": 1}), Array([1, "two"])])
                case 2:
                    items.append(dice.choice([1, "s", b"\0\1", Text("nested"), Map({"y": "z"})]))
                case 3:
                    xml.children.append(XmlElement("p", {"k": "v"}, [XmlText("in")]))
                case 4:
                    text.insert(0, "bold ", {"bold": True})
                case _:
                    del items[0]
        updates.append(doc.get_update(before))
    return [*updates, doc.get_update()]


def state(client: int, clock: int, text: str) -> bytes:
    return uint(client) + uint(clock) + uint(len(text.encode())) + text.encode()


class Mutants:
    """Bytes to send. `token` opens the rooms below `fuzz/`; `room` is one of them."""

    def __init__(self, seed: int, room: str, token: str) -> None:
        self.dice = random.Random(seed)
        self.room = room
        self.token = token
        self.address = uint(len(room)) + room.encode()
        self.client = self.dice.randrange(1, 2**32)
        self.clock = 0
        self._edits = [update for n in range(3) for update in edits(self.dice.randrange(2**31))]
        self._vectors = [b"\0", b"\1\1\5", b"\2" + uint(2**32 - 1) + b"\1\5\0"]

    # -- messages --

    def message(self) -> bytes:
        """A valid message about the room, without its address."""
        dice = self.dice
        match dice.randrange(10):
            case 0 | 1 | 2:
                update = keystroke(self.client, self.clock)
                self.clock += 1
            case 3 | 4:
                update = dice.choice(self._edits)
            case 5 | 6:
                who = state(self.client + dice.randrange(3), dice.randrange(50), dice.choice(["null", "{}", '{"a":1}']))
                return b"\1" + uint(len(who) + 1) + b"\1" + who
            case 7:
                vector = dice.choice(self._vectors)
                return b"\0\0" + uint(len(vector)) + vector
            case 8:
                return b"\3"
            case _:
                update = dice.choice(self._edits)
                return b"\0\1" + uint(len(update)) + update
        return b"\0\2" + uint(len(update)) + update

    def aside(self) -> bytes:
        """A valid message of Hocuspocus alone."""
        words = b"\5hello", b"\7", b"\6\2hi", b"\4\0\1\0", b"\x08\1"
        return self.dice.choice([b"\2\0" + uint(len(self.token)) + self.token.encode() + b"\x054.7.0", *words])

    def payload(self, spoken: str) -> bytes:
        """A frame's payload: a message mutated, seldom left as it is."""
        dice = self.dice
        if spoken == "hocuspocus":
            message = self.aside() if dice.random() < 0.15 else self.message()
            if dice.random() < 0.6:  # the address stays, so that what follows is read
                return self.address + self.mutated(message)
            return dice.choice([b"\x09", b"\x0a", self.mutated(self.address + message)])
        return self.mutated(self.message())

    def mutated(self, data: bytes) -> bytes:
        """`data` with one to three changes; one time in ten with none."""
        dice = self.dice
        if dice.random() < 0.1:
            return data
        out = bytearray(data)
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            at = dice.randrange(len(out) + 1)
            match dice.randrange(11):
                case 0 if at < len(out):
                    out[at] ^= 1 << dice.randrange(8)
                case 1 | 2 if at < len(out):
                    out[at] = dice.choice((0, 1, 127, 128, 255, dice.randrange(256)))
                case 3:
                    del out[at:]
                case 4:
                    del out[at : at + dice.randrange(1, 5)]
                case 5:
                    out[at:at] = dice.randbytes(dice.randrange(1, 9))
                case 6:
                    out[at:at] = out[at : at + dice.randrange(1, 20)]
                case 7:
                    out[at : at + 1] = uint(dice.choice(HUGE))
                case 8:
                    other = self.message()
                    out[at:] = other[dice.randrange(len(other)) :]
                case 9:  # a change inside the content, where lengths stay true
                    if len(out) > 8:
                        out[-dice.randrange(1, 6)] = dice.randrange(256)
                case _:
                    out += out[: dice.randrange(64)]
        return bytes(out)

    def survives(self, payload: bytes, spoken: str) -> bool:
        """Whether the relay reads on after it. Large numbers of structs count as no: another process decides."""
        try:
            if spoken == "hocuspocus":
                if len(payload) == 1:
                    return payload in (b"\x09", b"\x0a")
                found = hocuspocus.decode(payload)
                if not 0 < len(hocuspocus.room_of(found.address).encode()) <= 512:
                    return False
                if not hocuspocus.room_of(found.address).isprintable():
                    return False
                message: object = found.message
            else:
                message = ywebsocket.decode(payload)
            if isinstance(message, Update):
                parse(message.update, 500)
            elif isinstance(message, Presence):
                presence.decode(message.states)
            elif isinstance(message, Step1):
                decode_vector(message.vector)
        except (Malformed, TooManyStructs):
            return False
        return True

    # -- below messages --

    def frames(self) -> bytes:
        """Bytes of a WebSocket that may break its rules: flags, masks, lengths, fragments, control frames, deflate."""
        dice = self.dice
        message = self.message()
        whole = framed(message)
        match dice.randrange(9):
            case 0:
                return self.mutated(whole)
            case 1:
                return bytes((dice.randrange(256),)) + whole[1:]
            case 2:  # no mask
                return bytes((0x82, min(len(message), 125))) + message
            case 3:  # a length that is not true, or written in too many bytes
                size = dice.choice((0, len(message), 125, 126, 65535, 2**31, 2**63 - 1, 2**63, 2**64 - 1))
                return bytes((0x82, 255)) + size.to_bytes(8, "big") + b"\0\0\0\0" + message
            case 4:  # fragments, with control frames between them
                parts = [message[n : n + 3] for n in range(0, len(message), 3)]
                out = b""
                for n, part in enumerate(parts):
                    out += framed(part, (0x80 if n == len(parts) - 1 else 0) | (0 if n else 2))
                    if dice.random() < 0.2:
                        out += framed(dice.randbytes(dice.randrange(140)), dice.choice((0x89, 0x8A, 0x09, 0x82)))
                return out
            case 5:  # deflate, good or bad, whether it was agreed or not
                deflate = zlib.compressobj(wbits=-15)
                packed = deflate.compress(message * dice.randrange(1, 50)) + deflate.flush(zlib.Z_SYNC_FLUSH)
                return framed(self.mutated(packed.removesuffix(TAIL)), 0xC2)
            case 6:
                return framed(dice.randbytes(dice.randrange(130)), 0x88)
            case 7:
                return framed(message, 0x81)
            case _:
                return dice.randbytes(dice.randrange(1, 200))

    def head(self) -> bytes:
        """An HTTP request, mostly a handshake, mutated."""
        dice = self.dice
        path = dice.choice(
            ("/ws", f"/ws/{self.room}?token={self.token}", "/ws/%ff", "/", "/metrics", "/ws/a%00b", "/x")
        )
        head = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
        ).encode()
        lines = head.split(b"\r\n")
        match dice.randrange(5):
            case 0:
                del lines[dice.randrange(len(lines))]
            case 1:
                lines.insert(1, lines[dice.randrange(len(lines))])
            case 2:
                lines[1] += b"x" * dice.choice((10, 8000, 20000))
            case 3:
                at = dice.randrange(len(lines))
                lines[at] = self.mutated(lines[at]) if lines[at] else lines[at]
            case _:
                return self.mutated(head) + b"\r\n\r\n"
        return b"\r\n".join(lines)

    def jwt(self) -> str:
        """A token that is not the one it was made from."""
        dice = self.dice
        parts = self.token.split(".")
        at = dice.randrange(3)
        if at < 2 and dice.random() < 0.6:
            claims = json.loads(base64.urlsafe_b64decode(parts[at] + "=="))
            key = dice.choice([*claims, "rooms", "exp", "nbf", "alg", "kid", "crit", "sub"])
            claims[key] = dice.choice([None, 0, -1, 1e308, "none", "HS256", [], {}, "\ud800", {"*": "read-write"}, "é"])
            raw = json.dumps(claims).encode()
            parts[at] = base64.urlsafe_b64encode(self.mutated(raw) if dice.random() < 0.3 else raw).decode().rstrip("=")
        else:
            parts[at] = self.mutated(parts[at].encode()).decode("latin-1")
        return ".".join(parts)
